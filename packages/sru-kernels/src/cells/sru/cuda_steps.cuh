#pragma once

#include <string>

#include "cells/sru/fields.hpp"
#include "cells/sru/step.hpp"
#include "runtime/cuda/launch.cuh"
#include "runtime/cuda/pack.cuh"

// What the forward and the backward kernel share: the columns of a thread, and how it reads their inputs.
namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// Blocks per multiprocessor that registers must allow. By default the compiler spills to reach a third
/// block.
template <typename S, int columns>
constexpr int min_blocks = columns == 1 && sizeof(S) < 8 ? 4 : 2;

/// The columns of this thread: neighbours in one batch row and direction.
struct Place {
    Index row;
    Index first;    // of the N·D columns
    Index at;       // in the flattened (B, N·D) space
    bool reversed;  // walks time from T−1 to 0

    /// `columns` for each thread, whatever row they are in.
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

    /// The number of this block among those of its direction.
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

/// `SruInputs::walked`, with the choice made when the kernel is compiled: counts that differ between the
/// threads of a block take registers that dense arrays need not spare.
template <bool ragged>
__device__ __forceinline__ Walked walked(const SruInputs& in, Index row) {
    if constexpr (ragged) return sequence(in.cu_seqlens, row, in.length);
    return {row, in.batch, in.length};
}

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

/// Takes `length` steps, each `depth` steps after it was read, so that the loads of as many are in flight.
/// `read(step, left)` reads the next step, of which there are `left` from this one on.
template <typename Step, int depth, typename Read, typename Take>
__device__ __forceinline__ void read_ahead(Index length, const Read& read, const Take& take) {
    Step ring[depth];
#pragma unroll
    for (int i = 0; i < depth; ++i)
        if (i < length) read(ring[i], length - i);
    for (Index left = length; left > 0; left -= depth) {
#pragma unroll
        for (int i = 0; i < depth; ++i) {
            if (i >= left) break;
            const Step step = ring[i];
            if (i + depth < left) read(ring[i], left - i - depth);
            take(step);
        }
    }
}

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
};

/// The state at starts. One column is selected without a branch, from a register; several read it when a
/// start comes, since they have no registers to spare.
template <typename A, int columns>
class ResetState {
 public:
    __device__ __forceinline__ ResetState(const SruInputs& in, const Place& place) : in_(in), place_(place) {
        if constexpr (columns == 1) read(in.c_reset, place.first, own_, A(0));
    }

    __device__ __forceinline__ void replace(bool is_start, A (&c)[columns]) const {
        if constexpr (columns == 1) {
            if (is_start) c[0] = own_[0];
        } else {
            if (is_start) read(in_.c_reset, place_.first, c, A(0));
        }
    }

 private:
    const SruInputs& in_;
    const Place& place_;
    A own_[columns];
};

/// The inputs of one step as they were read. Nothing is computed from them before the step is taken, because
/// that would wait for memory.
template <typename S, int columns>
struct StepInputs {
    Pack<S, columns> u_c, u_f, u_r, highway;
    Pack<AccumulationType<S>, 1> v_f,
        v_r;  // per position, only with one column per thread: more would not fit
    Pack<std::uint8_t, 1> marks;

    __device__ __forceinline__ bool is_padding() const { return (marks.words[0] & 1) != 0; }

    /// Whether the direction starts anew here. Means nothing at padding.
    __device__ __forceinline__ bool is_start(bool reversed) const {
        return (marks.words[0] & (reversed ? 4 : 2)) != 0;
    }
};

/// Reads the inputs, step by step.
template <typename S, int columns>
class InputReader {
    using A = AccumulationType<S>;

 public:
    __device__ __forceinline__ InputReader(const SruInputs& in, const Walked& positions, Index first,
                                           bool backwards)
        : width_(in.columns()),
          has_highway_(in.num_gates == 4 || in.x != nullptr),
          has_marks_(in.marks != nullptr),
          v_per_position_(in.v_per_position),
          u_(in.u, positions, in.num_gates * width_, first, backwards),
          highway_(in.num_gates == 4 ? u_.beside(3 * width_)
                                     : Walk<const S>(in.x, positions, width_, first, backwards)),
          v_(in.v, positions, 2 * width_, first, backwards),
          marks_(in.marks, positions, 1, 0, backwards) {}

