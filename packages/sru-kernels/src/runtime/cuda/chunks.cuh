#pragma once

#include <cuda_runtime.h>

#include "sru_kernels/types.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT {

/// Processes `count` steps in chunks. The loads of the next chunk are issued before the current chunk is
/// computed, and nothing reads their registers until it is done: an earlier read would stall on memory.
/// `read(chunk, i, is_last)` loads step i of a chunk; `take(chunk, left, has_marks)` computes a chunk in
/// which only the first `left` steps are valid.
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
        // Read here: once further loads are issued, waiting for these would also wait for those.
        has_marks = next.has_marks();
    }
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT
