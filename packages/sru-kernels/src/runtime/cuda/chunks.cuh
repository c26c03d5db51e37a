#pragma once

#include <cuda_runtime.h>

#include "sru_kernels/types.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT {

/// Processes `count` steps in chunks. The loads of the next chunk are issued before this one is computed, and
/// nothing touches their registers until it has been: a register that is read any earlier waits for memory.
/// `read(chunk, i, is_last)` reads step i of a chunk; `take(chunk, left, has_marks)` takes the chunk, of
/// whose steps only `left` may exist.
template <typename Chunk, typename Read, typename Take>
__device__ __forceinline__ void take_in_chunks(Index count, const Read& read, const Take& take) {
    Chunk next{};
    const auto read_next = [&](Index left) {
        if (left > Chunk::size) {
#pragma unroll
            for (int i = 0; i < Chunk::size; ++i) read(next, i, false);
        } else {
#pragma unroll
            for (int i = 0; i < Chunk::size; ++i)
                if (i < left) read(next, i, i + 1 == left);
        }
    };
    read_next(count);
    bool has_marks = next.has_marks();
    for (Index left = count; left > 0; left -= Chunk::size) {
        Chunk now = next;
        read_next(left - Chunk::size);
        take(now, left, has_marks);
        // Here, because a wait for these loads after the next are issued would be a wait for both.
        has_marks = next.has_marks();
    }
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT
