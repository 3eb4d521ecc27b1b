// The spot finder on a graphics card: stored images in, spots out. The numbers are those of docs/reference/spot-finder.md.
//
// Every image of a batch goes through the same launches, one after the other: walk, decode, unshuffle, statistics, compare,
// gather, connect, label, measure, rank, emit. Within a launch threads depend on each other only through atomics, and the
// lanes of a warp through __syncwarp and __shfl. So the same text, compiled for an ordinary processor with LANES 1, or with
// lanes that take turns, gives the same answers; the tests do that.
//
// Chunks come from files and may hold anything. All reads and writes are bounded; an image that cannot be unpacked here, or
// has more strong pixels than the list has room for, is marked, and the compiled core searches it instead.
//
// No multiply-add may be fused (--fmad=false): results are equal to the core's to the bit.

typedef unsigned char u8;
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
typedef __int128 i128;
typedef unsigned __int128 u128;

// PIXEL is the type of a pixel: u8, i8, u16, i16, u32 or i32.
typedef PIXEL Pixel;

#ifndef LANES
#define LANES 32
#endif
#define ALL_LANES 0xffffffffu

#define LARGEST_I64 0x7fffffffffffffffLL
#define NO_BIN 0xffff
#define CLIPPINGS 5
#define MIN_FRAME 8
// Bytes of marks, one bit a pixel, that are counted together.
#define TILE 128

// Why the core has to search an image.
#define NOT_UNPACKED 1
#define CROWDED 2

#define SATURATED 2
#define MASKED_NEIGHBOUR 4

struct Spot {
    double intensity;
    float x;
    float y;
    float background;
    float snr;
    float peak;
    int n_pixels;
    int flags;
    int accepted;
};

// Everything a launch needs. All fields have eight bytes; the host reads their order here.
struct Job {
    // of the run
    i64 n_pixels;
    i64 slow;
    i64 fast;
    i64 n_bins;
    i64 pixels_per_block;
    i64 n_blocks;
    i64 block_bytes;
    i64 limit;
    i64 underload;
    i64 has_saturation;
    i64 saturation;
    i64 has_error_value;
    i64 error_value;
    i64 min_count;
    i64 min_pixels;
    i64 max_pixels;
    i64 ring_width;
    double snr;
    double spot_snr;
    const u16 *bins;
    const u16 *panels;
    const u8 *background_bins;
    const u32 *sample;
    const i64 *sample_starts;
    // of the batch
    i64 n_images;
    const u8 *packed;
    const i64 *starts;
    const i64 *sizes;
    // working memory
    i64 *block_from;
    u32 *block_length;
    i64 *tail_from;
    u8 *planes;
    Pixel *pixels;
    i64 *bin_n;
    i64 *bin_first;
    double *bin_mean;
    double *bin_sigma;
    i64 *bin_threshold;
    u8 *marks;
    u32 *tile_counts;
    u32 *list;
    u32 *parents;
    u32 *roots;
    u32 *n_members;
    Spot *measured;
    u32 *order;
    // results
    u32 *status;
    u32 *broken;
    i64 *n_strong;
    u64 *n_saturated;
    i64 *largest;
    float *background;
    i64 *n_spots;
    const i64 *offsets;
    Spot *spots;
};

__device__ inline i64 thread_number() { return (i64)blockIdx.x * blockDim.x + threadIdx.x; }

__device__ inline i64 thread_count() { return (i64)gridDim.x * blockDim.x; }

// ---- arithmetic ----

// The nearest double, of two equally near ones the even one.
__device__ inline double to_double(i128 value) {
    const bool negative = value < 0;
    u128 rest = negative ? (u128)0 - (u128)value : (u128)value;
    double scale = 1.0;
    if ((u64)(rest >> 64) != 0) {
        int shift = 0;
        while ((u64)(rest >> shift >> 64) != 0) {
            shift++;
        }
        const bool lost = (rest & (((u128)1 << shift) - 1)) != 0;
        // The lowest of 64 bits is far below the last of a double: set, it tells that something was cut off.
        rest = (rest >> shift) | (u128)(lost ? 1 : 0);
        for (int i = 0; i < shift; i++) {
            scale *= 2.0;
        }
    }
    const double size = (double)(u64)rest * scale;
    return negative ? -size : size;
}

