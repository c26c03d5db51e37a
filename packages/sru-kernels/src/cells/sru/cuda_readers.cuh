#pragma once

#include <cstdint>
#include <type_traits>

#include "cells/sru/cuda_columns.cuh"
#include "runtime/cuda/chunks.cuh"
#include "runtime/cuda/ring.cuh"

// The kernels read the inputs of a position ahead of time, into shared memory or registers. A reader passes
// the steps to a body, which has
//
//   take(steps)                       several steps without marks, none of them the last of a backward pass
//   take(step, marks, is_last)        one step
namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// The data read for one step. Nothing is computed from it before the step is processed, because that would
/// wait for memory.
template <typename S, int columns>
struct Step {
    using A = AccumulationType<S>;
    Pack<S, columns> u_c{}, u_f{}, u_r{}, highway{};
    Pack<A, 1> v_f{}, v_r{};      // only where v differs between positions
    Pack<S, columns> grad_h{};    // only in a backward pass
    Pack<A, columns> c_before{};  // likewise; not at the last step, where c0 takes its place
};

/// The inputs of one step, ready to compute with.
template <typename S, int columns, typename A = AccumulationType<S>>
struct UnpackedInputs {
    A u_c[columns], u_f[columns], u_r[columns], highway[columns];

    __device__ __forceinline__ UnpackedInputs(const Step<S, columns>& step, A highway_scale) {
        unpack(step.u_c, u_c);
        unpack(step.u_f, u_f);
        unpack(step.u_r, u_r);
        unpack(step.highway, highway);
#pragma unroll
        for (int k = 0; k < columns; ++k) highway[k] *= highway_scale;
    }

    __device__ __forceinline__ Inputs<A> column(int k) const { return {u_c[k], u_f[k], u_r[k], highway[k]}; }
};

/// The parameters of column k at a step.
template <bool v_varies, typename S, int columns, typename A>
__device__ __forceinline__ Parameters<A> parameters(const ColumnParameters<A, columns>& own, int k,
                                                    const Step<S, columns>& step) {
    Parameters<A> p = own.column(k);
    if constexpr (v_varies) {
        p.v_f = unpacked(step.v_f);
        p.v_r = unpacked(step.v_r);
    }
    return p;
}

/// The walks over the inputs of both the forward and the backward kernel.
template <typename S>
struct InputWalks {
    Walk<const S> u, highway;
    Walk<const AccumulationType<S>> v;
    Walk<const std::uint8_t> marks;

    __device__ __forceinline__ InputWalks(const SruInputs& in, const Walked& positions, Index first,
                                          bool backwards)
        : u(in.u, positions, in.num_gates * in.columns(), first, backwards),
          highway(in.num_gates == 4 ? u.beside(3 * in.columns())
                                    : Walk<const S>(in.x, positions, in.columns(), first, backwards)),
          v(in.v, positions, 2 * in.columns(), first, backwards),
          marks(in.marks, positions, 1, 0, backwards) {}
};

/// The walks over the inputs of the backward kernel only. The state before a step is stored at the next step
/// of the walk.
template <typename S>
struct BackwardWalks : InputWalks<S> {
    Walk<const S> grad_h;
    Walk<const AccumulationType<S>> c_before;

    __device__ __forceinline__ BackwardWalks(const SruBackward& in, const Walked& positions, Index first,
                                             bool backwards)
        : InputWalks<S>(in, positions, first, backwards),
          grad_h(in.grad_h, positions, in.columns(), first, backwards),
          c_before(in.c, positions, in.columns(), first, backwards) {
        c_before.advance();
    }
};

__device__ __forceinline__ bool has_highway(const SruInputs& in) {
    return in.num_gates == 4 || in.x != nullptr;
}

template <typename Args>
constexpr bool is_backward = std::is_same_v<Args, SruBackward>;

/// The first column of the warp.
template <int columns>
__device__ __forceinline__ Index first_of_warp(const Place& place) {
    return place.first - lane() * columns;
}

template <typename S, int columns>
__device__ __forceinline__ Ring<columns, S, S, S, S> ring_of(const SruForward& args, const Place& place,
                                                             const Walked& positions) {
    const InputWalks<S> in(args, positions, first_of_warp<columns>(place), place.reversed);
    const int count = static_cast<int>(positions.count);
    return Ring<columns, S, S, S, S>(Stream(in.u, count), Stream(in.u.beside(args.columns()), count),
                                     Stream(in.u.beside(2 * args.columns()), count),
                                     Stream(in.highway, has_highway(args) ? count : 0));
}

template <typename S, int columns, typename A = AccumulationType<S>>
__device__ __forceinline__ Ring<columns, S, S, S, S, S, A> ring_of(const SruBackward& args,
                                                                   const Place& place,
                                                                   const Walked& positions) {
    const BackwardWalks<S> in(args, positions, first_of_warp<columns>(place), !place.reversed);
    const int count = static_cast<int>(positions.count);
    return Ring<columns, S, S, S, S, S, A>(
        Stream(in.u, count), Stream(in.u.beside(args.columns()), count),
        Stream(in.u.beside(2 * args.columns()), count), Stream(in.highway, has_highway(args) ? count : 0),
        Stream(in.grad_h, args.grad_h != nullptr ? count : 0), Stream(in.c_before, count - 1));
}

/// Reads through a ring in shared memory. All lanes of the warp have a column of the same row.
template <typename Args, typename S, int columns>
class RingReader {
 public:
    __device__ __forceinline__ RingReader(const Args& args, const Place& place, const Walked& positions)
        : reversed_(place.reversed),
          count_(static_cast<int>(positions.count)),
          ring_(ring_of<S, columns>(args, place, positions)),
          marks_(Walk<const std::uint8_t>(args.marks, positions, 1, 0, place.reversed != is_backward<Args>),
                 args.marks == nullptr ? 0 : count_) {}

    template <typename Body>
    __device__ __forceinline__ void each(Body& body) {
        constexpr int group = decltype(ring_)::steps;
        unsigned int at = 0;  // among the 32 steps whose marks the warp holds
        for (int left = count_; left > 0; left -= group, at = (at + group) % warp_size) {
            if (at == 0) marks_.advance();
            ring_.next();
            if (left >= group + is_backward<Args> && !marks_.any(at, group)) {
                Step<S, columns> steps[group];
#pragma unroll
                for (int i = 0; i < group; ++i) read(i, steps[i]);
                body.take(steps);
            } else {
#pragma unroll 1
                for (int i = 0; i < group && i < left; ++i) {
                    Step<S, columns> step;
                    read(i, step);
                    body.take(step, Marks(marks_.at(at + i), reversed_), left - i == 1);
                }
            }
        }
    }

 private:
    __device__ __forceinline__ void read(int i, Step<S, columns>& step) const {
        ring_.template read<0>(i, step.u_c);
        ring_.template read<1>(i, step.u_f);
        ring_.template read<2>(i, step.u_r);
        ring_.template read<3>(i, step.highway);
        if constexpr (is_backward<Args>) {
            ring_.template read<4>(i, step.grad_h);
            ring_.template read<5>(i, step.c_before);
        }
    }

    bool reversed_;
    int count_;
    decltype(ring_of<S, columns>(std::declval<const Args&>(), std::declval<const Place&>(),
                                 std::declval<const Walked&>())) ring_;
    WarpMarks marks_;
};

/// Reads into registers, one column per thread, for any shape.
template <typename Args, typename S, bool v_varies>
class RegisterReader {
    /// As many steps as fit into 128 registers twice, in addition to the values computed from them.
    struct Chunk {
        static constexpr int size = is_backward<Args> ? (v_varies ? 3 : 4) : (v_varies ? 4 : 6);
        Step<S, 1> steps[size];
        Pack<std::uint8_t, 1> marks[size];

        __device__ __forceinline__ bool has_marks() const {
            unsigned int any = 0;
#pragma unroll
            for (int i = 0; i < size; ++i) any |= marks[i].words[0];
            return any != 0;
        }

        /// Moves the steps forward by one.
        __device__ __forceinline__ void shift() {
#pragma unroll
            for (int i = 1; i < size; ++i) {
                steps[i - 1] = steps[i];
                marks[i - 1] = marks[i];
            }
        }
    };

 public:
    __device__ __forceinline__ RegisterReader(const Args& args, const Place& place, const Walked& positions)
        : args_(args),
          reversed_(place.reversed),
          count_(positions.count),
          walks_(args, positions, place.first, place.reversed != is_backward<Args>) {}

    template <typename Body>
    __device__ __forceinline__ void each(Body& body) {
        const auto read_next = [&](Chunk& chunk, int i, bool is_last) {
            read(chunk.steps[i], chunk.marks[i], is_last);
        };
        const auto take = [&](Chunk& chunk, Index left, bool has_marks) {
            if (left >= Chunk::size + is_backward<Args> && !has_marks) return body.take(chunk.steps);
#pragma unroll 1
            for (int i = 0; i < Chunk::size && i < left; ++i) {
                body.take(chunk.steps[0], Marks(chunk.marks[0].words[0], reversed_), left - i == 1);
                chunk.shift();
            }
        };
        take_in_chunks<Chunk>(count_, read_next, take);
    }

 private:
    __device__ __forceinline__ void read(Step<S, 1>& step, Pack<std::uint8_t, 1>& marks, bool is_last) {
        const Index width = args_.columns();
        step.u_c.read(walks_.u.at);
        step.u_f.read(walks_.u.at + width);
        step.u_r.read(walks_.u.at + 2 * width);
        walks_.u.advance();
        step.highway = {};
        if (has_highway(args_)) step.highway.read(walks_.highway.at);
        walks_.highway.advance();
        marks = {};
        if (args_.marks != nullptr) marks.read(walks_.marks.at);
        walks_.marks.advance();
        if constexpr (v_varies) {
            step.v_f.read(walks_.v.at);
            step.v_r.read(walks_.v.at + width);
            walks_.v.advance();
        }
        if constexpr (is_backward<Args>) {
            step.grad_h = {};
            if (args_.grad_h != nullptr) step.grad_h.read(walks_.grad_h.at);
            walks_.grad_h.advance();
            step.c_before = {};
            if (!is_last) step.c_before.read(walks_.c_before.at);
            walks_.c_before.advance();
        }
    }

    const Args& args_;
    bool reversed_;
    Index count_;
    std::conditional_t<is_backward<Args>, BackwardWalks<S>, InputWalks<S>> walks_;
};

template <typename Args, typename S, int columns, bool in_ring, bool v_varies>
using Reader = std::conditional_t<in_ring, RingReader<Args, S, columns>, RegisterReader<Args, S, v_varies>>;

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru
