// Correct uses of cp.async, and mistakes that must be detected. A warp processes the steps of an array
// through a ring in shared memory: each lane copies its part of a step, and reads a neighbour's part.
#include "probe.cuh"

namespace async_copy {

constexpr int steps = 9, depth = 4, most_threads = 64;

template <int bytes>
__device__ void copy(void* to, const void* from, unsigned taken = bytes) {
#if defined(__CUDA_ARCH__)
    const auto at = static_cast<unsigned>(__cvta_generic_to_shared(to));
    if constexpr (bytes == 16) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(taken)
                     : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(at), "l"(from), "n"(bytes),
                     "r"(taken)
                     : "memory");
    }
#elif defined(CUSHIM)
    cushim::async_copy(to, from, bytes, taken);
#endif
}

__device__ void commit() {
#if defined(__CUDA_ARCH__)
    asm volatile("cp.async.commit_group;" ::: "memory");
#elif defined(CUSHIM)
    cushim::async_commit();
#endif
}

template <int left>
__device__ void wait() {
#if defined(__CUDA_ARCH__)
    asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
#elif defined(CUSHIM)
    cushim::async_wait(left);
#endif
}

enum class Order { warp, block, shuffle, none };

/// `left` groups may be in flight when a step is read. `end_groups`: whether empty groups are committed when
/// nothing is left to copy.
template <int bytes, Order before_reading, int neighbour = 1, int left = depth - 2, int slots = depth,
          bool end_groups = true>
__device__ void walk(const float* in, float* out) {
    constexpr int width = bytes / 4;
    __shared__ __align__(16) float ring[slots * most_threads * width];
    const int threads = blockDim.x, thread = threadIdx.x, other = thread ^ neighbour;
    const auto place = [&](int step, int of) { return (step * threads + of) * width; };
    const auto fetch = [&](int step) {
        if (step < steps) copy<bytes>(ring + place(step % slots, thread), in + place(step, thread));
        if (step < steps || end_groups) commit();
    };
    for (int step = 0; step < depth - 1; ++step) fetch(step);
    for (int step = 0; step < steps; ++step) {
        wait<left>();
        if (before_reading == Order::warp) __syncwarp();
        if (before_reading == Order::block) __syncthreads();
        if (before_reading == Order::shuffle) __shfl_xor_sync(0xffffffffu, thread, 1);
        for (int k = 0; k < width; ++k) out[place(step, other) + k] = ring[place(step % slots, other) + k];
        fetch(step + depth - 1);
    }
}

PROBE(ring_of_16_bytes) { walk<16, Order::warp>(in, out); }
PROBE(ring_of_8_bytes) { walk<8, Order::warp>(in, out); }
PROBE(ring_of_4_bytes) { walk<4, Order::warp>(in, out); }
PROBE(ring_of_a_block) { walk<16, Order::block, 32>(in, out); }
PROBE(ring_of_a_lane) { walk<16, Order::none, 0>(in, out); }

PROBE(waits_for_too_few) { walk<16, Order::warp, 1, depth - 1>(in, out); }
PROBE(waits_without_syncwarp) { walk<16, Order::none>(in, out); }
PROBE(shuffle_for_syncwarp) { walk<16, Order::shuffle>(in, out); }
PROBE(syncwarp_for_syncthreads) { walk<16, Order::warp, 32>(in, out); }
PROBE(refills_what_others_read) { walk<16, Order::warp, 1, depth - 2, depth - 1>(in, out); }
PROBE(no_groups_at_the_end) { walk<16, Order::warp, 1, depth - 2, depth, false>(in, out); }

/// Each thread copies as many bytes as its index, and fills the rest with zeros.
PROBE(zero_fill) {
    __shared__ __align__(16) float rows[most_threads * 4];
    const unsigned thread = threadIdx.x;
    if (thread > 16) return;
    copy<16>(rows + 4 * thread, in + 4 * thread, thread);
    commit();
    wait<0>();
    for (int k = 0; k < 4; ++k) out[4 * thread + k] = rows[4 * thread + k];
}

PROBE(misaligned) {
    __shared__ __align__(16) float row[8];
    copy<16>(row, in + 1);
    commit();
    wait<0>();
    out[0] = row[0];
}

}  // namespace async_copy