// Cut to the range of integers; not a number becomes 0.
__device__ inline i64 to_integer(double value) {
    if (!(value == value)) {
        return 0;
    }
    if (value >= 9223372036854775808.0) {
        return LARGEST_I64;
    }
    if (value <= -9223372036854775808.0) {
        return -LARGEST_I64 - 1;
    }
    return (i64)value;
}

struct Sums {
    i64 n;
    i64 first;
    u128 second;
};

__device__ inline void add(Sums *sums, i64 value) {
    const u64 size = value < 0 ? (u64)0 - (u64)value : (u64)value;
    sums->n += 1;
    sums->first += value;
    sums->second += (u128)size * size;
}

__device__ inline double mean_of(const Sums *sums) { return (double)sums->first / (double)sums->n; }

__device__ inline double sigma_of(const Sums *sums) {
    const i128 spread = (i128)sums->n * (i128)sums->second - (i128)sums->first * (i128)sums->first;
    return sqrt(to_double(spread)) / (double)sums->n;
}

__device__ inline i64 sum_of_lanes(i64 value) {
    for (int k = LANES / 2; k > 0; k >>= 1) {
        value += __shfl_xor_sync(ALL_LANES, value, k);
    }
    return value;
}

__device__ inline u128 sum_of_lanes_128(u128 value) {
    for (int k = LANES / 2; k > 0; k >>= 1) {
        const u64 low = (u64)__shfl_xor_sync(ALL_LANES, (i64)(u64)value, k);
        const u64 high = (u64)__shfl_xor_sync(ALL_LANES, (i64)(u64)(value >> 64), k);
        value += ((u128)high << 64) | low;
    }
    return value;
}

// ---- pixels ----

__device__ inline bool is_good(const Job *job, i64 value) {
    return value >= job->underload && !(job->has_error_value && value == job->error_value);
}

__device__ inline bool is_saturated(const Job *job, i64 value) { return job->has_saturation && value >= job->saturation; }

__device__ inline u16 panel_of(const Job *job, i64 pixel) { return job->panels ? job->panels[pixel] : (u16)0; }

__device__ inline bool is_marked(const Job *job, i64 image, i64 pixel) {
    const i64 stride = (job->n_pixels + 7) / 8;
    return job->marks[image * stride + pixel / 8] >> (pixel % 8) & 1;
}

__device__ inline bool is_searched(const Job *job, i64 image) { return job->status[image] == 0 && job->broken[image] == 0; }

// ---- the stored form ----

__device__ inline u32 big_endian(const u8 *bytes) {
    return (u32)bytes[0] << 24 | (u32)bytes[1] << 16 | (u32)bytes[2] << 8 | (u32)bytes[3];
}

__device__ inline u32 walked(const Job *job, i64 image) {
    const u8 *bytes = job->packed + job->starts[image];
    const i64 size = job->sizes[image];
    if (size < 12) {
        return NOT_UNPACKED;
    }
    const u64 stated = (u64)big_endian(bytes) << 32 | big_endian(bytes + 4);
    if (stated != (u64)job->n_pixels * sizeof(Pixel) || big_endian(bytes + 8) != (u32)job->block_bytes) {
        return NOT_UNPACKED;
    }
    i64 at = 12;
    for (i64 block = 0; block < job->n_blocks; block++) {
        if (size - at < 4) {
            return NOT_UNPACKED;
        }
        const u32 length = big_endian(bytes + at);
        at += 4;
        if ((i64)length > size - at) {
            return NOT_UNPACKED;
        }
        job->block_from[image * job->n_blocks + block] = job->starts[image] + at;
        job->block_length[image * job->n_blocks + block] = length;
        at += length;
    }
    if (job->n_pixels % 8 * (i64)sizeof(Pixel) > size - at) {
        return NOT_UNPACKED;
    }
    job->tail_from[image] = job->starts[image] + at;
    return 0;
}

// A thread for each image: finds its blocks. Lengths are only known one after the other.
extern "C" __global__ void walk(const Job *job) {
    const i64 image = thread_number();
    if (image >= job->n_images) {
        return;
    }
    job->status[image] = walked(job, image);
    job->broken[image] = 0;
    job->largest[image] = -1;
    job->n_saturated[image] = 0;
    job->n_strong[image] = 0;
    job->n_spots[image] = 0;
}

