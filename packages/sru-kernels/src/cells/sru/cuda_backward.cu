#include "cells/sru/cuda_steps.cuh"

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

template <typename S, int columns>
__global__ void __launch_bounds__(cuda::largest_block, min_blocks<S, columns>)
    sru_backward_kernel(const SruBackward args) {
    using A = AccumulationType<S>;
    const Place place(args, columns);
    const Index width = args.columns();
    const Index plane = args.batch * width;
    if (place.row >= args.batch) return;

    const bool backwards = !place.reversed;
    const ColumnParameters<A, columns> own(args, place);
    const A scale = highway_scale<A>(args);
    A grad_c[columns], c[columns];
    A sum_v_f[columns]{}, sum_v_r[columns]{}, sum_b_f[columns]{}, sum_b_r[columns]{};
    read(args.grad_c_last, place.at, grad_c, A(0));
    const Index last = backwards ? args.length - 1 : 0;
    read(args.length == 0 ? nullptr : args.c, last * plane + place.at, c, A(0));

    InputReader<S, columns> inputs(args, place, backwards);
    Walk<const S> grad_h_in(args.grad_h, place.at, plane, args.length, backwards);
    Walk<const A> c_in(args.c, place.at, plane, args.length, backwards);
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
    Walk<S> grad_u(args.grad_u, place.row * args.num_gates * width + place.first,
                   args.batch * args.num_gates * width, args.length, backwards);
    Walk<S> grad_highway(args.grad_x, place.at, plane, args.length, backwards);
    if (args.num_gates == 4) grad_highway = grad_u.beside(3 * width);
    const bool wants_highway = args.num_gates == 4 || args.grad_x != nullptr;
    Walk<A> grad_v(args.grad_v, 2 * place.row * width + place.first, args.batch * 2 * width, args.length,
                   backwards);

    const auto retreat = [&](const BackwardStep<S, columns>& step) {
        A u_c[columns]{}, u_f[columns]{}, u_r[columns]{}, highway[columns]{}, v_f[columns]{}, v_r[columns]{};
        A c_before[columns];
        unpack(step.c_before, c_before);
        if (!step.in.is_padding()) {
            const UnpackedInputs<S, columns> in(step.in, scale);
            A g[columns], grad_h[columns];
            unpack(step.grad_h, grad_h);
            activate(args.activation, c, g);
#pragma unroll
            for (int k = 0; k < columns; ++k) {
                const auto p = parameters<S>(own, k, step.in, args.v_per_position);
                const A slope = activation_slope(args.activation, c[k], g[k]);
                const Gradients<A> grad =
                    gradients<true>(in.column(k), p, c_before[k], g[k], slope, grad_h[k], grad_c[k]);
                u_c[k] = grad.u_c;
                u_f[k] = grad.u_f;
                u_r[k] = grad.u_r;
                highway[k] = grad.highway * scale;
                v_f[k] = grad.v_f;
                v_r[k] = grad.v_r;
                grad_c[k] = grad.c_before;
                sum_v_f[k] += grad.v_f;
                sum_v_r[k] += grad.v_r;
                sum_b_f[k] += grad.u_f;
                sum_b_r[k] += grad.u_r;
            }
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

    read_ahead<BackwardStep<S, columns>, backward_depth<columns>>(args.length, read_step, retreat);

    write<A>(static_cast<A*>(args.grad_c0) + place.at, grad_c);
    A* sums = static_cast<A*>(args.grad_bias) + place.at;
    write<A>(sums, sum_b_f);
    write<A>(sums + plane, sum_b_r);
    if (args.v_per_position) return;
    sums = static_cast<A*>(args.grad_v) + place.at;
    write<A>(sums, sum_v_f);
    write<A>(sums + plane, sum_v_r);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

template <>
void sru_kernels::cuda::run(const SruBackward& args, const Launch& launch) {
    launch_kernel(args, work_of(args), launch, [](auto zero, auto columns) {
        return SRU_KERNELS_VARIANT::sru::sru_backward_kernel<decltype(zero), columns()>;
    });
}
