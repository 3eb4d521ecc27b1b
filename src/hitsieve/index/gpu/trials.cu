// Trials of vectors on a graphics card, for the search for lattices of a known cell: what `rust/src/index/trials.rs` does on cores.
//
// Spots of many images and what is wanted go up, the best vectors come down. First vectors: directions, choose, gather, sharpen; second
// ones: turn, peaks. Within a launch threads depend on each other only through an atomic addition, and the lanes of a warp through
// __shfl. So the same text, compiled for an ordinary processor with LANES 1, or with lanes that take turns, gives the same
// answers; the tests do that.
//
// No multiply-add may be fused (--fmad=false), and sums are added up in the order of the core: results are equal to its to the bit.
// Sines and cosines come from the core.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#ifndef LANES
#define LANES 32
#endif
#define ALL_LANES 0xffffffffu

// As in rust/src/index/scan.rs.
#define REACH 0.3f
#define ROUNDER 12582912.0f
#define SUMS 8
// As in rust/src/index/trials.rs.
#define TURNS_KEPT 3

struct Vector {
    double x;
    double y;
    double z;
};

// A direction that was among the best, moved.
struct Chosen {
    // Score and number of the direction: the larger, the better; of equal scores the earlier is.
    u64 key;
    Vector moved;
    double score;
};

struct Ring {
    Vector axis;
    Vector middle;
    Vector e1;
    Vector e2;
};

struct Angle {
    double cosine;
    double sine;
};

struct Turn {
    float score;
    // -1: there is none.
    int number;
};

// Everything a launch needs. All fields have eight bytes; the host reads their order here.
struct Job {
    i64 n_images;
    // Where the spots of each image begin, and the last end.
    const i64 *spots_from;
    const Vector *spots;
    double length;
    // first vectors
    const Angle *golden;
    const i64 *n_directions;
    const i64 *wanted;
    const i64 *scores_from;
    const i64 *chosen_from;
    u64 *least;
    u32 *n_chosen;
    Chosen *chosen;
    // second vectors
    const i64 *axes_from;
    const Ring *rings;
    const i64 *angles_from;
    const Angle *angles;
    Turn *turns;
    // of both
    float *scores;
};

__device__ inline i64 thread_number() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }

__device__ inline i64 thread_count() { return (i64)gridDim.x * blockDim.x; }

// ---- arithmetic, in the order of the core ----

