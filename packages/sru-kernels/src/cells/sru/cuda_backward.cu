#include "cells/sru/cuda_sums.cuh"
#include "cells/sru/cuda_team.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::sru {

/// How many steps are read ahead: as many as fit into registers on every architecture.
template <int columns>
constexpr int backward_depth = columns > 1 ? 2 : 4;

template <typename S, int columns>
struct BackwardStep {
    StepInputs<S, columns> in;
    Pack<S, columns> grad_h;
    Pack<AccumulationType<S>, columns> c_before;
};

/// What a start changes around a step. One column has registers for that, as in `ResetState`; of several, the
/// states and sums wait in the thread's columns of grad_c0 and grad_c_reset.
template <typename A, int columns>
class Start {
 public:
    __device__ __forceinline__ Start(const SruBackward& args, const Place& place)
        : args_(args), place_(place), reset_(args, place) {
        if (columns > 1 && args.grad_c_reset != nullptr) write<A>(grad_c_reset(), sum_);
    }

    /// Before the step: the saved state gives way to c_reset. It is kept, as that after the step taken next.
    __device__ __forceinline__ void enter(bool is_start, A (&c_before)[columns]) {
        if constexpr (columns == 1) {
            kept_ = c_before[0];
        } else if (is_start) {
            write<A>(grad_c0(), c_before);
        }
        reset_.replace(is_start, c_before);
    }

    /// After the step: the gradient ends in that of c_reset, and the saved state is back.
    __device__ __forceinline__ void leave(bool is_start, A (&c_before)[columns], A (&grad_c)[columns]) {
        if constexpr (columns == 1) {
            c_before[0] = kept_;
            if (is_start) sum_[0] += grad_c[0];
            if (is_start) grad_c[0] = 0;
        } else if (is_start) {
#pragma unroll
            for (int k = 0; k < columns; ++k) {
                c_before[k] = grad_c0()[k];
                if (args_.grad_c_reset != nullptr) grad_c_reset()[k] += grad_c[k];
                grad_c[k] = 0;
            }
        }
    }

    __device__ __forceinline__ void write_sums() const {
        if (columns == 1 && args_.grad_c_reset != nullptr) write<A>(grad_c_reset(), sum_);
    }

 private:
    __device__ __forceinline__ A* grad_c0() const { return static_cast<A*>(args_.grad_c0) + place_.at; }
    __device__ __forceinline__ A* grad_c_reset() const {
        return static_cast<A*>(args_.grad_c_reset) + place_.at;
    }

    const SruBackward& args_;
    const Place& place_;
    ResetState<A, columns> reset_;
    A kept_, sum_[columns]{};
};

template <typename S, int columns, bool ragged>
__global__ void __launch_bounds__(cuda::largest_block, min_blocks<S, columns>)
    sru_backward_kernel(const SruBackward args) {
    using A = AccumulationType<S>;
    const Place place(args, columns);
    const Index width = args.columns();
    if (place.row >= args.batch) return;

    const Walked positions = walked<ragged>(args, place.row);
    const bool backwards = !place.reversed;
    const ColumnParameters<A, columns> own(args, place);
    const A scale = highway_scale<A>(args);
    A grad_c[columns], c[columns];
    ParameterSums<A, columns> sums;
    Start<A, columns> start(args, place);
    read(args.grad_c_last, place.at, grad_c, A(0));

    InputReader<S, columns> inputs(args, positions, place.first, backwards);
    Walk<const S> grad_h_in(args.grad_h, positions, width, place.first, backwards);
    Walk<const A> c_in(args.c, positions, width, place.first, backwards);
    read(positions.count == 0 ? nullptr : c_in.at, 0, c, A(0));
    c_in.advance();
    // Each step reads one state: the state after it is the state before the step taken previously.
    const auto read_step = [&](BackwardStep<S, columns>& step, Index left) {
        inputs.read(step.in);
        step.grad_h = {};
        if (args.grad_h != nullptr) step.grad_h.read(grad_h_in.at);
        grad_h_in.advance();
        step.c_before = {};
        if (left > 1) {
            step.c_before.read(c_in.at);
        } else if (args.c0 != nullptr) {
            step.c_before.read(static_cast<const A*>(args.c0) + place.at);
        }
        c_in.advance();
    };
    Walk<S> grad_u(args.grad_u, positions, args.num_gates * width, place.first, backwards);
    Walk<S> grad_highway(args.grad_x, positions, width, place.first, backwards);
    if (args.num_gates == 4) grad_highway = grad_u.beside(3 * width);
    const bool wants_highway = args.num_gates == 4 || args.grad_x != nullptr;
    Walk<A> grad_v(args.grad_v, positions, 2 * width, place.first, backwards);

    const auto retreat = [&](const BackwardStep<S, columns>& step) {
        A u_c[columns]{}, u_f[columns]{}, u_r[columns]{}, highway[columns]{}, v_f[columns]{}, v_r[columns]{};
        A c_before[columns];
        unpack(step.c_before, c_before);
        if (!step.in.is_padding()) {
            const bool is_start = step.in.is_start(place.reversed);
            start.enter(is_start, c_before);
            const UnpackedInputs<S, columns> in(step.in, scale);
            A g[columns], grad_h[columns];
            unpack(step.grad_h, grad_h);
            activate(args.activation, c, g);
#pragma unroll
            for (int k = 0; k < columns; ++k) {
                const auto p = parameters<S>(own, k, step.in, args.v_per_position);
                const A slope = activation_slope(args.activation, c[k], g[k]);
                const auto linear = linearize<true>(in.column(k), p, c_before[k], g[k], slope, grad_h[k]);
                const Gradients<A> grad = gradients(linear, p, grad_c[k]);
                u_c[k] = grad.u_c;
                u_f[k] = grad.u_f;
                u_r[k] = grad.u_r;
                highway[k] = grad.highway * scale;
                v_f[k] = grad.v_f;
                v_r[k] = grad.v_r;
                grad_c[k] = grad.c_before;
                sums.add(grad, k);
            }
            start.leave(is_start, c_before, grad_c);
        }
        write<S>(grad_u.at, u_c);
        write<S>(grad_u.at + width, u_f);
        write<S>(grad_u.at + 2 * width, u_r);
        grad_u.advance();
        if (wants_highway) write<S>(grad_highway.at, highway);
        grad_highway.advance();
        if constexpr (columns == 1) {
            if (args.v_per_position) {
                write<A>(grad_v.at, v_f);
                write<A>(grad_v.at + width, v_r);
            }
            grad_v.advance();
        }
#pragma unroll
        for (int k = 0; k < columns; ++k) c[k] = c_before[k];
    };

    constexpr int depth = backward_depth<columns> - (ragged ? 1 : 0);  // counts take the registers of a step
    read_ahead<BackwardStep<S, columns>, depth>(positions.count, read_step, retreat);

    write<A>(static_cast<A*>(args.grad_c0) + place.at, grad_c);
    sums.write_to(args, place);
    start.write_sums();
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

template <>
void sru_kernels::cuda::run(const SruBackward& args, const Launch& launch) {
    if (launch_team(args, launch)) return;
    launch_kernel(args, work_of(args), launch, [&](auto zero, auto columns) {
        using namespace SRU_KERNELS_VARIANT::sru;
        using S = decltype(zero);
        return args.cu_seqlens == nullptr ? sru_backward_kernel<S, columns(), false>
                                          : sru_backward_kernel<S, columns(), true>;
    });
}
