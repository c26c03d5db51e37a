#pragma once

#include "cells/ligru/fields.hpp"
#include "cells/ligru/step.hpp"
#include "cells/marks.hpp"
#include "runtime/cpu/barrier.hpp"
#include "runtime/cpu/product.hpp"
#include "runtime/cpu/schedule.hpp"
#include "runtime/cpu/tiles.hpp"
#include "runtime/cpu/work_space.hpp"
#include "sru_kernels/storage.hpp"

// The rows of both directions are processed together, step by step, because a step is a product of the states
// of all rows with one matrix.
//
// Every thread of a team owns some panels of the matrix, which therefore stay in its cache, and the units of
// the state that are their columns. After each step the threads wait for each other, because the next step
// needs all units. If there are more threads than panels, groups of threads process separate rows.
namespace sru_kernels::SRU_KERNELS_VARIANT::ligru {

/// Multiplications per thread and step below which starting other threads is not worthwhile.
constexpr Index products_per_thread = 65536;

/// A direction of a sequence.
struct Row {
    Walked walked;
    Index sequence;
    Index direction;

    Index steps() const { return walked.count; }
    Index position(Index step) const {
        return walked.first + (direction == 0 ? step : walked.count - 1 - step) * walked.stride;
    }
};

/// All rows, longest first.
class Rows {
 public:
    Rows(const LigruInputs& in, const char* kernel)
        : in_(in), is_ragged_(in.cu_seqlens != nullptr), order_(is_ragged_ ? in.batch : 0, 1) {
        if (!is_ragged_) return;
        cpu::check_offsets(kernel, {in.cu_seqlens, in.batch, in.length, in.hidden_size});
        cpu::longest_first(in.cu_seqlens, in.batch, order_.of_thread(0));
    }

    Index count() const { return in_.batch * in_.num_directions; }

    Row operator[](Index i) const {
        const Index second = in_.num_directions - 1, place = i >> second, direction = i & second;
        const Index sequence = is_ragged_ ? order_.of_thread(0)[place] : place;
        return {in_.walked(sequence), sequence, direction};
    }

 private:
    const LigruInputs& in_;
    const bool is_ragged_;
    const WorkSpace<Index> order_;
};

/// A thread's part of the work: rows at a fixed stride, and panels `begin` to `end`.
struct Member {
    Index thread, group, groups, members;
    Index rows;
    Index slot;  // of its first row in the work space
    Index begin, end;
};

/// How a team divides the work.
struct Plan {
    const LigruInputs& in;
    const Rows& rows;
    const cpu::Barriers& barriers;
    const Index units;  // of a panel
    const Index threads;
    const Index panels = (in.hidden_size + units - 1) / units;
    const Index slots = rows.count() + smaller(threads, rows.count());

    /// Calls `pack(panel)` for every panel, then `walk(member)` for the part of this thread.
    template <typename Pack, typename Walk>
    void run(Index thread, Index team, const Pack& pack, const Walk& walk) const {
        const Index end = in.has_steps() ? panels * (thread + 1) / team : 0;
        for (Index panel = panels * thread / team; panel < end; ++panel) pack(panel);
        barriers.wait(0, static_cast<int>(team));
        const Index members = smaller(team, panels), groups = smaller(team / members, rows.count());
        const Index group = thread / members, place = thread % members;
        if (group >= groups) return;
        walk(Member{thread, group, groups, members, (rows.count() - group + groups - 1) / groups,
                    group * ((rows.count() + groups - 1) / groups), panels * place / members,
                    panels * (place + 1) / members});
    }

    /// Waits for the other members of a group.
    void wait(const Member& member) const {
        barriers.wait(static_cast<int>(1 + member.group), static_cast<int>(member.members));
    }

    Row row_of(const Member& member, Index i) const { return rows[member.group + i * member.groups]; }

    /// Calls `visit(row, slot, panel)` for each of a thread's first `count` rows and each of its panels, in
    /// memory order.
    template <typename Visit>
    void for_each_part(const Member& member, Index count, const Visit& visit) const {
        for (Index i = 0; i < count; ++i) {
            const Row row = row_of(member, i);
            for (Index panel = member.begin; panel < member.end; ++panel) visit(row, member.slot + i, panel);
        }
    }

    Index size_of(Index panel) const { return smaller(units, in.hidden_size - panel * units); }

    /// The offset of a row's units in a (B, N·D) array.
    Index of_sequence(const Row& row, Index panel) const {
        return (row.sequence * in.num_directions + row.direction) * in.hidden_size + panel * units;
    }

