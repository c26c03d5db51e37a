#include "cells/sru/cuda_team.cuh"

// Only the chain of the forget gate depends on the previous step. The first thread of a team computes that
// chain; the others follow one tile behind and compute r and h, which need only the states.
namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// The steps of a tile that each of the other threads processes.
constexpr int forward_steps = 4;

/// Two alternating tiles of states: before the tile, and after each of its steps.
template <typename A, int tile>
struct TeamStates {
    A c[2][tile + 1][lanes];
};

/// The inputs of the chain for a tile.
template <typename S, int tile>
struct ChainInputs {
    Pack<S, 1> u_c[tile], u_f[tile];
    Pack<std::uint8_t, 1> marks[tile];

    /// `left` steps of the row remain from the start of the tile, possibly none.
    __device__ __forceinline__ void read(const SruForward& args, const TeamStep& at, Index left) {
        const auto read = [&](auto count) {
            const S* u = static_cast<const S*>(args.u) + at.u;
            read_steps(u_c, u, at.u_stride, count);
            read_steps(u_f, u + args.columns(), at.u_stride, count);
            read_marks(marks, args, at, count);
        };
        left >= tile ? read(Constant<tile>{}) : read(static_cast<int>(within(0, left, tile)));
    }
};

/// What the outputs of a slice are computed from, except the states.
template <typename S>
struct OutputInputs {
    static constexpr int steps = forward_steps;
    Pack<S, 1> u_r[steps], highway[steps];
    Pack<std::uint8_t, 1> marks[steps];

    __device__ __forceinline__ void read(const SruForward& args, const TeamStep& at, Index left) {
        const auto read = [&](auto count) {
            const S* u = static_cast<const S*>(args.u) + at.u;
            read_steps(u_r, u + 2 * args.columns(), at.u_stride, count);
            read_highway(highway, args, at, count);
            read_marks(marks, args, at, count);
        };
        left >= steps ? read(Constant<steps>{}) : read(static_cast<int>(within(0, left, steps)));
    }
};

template <typename S, int tile, typename A = AccumulationType<S>>
__device__ __forceinline__ void walk_chain(const SruForward& args, const TeamPlace& place,
                                           const Walked& positions, TeamStates<A, tile>& states) {
    const TeamColumn<A> own(args, place);
    A c[1];
    read(args.c0, place.at, c, A(0));
    TeamStep at(args, positions, place, place.reversed);
    ChainInputs<S, tile> next;
    next.read(args, at, positions.count);
    bool is_marked = any_of(next.marks);
    int room = 0;
    for (Index left = positions.count; left > 0; left -= tile, room ^= 1) {
        const ChainInputs<S, tile> given = next;
        at.advance(tile);
        next.read(args, at, left - tile);
        const auto walk = [&](auto has_marks) {
#pragma unroll
            for (int k = 0; k < tile; ++k) {
                const Marks marks(decltype(has_marks)::value ? given.marks[k].words[0] : 0, place.reversed);
                const Inputs<A> in{unpacked(given.u_c[k]), unpacked(given.u_f[k]), A(0), A(0)};
                const A before = marks.is_start ? own.c_reset : c[0];
                const A after = next_state(in, gates(in, own.p, before).f, before);
                c[0] = marks.is_padding ? c[0] : after;
                states.c[room][k + 1][place.lane] = c[0];
            }
        };
        states.c[room][0][place.lane] = c[0];
        is_marked ? walk(std::true_type{}) : walk(std::false_type{});
        // Read here: once further loads are issued, waiting for these would also wait for those.
        is_marked = any_of(next.marks);
        __syncthreads();
    }
    write<A>(static_cast<A*>(args.c_last) + place.at, c);
}

/// Computes h of a slice from the states before and after each step.
template <typename S, typename A, typename HasMarks>
__device__ __forceinline__ void outputs(const SruForward& args, const TeamColumn<A>& own, bool reversed,
                                        const OutputInputs<S>& given, const A (&c)[forward_steps + 1],
                                        A (&h)[forward_steps], HasMarks) {
    const A scale = highway_scale<A>(args);
    A g[forward_steps];
    with_activation(args.activation, [&](Activation activation) {
#pragma unroll
        for (int k = 0; k < forward_steps; ++k) g[k] = activate(activation, c[k + 1]);
    });
#pragma unroll
    for (int k = 0; k < forward_steps; ++k) {
        const Marks marks(HasMarks::value ? given.marks[k].words[0] : 0, reversed);
        const Inputs<A> in{A(0), A(0), unpacked(given.u_r[k]), unpacked(given.highway[k]) * scale};
        const A before = marks.is_start ? own.c_reset : c[k];
        const A weight = gates(in, own.p, before).r.open * own.p.mask;
        h[k] = marks.is_padding ? A(0) : output<true>(in, weight, g[k]);
    }
}

template <typename S, int tile, typename A = AccumulationType<S>>
__device__ __forceinline__ void write_outputs(const SruForward& args, const TeamPlace& place,
                                              const Walked& positions, const TeamStates<A, tile>& states) {
    constexpr int steps = forward_steps;
    const TeamColumn<A> own(args, place);
    const int first = (place.warp - 1) * steps;  // of the tile
    TeamStep at(args, positions, place, place.reversed);
    at.advance(first);
    OutputInputs<S> next;
    next.read(args, at, positions.count - first);
    bool is_marked = any_of(next.marks);
    int room = 0;
    for (Index left = positions.count; left > 0; left -= tile, room ^= 1) {
        const OutputInputs<S> given = next;
        const TeamStep of_slice = at;
        at.advance(tile);
        next.read(args, at, left - tile - first);
        __syncthreads();
        A c[steps + 1], h[steps];
#pragma unroll
        for (int k = 0; k <= steps; ++k) c[k] = states.c[room][first + k][place.lane];
        const auto take = [&](auto has_marks, auto count) {
            outputs(args, own, place.reversed, given, c, h, has_marks);
            write_steps(static_cast<S*>(args.h) + of_slice.h, h, of_slice.h_stride, count);
            if (args.c == nullptr) return;
            A c_after[steps];
#pragma unroll
            for (int k = 0; k < steps; ++k) c_after[k] = c[k + 1];
            write_steps(static_cast<A*>(args.c) + of_slice.h, c_after, of_slice.h_stride, count);
        };
        is_marked ? take(std::true_type{}, static_cast<int>(within(0, left - first, steps)))
                  : take(std::false_type{}, Constant<steps>{});
        is_marked = any_of(next.marks);
    }
}

template <typename S, int warps>
__global__ void __launch_bounds__(lanes* warps, sizeof(S) < 8 ? 2 : 1)
    sru_forward_team_kernel(const SruForward args) {
    using A = AccumulationType<S>;
    constexpr int tile = (warps - 1) * forward_steps;
    __shared__ TeamStates<A, tile> states;
    const TeamPlace place(args);
    if (place.is_beyond_row) return;
    const Walked positions = args.walked(place.row);
    if (place.warp == 0) {
        walk_chain<S, tile>(args, place, positions, states);
    } else {
        write_outputs<S, tile>(args, place, positions, states);
    }
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

bool sru_kernels::launch_team(const SruForward& args, const cuda::Launch& launch) {
    using namespace SRU_KERNELS_VARIANT::sru;
    constexpr int warps = 5;
    return cuda::launch_team(args, work_of(args), team_of(args, warps, (warps - 1) * forward_steps), launch,
                             [](auto zero) { return sru_forward_team_kernel<decltype(zero), warps>; });
}
