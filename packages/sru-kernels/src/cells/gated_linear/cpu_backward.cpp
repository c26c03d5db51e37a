#include "cells/gated_linear/cpu_block.hpp"
#include "runtime/cpu/kernel.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {
namespace {

/// A thread's work space, and its work on neighbouring states or on a block of one.
template <typename S>
class BackwardBlocks {
    using A = AccumulationType<S>;

 public:
    static constexpr Index block_size = Block<A>::size;

    static Index work_size(const GatedLinearBackward& args) {
        return BackwardBlocks(args, nullptr).pieces_.used;
    }

    BackwardBlocks(const GatedLinearBackward& args, A* memory)
        : args_(args), width_(rounded_up(args.value_size, Block<A>::lanes)), pieces_{memory} {
        const Index count = group_size(args);
        const Index keys = count * most_steps(args) * rounded_up(args.key_size, block_size);
        const Index values = count * most_steps(args) * width_;
        for (A** piece : {&q_, &k_, &g_, &grad_q_, &grad_k_, &grad_g_}) *piece = pieces_.take(keys);
        for (A** piece : {&v_, &grad_o_, &grad_v_}) *piece = pieces_.take(values);
        states_ = pieces_.take((most_steps(args) + 1) * tile * block_size);
        grad_s_ = pieces_.take(count * rounded_up(args.key_size, block_size) * width_);
    }

    /// Computes rows `begin` to `end`, the end of a block, of `count` of the B·H states, and writes their
    /// contribution to the gradient of v to `grad_v` (T, B·H, V), of type A unless these are all the rows.
    template <typename Element>
    void run(Index first, Index count, Index begin, Index end, Element* grad_v) const {
        const Rows keys{args_.key_size, first, count, begin, end};
        const Rows values{args_.value_size, first, count, 0, args_.value_size};
        for_each_block(keys, [&](Index, Index rows, Index at, A* grad_s) {
            read_columns(row_at<A>(args_.grad_s, at), rows, 0, width_, grad_s);
        });
        for (Index segment = args_.segments() - 1; segment >= 0; --segment) {
            const Steps steps = steps_of(args_, segment);
            load(keys, values, steps);
            for_each_block(keys, [&](Index i, Index rows, Index at, A* grad_s) {
                retreat_block(keys, values, segment, i, rows, at, grad_s);
            });
            store_keys(keys, steps);
            for_each_row(args_, values, steps, width_, [&](Index at, Index row) {
                store_row(grad_v_ + row, grad_v + at, args_.value_size);
            });
        }
        for_each_block(keys, [&](Index, Index rows, Index at, const A* grad_s) {
            A* to = static_cast<A*>(args_.grad_s0) + at;
            for (Index row = 0; row < rows; ++row, to += args_.value_size) {
                for (Index column = 0; column < args_.value_size; ++column) {
                    to[column] = grad_s[column * block_size + row];
                }
            }
        });
    }

 private:
    static Index padded(const Rows& keys) { return rounded_up(keys.size(), block_size); }

    /// Calls `visit(offset in the rows of a step, number of rows, offset in a (B, H, K, V) array, gradient)`
    /// for each block of each state.
    template <typename Visit>
    void for_each_block(const Rows& keys, const Visit& visit) const {
        A* grad_s = grad_s_;
        for (Index i = 0; i < keys.count; ++i) {
            for (Index row = keys.begin; row < keys.end; row += block_size, grad_s += width_ * block_size) {
                const Index at = ((keys.state + i) * args_.key_size + row) * args_.value_size;
                visit(i * padded(keys) + row - keys.begin, smaller(block_size, keys.end - row), at, grad_s);
            }
        }
    }

    void retreat_block(const Rows& keys, const Rows& values, Index segment, Index key, Index rows, Index at,
                       A* grad_s) const {
        const Steps steps = steps_of(args_, segment);
        const Index i = key / padded(keys), value = i * width_;
        const Index all = args_.states() * args_.key_size * args_.value_size;
        const A* starts = row_at<A>(args_.starts, segment * all + at);
        const bool is_first = key % padded(keys) == 0;
        for (Index column = 0; column < width_; column += tile) {
            const Index columns = smaller(tile, width_ - column), from = value + column;
            const Block<A> block{q_ + key,
                                 k_ + key,
                                 g_ + key,
                                 grad_q_ + key,
                                 grad_k_ + key,
                                 grad_g_ + key,
                                 v_ + from,
                                 grad_o_ + from,
                                 grad_v_ + from,
                                 keys.count * padded(keys),
                                 values.count * width_};
            read_columns(starts, rows, column, columns, states_);
            advance(block, steps.count, columns, states_);
            retreat(block, steps.count, columns, states_, grad_s + column * block_size,
                    is_first && column == 0 ? ahead(keys, values, segment, i) : Ahead());
        }
    }

    Ahead ahead(const Rows& keys, const Rows& values, Index segment, Index i) const {
        Ahead result;
        const Index now = segment * args_.segment_length, next = now - args_.segment_length;
        result.add<S>(args_, keys, now, i, args_.grad_q, args_.grad_k);
        result.add<A>(args_, keys, now, i, args_.grad_log_g);
        if (segment == 0) return result;
        result.add<S>(args_, keys, next, i, args_.q, args_.k);
        result.add<A>(args_, keys, next, i, args_.log_g);
        result.add<S>(args_, values, next, i, args_.v, args_.grad_o);
        return result;
    }

    /// Transposes some columns of `rows` rows (V) of a state, or zeros if it is absent, into those of a
    /// block.
    void read_columns(const A* from, Index rows, Index begin, Index columns, A* to) const {
        const Index size = from == nullptr ? 0 : smaller(columns, args_.value_size - begin);
        if (size < columns || rows < block_size) fill_row(to, columns * block_size, A(0));
        for (Index column = 0; column < size; ++column) {
            const A* number = from + begin + column;
            for (Index row = 0; row < rows; ++row)
                to[column * block_size + row] = number[row * args_.value_size];
        }
    }

    void load(const Rows& keys, const Rows& values, Steps steps) const {
        const Index size = padded(keys);
        load_rows(args_, keys, steps, args_.q, q_, size, load_row<S>);
        load_rows(args_, keys, steps, args_.k, k_, size, load_row<S>);
        load_rows(args_, keys, steps, args_.log_g, g_, size, load_gates<A>);
        for (A* sum : {grad_q_, grad_k_, grad_g_}) fill_row(sum, steps.count * keys.count * size, A(0));
        load_rows(args_, values, steps, args_.v, v_, width_, load_row<S>);
        fill_row(grad_v_, steps.count * values.count * width_, A(0));
        if (args_.grad_o == nullptr) return fill_row(grad_o_, steps.count * values.count * width_, A(0));
        load_rows(args_, values, steps, args_.grad_o, grad_o_, width_, load_row<S>);
    }

    void store_keys(const Rows& keys, Steps steps) const {
        A* grad_log_g = static_cast<A*>(args_.grad_log_g);
        for_each_row(args_, keys, steps, padded(keys), [&](Index at, Index row) {
            store_row(grad_q_ + row, static_cast<S*>(args_.grad_q) + at, keys.size());
            store_row(grad_k_ + row, static_cast<S*>(args_.grad_k) + at, keys.size());
            for (Index i = 0; i < keys.size(); ++i) grad_log_g[at + i] = g_[row + i] * grad_g_[row + i];
        });
    }

    const GatedLinearBackward& args_;
    const Index width_;
    Pieces<A> pieces_;
    A *q_, *k_, *g_, *grad_q_, *grad_k_, *grad_g_, *v_, *grad_o_, *grad_v_, *states_, *grad_s_;
};

/// Adds the contributions of the blocks to the gradient of v, (blocks, T, B·H, V), in the order of one
/// thread.
template <typename S, typename A>
void add_blocks(const GatedLinearBackward& args, const A* parts, Index blocks, int num_threads) {
    const Index size = args.length * args.states() * args.value_size;
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
    dispatch_storage(args.dtype, [&](auto zero) {
        using S = decltype(zero);
        using A = AccumulationType<S>;
        using Blocks = BackwardBlocks<S>;
        const WorkSpace<A> space(Blocks::work_size(args), num_threads);
        const Index blocks = (args.key_size + Blocks::block_size - 1) / Blocks::block_size;
        const bool worthwhile = is_worthwhile(args);
        // Divide by whole states, unless there are too few to keep all threads equally busy.
        const bool divided =
            worthwhile && blocks > 1 && args.states() < 4 * num_threads && args.states() % num_threads != 0;
        if (!divided) {
            return share_out(args.states(), worthwhile, num_threads, [&](int thread, Index begin, Index end) {
                const Blocks work(args, space.of_thread(thread));
                for (Index count; begin < end; begin += count) {
                    count = smaller(group_size(args), end - begin);
                    work.run(begin, count, 0, args.key_size, static_cast<S*>(args.grad_v));
                }
            });
        }
        const Index size = args.length * args.states() * args.value_size;
        const WorkSpace<A> parts(blocks * size, 1);
        share_out(args.states() * blocks, true, num_threads, [&](int thread, Index begin, Index end) {
            const Blocks work(args, space.of_thread(thread));
            for (Index unit = begin; unit < end; ++unit) {
                const Index block = unit % blocks, first = block * Blocks::block_size;
                work.run(unit / blocks, 1, first, smaller(args.key_size, first + Blocks::block_size),
                         parts.of_thread(0) + block * size);
            }
        });
        add_blocks<S>(args, parts.of_thread(0), blocks, num_threads);
    });
}

}  // namespace sru_kernels
