// What CUDA gives a kernel, for an ordinary processor.
//
// With LANES 1 every thread runs from beginning to end. With more, the lanes of a warp are coroutines that take turns at
// __syncwarp and __shfl, in ascending and descending order by turns, so that one that is missing shows; and before every
// atomic operation, so that who trusts what was read before it is wrong.
#include <cmath>
#include <cstdint>
#include <cstring>

#define __device__ static
#define __global__

struct Triple {
    unsigned x = 0, y = 0, z = 0;
};
static Triple threadIdx, blockIdx, blockDim, gridDim;

static inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline unsigned __float_as_uint(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

#if LANES == 1
static inline void others_first() {}
static inline void __syncwarp() {}
static inline long long __shfl_xor_sync(unsigned, long long value, int) { return value; }
static inline long long __shfl_up_sync(unsigned, long long value, unsigned) { return value; }
static inline long long __shfl_sync(unsigned, long long value, int) { return value; }
#else
#include <ucontext.h>
static ucontext_t scheduler, lanes[LANES];
static bool done[LANES];
static long long given[LANES];
static unsigned lane_now;

static void others_first() { swapcontext(&lanes[lane_now], &scheduler); }
static void __syncwarp() { others_first(); }
static long long exchanged(long long value, unsigned from) {
    given[threadIdx.x] = value;
    __syncwarp();
    const long long other = given[from];
    __syncwarp();
    return other;
}
static long long __shfl_xor_sync(unsigned, long long value, int k) { return exchanged(value, threadIdx.x ^ (unsigned)k); }
static long long __shfl_up_sync(unsigned, long long value, unsigned k) {
    return exchanged(value, threadIdx.x >= k ? threadIdx.x - k : threadIdx.x);
}
static long long __shfl_sync(unsigned, long long value, int from) { return exchanged(value, (unsigned)from); }
#endif

// What others do just before is the worst time for them to do it. Kernels with atomics have no __syncwarp.
template <typename T> static T atomicAdd(T *at, T value) {
    others_first();
    const T old = *at;
    *at = old + value;
    return old;
}
template <typename T> static T atomicMax(T *at, T value) {
    others_first();
    const T old = *at;
    *at = value > old ? value : old;
    return old;
}
template <typename T> static T atomicCAS(T *at, T expected, T value) {
    others_first();
    const T old = *at;
    *at = old == expected ? value : old;
    return old;
}