__device__ inline double dot(Vector a, Vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

__device__ inline Vector scaled(Vector a, double factor) { return Vector{a.x * factor, a.y * factor, a.z * factor}; }

__device__ inline Vector sum(Vector a, Vector b, double factor) {
    return Vector{a.x + factor * b.x, a.y + factor * b.y, a.z + factor * b.z};
}

__device__ inline Vector cross(Vector a, Vector b) {
    return Vector{a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

__device__ inline bool is_finite(double x) { return x - x == 0.0; }

__device__ inline float closeness(Vector q, Vector v) {
    const float phase = (float)q.x * (float)v.x + (float)q.y * (float)v.y + (float)q.z * (float)v.z;
    const float off = phase - ((phase + ROUNDER) - ROUNDER);
    const float left = REACH * REACH - off * off;
    return left > 0.0f ? left : 0.0f;
}

// Sum over the spots of an image of their closeness to the planes of a vector, each weighted with that to the planes of
// `weights`, if there are any.
__device__ float score_of(const Job *job, i64 image, Vector v, const Vector *weights) {
    float sums[SUMS] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    const i64 first = job->spots_from[image];
    const i64 n = job->spots_from[image + 1] - first;
    for (i64 base = 0; base < n; base += SUMS) {
        // Sums with fixed numbers stay in registers.
#pragma unroll
        for (int i = 0; i < SUMS; i++) {
            if (base + i < n) {
                const Vector q = job->spots[first + base + i];
                sums[i] += (weights ? closeness(q, *weights) : 1.0f) * closeness(q, v);
            }
        }
    }
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < SUMS; i++) {
        total += sums[i];
    }
    return total;
}

// ---- first vectors ----

__device__ inline Vector direction(const Job *job, i64 image, i64 k) {
    const double z = ((double)k + 0.5) / (double)job->n_directions[image];
    const double r = sqrt(1.0 - z * z);
    return scaled(Vector{r * job->golden[k].cosine, r * job->golden[k].sine, z}, job->length);
}

__device__ inline u64 key_of(const Job *job, i64 image, i64 k) {
    // Scores are not negative: their bits are in their order.
    return (u64)__float_as_uint(job->scores[job->scores_from[image] + k]) << 32 | (0xffffffffu - (u32)k);
}

// A score for each direction.
extern "C" __global__ void directions(const Job *job) {
    const i64 image = blockIdx.y;
    for (i64 k = thread_number(); k < job->n_directions[image]; k += thread_count()) {
        job->scores[job->scores_from[image] + k] = score_of(job, image, direction(job, image, k), 0);
    }
}

// The least key of those that are wanted, bit by bit: keys are all different.
extern "C" __global__ void choose(const Job *job) {
    const i64 image = blockIdx.y;
    const u32 lane = threadIdx.x % LANES;
    if (thread_number() >= LANES) {
        return;
    }
    u64 least = 0;
    i64 at_least = job->n_directions[image];
    for (int bit = 62; bit >= 0 && at_least > job->wanted[image]; bit--) {
        const u64 tried = least | (u64)1 << bit;
        i64 n = 0;
        for (i64 k = lane; k < job->n_directions[image]; k += LANES) {
            n += key_of(job, image, k) >= tried ? 1 : 0;
        }
        for (int step = LANES / 2; step > 0; step /= 2) {
            n += __shfl_xor_sync(ALL_LANES, n, step);
        }
        if (n >= job->wanted[image]) {
            least = tried;
            at_least = n;
        }
    }
    if (lane == 0) {
        job->least[image] = least;
        job->n_chosen[image] = 0;
    }
}

// The directions that are wanted, in no order.
extern "C" __global__ void gather(const Job *job) {
    const i64 image = blockIdx.y;
    for (i64 k = thread_number(); k < job->n_directions[image]; k += thread_count()) {
        const u64 key = key_of(job, image, k);
        if (key >= job->least[image]) {
            const i64 place = job->chosen_from[image] + atomicAdd(&job->n_chosen[image], 1u);
            if (place < job->chosen_from[image + 1]) {
                job->chosen[place].key = key;
            }
        }
    }
}

// One least-squares step of a vector toward where the spots near its planes want it, restrained to `anchor`.
__device__ Vector toward_planes(const Job *job, i64 image, Vector v, Vector anchor, double restraint) {
    const double reach = (double)REACH;
    Vector a = {restraint, 0.0, 0.0};
    Vector b = {0.0, restraint, 0.0};
    Vector c = {0.0, 0.0, restraint};
    Vector mixed = scaled(anchor, restraint);
    for (i64 i = job->spots_from[image]; i < job->spots_from[image + 1]; i++) {
        const Vector q = job->spots[i];
        const double phase = dot(q, v);
        const double whole = round(phase);
        const double off = phase - whole;
        if (fabs(off) < reach) {
            const double weight = 1.0 - (off / reach) * (off / reach);
            mixed = sum(mixed, q, weight * whole);
            a = sum(a, q, weight * q.x);
            b = sum(b, q, weight * q.y);
            c = sum(c, q, weight * q.z);
        }
    }
    const double inverse = 1.0 / dot(a, cross(b, c));
    const Vector one = scaled(cross(b, c), inverse);
    const Vector two = scaled(cross(c, a), inverse);
    const Vector three = scaled(cross(a, b), inverse);
    const Vector next = {dot(Vector{one.x, two.x, three.x}, mixed), dot(Vector{one.y, two.y, three.y}, mixed),
                         dot(Vector{one.z, two.z, three.z}, mixed)};
    return is_finite(next.x) && is_finite(next.y) && is_finite(next.z) ? next : v;
}

// Those that were chosen go to where the spots want them.
extern "C" __global__ void sharpen(const Job *job) {
    const i64 image = blockIdx.y;
    const i64 n = job->chosen_from[image + 1] - job->chosen_from[image];
    for (i64 i = thread_number(); i < n; i += thread_count()) {
        Chosen *chosen = &job->chosen[job->chosen_from[image] + i];
        const Vector start = direction(job, image, 0xffffffffu - (u32)chosen->key);
        const double strength = 0.1 / (0.02 * sqrt(dot(start, start)));
        Vector v = start;
        for (int step = 0; step < 3; step++) {
            v = toward_planes(job, image, v, start, strength * strength);
        }
        chosen->moved = v;
        chosen->score = (double)score_of(job, image, v, 0);
    }
}

// ---- second vectors ----

// A score for each turn about each first vector.
extern "C" __global__ void turn(const Job *job) {
    const i64 image = blockIdx.y;
    const i64 angles = job->angles_from[image];
    const i64 n = job->angles_from[image + 1] - angles;
    const i64 first = job->axes_from[image];
    for (i64 i = thread_number(); i < (job->axes_from[image + 1] - first) * n; i += thread_count()) {
        const Ring *ring = &job->rings[first + i / n];
        const Angle angle = job->angles[angles + i % n];
        const Vector v = sum(sum(ring->middle, ring->e1, angle.cosine), ring->e2, angle.sine);
        job->scores[job->scores_from[image] + i] = score_of(job, image, scaled(v, job->length), &ring->axis);
    }
}

// The best peaks about each first vector; of equally high ones the earlier.
extern "C" __global__ void peaks(const Job *job) {
    const i64 image = blockIdx.y;
    const i64 n = job->angles_from[image + 1] - job->angles_from[image];
    const i64 first = job->axes_from[image];
    for (i64 axis = thread_number(); axis < job->axes_from[image + 1] - first; axis += thread_count()) {
        const float *scores = job->scores + job->scores_from[image] + axis * n;
        Turn best[TURNS_KEPT] = {{-1.0f, -1}, {-1.0f, -1}, {-1.0f, -1}};
        for (i64 k = 0; k < n; k++) {
            if (!(scores[k] >= scores[(k + n - 1) % n] && scores[k] > scores[(k + 1) % n])) {
                continue;
            }
            // Behind those that are as high.
            int place = TURNS_KEPT;
            for (; place > 0 && scores[k] > best[place - 1].score; place--) {
                if (place < TURNS_KEPT) {
                    best[place] = best[place - 1];
                }
            }
            if (place < TURNS_KEPT) {
                best[place] = Turn{scores[k], (int)k};
            }
        }
        for (int place = 0; place < TURNS_KEPT; place++) {
            job->turns[(first + axis) * TURNS_KEPT + place] = best[place];
        }
    }
}
