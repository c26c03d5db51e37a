#pragma once

#include "cells/sru/cuda_columns.cuh"
#include "runtime/cuda/hide.cuh"

// If a GPU has more threads than there are columns, a team of threads shares each column: the threads of one
// lane, in all warps of a block. A team processes a tile of time at once, each thread a slice of a few steps,
// while the next tile is being loaded.
namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

constexpr int lanes = cuda::team_columns;

/// The column of this thread's team.
struct TeamPlace : Place {
    int lane, warp;
    bool is_beyond_row;

    __device__ __forceinline__ explicit TeamPlace(const SruInputs& in)
        : Place(takes_second(in)),
          lane(static_cast<int>(threadIdx.x) % lanes),
          warp(static_cast<int>(threadIdx.x) / lanes) {
        const Index blocks_per_row = (in.hidden_size + lanes - 1) / lanes;
        row = block(in) / blocks_per_row;
        const Index column = (block(in) - row * blocks_per_row) * lanes + lane;
        is_beyond_row = column >= in.hidden_size;
        settle(in, column);
    }
};

/// The parameters of a team's column, and the state at starts.
template <typename A>
struct TeamColumn {
    Parameters<A> p;
    A c_reset;

    __device__ __forceinline__ TeamColumn(const SruInputs& in, const Place& place)
        : p(ColumnParameters<A, 1>(in, place).column(0)) {
        A value[1];
        read(in.c_reset, place.first, value, A(0));
        c_reset = value[0];
    }
};

/// The location of a row's steps: offsets in arrays shaped like u, h and the marks.
struct TeamStep {
    Index u, h, mark;
    Index u_stride, h_stride, mark_stride;

    __device__ __forceinline__ TeamStep(const SruInputs& in, const Walked& positions, const Place& place,
                                        bool backwards)
        : mark(positions.first + (backwards ? (positions.count - 1) * positions.stride : 0)),
          mark_stride(backwards ? -positions.stride : positions.stride) {
        h = mark * in.columns() + place.first;
        h_stride = mark_stride * in.columns();
        u = mark * in.num_gates * in.columns() + place.first;
        u_stride = h_stride * in.num_gates;
    }

    __device__ __forceinline__ void advance(int steps) {
        u += steps * u_stride;
        h += steps * h_stride;
        mark += steps * mark_stride;
    }
};

/// A number that is known at compile time; std::integral_constant converts only on the host.
template <int number>
struct Constant {
    __device__ __forceinline__ constexpr operator int() const { return number; }
};

/// Reads steps of a slice. `count` of them exist; the others are set to zero.
template <typename Element, int steps, typename Count>
__device__ __forceinline__ void read_steps(Pack<Element, 1> (&to)[steps], const Element* from, Index stride,
                                           Count count) {
#pragma unroll
    for (int k = 0; k < steps; ++k) {
        to[k] = {};
        if (k < count) to[k].read(from);
        from += stride;
        hide(stride);
    }
}

/// The highway of a slice, in an array shaped like u or in one shaped like x, which may be absent.
/// There is only one set of loads: with two, one would wait for loads that the other may have started.
struct TeamHighway {
    bool in_u;
    Index offset, stride;

    __device__ __forceinline__ TeamHighway(const SruInputs& in, const TeamStep& at)
        : in_u(in.num_gates == 4),
          offset(in_u ? at.u + 3 * in.columns() : at.h),
          stride(in_u ? at.u_stride : at.h_stride) {}

    /// nullptr if there is none.
    template <typename S, typename Array>
    __device__ __forceinline__ S* in(Array* u, Array* x) const {
        Array* array = in_u ? u : x;
        return array == nullptr ? nullptr : static_cast<S*>(array) + offset;
    }
};

template <typename S, int steps, typename Count>
__device__ __forceinline__ void read_highway(Pack<S, 1> (&to)[steps], const SruInputs& in, const TeamStep& at,
                                             Count count) {
    const TeamHighway highway(in, at);
    const S* from = highway.in<const S>(in.u, in.x);
    from != nullptr ? read_steps(to, from, highway.stride, count) : read_steps(to, from, 0, 0);
}

/// Steps that do not exist are marked as padding.
template <int steps, typename Count>
__device__ __forceinline__ void read_marks(Pack<std::uint8_t, 1> (&to)[steps], const SruInputs& in,
                                           const TeamStep& at, Count count) {
    read_steps(to, in.marks + at.mark, at.mark_stride, in.marks == nullptr ? 0 : static_cast<int>(count));
#pragma unroll
    for (int k = 0; k < steps; ++k) {
        if (k >= count) to[k].words[0] = 1;
    }
}

template <int steps>
__device__ __forceinline__ bool any_of(const Pack<std::uint8_t, 1> (&marks)[steps]) {
    unsigned int any = 0;
#pragma unroll
    for (int k = 0; k < steps; ++k) any |= marks[k].words[0];
    return any != 0;
}

/// Writes steps of a slice, of which `count` exist.
template <typename S, int steps, typename Count>
__device__ __forceinline__ void write_steps(S* to, const AccumulationType<S> (&values)[steps], Index stride,
                                            Count count) {
#pragma unroll
    for (int k = 0; k < steps; ++k) {
        if (k < count) write<S>(to, {values[k]});
        to += stride;
        hide(stride);
    }
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

namespace sru_kernels {

/// Launches the kernel for teams if teams are chosen; returns false otherwise.
bool launch_team(const SruForward& args, const cuda::Launch& launch);
bool launch_team(const SruBackward& args, const cuda::Launch& launch);

inline cuda::Team team_of(const SruInputs& in, int threads, int steps) {
    const Index length = in.cu_seqlens == nullptr || in.batch == 0 ? in.length : in.length / in.batch;
    return {threads, steps, length, !in.v_per_position,
            "one v for all positions and columns_per_thread 0 or 1"};
}

}  // namespace sru_kernels