// Adds the bytes that extend a length of 15; false where the block ends in them.
__device__ inline bool extended(const u8 *in, i64 end, i64 *ip, i64 *length) {
    for (;;) {
        if (*ip >= end) {
            return false;
        }
        const u8 byte = in[(*ip)++];
        *length += byte;
        if (byte != 255) {
            return true;
        }
    }
}

// Decodes an LZ4 block into exactly `size` bytes. All lanes read the same tokens and share the copying.
__device__ inline bool decoded(const u8 *in, i64 end, u8 *out, i64 size, u32 lane) {
    i64 ip = 0;
    i64 op = 0;
    for (;;) {
        if (ip >= end) {
            return false;
        }
        const u32 token = in[ip++];
        i64 length = token >> 4;
        if (length == 15 && !extended(in, end, &ip, &length)) {
            return false;
        }
        if (length > end - ip || length > size - op) {
            return false;
        }
        for (i64 k = lane; k < length; k += LANES) {
            out[op + k] = in[ip + k];
        }
        ip += length;
        op += length;
        if (ip == end) {
            return op == size;
        }
        if (end - ip < 2) {
            return false;
        }
        const u32 offset = (u32)in[ip] | (u32)in[ip + 1] << 8;
        ip += 2;
        if (offset == 0 || (i64)offset > op) {
            return false;
        }
        length = (token & 15) + 4;
        if (length == 19 && !extended(in, end, &ip, &length)) {
            return false;
        }
        if (length > size - op) {
            return false;
        }
        // What the other lanes wrote so far is read now. All of it lies before `op`: nobody waits for this match itself.
        __syncwarp();
        const u8 *from = out + op - offset;
        if (length <= (i64)offset) {
            for (i64 k = lane; k < length; k += LANES) {
                out[op + k] = from[k];
            }
        } else {
            for (i64 k = lane; k < length; k += LANES) {
                out[op + k] = from[(u32)k % offset];
            }
        }
        op += length;
    }
}

// A warp for each block of each image.
extern "C" __global__ void decode(const Job *job) {
    const i64 image = blockIdx.y;
    const i64 block = thread_number() / LANES;
    const u32 lane = threadIdx.x % LANES;
    if (block >= job->n_blocks || job->status[image] != 0) {
        return;
    }
    const i64 whole = job->n_pixels / 8 * 8;
    const i64 first = block * job->pixels_per_block;
    const i64 length = whole - first < job->pixels_per_block ? whole - first : job->pixels_per_block;
    const i64 entry = image * job->n_blocks + block;
    u8 *out = job->planes + (image * whole + first) * (i64)sizeof(Pixel);
    const u8 *in = job->packed + job->block_from[entry];
    if (!decoded(in, job->block_length[entry], out, length * (i64)sizeof(Pixel), lane)) {
        job->broken[image] = 1;
    }
}

// A thread for each eight pixels: bit planes to pixels. The few pixels behind the last eight are stored as they are.
extern "C" __global__ void unshuffle(const Job *job) {
    const i64 image = blockIdx.y;
    const i64 first = thread_number() * 8;
    if (first >= job->n_pixels) {
        return;
    }
    const i64 tiles = (job->n_pixels + 8 * TILE - 1) / (8 * TILE);
    if (first % (8 * TILE) == 0) {
        job->tile_counts[image * tiles + first / (8 * TILE)] = 0;
    }
    if (!is_searched(job, image)) {
        return;
    }
    const i64 whole = job->n_pixels / 8 * 8;
    Pixel *pixels = job->pixels + image * job->n_pixels + first;
    if (first >= whole) {
        const u8 *bytes = job->packed + job->tail_from[image];
        for (i64 k = 0; k < job->n_pixels - whole; k++) {
            u32 bits = 0;
            for (u32 byte = 0; byte < sizeof(Pixel); byte++) {
                bits |= (u32)bytes[k * (i64)sizeof(Pixel) + byte] << (8 * byte);
            }
            pixels[k] = (Pixel)bits;
        }
        return;
    }
    const i64 start = first / job->pixels_per_block * job->pixels_per_block;
    const i64 stride = (whole - start < job->pixels_per_block ? whole - start : job->pixels_per_block) / 8;
    const u8 *planes = job->planes + (image * whole + start) * (i64)sizeof(Pixel) + (first - start) / 8;
    u32 bits[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (u32 plane = 0; plane < 8 * sizeof(Pixel); plane++) {
        const u32 byte = planes[plane * stride];
        if (byte != 0) {
            for (u32 k = 0; k < 8; k++) {
                bits[k] |= (byte >> k & 1) << plane;
            }
        }
    }
    for (u32 k = 0; k < 8; k++) {
        pixels[k] = (Pixel)bits[k];
    }
}

// ---- background and thresholds ----

// Sums over the sampled pixels of a bin up to a limit; the same in all lanes.
__device__ inline Sums sampled(const Job *job, const Pixel *pixels, i64 bin, u32 lane, i64 limit) {
    Sums sums = {0, 0, 0};
    for (i64 k = job->sample_starts[bin] + lane; k < job->sample_starts[bin + 1]; k += LANES) {
        const i64 value = (i64)pixels[job->sample[k]];
        if (value <= limit && is_good(job, value) && !is_saturated(job, value)) {
            add(&sums, value);
        }
    }
    sums.n = sum_of_lanes(sums.n);
    sums.first = sum_of_lanes(sums.first);
    sums.second = sum_of_lanes_128(sums.second);
    return sums;
}

// A warp for each bin of each image.
extern "C" __global__ void statistics(const Job *job) {
    const i64 image = blockIdx.y;
    const i64 bin = thread_number() / LANES;
    const u32 lane = threadIdx.x % LANES;
    if (bin >= job->n_bins || !is_searched(job, image)) {
        return;
    }
    const Pixel *pixels = job->pixels + image * job->n_pixels;
    Sums sums = sampled(job, pixels, bin, lane, LARGEST_I64);
    for (int i = 0; i < CLIPPINGS && sums.n > 0; i++) {
        const i64 limit = to_integer(floor(mean_of(&sums) + job->snr * sigma_of(&sums)));
        const i64 before = sums.n;
        sums = sampled(job, pixels, bin, lane, limit);
        if (sums.n == before) {
            break;
        }
    }
    if (lane != 0) {
        return;
    }
    double mean = 0.0;
    double sigma = 0.0;
    i64 threshold = LARGEST_I64;
    if (sums.n > 0) {
        mean = mean_of(&sums);
        sigma = sigma_of(&sums);
        const double noise = fmax(sigma, sqrt(fmax(mean, 0.0)));
        threshold = to_integer(floor(mean + job->snr * noise));
        threshold = threshold > job->min_count - 1 ? threshold : job->min_count - 1;
        if (job->has_saturation && threshold > job->saturation - 1) {
            threshold = job->saturation - 1;
        }
    }
    const i64 entry = image * job->n_bins + bin;
    job->bin_n[entry] = sums.n;
    job->bin_first[entry] = sums.n > 0 ? sums.first : 0;
    job->bin_mean[entry] = mean;
    job->bin_sigma[entry] = sigma;
    job->bin_threshold[entry] = threshold;
}

// ---- strong pixels ----

// A thread for each eight pixels: marks the strong ones.
extern "C" __global__ void compare(const Job *job) {
    const i64 image = blockIdx.y;
    const i64 byte = thread_number();
    const i64 stride = (job->n_pixels + 7) / 8;
    if (byte >= stride || !is_searched(job, image)) {
        return;
    }
    const i64 *thresholds = job->bin_threshold + image * job->n_bins;
    const Pixel *pixels = job->pixels + image * job->n_pixels;
    const i64 end = 8 * byte + 8 < job->n_pixels ? 8 * byte + 8 : job->n_pixels;
    u32 marks = 0;
    u32 n_strong = 0;
    u64 n_saturated = 0;
    i64 largest = -1;
    for (i64 pixel = 8 * byte; pixel < end; pixel++) {
        const u16 bin = job->bins[pixel];
        const i64 value = (i64)pixels[pixel];
        if (bin == NO_BIN || !is_good(job, value)) {
            continue;
        }
        largest = value > largest ? value : largest;
        n_saturated += is_saturated(job, value) ? 1 : 0;
        if (value > thresholds[bin]) {
            marks |= 1u << (pixel - 8 * byte);
            n_strong++;
        }
    }
    job->marks[image * stride + byte] = (u8)marks;
    if (n_strong > 0) {
        const i64 tiles = (stride + TILE - 1) / TILE;
        atomicAdd(&job->tile_counts[image * tiles + byte / TILE], n_strong);
    }
    if (n_saturated > 0) {
        atomicAdd(&job->n_saturated[image], n_saturated);
    }
    // Most pixels are smaller than the largest so far: a glance saves the queue.
    if (largest > *(volatile i64 *)&job->largest[image]) {
        atomicMax(&job->largest[image], largest);
    }
}

__device__ inline float level(const Job *job, i64 image, u32 lane) {
    i64 n = 0;
    i64 first = 0;
    for (i64 bin = lane; bin < job->n_bins; bin += LANES) {
        if (job->background_bins[bin]) {
            n += job->bin_n[image * job->n_bins + bin];
            first += job->bin_first[image * job->n_bins + bin];
        }
    }
    n = sum_of_lanes(n);
    first = sum_of_lanes(first);
    const u32 not_a_number = 0x7fc00000u;
    return n > 0 ? (float)((double)first / (double)n) : __uint_as_float(not_a_number);
}

// What the lanes before this one have together; `total` is what all have.
__device__ inline i64 sum_before(i64 mine, u32 lane, i64 *total) {
    i64 sum = mine;
    for (u32 k = 1; k < LANES; k <<= 1) {
        const i64 other = __shfl_up_sync(ALL_LANES, sum, k);
        sum += lane >= k ? other : 0;
    }
    *total = LANES > 1 ? __shfl_sync(ALL_LANES, sum, LANES - 1) : sum;
    return sum - mine;
}

// A warp for each image: lists the strong pixels in raster order.
extern "C" __global__ void gather(const Job *job) {
    const i64 image = blockIdx.y;
    const u32 lane = threadIdx.x % LANES;
    if (thread_number() >= LANES || !is_searched(job, image)) {
        return;
    }
    const float background = level(job, image, lane);
    const i64 stride = (job->n_pixels + 7) / 8;
    const i64 tiles = (stride + TILE - 1) / TILE;
    const i64 room = image * job->limit;
    i64 found = 0;
    for (i64 base = 0; base < tiles; base += LANES) {
        const i64 tile = base + lane;
        const i64 mine = tile < tiles ? (i64)job->tile_counts[image * tiles + tile] : 0;
        i64 together = 0;
        i64 at = found + sum_before(mine, lane, &together);
        if (mine > 0 && at + mine <= job->limit) {
            const i64 end = (tile + 1) * TILE < stride ? (tile + 1) * TILE : stride;
            for (i64 byte = tile * TILE; byte < end; byte++) {
                const u32 marks = job->marks[image * stride + byte];
                for (u32 k = 0; marks >> k != 0; k++) {
                    if (marks >> k & 1) {
                        job->list[room + at] = (u32)(8 * byte + k);
                        job->parents[room + at] = (u32)at;
                        job->n_members[room + at] = 0;
                        at++;
                    }
                }
            }
        }
        found += together;
    }
    if (lane == 0) {
        job->n_strong[image] = found;
        job->background[image] = background;
        if (found > job->limit) {
            job->status[image] = CROWDED;
        }
    }
}

// ---- spots ----

__device__ inline u32 root_of(const u32 *parents, u32 i) {
    for (;;) {
        const u32 parent = *(const volatile u32 *)&parents[i];
        if (parent == i) {
            return i;
        }
        i = parent;
    }
}

// Joins two sets. Only roots get a parent, always one before them: a root is its set's first pixel.
__device__ inline void join(u32 *parents, u32 a, u32 b) {
    for (;;) {
        a = root_of(parents, a);
        b = root_of(parents, b);
        if (a == b) {
            return;
        }
        const u32 later = a > b ? a : b;
        const u32 earlier = a > b ? b : a;
        if (atomicCAS(&parents[later], later, earlier) == later) {
            return;
        }
    }
}

// Strong pixels in turn: each joins its left neighbour and the three above it.
extern "C" __global__ void connect(const Job *job) {
    const i64 image = blockIdx.y;
    if (!is_searched(job, image)) {
        return;
    }
    const u32 *list = job->list + image * job->limit;
    u32 *parents = job->parents + image * job->limit;
    for (i64 i = thread_number(); i < job->n_strong[image]; i += thread_count()) {
        const i64 pixel = list[i];
        const i64 x = pixel % job->fast;
        const u16 panel = panel_of(job, pixel);
        if (i > 0 && x > 0 && (i64)list[i - 1] + 1 == pixel && panel_of(job, pixel - 1) == panel) {
            join(parents, (u32)i - 1, (u32)i);
        }
        if (pixel < job->fast) {
            continue;
        }
        const i64 from = pixel - job->fast - (x > 0 ? 1 : 0);
        const i64 to = pixel - job->fast + (x + 1 < job->fast ? 1 : 0);
        i64 low = 0;
        i64 high = i;
        while (low < high) {
            const i64 middle = (low + high) / 2;
            if ((i64)list[middle] < from) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        for (i64 j = low; j < i && (i64)list[j] <= to; j++) {
            if (panel_of(job, list[j]) == panel) {
                join(parents, (u32)j, (u32)i);
            }
        }
    }
}

// Strong pixels in turn: each is told its set.
extern "C" __global__ void label(const Job *job) {
    const i64 image = blockIdx.y;
    if (!is_searched(job, image)) {
        return;
    }
    const i64 room = image * job->limit;
    for (i64 i = thread_number(); i < job->n_strong[image]; i += thread_count()) {
        const u32 root = root_of(job->parents + room, (u32)i);
        job->roots[room + i] = root;
        atomicAdd(&job->n_members[room + root], 1u);
    }
}

// An inclusive rectangle of pixels.
struct Box {
    i64 top;
    i64 bottom;
    i64 left;
    i64 right;
};

__device__ inline Box grown(Box box, i64 by, const Job *job) {
    box.top = box.top > by ? box.top - by : 0;
    box.left = box.left > by ? box.left - by : 0;
    box.bottom = box.bottom + by < job->slow - 1 ? box.bottom + by : job->slow - 1;
    box.right = box.right + by < job->fast - 1 ? box.right + by : job->fast - 1;
    return box;
}

__device__ inline Sums frame(const Job *job, i64 image, Box box, u16 panel) {
    const Pixel *pixels = job->pixels + image * job->n_pixels;
    const Box inner = grown(box, 1, job);
    const Box outer = grown(box, job->ring_width + 1, job);
    Sums sums = {0, 0, 0};
    for (i64 y = outer.top; y <= outer.bottom; y++) {
        for (i64 x = outer.left; x <= outer.right; x++) {
            const i64 pixel = y * job->fast + x;
            if (y >= inner.top && y <= inner.bottom && x >= inner.left && x <= inner.right) {
                continue;
            }
            if (job->bins[pixel] == NO_BIN || panel_of(job, pixel) != panel || is_marked(job, image, pixel)) {
                continue;
            }
            const i64 value = (i64)pixels[pixel];
            if (is_good(job, value) && !is_saturated(job, value)) {
                add(&sums, value);
            }
        }
    }
    return sums;
}

// Whether a neighbour is outside the image, of another panel, or not good.
__device__ inline bool has_masked_neighbour(const Job *job, i64 image, i64 pixel) {
    const Pixel *pixels = job->pixels + image * job->n_pixels;
    const i64 y = pixel / job->fast;
    const i64 x = pixel % job->fast;
    if (y == 0 || x == 0 || y + 1 == job->slow || x + 1 == job->fast) {
        return true;
    }
    const u16 panel = panel_of(job, pixel);
    for (i64 near_y = y - 1; near_y <= y + 1; near_y++) {
        for (i64 near_x = x - 1; near_x <= x + 1; near_x++) {
            const i64 near = near_y * job->fast + near_x;
            if (job->bins[near] == NO_BIN || panel_of(job, near) != panel || !is_good(job, (i64)pixels[near])) {
                return true;
            }
        }
    }
    return false;
}

__device__ inline float centroid(i128 weighted, i128 plain, double mean, double intensity, i64 first, i64 last) {
    const double low = (double)first + 0.5;
    const double high = (double)last + 0.5;
    const double centre = (0.5 * to_double(weighted) - mean * (0.5 * to_double(plain))) / intensity;
    return (float)(centre < low ? low : centre > high ? high : centre);
}

// Measures the set whose first pixel is `first` in the list; not accepted where it is no spot.
__device__ inline void measure_set(const Job *job, i64 image, i64 first, Spot *spot) {
    const i64 room = image * job->limit;
    const Pixel *pixels = job->pixels + image * job->n_pixels;
    const i64 n_members = job->n_members[room + first];
    i128 sum = 0, sum_x = 0, sum_y = 0, plain_x = 0, plain_y = 0;
    Box box = {LARGEST_I64, 0, LARGEST_I64, 0};
    i64 brightest = job->list[room + first];
    i64 peak = (i64)pixels[brightest];
    int flags = 0;
    i64 seen = 0;
    // All members are there, unless memory has erred: then this must end all the same.
    for (i64 i = first; seen < n_members && i < job->n_strong[image]; i++) {
        if ((i64)job->roots[room + i] != first) {
            continue;
        }
        seen++;
        const i64 pixel = job->list[room + i];
        const i64 value = (i64)pixels[pixel];
        const i64 y = pixel / job->fast;
        const i64 x = pixel % job->fast;
        sum += value;
        sum_x += (i128)value * (2 * x + 1);
        sum_y += (i128)value * (2 * y + 1);
        plain_x += 2 * x + 1;
        plain_y += 2 * y + 1;
        box.top = y < box.top ? y : box.top;
        box.bottom = y > box.bottom ? y : box.bottom;
        box.left = x < box.left ? x : box.left;
        box.right = x > box.right ? x : box.right;
        if (value > peak) {
            peak = value;
            brightest = pixel;
        }
        if (is_saturated(job, value)) {
            flags |= SATURATED;
        }
        if (!(flags & MASKED_NEIGHBOUR) && has_masked_neighbour(job, image, pixel)) {
            flags |= MASKED_NEIGHBOUR;
        }
    }
    const Sums local = frame(job, image, box, panel_of(job, job->list[room + first]));
    i64 n_local = local.n;
    double mean = 0.0;
    double sigma = 0.0;
    if (local.n >= MIN_FRAME) {
        mean = mean_of(&local);
        sigma = sigma_of(&local);
    } else {
        const i64 bin = image * job->n_bins + job->bins[brightest];
        n_local = job->bin_n[bin];
        if (n_local == 0) {
            return;
        }
        mean = job->bin_mean[bin];
        sigma = job->bin_sigma[bin];
    }
    const double n = (double)n_members;
    const double intensity = to_double(sum) - n * mean;
    const double variance = fmax(fmax(sigma * sigma, mean), 1.0 / (double)n_local);
    const double snr = intensity / (sqrt(variance) * sqrt(n));
    if (intensity <= 0.0 || snr < job->spot_snr) {
        return;
    }
    spot->intensity = intensity;
    spot->x = centroid(sum_x, plain_x, mean, intensity, box.left, box.right);
    spot->y = centroid(sum_y, plain_y, mean, intensity, box.top, box.bottom);
    spot->background = (float)mean;
    spot->snr = (float)snr;
    spot->peak = (float)peak;
    spot->n_pixels = (int)n_members;
    spot->flags = flags;
    spot->accepted = 1;
}

// Strong pixels in turn: the first of a set measures it.
extern "C" __global__ void measure(const Job *job) {
    const i64 image = blockIdx.y;
    if (!is_searched(job, image)) {
        return;
    }
    const i64 room = image * job->limit;
    for (i64 i = thread_number(); i < job->n_strong[image]; i += thread_count()) {
        Spot *spot = &job->measured[room + i];
        const i64 n_members = job->n_members[room + i];
        spot->accepted = 0;
        if (n_members >= job->min_pixels && n_members <= job->max_pixels) {
            measure_set(job, image, i, spot);
        }
    }
}

// A warp for each image: lists the accepted spots in raster order of their first pixel.
extern "C" __global__ void rank(const Job *job) {
    const i64 image = blockIdx.y;
    const u32 lane = threadIdx.x % LANES;
    if (thread_number() >= LANES || !is_searched(job, image)) {
        return;
    }
    const i64 room = image * job->limit;
    i64 found = 0;
    for (i64 base = 0; base < job->n_strong[image]; base += LANES) {
        const i64 i = base + lane;
        const i64 mine = i < job->n_strong[image] && job->measured[room + i].accepted ? 1 : 0;
        i64 together = 0;
        const i64 at = found + sum_before(mine, lane, &together);
        if (mine) {
            job->order[room + at] = (u32)i;
        }
        found += together;
    }
    if (lane == 0) {
        job->n_spots[image] = found;
    }
}

// Spots in turn: each goes to its place among those of the batch.
extern "C" __global__ void emit(const Job *job) {
    const i64 image = blockIdx.y;
    const i64 room = image * job->limit;
    for (i64 i = thread_number(); i < job->n_spots[image]; i += thread_count()) {
        job->spots[job->offsets[image] + i] = job->measured[room + job->order[room + i]];
    }
}
