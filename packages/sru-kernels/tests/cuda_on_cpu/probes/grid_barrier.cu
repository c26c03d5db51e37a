// A cooperative launch with a grid barrier, and one without. Each block copies what its neighbour had in the
// previous step.
#include <cooperative_groups.h>

#include "probe.cuh"

namespace grid_barrier {

constexpr int steps = 5;

template <bool waits>
__device__ void walk(const float* in, float* out) {
    const int all = gridDim.x * blockDim.x, own = blockIdx.x * blockDim.x + threadIdx.x;
    const int neighbour = (own + blockDim.x) % all;
    out[own] = in[own];
    for (int step = 1; step < steps; ++step) {
        if (waits) cooperative_groups::this_grid().sync();
        out[step * all + own] = out[(step - 1) * all + neighbour];
    }
}

PROBE(grid_waits) { walk<true>(in, out); }
PROBE(grid_goes_on) { walk<false>(in, out); }

}  // namespace grid_barrier