    __device__ __forceinline__ void read(StepInputs<S, columns>& step) {
        step.u_c.read(u_.at);
        step.u_f.read(u_.at + width_);
        step.u_r.read(u_.at + 2 * width_);
        u_.advance();
        step.highway = {};
        if (has_highway_) step.highway.read(highway_.at);
        highway_.advance();
        step.marks = {};
        if (has_marks_) step.marks.read(marks_.at);
        marks_.advance();
        if constexpr (columns == 1) {
            if (v_per_position_) {
                step.v_f.read(v_.at);
                step.v_r.read(v_.at + width_);
            }
            v_.advance();
        }
    }

 private:
    Index width_;
    bool has_highway_, has_marks_, v_per_position_;
    Walk<const S> u_, highway_;
    Walk<const A> v_;
    Walk<const std::uint8_t> marks_;
};

/// The inputs of one step, ready to compute with.
template <typename S, int columns, typename A = AccumulationType<S>>
struct UnpackedInputs {
    A u_c[columns], u_f[columns], u_r[columns], highway[columns];

    __device__ __forceinline__ UnpackedInputs(const StepInputs<S, columns>& step, A highway_scale) {
        unpack(step.u_c, u_c);
        unpack(step.u_f, u_f);
        unpack(step.u_r, u_r);
        unpack(step.highway, highway);
#pragma unroll
        for (int k = 0; k < columns; ++k) highway[k] *= highway_scale;
    }

    __device__ __forceinline__ Inputs<A> column(int k) const { return {u_c[k], u_f[k], u_r[k], highway[k]}; }
};

/// The factor of x; 1 for the fourth gate and for the zeros in place of an absent highway.
template <typename A>
__device__ __forceinline__ A highway_scale(const SruInputs& in) {
    return in.x == nullptr ? A(1) : static_cast<A>(in.scale_x);
}

template <typename S, typename A, int columns>
__device__ __forceinline__ Parameters<A> parameters(const ColumnParameters<A, columns>& own, int k,
                                                    const StepInputs<S, columns>& step, bool v_per_position) {
    Parameters<A> p{own.v_f[k], own.v_r[k], own.b_f[k], own.b_r[k], own.mask[k]};
    if constexpr (columns == 1) {
        if (v_per_position) {
            A v_f[1], v_r[1];
            unpack(step.v_f, v_f);
            unpack(step.v_r, v_r);
            p.v_f = v_f[0];
            p.v_r = v_r[0];
        }
    }
    return p;
}

/// g(c) for all columns under one branch, so that they can be computed in parallel.
template <typename A, int columns>
__device__ __forceinline__ void activate(Activation activation, const A (&c)[columns], A (&g)[columns]) {
    const auto apply = [&](Activation known) {
#pragma unroll
        for (int k = 0; k < columns; ++k) g[k] = activate(known, c[k]);
    };
    if (activation == Activation::tanh) return apply(Activation::tanh);
    if (activation == Activation::relu) return apply(Activation::relu);
    apply(Activation::identity);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

namespace sru_kernels {

template <typename Args>
cuda::Work work_of(const Args& args) {
    const bool allows_wide = !args.v_per_position && cuda::all_aligned(args);
    return {Args::kernel.name,
            args.dtype,
            args.batch,
            args.hidden_size,
            args.num_directions,
            allows_wide,
            "a hidden_size that it divides, arrays aligned to 16 bytes and one v for all positions"};
}

inline std::string shape_of(const SruInputs& in) {
    const auto comma = [](Index size) { return std::to_string(size) + ", "; };
    return "(T, B, K, N·D) = (" + comma(in.length) + comma(in.batch) + comma(in.num_gates) +
           std::to_string(in.columns()) + ")";
}

}  // namespace sru_kernels
