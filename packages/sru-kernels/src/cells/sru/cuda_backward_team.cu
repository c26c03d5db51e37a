#include "cells/sru/cuda_sums.cuh"
#include "cells/sru/cuda_team.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// How many steps a slice has.
constexpr int backward_steps = 4;

/// The inputs of a slice as they were read. The step that is taken first is the latest.
template <typename S, int steps>
struct BackwardSlice {
    using A = AccumulationType<S>;
    Pack<S, 1> u_c[steps], u_f[steps], u_r[steps], highway[steps], grad_h[steps];
    Pack<A, 1> c[steps + 1];  // after each step, and before the last one taken
    Pack<std::uint8_t, 1> marks[steps];

    /// `left` steps are to be taken from the first of the slice on. Those beyond count as padding.
    __device__ __forceinline__ void read(const SruBackward& args, const Place& place, TeamStep at,
                                         Index left) {
        const int count = static_cast<int>(within(-1, left, steps + 1));
        const Index width = args.columns();
#pragma unroll
        for (int k = 0; k <= steps; ++k) {
            c[k] = {};
            if (k < count) c[k].read(static_cast<const A*>(args.c) + at.h);
            if (k == count && args.c0 != nullptr) c[k].read(static_cast<const A*>(args.c0) + place.at);
            if (k == steps) break;
            u_c[k] = u_f[k] = u_r[k] = highway[k] = grad_h[k] = {};
            marks[k].words[0] = k < count ? 0 : 1;
            const S* u = static_cast<const S*>(args.u) + at.u;
            if (k < count) u_c[k].read(u);
            if (k < count) u_f[k].read(u + width);
            if (k < count) u_r[k].read(u + 2 * width);
            if (k < count && args.num_gates == 4) highway[k].read(u + 3 * width);
            if (k < count && args.x != nullptr) highway[k].read(static_cast<const S*>(args.x) + at.h);
            if (k < count && args.grad_h != nullptr)
                grad_h[k].read(static_cast<const S*>(args.grad_h) + at.h);
            if (k < count && args.marks != nullptr) marks[k].read(args.marks + at.mark);
            at.advance(1);
        }
    }
};

/// Maps the gradient of the state after a slice to that before it.
template <typename A>
struct SliceMap {
    A factor, constant;
    bool is_cut;  // by a start, which no gradient crosses, whatever it is

    __device__ __forceinline__ void append(const Affine<A>& step, bool is_start) {
        factor *= step.factor;
        constant = is_start ? A(0) : multiply_add(constant, step.factor, step.constant);
        is_cut = is_cut || is_start;
    }

    __device__ __forceinline__ A operator()(A grad_c) const {
        return is_cut ? constant : multiply_add(factor, grad_c, constant);
    }
};

/// Where the threads of a team exchange the maps of their slices. Two rooms alternate from tile to tile, so
/// that one barrier for each suffices.
template <typename A, int warps>
struct TeamMaps {
    A factor[2][warps][lanes], constant[2][warps][lanes];
    bool is_cut[2][warps][lanes];

    /// Returns the gradient that the slice of this thread begins with, and takes `grad_c` to the end of the
    /// tile. All threads of a team apply all maps in the same order, so that they agree on every bit.
    __device__ __forceinline__ A apply(const SliceMap<A>& own, int room, const TeamPlace& place, A& grad_c) {
        factor[room][place.warp][place.lane] = own.factor;
        constant[room][place.warp][place.lane] = own.constant;
        is_cut[room][place.warp][place.lane] = own.is_cut;
        __syncthreads();
        A begin = grad_c;
#pragma unroll
        for (int warp = 0; warp < warps; ++warp) {
            if (warp == place.warp) begin = grad_c;
            const SliceMap<A> map{factor[room][warp][place.lane], constant[room][warp][place.lane],
                                  is_cut[room][warp][place.lane]};
            grad_c = map(grad_c);
        }
        return begin;
    }

    /// The sum over a team, in the order of its threads.
    __device__ __forceinline__ A sum(A value, const TeamPlace& place) {
        __syncthreads();
        constant[0][place.warp][place.lane] = value;
        __syncthreads();
        A total = 0;
#pragma unroll
        for (int warp = 0; warp < warps; ++warp) total += constant[0][warp][place.lane];
        return total;
    }
};

