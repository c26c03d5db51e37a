#include <cmath>
#include <initializer_list>

#include "cells/ligru/cpu_rows.hpp"
#include "runtime/cpu/kernel.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::ligru {
namespace {

template <typename S, typename A = AccumulationType<S>>
struct ForwardColumns {
    static constexpr Index units = Vector<A>::size;

    const S *u_h, *u_z;
    const A *p_h, *p_z, *mask, *before;
    A *after, *saved;
    S* h;

    template <Activation activation>
    SRU_KERNELS_HOST_DEVICE void column(Index i) const {
        const Sums<A> sums{load(u_h[i]) + p_h[i], load(u_z[i]) + p_z[i]};
        const A state = forward<activation>(sums, mask[i], before[i]);
        after[i] = saved[i] = state;
        h[i] = store<S>(state);
    }
};

/// A panel has the columns of U_h for a vector of units, then those of U_z.
template <typename S>
struct ForwardWork {
    using A = AccumulationType<S>;
    static constexpr Index units = Vector<A>::size;
    static constexpr Index columns = panel_columns<A>;

    const LigruForward& args;
    const Plan& plan;
    Pieces<A> pieces;
    const Index depth = args.hidden_size;
    const Index slots = args.has_norm ? plan.slots : 0;
    const StepFactors<S> states{pieces, depth, plan.panels, plan.slots};
    // With a norm: the products of a step, the mean of each part of a row and the sum of the squared
    // distances from it, and for each thread their totals.
    A* const products = pieces.take(slots * plan.panels * columns);
    A *const means = pieces.take(slots * plan.panels), *const squares = pieces.take(slots * plan.panels);
    A *const mean = pieces.take(slots * plan.threads), *const rstd = pieces.take(slots * plan.threads);
    const RunColumns<ForwardColumns<S>> take_step = select_columns<ForwardColumns<S>>(args.activation);
    const OptionalRows<A> masks{args.mask_h, units, A(1)}, resets{args.h_reset, units, A(0)};
    const OptionalRows<A> scales{args.norm_weight, units, A(1)}, shifts{args.norm_bias, units, A(0)};

    /// Stores the rows of U for some units as adjacent columns.
    void pack(Index panel) const {
        const Index size = plan.size_of(panel);
        if (size < units || states.in_pairs) fill_row(states.panel_of(panel), states.rows * columns, A(0));
        for (Index gate = 0; gate < 2; ++gate) {
            const S* from = row_at<S>(args.weight, (gate * depth + panel * units) * depth);
            // A few columns of all rows at a time: the cache lines read and written stay in L1.
            for (Index first = 0; first < depth; first += units) {
                const Index end = smaller(first + units, depth);
                for (Index unit = 0; unit < size; ++unit) {
                    for (Index k = first; k < end; ++k) {
                        states.pack(panel, k, gate * units + unit, from[unit * depth + k]);
                    }
                }
            }
        }
    }

    void walk(const Member& member) const {
        plan.for_each_part(member, member.rows,
                           [&](const Row& row, Index slot, Index panel) { begin(row, slot, panel); });
        plan.wait(member);
        Index active = member.rows;
        for (Index step = 0;; ++step) {
            while (active > 0 && plan.row_of(member, active - 1).steps() <= step) --active;
            if (active == 0) return;
            for (Index panel = member.begin; panel < member.end; ++panel)
                multiply(member, active, panel, step);
            if (args.has_norm) {
                plan.wait(member);
                merge(member, active);
                plan.for_each_part(member, active, [&](const Row& row, Index slot, Index panel) {
                    normalize(member, row, slot, panel, step);
                    finish(row, slot, panel, step, products_of(slot, panel));
                });
            }
            plan.wait(member);
        }
    }

    void multiply(const Member& member, Index active, Index panel, Index step) const {
        const auto prefetch = [&](Index i) {
            if (!args.has_norm) prefetch_sums(plan.row_of(member, i), step, panel);
        };
        const Factors<A> factors = states.of_step(step, member.slot, panel);
        multiply_rows(active, factors, prefetch, [&](Index first, Index count, const A* sums) {
            for (Index i = first; i < first + count; ++i, sums += columns) {
                if (args.has_norm) {
                    keep(sums, member.slot + i, panel);
                } else {
                    finish(plan.row_of(member, i), member.slot + i, panel, step, sums);
                }
            }
        });
    }

    /// Sets the state before the first step.
    void begin(const Row& row, Index slot, Index panel) const {
        const Index at = plan.of_sequence(row, panel), size = plan.size_of(panel);
        A* state = states.row(0, slot) + panel * units;
        copy_row(state, row_at<A>(args.h0, at), size);
        if (row.steps() == 0) return copy_row(static_cast<A*>(args.h_last) + at, state, size);
        restart(row, 0, panel, state);
        states.finish(0, slot, panel * units, size);
    }

    /// Sets the state before a step to h_reset if the row restarts there.
    void restart(const Row& row, Index step, Index panel, A* state) const {
        if (mark_of(args, row, row.position(step)) != Mark::start) return;
        copy_row(state, resets.at(row.direction * depth + panel * units), plan.size_of(panel));
    }

    /// Computes a step of a row's units, given p: U_h, then U_z.
    void finish(const Row& row, Index slot, Index panel, Index step, const A* p) const {
        alignas(64) A unwanted[units];
        const Index position = row.position(step), first = panel * units, size = plan.size_of(panel);
        const Index at = plan.of_position(row, step) * depth + first, sequence = plan.of_sequence(row, panel);
        const A* before = states.row(step, slot) + first;
        A* after = states.row(step + 1, slot) + first;
        A* saved = args.states == nullptr ? unwanted : static_cast<A*>(args.states) + at;
        S* h = static_cast<S*>(args.h) + at;
        if (mark_of(args, row, position) == Mark::padding) {
            for (A* state : {after, saved}) copy_row(state, before, size);
            fill_row(h, size, S{});
        } else {
            const S* u = row_at<S>(args.u, position * 2 * depth + first);
            take_step({u, u + depth, p, p + units, masks.at(sequence), before, after, saved, h}, size);
        }
        if (!args.has_norm && args.products != nullptr) write_products(at + (at - first), size, p);
        if (step + 1 == row.steps()) {
            return copy_row(static_cast<A*>(args.h_last) + sequence, after, size);
        }
        restart(row, step + 1, panel, after);
        states.finish(step + 1, slot, first, size);
    }

    /// Prefetches the u that `finish` reads. Without a norm, one part of every row is finished before the
    /// next part of any row, a pattern that hardware prefetchers do not follow.
    void prefetch_sums(const Row& row, Index step, Index panel) const {
        const S* u = row_at<S>(args.u, row.position(step) * 2 * depth + panel * units);
        for (const S* part : {u, u + depth}) prefetch_row(part, units);
    }

    void write_products(Index at, Index size, const A* p) const {
        A* to = static_cast<A*>(args.products) + at;
        copy_row(to, p, size);
        copy_row(to + depth, p + units, size);
    }

    A* products_of(Index slot, Index panel) const {
        return products + (slot * plan.panels + panel) * columns;
    }

    /// Stores the products of a row's units, their mean and the sum of their squared distances from it.
    void keep(const A* sums, Index slot, Index panel) const {
        A* to = products_of(slot, panel);
        copy_row(to, sums, columns);
        const Index size = plan.size_of(panel);
        const A center =
            sum_of<units>(size,
                          [&](Index i) __attribute__((always_inline)) { return sums[i] + sums[units + i]; }) /
            A(2 * size);
        const A square = sum_of<units>(size, [&](Index i) __attribute__((always_inline)) {
            const A h = sums[i] - center, z = sums[units + i] - center;
            return h * h + z * z;
        });
        means[panel * slots + slot] = center;
        squares[panel * slots + slot] = square;
    }

    /// Computes the mean and `rstd` of each row, in the same order on every thread.
    void merge(const Member& member, Index count) const {
        A *const center = mean + member.thread * slots, *const square = rstd + member.thread * slots;
        fill_row(center, count, A(0));
        fill_row(square, count, A(0));
        for (Index panel = 0; panel < plan.panels; ++panel) {
            const A *center_of = means + panel * slots + member.slot,
                    share = A(plan.size_of(panel)) / A(depth);
            for (Index i = 0; i < count; ++i) center[i] += share * center_of[i];
        }
        for (Index panel = 0; panel < plan.panels; ++panel) {
            const Index at = panel * slots + member.slot;
            const A *center_of = means + at, *square_of = squares + at, size = A(2 * plan.size_of(panel));
            for (Index i = 0; i < count; ++i) {
                const A distance = center_of[i] - center[i];
                square[i] += square_of[i] + size * distance * distance;
            }
        }
        for (Index i = 0; i < count; ++i) {
            rstd[member.thread * slots + i] = A(1) / std::sqrt(square[i] / A(2 * depth) + A(args.norm_eps));
        }
    }

    /// Applies the norm to the products of a row's units.
    void normalize(const Member& member, const Row& row, Index slot, Index panel, Index step) const {
        const Index of_row = member.thread * slots + slot - member.slot, first = panel * units;
        const Index at = plan.of_position(row, step), size = plan.size_of(panel);
        const A center = mean[of_row], factor = rstd[of_row];
        A* p = products_of(slot, panel);
        for (Index i = 0; i < columns; ++i) p[i] = (p[i] - center) * factor;
        if (args.products != nullptr) write_products(at * 2 * depth + first, size, p);
        if (args.rstd != nullptr && panel == 0) static_cast<A*>(args.rstd)[at] = factor;
        for (Index gate = 0; gate < 2; ++gate) {
            A* part = p + gate * units;
            const A *weights = scales.at(gate * depth + first), *biases = shifts.at(gate * depth + first);
            for_each_column<units>(size, [&](Index i) __attribute__((always_inline)) {
                part[i] = scale(part[i], weights[i], biases[i]);
            });
        }
    }
};

}  // namespace
}  // namespace sru_kernels::SRU_KERNELS_VARIANT::ligru

namespace sru_kernels {

template <>
void cpu::Builds<LigruForward>::SRU_KERNELS_VARIANT(const LigruForward& args, int num_threads) {
    SRU_KERNELS_VARIANT::ligru::run_work<SRU_KERNELS_VARIANT::ligru::ForwardWork>(args, num_threads);
}

}  // namespace sru_kernels