    /// The offset of a row's step in a (T, B, N) array.
    Index of_position(const Row& row, Index step) const {
        return row.position(step) * in.num_directions + row.direction;
    }
};

inline Mark mark_of(const LigruInputs& in, const Row& row, Index position) {
    return SRU_KERNELS_VARIANT::mark_of(in.marks, position, row.direction != 0);
}

/// Calls `visit(i)` for each of `size` columns. A whole part of a row needs no remainder loop.
template <Index units, typename Visit>
SRU_KERNELS_HOST_DEVICE void for_each_column(Index size, const Visit& visit) {
    if (size == units) {
#pragma omp simd
        for (Index i = 0; i < units; ++i) visit(i);
    } else {
#pragma omp simd
        for (Index i = 0; i < size; ++i) visit(i);
    }
}

/// Runs a step of some columns of a row: `columns.column<activation>(i)` for each.
template <typename Columns>
using RunColumns = void (*)(const Columns& columns, Index size);

template <typename Columns, Activation activation>
void run_columns(const Columns& given, Index size) {
    const Columns columns = given;  // a copy, so that the compiler knows that no store changes it
    for_each_column<Columns::units>(
        size, [&](Index i) __attribute__((always_inline)) { columns.template column<activation>(i); });
}

/// Returns the loop for an activation that is known only at run time.
template <typename Columns>
RunColumns<Columns> select_columns(Activation activation) {
    if (activation == Activation::tanh) return run_columns<Columns, Activation::tanh>;
    if (activation == Activation::sin) return run_columns<Columns, Activation::sin>;
    if (activation == Activation::leaky_relu) return run_columns<Columns, Activation::leaky_relu>;
    return run_columns<Columns, Activation::relu>;
}

/// The distance between rows that are read in parallel: a cache line more than their length. Otherwise, rows
/// whose length is a power of two would map to the same cache sets.
template <typename A>
Index padded_stride(Index size) {
    constexpr Index line = 64 / Index{sizeof(A)};
    return rounded_up(size, line) + line;
}

/// The factors of each step's product: a packed matrix with `depth` rows, and the rows on its left.
///
/// Steps alternate between the two arrays `numbers`, so that the rows of the next step can be written
/// meanwhile. If bfloat16 is multiplied in pairs, `pairs` holds copies of the rows in bfloat16.
template <typename S>
struct StepFactors {
    using A = AccumulationType<S>;
    static constexpr Index columns = panel_columns<A>;

    Pieces<A>& pieces;
    const Index depth, panels, slots;
    const bool in_pairs = multiplies_pairs<S>();
    const Index stride = padded_stride<A>(depth);
    const Index rows = panel_rows(depth, in_pairs), stride_of_pairs = padded_stride<A>(rows);
    A* const matrix = pieces.take(panels * rows * columns);
    A* const numbers[2] = {pieces.take(slots * stride), pieces.take(slots * stride)};
    A* const pairs[2] = {take_pairs(), take_pairs()};

    A* take_pairs() const { return in_pairs ? pieces.take(slots * stride_of_pairs) : nullptr; }

    A* row(Index step, Index slot) const { return numbers[step % 2] + slot * stride; }

    /// The factors of a step for the rows from `slot` on.
    Factors<A> of_step(Index step, Index slot, Index panel) const {
        const A* left = in_pairs ? pairs[step % 2] + slot * stride_of_pairs : row(step, slot);
        return {left, in_pairs ? stride_of_pairs : stride, panel_of(panel), rows, in_pairs};
    }

    A* panel_of(Index panel) const { return matrix + panel * rows * columns; }

    /// Sets an entry of the matrix.
    void pack(Index panel, Index k, Index column, S entry) const {
        A* to = panel_of(panel);
        if constexpr (std::is_same_v<S, BFloat16>) {
            if (in_pairs) {
                reinterpret_cast<S*>(to)[place_in_pairs<A>(k, column)] = entry;
                return;
            }
        }
        to[k * columns + column] = load(entry);
    }

    /// Prepares `size` newly written columns of a row for the product.
    void finish(Index step, Index slot, Index first, Index size) const {
        if constexpr (std::is_same_v<S, BFloat16>) {
            if (!in_pairs) return;
            const A* from = row(step, slot) + first;
            S* to = reinterpret_cast<S*>(pairs[step % 2] + slot * stride_of_pairs) + first;
            for (Index i = 0; i < size; ++i) to[i] = store<S>(from[i]);
            if (depth % 2 != 0 && first + size == depth) to[size] = S{};
        }
    }
};

/// The sum of `number(i)` for each of `size` columns.
template <Index units, typename Number>
SRU_KERNELS_HOST_DEVICE auto sum_of(Index size, const Number& number) {
    decltype(number(Index{})) sum(0);
    if (size == units) {
#pragma omp simd reduction(+ : sum)
        for (Index i = 0; i < units; ++i) sum += number(i);
    } else {
#pragma omp simd reduction(+ : sum)
        for (Index i = 0; i < size; ++i) sum += number(i);
    }
    return sum;
}

/// Prefetches a part of a row, which may begin and end in the middle of a cache line.
template <typename Element>
void prefetch_row(const Element* row, Index size) {
    constexpr Index line = 64 / Index{sizeof(Element)};
    for (Index at = 0; at < size; at += line) __builtin_prefetch(row + at);
    __builtin_prefetch(row + size - 1);
}

/// Runs `Work<S>`, which is constructed from the arguments, the plan and working memory.
template <template <typename> class Work, typename Args>
void run_work(const Args& args, int num_threads) {
    if (!args.has_states()) return;
    const Rows rows(args, Args::kernel.name);
    const Index products = 2 * rows.count() * args.hidden_size * args.hidden_size;
    const int threads = products >= 2 * products_per_thread ? num_threads : 1;
    // One for the team, and one per group: there are at most as many groups as threads and as rows.
    const cpu::Barriers barriers(static_cast<int>(1 + smaller(threads, rows.count())));
    dispatch_storage(args.dtype, [&](auto zero) {
        using S = decltype(zero);
        const Plan plan{args, rows, barriers, Work<S>::units, threads};
        const WorkSpace<AccumulationType<S>> space(Work<S>{args, plan, {nullptr}}.pieces.used, 1);
        const Work<S> work{args, plan, {space.of_thread(0)}};
        run_on_team(threads, [&](Index thread, Index team) {
            plan.run(
                thread, team, [&](Index panel) { work.pack(panel); },
                [&](const Member& member) { work.walk(member); });
        });
    });
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::ligru
