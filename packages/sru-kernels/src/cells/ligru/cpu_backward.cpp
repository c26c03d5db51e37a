#include <initializer_list>

#include "cells/ligru/cpu_rows.hpp"
#include "runtime/cpu/kernel.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::ligru {
namespace {

template <typename S, typename A = AccumulationType<S>>
struct BackwardColumns {
    static constexpr Index units = panel_columns<A>;

    const S *u_h, *u_z, *grad_h;
    const A *p_h, *p_z, *mask, *before;
    const A *scale_h, *scale_z, *shift_h, *shift_z;
    A* grad;  // on entry, of the state after the step; on return, of h', without the product
    A *grad_s_h, *grad_s_z;
    A *left_h, *left_z;  // the same, weighted: the input of the product

    template <Activation activation>
    SRU_KERNELS_HOST_DEVICE void column(Index i) const {
        const Sums<A> sums{load(u_h[i]) + scale(p_h[i], scale_h[i], shift_h[i]),
                           load(u_z[i]) + scale(p_z[i], scale_z[i], shift_z[i])};
        const Gradients<A> found = backward<activation>(sums, mask[i], before[i], grad[i] + load(grad_h[i]));
        grad_s_h[i] = found.h;
        grad_s_z[i] = found.z;
        left_h[i] = found.h * scale_h[i];
        left_z[i] = found.z * scale_z[i];
        grad[i] = found.before;
    }
};

/// A panel has the columns of the transposed U for two vectors of units.
template <typename S>
struct BackwardWork {
    using A = AccumulationType<S>;
    static constexpr Index units = panel_columns<A>;

    const LigruBackward& args;
    const Plan& plan;
    Pieces<A> pieces;
    const Index size = args.hidden_size, depth = 2 * size;
    const Index slots = args.has_norm ? plan.slots : 0;
    const StepFactors<S> grads{pieces, depth, plan.panels, plan.slots};  // of the products
    // With a norm: for each part of a row, the sum of these gradients, weighted, and the sum of the same
    // times the products; for each thread, the means of the rows.
    A *const sums = pieces.take(slots * plan.panels), *const aligned = pieces.take(slots * plan.panels);
    A* const mean = pieces.take(slots * plan.threads);
    A* const mean_aligned = pieces.take(slots * plan.threads);
    const RunColumns<BackwardColumns<S>> take_step = select_columns<BackwardColumns<S>>(args.activation);
    const OptionalRows<A> masks{args.mask_h, units, A(1)};
    const OptionalRows<A> scales{args.norm_weight, units, A(1)}, shifts{args.norm_bias, units, A(0)};
    const OptionalRows<S> grad_h{args.grad_h, units, S{}};

    void pack(Index panel) const {
        const Index count = plan.size_of(panel);
        if (count < units) fill_row(grads.panel_of(panel), grads.rows * units, A(0));
        for (Index k = 0; k < depth; ++k) {
            const S* from = row_at<S>(args.weight, k * size + panel * units);
            for (Index unit = 0; unit < count; ++unit) grads.pack(panel, k, unit, from[unit]);
        }
    }

    void walk(const Member& member) const {
        plan.for_each_part(member, member.rows,
                           [&](const Row& row, Index, Index panel) { begin(row, panel); });
        Index active = 0;
        for (Index step = plan.row_of(member, 0).steps() - 1; step >= 0; --step) {
            while (active < member.rows && plan.row_of(member, active).steps() > step) ++active;
            plan.for_each_part(member, active, [&](const Row& row, Index slot, Index panel) {
                differentiate(row, slot, panel, step);
            });
            if (args.has_norm) {
                plan.wait(member);
                merge(member, active);
                plan.for_each_part(member, active, [&](const Row& row, Index slot, Index panel) {
                    pass_norm(member, row, slot, panel, step);
                });
            }
            plan.wait(member);
            for (Index panel = member.begin; panel < member.end; ++panel)
                multiply(member, active, panel, step);
        }
    }

    void multiply(const Member& member, Index active, Index panel, Index step) const {
        multiply_rows(
            active, grads.of_step(step, member.slot, panel), [](Index) {},
            [&](Index first, Index count, const A* products) {
                for (Index i = first; i < first + count; ++i, products += units) {
                    finish(plan.row_of(member, i), panel, step, products);
                }
            });
    }

    /// The gradient of the state of a row's units, stored where the final result goes.
    A* state_of(const Row& row, Index panel) const {
        return static_cast<A*>(args.grad_h0) + plan.of_sequence(row, panel);
    }

    /// Sets the gradient of the state after the last step.
    void begin(const Row& row, Index panel) const {
        const Index at = plan.of_sequence(row, panel), count = plan.size_of(panel);
        copy_row(state_of(row, panel), row_at<A>(args.grad_h_last, at), count);
        if (args.grad_h_reset != nullptr) fill_row(static_cast<A*>(args.grad_h_reset) + at, count, A(0));
    }

    /// Propagates the gradient of the state of a row's units through g and σ of a step.
    void differentiate(const Row& row, Index slot, Index panel, Index step) const {
        const Index position = row.position(step), first = panel * units, count = plan.size_of(panel);
        const Index at = plan.of_position(row, step) * size, gates = 2 * at + first;
        A *grad_sums = static_cast<A*>(args.grad_sums) + gates, *grad = grads.row(step, slot) + first;
        if (mark_of(args, row, position) == Mark::padding) {
            for (A* gate : {grad_sums, grad_sums + size, grad, grad + size}) fill_row(gate, count, A(0));
            finish_gates(step, slot, first, count);
            if (args.has_norm) clear_part(slot, panel, static_cast<A*>(args.grad_products) + gates, count);
            return;
        }
        const S* u = row_at<S>(args.u, position * depth + first);
        const A* p = row_at<A>(args.products, gates);
        take_step(
            {u, u + size, grad_h.at(at + first), p, p + size, masks.at(plan.of_sequence(row, panel)),
             row_at<A>(args.before, at + first), scales.at(first), scales.at(size + first), shifts.at(first),
             shifts.at(size + first), state_of(row, panel), grad_sums, grad_sums + size, grad, grad + size},
            count);
        if (!args.has_norm) return finish_gates(step, slot, first, count);
        const A sum = sum_of<units>(
            count, [&](Index i) __attribute__((always_inline)) { return grad[i] + grad[size + i]; });
        const A product = sum_of<units>(count, [&](Index i) __attribute__((always_inline)) {
            return grad[i] * p[i] + grad[size + i] * p[size + i];
        });
        sums[panel * slots + slot] = sum;
        aligned[panel * slots + slot] = product;
    }

    void finish_gates(Index step, Index slot, Index first, Index count) const {
        for (Index gate = 0; gate < 2; ++gate) grads.finish(step, slot, gate * size + first, count);
    }

    void clear_part(Index slot, Index panel, A* grad_products, Index count) const {
        for (A* gate : {grad_products, grad_products + size}) fill_row(gate, count, A(0));
        sums[panel * slots + slot] = aligned[panel * slots + slot] = A(0);
    }

    /// Computes the means of each row, in the same order on every thread.
    void merge(const Member& member, Index count) const {
        A *const to = mean + member.thread * slots, *const to_aligned = mean_aligned + member.thread * slots;
        fill_row(to, count, A(0));
        fill_row(to_aligned, count, A(0));
        for (Index panel = 0; panel < plan.panels; ++panel) {
            add_row(to, sums + panel * slots + member.slot, count);
            add_row(to_aligned, aligned + panel * slots + member.slot, count);
        }
        for (Index i = 0; i < count; ++i) {
            to[i] /= A(depth);
            to_aligned[i] /= A(depth);
        }
    }

    /// Propagates the gradients of a row's units through the norm.
    void pass_norm(const Member& member, const Row& row, Index slot, Index panel, Index step) const {
        if (mark_of(args, row, row.position(step)) == Mark::padding) return;
        const Index of_row = member.thread * slots + slot - member.slot, count = plan.size_of(panel);
        const Index at = plan.of_position(row, step), first = panel * units;
        const A rstd = *row_at<A>(args.rstd, at), center = mean[of_row], slope = mean_aligned[of_row];
        for (Index gate = 0; gate < 2; ++gate) {
            const Index place = at * depth + gate * size + first;
            const A* normal = row_at<A>(args.products, place);
            A* grad = grads.row(step, slot) + gate * size + first;
            A* to = static_cast<A*>(args.grad_products) + place;
            for_each_column<units>(count, [&](Index i) __attribute__((always_inline)) {
                to[i] = grad[i] = through_norm(grad[i], normal[i], rstd, center, slope);
            });
        }
        finish_gates(step, slot, first, count);
    }

    /// Adds the gradient through the product to the gradient of the state before a step.
    void finish(const Row& row, Index panel, Index step, const A* product) const {
        const Mark mark = mark_of(args, row, row.position(step));
        if (mark == Mark::padding) return;
        const Index count = plan.size_of(panel);
        A* state = state_of(row, panel);
        add_row(state, product, count);
        if (mark != Mark::start) return;
        if (args.grad_h_reset != nullptr) {
            add_row(static_cast<A*>(args.grad_h_reset) + plan.of_sequence(row, panel), state, count);
        }
        fill_row(state, count, A(0));
    }
};

}  // namespace
}  // namespace sru_kernels::SRU_KERNELS_VARIANT::ligru

namespace sru_kernels {

template <>
void cpu::Builds<LigruBackward>::SRU_KERNELS_VARIANT(const LigruBackward& args, int num_threads) {
    SRU_KERNELS_VARIANT::ligru::run_work<SRU_KERNELS_VARIANT::ligru::BackwardWork>(args, num_threads);
}

}  // namespace sru_kernels
