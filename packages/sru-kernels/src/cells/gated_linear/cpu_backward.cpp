#include "cells/gated_linear/cpu_block.hpp"
#include "runtime/cpu/kernel.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {
namespace {

/// A thread's workspace, and the computation of adjacent states or of one block of a state.
template <typename S, typename A = AccumulationType<S>>
struct BackwardBlocks {
    static constexpr Index block_size = Block<A>::size;

    const GatedLinearBackward& args;
    Pieces<A> pieces;
    const Index most = group_size(args) * most_steps(args);
    const Index height = rounded_up(args.key_size, block_size);
    const Index width = rounded_up(args.value_size, Block<A>::lanes);
    A *const q = pieces.take(most * height), *const k = pieces.take(most * height),
             *const g = pieces.take(most * height), *const grad_q = pieces.take(most * height),
             *const grad_k = pieces.take(most * height), *const grad_g = pieces.take(most * height);
    A *const v = pieces.take(most * width), *const grad_o = pieces.take(most * width),
             *const grad_v = pieces.take(most * width);
    A* const states = pieces.take((most_steps(args) + 1) * tile * block_size);
    A* const grad_states = pieces.take(group_size(args) * height * width);

    /// Computes rows `begin` to `end` (the end of a block) of some states, and writes their contribution to
    /// the gradient of v to `to` (T, B·H, V), which has type A unless these are all the rows.
    template <typename Element>
    void run(const Group& group, Index begin, Index end, Element* to) const {
        const Rows keys{group, args.key_size, begin, end};
        const Rows values{group, args.value_size, 0, args.value_size};
        for_each_block(keys, [&](Index, Index rows, Index at, A* grad_s) {
            read_columns(row_at<A>(args.grad_s, at), rows, 0, width, grad_s);
            if (args.grad_s_reset != nullptr) {
                fill_row(static_cast<A*>(args.grad_s_reset) + at, rows * args.value_size, A(0));
            }
        });
        for (Index segment = group.segments - 1; segment >= 0; --segment) {
            const Steps steps = group.segment(args, segment);
            load(keys, values, steps);
            for_each_block(keys, [&](Index i, Index rows, Index at, A* grad_s) {
                retreat_block(keys, values, segment, i, rows, at, grad_s);
            });
            store_keys(keys, steps);
            for_each_row(values, steps, width,
                         [&](Index at, Index row) { store_row(grad_v + row, to + at, args.value_size); });
        }
        for_each_block(keys, [&](Index, Index rows, Index at, const A* grad_s) {
            A* numbers = static_cast<A*>(args.grad_s0) + at;
            for (Index row = 0; row < rows; ++row, numbers += args.value_size) {
                for (Index column = 0; column < args.value_size; ++column) {
                    numbers[column] = grad_s[column * block_size + row];
                }
            }
        });
    }

    static Index padded(const Rows& keys) { return rounded_up(keys.size(), block_size); }

    /// Calls `visit(offset in the rows of a step, number of rows, offset in a (B, H, K, V) array, gradient)`
    /// for every block of every state.
    template <typename Visit>
    void for_each_block(const Rows& keys, const Visit& visit) const {
        A* grad_s = grad_states;
        for (Index i = 0; i < keys.group.count; ++i) {
            for (Index row = keys.begin; row < keys.end; row += block_size, grad_s += width * block_size) {
                const Index at = ((keys.group.state + i) * args.key_size + row) * args.value_size;
                visit(i * padded(keys) + row - keys.begin, smaller(block_size, keys.end - row), at, grad_s);
            }
        }
    }

    void retreat_block(const Rows& keys, const Rows& values, Index segment, Index key, Index rows, Index at,
                       A* grad_s) const {
        const Group& group = keys.group;
        const Steps steps = group.segment(args, segment);
        const Index i = key / padded(keys), value = i * width;
        const Index size = args.key_size * args.value_size;
        const Index before = group.slot + segment * group.stride - group.state;
        const A* starts = row_at<A>(args.starts, before * size + at);
        const A* reset = row_at<A>(args.s_reset, at - (group.state + i) / args.heads * args.heads * size);
        const bool is_first = key % padded(keys) == 0;
        for (Index column = 0; column < width; column += tile) {
            const Index columns = smaller(tile, width - column), from = value + column;
            const Block<A> block{q + key,
                                 k + key,
                                 g + key,
                                 grad_q + key,
                                 grad_k + key,
                                 grad_g + key,
                                 v + from,
                                 grad_o + from,
                                 grad_v + from,
                                 group.count * padded(keys),
                                 group.count * width};
            A* const grad = grad_s + column * block_size;
            const Ahead soon = is_first && column == 0 ? ahead(keys, values, segment, i) : Ahead();
            for (Steps run{steps.count, 0}; run.first > 0;) {
                run = group.run_before(args, steps, run.first, i);
                const bool is_restart = group.restarts(args, steps.first + run.first, i);
                read_columns(is_restart ? reset : starts, rows, column, columns,
                             states + run.first * columns * block_size);
                advance(block, run, columns, states);
                retreat(block, run, columns, states, grad, soon);
                if (is_restart) add_to_s_reset(rows, at, column, columns, grad);
            }
        }
    }

    /// Adds some columns of the gradient of a restarted state to the gradient of `s_reset`, and zeroes them.
    void add_to_s_reset(Index rows, Index at, Index begin, Index columns, A* grad_s) const {
        if (args.grad_s_reset != nullptr) {
            A* sums = static_cast<A*>(args.grad_s_reset) + at;
            for (Index row = 0; row < rows; ++row, sums += args.value_size) {
                for (Index column = begin; column < smaller(begin + columns, args.value_size); ++column) {
                    sums[column] += grad_s[(column - begin) * block_size + row];
                }
            }
        }
        fill_row(grad_s, columns * block_size, A(0));
    }

    Ahead ahead(const Rows& keys, const Rows& values, Index segment, Index i) const {
        Ahead result;
        const Index now = segment * args.segment_length, next = now - args.segment_length;
        result.add<S>(keys, now, i, args.grad_q, args.grad_k);
        result.add<A>(keys, now, i, args.grad_log_g);
        if (segment == 0) return result;
        result.add<S>(keys, next, i, args.q, args.k);
        result.add<A>(keys, next, i, args.log_g);
        result.add<S>(values, next, i, args.v, args.grad_o);
        return result;
    }

    /// Transposes some columns of `rows` rows (V) of a state into the columns of a block; zeros if the state
    /// is absent.
    void read_columns(const A* from, Index rows, Index begin, Index columns, A* to) const {
        const Index size = from == nullptr ? 0 : smaller(columns, args.value_size - begin);
        if (size < columns || rows < block_size) fill_row(to, columns * block_size, A(0));
        for (Index column = 0; column < size; ++column) {
            const A* number = from + begin + column;
            for (Index row = 0; row < rows; ++row)
                to[column * block_size + row] = number[row * args.value_size];
        }
    }

    void load(const Rows& keys, const Rows& values, Steps steps) const {
        const Index size = padded(keys);
        load_rows(keys, steps, args.q, q, size, load_row<S>);
        load_rows(keys, steps, args.k, k, size, load_row<S>);
        load_rows(keys, steps, args.log_g, g, size, load_gates<A>);
        const Index count = steps.count * keys.group.count;
        for (A* sum : {grad_q, grad_k, grad_g}) fill_row(sum, count * size, A(0));
        load_rows(values, steps, args.v, v, width, load_row<S>);
        fill_row(grad_v, count * width, A(0));
        if (args.grad_o == nullptr) return fill_row(grad_o, count * width, A(0));
        load_rows(values, steps, args.grad_o, grad_o, width, load_row<S>);
    }

    void store_keys(const Rows& keys, Steps steps) const {
        A* grad_log_g = static_cast<A*>(args.grad_log_g);
        for_each_row(keys, steps, padded(keys), [&](Index at, Index row) {
            store_row(grad_q + row, static_cast<S*>(args.grad_q) + at, keys.size());
            store_row(grad_k + row, static_cast<S*>(args.grad_k) + at, keys.size());
            for (Index i = 0; i < keys.size(); ++i) grad_log_g[at + i] = g[row + i] * grad_g[row + i];
        });
    }
};

/// Sums the contributions of the blocks to the gradient of v, (blocks, T, B·H, V), in the same order as a
/// single thread.
template <typename S, typename A>
void add_blocks(const GatedLinearBackward& args, const A* parts, Index blocks, int num_threads) {
    const Index size = args.steps() * args.value_size;
    for_each_tile(size, tile_size, 64 / sizeof(S), true, num_threads, [&](Index begin, Index count) {
        alignas(64) A sums[tile_size];
        copy_row(sums, parts + begin, count);
        for (Index block = 1; block < blocks; ++block) {
            const A* part = parts + block * size + begin;
            for (Index i = 0; i < count; ++i) sums[i] += part[i];
        }
        store_row(sums, static_cast<S*>(args.grad_v) + begin, count);
    });
}

}  // namespace
}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear

namespace sru_kernels {

template <>
void cpu::Builds<GatedLinearBackward>::SRU_KERNELS_VARIANT(const GatedLinearBackward& args, int num_threads) {
    using namespace SRU_KERNELS_VARIANT;
    using namespace SRU_KERNELS_VARIANT::gated_linear;
    check_sequences(args, args.kernel.name);
    dispatch_storage(args.dtype, [&](auto zero) {
        using S = decltype(zero);
        using A = AccumulationType<S>;
        using Blocks = BackwardBlocks<S>;
        const WorkSpace<A> space(Blocks{args, {nullptr}}.pieces.used, num_threads);
        const Index blocks = (args.key_size + Blocks::block_size - 1) / Blocks::block_size;
        // Distribute whole states, unless there are too few to balance the threads.
        const bool uneven = args.cu_seqlens != nullptr || args.states() % num_threads != 0;
        const bool divided = is_worthwhile(args) && blocks > 1 && args.states() < 4 * num_threads && uneven;
        if (!divided) {
            return share_out_states(args, 1, num_threads, [&](int thread, const Group& group, auto...) {
                const Blocks work{args, {space.of_thread(thread)}};
                work.run(group, 0, args.key_size, static_cast<S*>(args.grad_v));
            });
        }
        const Index size = args.steps() * args.value_size;
        const WorkSpace<A> parts(blocks * size, 1);
        share_out_parts(args, blocks, num_threads, [&](int thread, Index begin, Index end) {
            const Blocks work{args, {space.of_thread(thread)}};
            for (Index unit = begin; unit < end; ++unit) {
                const Index block = unit % blocks, first = block * Blocks::block_size;
                work.run(Group(args, unit / blocks, 1), first,
                         smaller(args.key_size, first + Blocks::block_size),
                         parts.of_thread(0) + block * size);
            }
        });
        add_blocks<S>(args, parts.of_thread(0), blocks, num_threads);
    });
}

}  // namespace sru_kernels
