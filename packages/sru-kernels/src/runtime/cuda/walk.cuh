#pragma once

#include <cuda_runtime.h>

#include "cells/fields.hpp"
#include "sru_kernels/types.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT {

/// A pointer that walks the positions of a row in an array.
template <typename Element>
struct Walk {
    Element* at;
    Index stride;

    /// Starts `offset` elements into the first position, or the last. A position has `size` elements.
    template <typename Array>
    __device__ __forceinline__ Walk(Array* array, const Walked& positions, Index size, Index offset,
                                    bool backwards)
        : at(static_cast<Element*>(array) + positions.first * size + offset),
          stride(positions.stride * size) {
        if (!backwards) return;
        at += (positions.count - 1) * stride;
        stride = -stride;
    }

    __device__ __forceinline__ Walk beside(Index elements) const {
        Walk other = *this;
        other.at += elements;
        return other;
    }

    /// To the next step. Hides from the compiler that the stride is constant: it would keep a multiple of it,
    /// two registers, for every step of an unrolled loop.
    __device__ __forceinline__ void advance() {
        at += stride;
#if defined(__CUDA_ARCH__)
        asm("" : "+l"(stride));
#endif
    }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT
