#pragma once

#include <cuda_runtime.h>

#include "cells/fields.hpp"
#include "runtime/cuda/hide.cuh"
#include "sru_kernels/types.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT {

/// A pointer that moves over the positions of a row in an array.
template <typename Element>
struct Walk {
    Element* at;
    Index stride;

    /// Starts `offset` elements into the first position, or the last if `backwards`. A position has `size`
    /// elements.
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

    /// Moves to the next step.
    __device__ __forceinline__ void advance() {
        at += stride;
        hide(stride);
    }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT
