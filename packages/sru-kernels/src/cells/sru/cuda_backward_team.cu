#include "cells/sru/cuda_sums.cuh"
#include "cells/sru/cuda_team.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// The steps of a slice: as many as fit into registers on every architecture.
constexpr int backward_steps = 3;

/// The inputs of a slice as read. The latest step is processed first.
template <typename S>
struct BackwardSlice {
    using A = AccumulationType<S>;
    static constexpr int steps = backward_steps;
    Pack<S, 1> u_c[steps], u_f[steps], u_r[steps], highway[steps], grad_h[steps];
    Pack<A, 1> c[steps + 1];  // after each step, and before the last one taken
    Pack<std::uint8_t, 1> marks[steps];

    /// `left` steps of the row remain from the start of the slice, possibly none.
    __device__ __forceinline__ void read(const SruBackward& args, const Place& place, const TeamStep& at,
                                         Index left) {
        if (left > steps) return read(args, at, Constant<steps + 1>{});
        const int count = static_cast<int>(within(-1, left, steps));
        read(args, at, count);
#pragma unroll
        for (int k = 0; k <= steps; ++k) {
            if (k == count && args.c0 != nullptr) c[k].read(static_cast<const A*>(args.c0) + place.at);
        }
    }

 private:
    template <typename Count>
    __device__ __forceinline__ void read(const SruBackward& args, const TeamStep& at, Count count) {
        const S* u = static_cast<const S*>(args.u) + at.u;
        read_steps(u_c, u, at.u_stride, count);
        read_steps(u_f, u + args.columns(), at.u_stride, count);
        read_steps(u_r, u + 2 * args.columns(), at.u_stride, count);
        read_highway(highway, args, at, count);
        if (args.grad_h != nullptr) {
            read_steps(grad_h, static_cast<const S*>(args.grad_h) + at.h, at.h_stride, count);
        } else {
            read_steps(grad_h, static_cast<const S*>(nullptr), 0, 0);
        }
        read_steps(c, static_cast<const A*>(args.c) + at.h, at.h_stride, count);
        read_marks(marks, args, at, count);
    }
};

/// Maps the gradient of the state after a slice to that before it.
template <typename A>
struct SliceMap {
    A factor, constant;
    bool is_cut;  // by a start, which no gradient crosses, not even a non-finite one

    __device__ __forceinline__ void append(const Affine<A>& step, bool is_start) {
        factor *= step.factor;
        constant = is_start ? A(0) : multiply_add(constant, step.factor, step.constant);
        is_cut = is_cut || is_start;
    }

    __device__ __forceinline__ A operator()(A grad_c) const {
        return is_cut ? constant : multiply_add(factor, grad_c, constant);
    }
};

/// Where the threads of a team exchange the maps of their slices. Two buffers alternate from tile to tile, so
/// that one barrier per tile is enough.
template <typename A, int warps>
struct TeamMaps {
    A factor[2][warps][lanes], constant[2][warps][lanes];
    bool is_cut[2][warps][lanes];

    /// Returns the gradient at the beginning of this thread's slice, and advances `grad_c` to the end of the
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

/// The backward pass of one thread of a team.
template <typename S, int warps>
class TeamMember {
    using A = AccumulationType<S>;
    static constexpr int steps = backward_steps;

 public:
    __device__ __forceinline__ TeamMember(const SruBackward& args, const TeamPlace& place)
        : args_(args), place_(place), own_(args, place), scale_(highway_scale<A>(args)) {}

    /// Linearises the steps of a slice, and returns their combined effect on the gradient of the state.
    template <typename HasMarks>
    __device__ __forceinline__ SliceMap<A> linearize_slice(const BackwardSlice<S>& slice, HasMarks) {
        A c[steps], g[steps], slope[steps];
#pragma unroll
        for (int k = 0; k < steps; ++k) c[k] = unpacked(slice.c[k]);
        with_activation(args_.activation, [&](Activation activation) {
#pragma unroll
            for (int k = 0; k < steps; ++k) {
                g[k] = activate(activation, c[k]);
                slope[k] = activation_slope(activation, c[k], g[k]);
            }
        });
        SliceMap<A> map{A(1), A(0), false};
#pragma unroll
        for (int k = 0; k < steps; ++k) {
            const Marks marks = marks_of<HasMarks>(slice, k);
            if (marks.is_padding) continue;
            const A c_before = marks.is_start ? own_.c_reset : unpacked(slice.c[k + 1]);
            const Inputs<A> in{unpacked(slice.u_c[k]), unpacked(slice.u_f[k]), unpacked(slice.u_r[k]),
                               unpacked(slice.highway[k]) * scale_};
            linear_[k] = linearize<true>(in, own_.p, c_before, g[k], slope[k], unpacked(slice.grad_h[k]));
            map.append(affine(linear_[k], own_.p), marks.is_start);
        }
        return map;
    }

    /// Writes the gradients of the slice, given the gradient of the state after it. `count` steps exist.
    template <typename HasMarks, typename Count>
    __device__ __forceinline__ void write_slice(const BackwardSlice<S>& slice, const TeamStep& at, A grad_c,
                                                HasMarks, Count count) {
        A u_c[steps]{}, u_f[steps]{}, u_r[steps]{}, highway[steps]{};
#pragma unroll
        for (int k = 0; k < steps; ++k) {
            const Marks marks = marks_of<HasMarks>(slice, k);
            if (marks.is_padding) continue;
            const Gradients<A> grad = gradients(linear_[k], own_.p, grad_c);
            u_c[k] = grad.u_c;
            u_f[k] = grad.u_f;
            u_r[k] = grad.u_r;
            highway[k] = grad.highway * scale_;
            sums_.add(grad, 0);
            grad_c = grad.c_before;
            if (!marks.is_start) continue;
            sums_.c_reset[0] += grad_c;
            grad_c = 0;
        }
        S* u = static_cast<S*>(args_.grad_u) + at.u;
        const Index width = args_.columns();
        write_steps(u, u_c, at.u_stride, count);
        write_steps(u + width, u_f, at.u_stride, count);
        write_steps(u + 2 * width, u_r, at.u_stride, count);
        const TeamHighway to(args_, at);
        S* const x = to.in<S>(args_.grad_u, args_.grad_x);
        if (x != nullptr) write_steps(x, highway, to.stride, count);
    }

    /// Adds up the sums of the team and writes them.
    __device__ __forceinline__ void finish(TeamMaps<A, warps>& maps, A grad_c0) {
        for (A* sum : {sums_.v_f, sums_.v_r, sums_.b_f, sums_.b_r, sums_.c_reset})
            *sum = maps.sum(*sum, place_);
        if (place_.warp > 0) return;
        write<A>(static_cast<A*>(args_.grad_c0) + place_.at, {grad_c0});
        sums_.write_to(args_, place_);
    }

 private:
    template <typename HasMarks>
    __device__ __forceinline__ Marks marks_of(const BackwardSlice<S>& slice, int k) const {
        return Marks(HasMarks::value ? slice.marks[k].words[0] : 0, place_.reversed);
    }

    const SruBackward& args_;
    const TeamPlace& place_;
    TeamColumn<A> own_;
    A scale_;
    Linearized<A> linear_[steps];
    ParameterSums<A, 1> sums_;
};

/// Blocks per multiprocessor that registers must allow. On 10.0 and newer, a second block would cause spills.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
template <typename S>
constexpr int team_blocks = 1;
#else
template <typename S>
constexpr int team_blocks = sizeof(S) < 8 ? 2 : 1;
#endif

template <typename S, int warps>
__global__ void __launch_bounds__(lanes* warps, team_blocks<S>)
    sru_backward_team_kernel(const SruBackward args) {
    using A = AccumulationType<S>;
    constexpr int steps = backward_steps, tile = warps * steps;
    constexpr std::true_type marked;
    constexpr std::false_type unmarked;
    __shared__ TeamMaps<A, warps> maps;
    const TeamPlace place(args);
    if (place.is_beyond_row) return;

    const Walked positions = args.walked(place.row);
    TeamMember<S, warps> member(args, place);
    A grad_c[1];  // after the tile
    read(args.grad_c_last, place.at, grad_c, A(0));
    TeamStep at(args, positions, place, !place.reversed);
    at.advance(place.warp * steps);
    Index left = positions.count - place.warp * steps;
    BackwardSlice<S> next;
    next.read(args, place, at, left);
    int room = 0;
    for (Index begin = 0; begin < positions.count; begin += tile, left -= tile, room ^= 1) {
        const BackwardSlice<S> slice = next;
        const TeamStep of_slice = at;
        at.advance(tile);
        next.read(args, place, at, left - tile);
        const bool has_marks = any_of(slice.marks);
        const SliceMap<A> map =
            has_marks ? member.linearize_slice(slice, marked) : member.linearize_slice(slice, unmarked);
        const A grad_c_of_slice = maps.apply(map, room, place, grad_c[0]);
        if (has_marks) {
            member.write_slice(slice, of_slice, grad_c_of_slice, marked,
                               static_cast<int>(within(0, left, steps)));
        } else {
            member.write_slice(slice, of_slice, grad_c_of_slice, unmarked, Constant<steps>{});
        }
    }
    member.finish(maps, grad_c[0]);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

bool sru_kernels::launch_team(const SruBackward& args, const cuda::Launch& launch) {
    using namespace SRU_KERNELS_VARIANT::sru;
    constexpr int warps = 8;
    return cuda::launch_team(args, work_of(args), team_of(args, warps, warps * backward_steps), launch,
                             [](auto zero) { return sru_backward_team_kernel<decltype(zero), warps>; });
}
