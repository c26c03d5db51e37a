#pragma once

#include <cuda_runtime.h>

#include <utility>

#include "runtime/cuda/async_copy.cuh"
#include "runtime/cuda/launch.hpp"
#include "runtime/cuda/pack.cuh"
#include "runtime/cuda/walk.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT {

constexpr int warp_size = 32;
constexpr unsigned int whole_warp = 0xffffffffU;

__device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % warp_size); }

/// The part of an array that a warp reads step by step: adjacent elements from `first`, 16-byte aligned.
struct Stream {
    const void* first;
    Index stride;  // in bytes
    int steps;     // later steps read as arbitrary values; if 0, all steps read as zeros

    template <typename Element>
    __device__ __forceinline__ Stream(const Walk<Element>& walk, int steps)
        : first(walk.at), stride(walk.stride * static_cast<Index>(sizeof(Element))), steps(steps) {}
};

/// A ring buffer in shared memory, one per warp, that holds the next steps of several arrays: `columns`
/// adjacent elements per lane. Groups of steps are in flight while an earlier one is computed.
///
/// The lanes copy 16 bytes at a time, regardless of which elements a lane reads. One copy may cover several
/// steps. In a block of at most half the largest size, a warp has twice the space and reads twice as far
/// ahead: such blocks are launched if a multiprocessor has few warps to issue loads.
template <int columns, typename... Elements>
class Ring {
    /// The offset of an array in the bytes of a step.
    SRU_KERNELS_HOST_DEVICE static constexpr int begin(int array) {
        constexpr int sizes[] = {static_cast<int>(sizeof(Elements))...};
        int sum = 0;
        for (int i = 0; i < array; ++i) sum += sizes[i];
        return warp_size * columns * sum;
    }

    static constexpr int step_bytes = begin(sizeof...(Elements));
    static constexpr int pieces = step_bytes / 16;

 public:
    static constexpr int steps = 4 * step_bytes <= 3072 ? 4 : 2 * step_bytes <= 3072 ? 2 : 1;  // per group

 private:
    static constexpr int group_bytes = steps * step_bytes;
    static constexpr int groups = 3 * group_bytes < 8192 ? 8192 / group_bytes : 3;  // in a full block
    static constexpr int room = groups * group_bytes;
    static constexpr int rooms = cuda::largest_block / warp_size;
    static_assert(room * rooms <= 48 * 1024, "more needs an attribute of the kernel");

    /// The steps covered by one copy of the whole warp, and the copies needed for them.
    static constexpr int together = steps % 4 == 0 && 4 * pieces <= warp_size   ? 4
                                    : steps % 2 == 0 && 2 * pieces <= warp_size ? 2
                                                                                : 1;
    static constexpr int copies = (pieces + warp_size - 1) / warp_size;

 public:
    template <typename... Streams>
    __device__ __forceinline__ explicit Ring(const Streams&... streams) {
        __shared__ uint4 memory[rooms][room / 16];
        const int warp = static_cast<int>(threadIdx.x) / warp_size;
        const int own = 2 * static_cast<int>(blockDim.x) <= cuda::largest_block ? 2 : 1;
        memory_ = reinterpret_cast<unsigned char*>(memory[own * warp]);
        last_ = own * room - group_bytes;
        // Through a shuffle: otherwise the compiler would recompute it in every iteration to save a register.
        lane_ = __shfl_sync(whole_warp, lane(), lane());
        const int phase = together == 1 ? 0 : lane_ / pieces;
        piece_ = together == 1 ? lane_ : lane_ % pieces;
        target_ = phase * step_bytes + piece_ * 16;
        aim(std::index_sequence_for<Elements...>{}, phase, streams...);
#pragma unroll 1
        for (int group = 0; group < last_; group += group_bytes) start_copies(group);
        read_ = last_;
    }

    /// Waits for the next group, and starts to copy a later one over the previous group.
    __device__ __forceinline__ void next() {
        wait_for_copies<2 * groups - 2>();
        if (last_ < room) wait_for_copies<groups - 2>();
        __syncwarp();
        const int free = read_;
        read_ = free == last_ ? 0 : free + group_bytes;
        start_copies(free);
    }

    /// Reads this lane's elements of an array at a step of the group.
    template <int array, typename Element>
    __device__ __forceinline__ void read(int step, Pack<Element, columns>& pack) const {
        constexpr int from = begin(array);
        static_assert(begin(array + 1) - from == warp_size * columns * static_cast<int>(sizeof(Element)));
        const unsigned char* row = memory_ + read_ + step * step_bytes + from;
        pack.read_shared(reinterpret_cast<const Element*>(row) + lane_ * columns);
    }

 private:
    /// The source of this lane's next copy, and the number of steps left.
    struct Cursor {
        const unsigned char* at = nullptr;
        Index stride = 0;
        int left = 0;
    };

    template <std::size_t... arrays, typename... Streams>
    __device__ __forceinline__ void aim(std::index_sequence<arrays...>, int phase,
                                        const Streams&... streams) {
        (aim_at<static_cast<int>(arrays)>(streams, phase), ...);
    }

    /// Points the cursors whose piece belongs to the array at its stream.
    template <int array>
    __device__ __forceinline__ void aim_at(const Stream& stream, int phase) {
        constexpr int first = begin(array) / 16, end = begin(array + 1) / 16;
#pragma unroll
        for (int i = 0; i < copies; ++i) {
            const int piece = piece_ + i * warp_size;
            if (piece < first || piece >= end || phase >= together) continue;
            cursors_[i].at = static_cast<const unsigned char*>(stream.first) + (piece - first) * 16 +
                             phase * stream.stride;
            cursors_[i].stride = together * stream.stride;
            cursors_[i].left = stream.steps - phase;
            if (stream.steps > 0) continue;
            const int end_of_ring = last_ + group_bytes;
            for (int at = target_ + i * warp_size * 16; at < end_of_ring; at += together * step_bytes)
                *reinterpret_cast<uint4*>(memory_ + at) = uint4{};
        }
    }

    __device__ __forceinline__ void start_copies(int group) {
        unsigned char* to = memory_ + group + target_;
#pragma unroll
        for (int step = 0; step < steps; step += together) {
#pragma unroll
            for (int i = 0; i < copies; ++i) {
                Cursor& from = cursors_[i];
                if (step < from.left) copy_async(to + step * step_bytes + i * warp_size * 16, from.at);
                from.at += from.stride;
            }
        }
#pragma unroll
        for (int i = 0; i < copies; ++i) cursors_[i].left -= steps;
        commit_copies();
    }

    unsigned char* memory_;
    int lane_, piece_, target_;
    int read_, last_;  // offsets of the group to read, and of the last group in the ring
    Cursor cursors_[copies];
};

/// The marks of a warp's steps, one per lane, read 32 steps ahead.
class WarpMarks {
 public:
    /// No marks are set if `steps` is 0.
    __device__ __forceinline__ WarpMarks(const Walk<const unsigned char>& walk, int steps)
        : at_(walk.at + lane() * walk.stride), stride_(warp_size * walk.stride), left_(steps - lane()) {
        load();
    }

    /// Moves to the next 32 steps; also called before the first.
    __device__ __forceinline__ void advance() {
        own_ = next_;
        set_ = __ballot_sync(whole_warp, own_ != 0);
        load();
    }

    /// Whether the marks of any of `count` steps are set.
    __device__ __forceinline__ bool any(unsigned int step, int count) const {
        return (set_ >> step & ((1U << count) - 1)) != 0;
    }

    __device__ __forceinline__ unsigned int at(int step) const { return __shfl_sync(whole_warp, own_, step); }

 private:
    __device__ __forceinline__ void load() {
        next_ = left_ > 0 ? __ldg(at_) : 0U;
        at_ += stride_;
        left_ -= warp_size;
    }

    const unsigned char* at_;
    Index stride_;
    int left_;
    unsigned int own_, next_, set_;
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT
