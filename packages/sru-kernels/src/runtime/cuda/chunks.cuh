#pragma once

#include <cuda_runtime.h>

#include "sru_kernels/types.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT {

/// Takes `count` steps in chunks. The loads of the next chunk are issued before this one is computed, and
/// nothing touches their registers until it has been: a register that is read any earlier waits for memory.
/// `read(step, left)` reads the next step, of which there are `left` from this one on; `take(step, left)`
/// takes it.
template <typename Step, int chunk, typename Read, typename Take>
__device__ __forceinline__ void take_in_chunks(Index count, const Read& read, const Take& take) {
    Step next[chunk];
#pragma unroll
    for (int i = 0; i < chunk; ++i)
        if (i < count) read(next[i], count - i);
    for (Index left = count; left > 0; left -= chunk) {
        Step now[chunk];
#pragma unroll
        for (int i = 0; i < chunk; ++i) now[i] = next[i];
#pragma unroll
        for (int i = 0; i < chunk; ++i)
            if (chunk + i < left) read(next[i], left - chunk - i);
#pragma unroll
        for (int i = 0; i < chunk; ++i)
            if (i < left) take(now[i], left - i);
    }
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT
