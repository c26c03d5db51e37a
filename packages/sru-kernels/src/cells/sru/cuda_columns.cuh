#pragma once

#include <string>

#include "cells/sru/fields.hpp"
#include "cells/sru/step.hpp"
#include "runtime/cuda/launch.cuh"
#include "runtime/cuda/pack.cuh"
#include "runtime/cuda/walk.cuh"

// The columns of a thread and their parameters.
namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// Blocks per multiprocessor that registers must allow. By default, the compiler spills to fit a third block.
template <typename S, int columns>
constexpr int min_blocks = columns == 1 && sizeof(S) < 8 ? 4 : 2;

/// The columns of this thread: neighbours in one batch row and direction.
struct Place {
    Index row;
    Index first;    // of the N·D columns
    Index at;       // in the flattened (B, N·D) space
    bool reversed;  // runs from T−1 to 0

    /// Each thread has `columns` columns, in any row.
    __device__ __forceinline__ Place(const SruInputs& in, int columns) : reversed(takes_second(in)) {
        const Index index = (block(in) * blockDim.x + threadIdx.x) * columns;
        row = index / in.hidden_size;
        settle(in, index - row * in.hidden_size);
    }

 protected:
    /// Directions alternate from block to block, so that the long rows of both are started first. All threads
    /// of a block walk the same way and share the registers of the strides.
    __device__ __forceinline__ static bool takes_second(const SruInputs& in) {
        return in.num_directions == 2 && blockIdx.x % 2 == 1;
    }

    /// The index of this block among those of its direction.
    __device__ __forceinline__ static Index block(const SruInputs& in) {
        return in.num_directions == 2 ? blockIdx.x / 2 : blockIdx.x;
    }

    __device__ __forceinline__ explicit Place(bool second) : reversed(second) {}

    __device__ __forceinline__ void settle(const SruInputs& in, Index column) {
        if (in.order != nullptr && row < in.batch) row = within(0, in.order[row], in.batch - 1);
        first = column + (reversed ? in.hidden_size : 0);
        at = row * in.columns() + first;
    }
};

/// The marks of a position for one direction.
struct Marks {
    bool is_padding, is_start;  // a start at padding is ignored

    __device__ __forceinline__ Marks(unsigned int bits, bool reversed)
        : is_padding((bits & 1) != 0), is_start((bits & (reversed ? 5 : 3)) == (reversed ? 4 : 2)) {}
};

/// The parameters of the columns.
template <typename A, int columns>
struct ColumnParameters {
    A v_f[columns], v_r[columns], b_f[columns], b_r[columns], mask[columns];

    __device__ __forceinline__ ColumnParameters(const SruInputs& in, const Place& place) {
        const void* v = in.v_per_position || in.length == 0 ? nullptr : in.v;
        const void* bias = in.length == 0 ? nullptr : in.bias;
        read(v, place.first, v_f, A(0));
        read(v, in.columns() + place.first, v_r, A(0));
        read(bias, place.first, b_f, A(0));
        read(bias, in.columns() + place.first, b_r, A(0));
        read(in.mask_c, place.at, mask, A(1));
    }

    __device__ __forceinline__ Parameters<A> column(int k) const {
        return {v_f[k], v_r[k], b_f[k], b_r[k], mask[k]};
    }
};

/// The columns' values of an array that few steps need. A single value is kept in a register: a load between
/// steps would share a scoreboard with the loads that read ahead, and waiting for it would mean waiting for
/// them. Several values are read when needed, because there are no registers to spare.
template <typename A, int columns>
class SeldomNeeded {
 public:
    __device__ __forceinline__ SeldomNeeded(const void* array, Index at) : array_(array), at_(at) {
        if constexpr (columns == 1) read(array, at, kept_, A(0));
    }

    __device__ __forceinline__ void get(A (&values)[columns]) const {
        if constexpr (columns == 1) {
            values[0] = kept_[0];
        } else {
            read(array_, at_, values, A(0));
        }
    }

 private:
    const void* array_;
    Index at_;
    A kept_[columns];
};

/// The factor of x; 1 for the fourth gate and for the zeros in place of an absent highway.
template <typename A>
__device__ __forceinline__ A highway_scale(const SruInputs& in) {
    return in.x == nullptr ? A(1) : static_cast<A>(in.scale_x);
}

/// Calls `apply` with the activation as a constant: one branch for all states that `apply` computes.
template <typename Apply>
__device__ __forceinline__ void with_activation(Activation activation, const Apply& apply) {
    if (activation == Activation::tanh) return apply(Activation::tanh);
    if (activation == Activation::relu) return apply(Activation::relu);
    apply(Activation::identity);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

namespace sru_kernels {

template <typename Args>
cuda::Work work_of(const Args& args) {
    const bool allows_rings =
        !args.v_per_position && args.length <= cuda::longest_in_ring && cuda::all_aligned(args);
    return {Args::kernel.name, args.dtype, args.batch, args.hidden_size, args.num_directions, allows_rings};
}

inline std::string shape_of(const SruInputs& in) {
    const auto comma = [](Index size) { return std::to_string(size) + ", "; };
    return "(T, B, K, N·D) = (" + comma(in.length) + comma(in.batch) + comma(in.num_gates) +
           std::to_string(in.columns()) + ")";
}

}  // namespace sru_kernels
