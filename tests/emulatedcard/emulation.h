// What CUDA gives a kernel, for an ordinary processor.
//
// With LANES 1 every thread runs from beginning to end. With more, the lanes of a warp are coroutines that take turns at
// __syncwarp and __shfl, in ascending and descending order by turns, so that one that is missing shows.
#include <cmath>
#include <cstdint>
#include <cstring>

#define __device__ static
#define __global__

struct Triple {
    unsigned x = 0, y = 0, z = 0;
};
static Triple threadIdx, blockIdx, blockDim, gridDim;

template <typename T> static T atomicAdd(T *at, T value) {
    const T old = *at;
    *at = old + value;
    return old;
}
template <typename T> static T atomicMax(T *at, T value) {
    const T old = *at;
    *at = value > old ? value : old;
    return old;
}
template <typename T> static T atomicCAS(T *at, T expected, T value) {
    const T old = *at;
    *at = old == expected ? value : old;
    return old;
}
static inline float __uint_as_float(unsigned bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#if LANES == 1
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

static void __syncwarp() { swapcontext(&lanes[lane_now], &scheduler); }
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