template <typename S, int warps>
__global__ void __launch_bounds__(lanes* warps) sru_backward_team_kernel(const SruBackward args) {
    using A = AccumulationType<S>;
    constexpr int steps = backward_steps, tile = warps * steps;
    __shared__ TeamMaps<A, warps> maps;
    const TeamPlace place(args);
    if (place.is_beyond_row) return;

    const Walked positions = args.walked(place.row);
    const TeamColumn<A> own(args, place);
    const A scale = highway_scale<A>(args);
    ParameterSums<A, 1> sums;
    A grad_c_end[1];
    read(args.grad_c_last, place.at, grad_c_end, A(0));

    TeamStep at(args, positions, place, !place.reversed);
    at.advance(place.warp * steps);
    Index left = positions.count - place.warp * steps;
    BackwardSlice<S, steps> next;
    next.read(args, place, at, left);
    int room = 0;
    for (Index begin = 0; begin < positions.count; begin += tile) {
        const BackwardSlice<S, steps> slice = next;
        TeamStep out = at;
        at.advance(tile);
        next.read(args, place, at, left - tile);

        A c[steps], g[steps], slope[steps];
#pragma unroll
        for (int k = 0; k < steps; ++k) c[k] = unpacked(slice.c[k]);
        with_activation(args.activation, [&](Activation activation) {
#pragma unroll
            for (int k = 0; k < steps; ++k) {
                g[k] = activate(activation, c[k]);
                slope[k] = activation_slope(activation, c[k], g[k]);
            }
        });
        Linearized<A> linear[steps];
        SliceMap<A> map{A(1), A(0), false};
#pragma unroll
        for (int k = 0; k < steps; ++k) {
            const Marks marks(slice.marks[k].words[0], place.reversed);
            const A c_before = marks.is_start ? own.c_reset : unpacked(slice.c[k + 1]);
            const Inputs<A> in{unpacked(slice.u_c[k]), unpacked(slice.u_f[k]), unpacked(slice.u_r[k]),
                               unpacked(slice.highway[k]) * scale};
            linear[k] = linearize<true>(in, own.p, c_before, g[k], slope[k], unpacked(slice.grad_h[k]));
            if (marks.is_padding) linear[k] = Linearized<A>{A(0), A(0), {A(1), A(0)}, A(0), A(0), A(0), A(0)};
            map.append(affine(linear[k], own.p), marks.is_start);
        }

        A grad_c = maps.apply(map, room, place, grad_c_end[0]);
        room ^= 1;
#pragma unroll
        for (int k = 0; k < steps; ++k) {
            const Marks marks(slice.marks[k].words[0], place.reversed);
            Gradients<A> grad = gradients(linear[k], own.p, grad_c);
            if (marks.is_padding) {
                grad = Gradients<A>{};
                grad.c_before = grad_c;
            }
            sums.add(grad, 0);
            grad_c = grad.c_before;
            if (marks.is_start) {
                sums.c_reset[0] += grad_c;
                grad_c = 0;
            }
            if (k < left) {
                S* u = static_cast<S*>(args.grad_u) + out.u;
                write<S>(u, {grad.u_c});
                write<S>(u + args.columns(), {grad.u_f});
                write<S>(u + 2 * args.columns(), {grad.u_r});
                if (args.num_gates == 4) write<S>(u + 3 * args.columns(), {grad.highway});
                if (args.grad_x != nullptr)
                    write<S>(static_cast<S*>(args.grad_x) + out.h, {grad.highway * scale});
            }
            out.advance(1);
        }
        left -= tile;
    }

    for (A* sum : {sums.v_f, sums.v_r, sums.b_f, sums.b_r, sums.c_reset}) *sum = maps.sum(*sum, place);
    if (place.warp > 0) return;
    write<A>(static_cast<A*>(args.grad_c0) + place.at, grad_c_end);
    sums.write_to(args, place);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

bool sru_kernels::launch_team(const SruBackward& args, const cuda::Launch& launch) {
    using namespace SRU_KERNELS_VARIANT::sru;
    constexpr int warps = 8;
    return cuda::launch_team(args, work_of(args), team_of(args, warps, warps * backward_steps), launch,
                             [](auto zero) { return sru_backward_team_kernel<decltype(zero), warps>; });
}
