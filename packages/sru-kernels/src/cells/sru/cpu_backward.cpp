#include <initializer_list>

#include "cells/sru/cpu_rows.hpp"
#include "runtime/cpu/kernel.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::sru {
namespace {

template <typename S, typename A = AccumulationType<S>>
struct BackwardRow {
    InputRow<S> in;
    const A *c_before, *c;
    const S* grad_h;
    A* grad_c;  // on entry, of the state after the step; on return, of the state before it
    S *grad_u_c, *grad_u_f, *grad_u_r, *grad_highway;
    A *grad_v_f, *grad_v_r, *grad_b_f, *grad_b_r;  // added to

    template <Activation activation, Highway highway>
    SRU_KERNELS_HOST_DEVICE void column(Index i) const {
        const Gradients<A> grad = backward<activation, highway != Highway::none>(
            in.template inputs<highway>(i), in.parameters(i), c_before[i], c[i], load(grad_h[i]), grad_c[i]);
        grad_u_c[i] = store<S>(grad.u_c);
        grad_u_f[i] = store<S>(grad.u_f);
        grad_u_r[i] = store<S>(grad.u_r);
        if constexpr (highway == Highway::projected) grad_highway[i] = store<S>(grad.highway);
        if constexpr (highway == Highway::input) grad_highway[i] = store<S>(grad.highway * in.scale_x);
        grad_v_f[i] += grad.v_f;
        grad_v_r[i] += grad.v_r;
        grad_b_f[i] += grad.u_f;
        grad_b_r[i] += grad.u_r;
        grad_c[i] = grad.c_before;
    }
};

/// Walks a tile backwards through time. Running sums are kept in the rows of the final results.
template <typename S, typename A = AccumulationType<S>>
void walk_tile(const SruBackward& args, Index begin, Index size) {
    const OptionalRows<A> masks(args.mask_c, size, A(1)), c0(args.c0, size, A(0));
    const OptionalRows<A> resets = rows_of_resets<A>(args, size);
    const OptionalRows<S> grad_h(args.grad_h, size, S{});
    alignas(64) S unwanted[tile_size];  // takes the gradient of x if the caller does not want it
    const Index width = args.columns(), plane = args.batch * width;
    A *const grad_c0 = static_cast<A*>(args.grad_c0), *const grad_bias = static_cast<A*>(args.grad_bias);
    A *const grad_v = static_cast<A*>(args.grad_v), *const grad_c_reset = static_cast<A*>(args.grad_c_reset);
    copy_row(grad_c0 + begin, row_at<A>(args.grad_c_last, begin), size);
    if (grad_c_reset != nullptr) fill_row(grad_c_reset + begin, size, A(0));
    for (Index gate = 0; gate < 2; ++gate) {
        fill_row(grad_bias + gate * plane + begin, size, A(0));
        if (!args.v_per_position) fill_row(grad_v + gate * plane + begin, size, A(0));
    }
    const auto columns = select_columns<BackwardRow<S>>(args);
    const auto retreat = [&](const Segment& segment, bool is_first) {
        S* grad_u = static_cast<S*>(args.grad_u) + segment.position * args.num_gates * width + segment.first;
        S* grad_x = args.grad_x == nullptr ? nullptr : static_cast<S*>(args.grad_x) + segment.state;
        A *grad_v_f = grad_v + segment.at, *grad_v_r = grad_v_f + plane;
        if (args.v_per_position) {
            grad_v_f = grad_v + segment.position * 2 * width + segment.first;
            grad_v_r = grad_v_f + width;
            for (A* row : {grad_v_f, grad_v_r}) fill_row(row, segment.size, A(0));
        }
        const Mark mark = mark_of(args, segment);
        if (mark == Mark::padding) {
            for (Index gate = 0; gate < args.num_gates; ++gate)
                fill_row(grad_u + gate * width, segment.size, S{});
            if (grad_x != nullptr) fill_row(grad_x, segment.size, S{});
            return;
        }
        S* grad_highway = args.num_gates == 4 ? grad_u + 3 * width : grad_x;
        const A* saved = static_cast<const A*>(args.c);
        const A* c_before = is_first ? c0.at(segment.at) : saved + segment.state_before;
        if (mark == Mark::start) c_before = resets.at(segment.first);
        A *grad_c = grad_c0 + segment.at, *grad_b_f = grad_bias + segment.at;
        columns({InputRow<S>(args, segment, masks), c_before, saved + segment.state, grad_h.at(segment.state),
                 grad_c, grad_u, grad_u + width, grad_u + 2 * width,
                 grad_highway == nullptr ? unwanted : grad_highway, grad_v_f, grad_v_r, grad_b_f,
                 grad_b_f + plane},
                segment.size);
        if (mark != Mark::start) return;
        if (grad_c_reset != nullptr) add_row(grad_c_reset + segment.at, grad_c, segment.size);
        fill_row(grad_c, segment.size, A(0));
    };
    for (Index step = steps_of(args, begin) - 1; step >= 0; --step) {
        for_each_segment(args, begin, size, step,
                         [&](const Segment& segment) { retreat(segment, step == 0); });
    }
}

}  // namespace
}  // namespace sru_kernels::SRU_KERNELS_VARIANT::sru

template <>
void sru_kernels::cpu::Builds<sru_kernels::SruBackward>::SRU_KERNELS_VARIANT(const SruBackward& args,
                                                                             int num_threads) {
    using namespace SRU_KERNELS_VARIANT::sru;
    for_each_tile(args, num_threads,
                  [&](auto zero, Index begin, Index size) { walk_tile<decltype(zero)>(args, begin, size); });
}
