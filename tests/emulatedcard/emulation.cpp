// The kernels with a launcher that runs their threads on an ordinary processor.
#include "emulation.h"
#include KERNELS

typedef void (*Kernel)(const Job *);

#if LANES == 1
static void run_warp(Kernel kernel, const Job *job) {
    threadIdx.x = 0;
    kernel(job);
}
#else
static char stacks[LANES][1 << 17];
static Kernel running;
static const Job *its_job;

static void lane_main() {
    running(its_job);
    done[lane_now] = true;
}

static void run_warp(Kernel kernel, const Job *job) {
    running = kernel;
    its_job = job;
    for (unsigned lane = 0; lane < LANES; lane++) {
        getcontext(&lanes[lane]);
        lanes[lane].uc_stack.ss_sp = stacks[lane];
        lanes[lane].uc_stack.ss_size = sizeof stacks[lane];
        lanes[lane].uc_link = &scheduler;
        makecontext(&lanes[lane], lane_main, 0);
        done[lane] = false;
    }
    bool any = true;
    for (unsigned turn = 0; any; turn++) {
        any = false;
        for (unsigned k = 0; k < LANES; k++) {
            const unsigned lane = turn % 2 ? LANES - 1 - k : k;
            if (!done[lane]) {
                any = true;
                lane_now = lane;
                threadIdx.x = lane;
                swapcontext(&scheduler, &lanes[lane]);
            }
        }
    }
}
#endif

// Runs `warps` warps for each of `images` images.
extern "C" void launch(Kernel kernel, const Job *job, unsigned warps, unsigned images) {
    blockDim.x = LANES;
    gridDim.x = warps;
    gridDim.y = images;
    for (unsigned image = 0; image < images; image++) {
        for (unsigned warp = 0; warp < warps; warp++) {
            blockIdx.x = warp;
            blockIdx.y = image;
            run_warp(kernel, job);
        }
    }
}

#ifdef PIXEL
// An integer of two words as a double, as the kernels of the spot finder take it.
extern "C" double as_double(i64 high, u64 low) { return to_double((i128)(((u128)(u64)high << 64) | low)); }
#endif
