#include "cells/gated_linear/cpu_rows.hpp"
#include "runtime/cpu/kernel.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {
namespace {

/// Vectors in a row of a tile of the state; the outputs of a tile take the same number of registers.
constexpr Index widest = 4;

/// The arrays that a tile reads and writes for some steps.
template <typename A>
struct TileRows {
    const A *q, *k, *g;  // (steps, K)
    const A* v;          // (steps, width of the tile)
    A* o;
    Index key_stride;    // from one step to the next
    Index value_stride;  // of v and o
};

/// Advances the state of a tile (K, vectors) through some steps.
template <Index vectors, typename A>
void walk(const TileRows<A>& given, Steps steps, Index key_size, A* state, const Ahead& ahead) {
    using Lanes = Vector<A>;
    // Four multiply-adds overlap within the latency of one: keep that many sums in flight.
    constexpr Index sums = vectors >= 3 ? 1 : 4 / vectors;
    const TileRows<A> rows = given;
    for (Index step = steps.first; step < steps.first + steps.count; ++step) {
        ahead.fetch(step);
        const A* q = rows.q + step * rows.key_stride;
        const A* k = rows.k + step * rows.key_stride;
        const A* g = rows.g + step * rows.key_stride;
        Lanes v[vectors];
        Lanes o[sums][vectors];
        for (Index j = 0; j < vectors; ++j) {
            v[j] = Lanes::load(rows.v + step * rows.value_stride + j * Lanes::size);
            for (Index sum = 0; sum < sums; ++sum) o[sum][j] = Lanes::zero();
        }
        A* s = state;
        const auto advance = [&](Index key, Index sum) __attribute__((always_inline)) {
            const Lanes g_key = Lanes::all(g[key]), k_key = Lanes::all(k[key]), q_key = Lanes::all(q[key]);
            for (Index j = 0; j < vectors; ++j, s += Lanes::size) {
                const Lanes after = next_state(Lanes::load(s), g_key, k_key, v[j]);
                after.store(s);
                o[sum][j] = add_output(o[sum][j], q_key, after);
            }
        };
        Index key = 0;
        for (; key + sums <= key_size; key += sums) {
            for (Index sum = 0; sum < sums; ++sum) advance(key + sum, sum);
        }
        for (; key < key_size; ++key) advance(key, 0);
        for (Index j = 0; j < vectors; ++j) {
            for (Index sum = 1; sum < sums; ++sum) o[0][j] = o[0][j] + o[sum][j];
            o[0][j].store(rows.o + step * rows.value_stride + j * Lanes::size);
        }
    }
}

template <typename A>
using Walk = void (*)(const TileRows<A>&, Steps, Index, A*, const Ahead&);

template <typename A>
constexpr Walk<A> walks[] = {walk<1, A>, walk<2, A>, walk<3, A>, walk<4, A>};

/// A thread's workspace, and the computation of adjacent states or of some tiles of one state.
template <typename S, typename A = AccumulationType<S>>
struct ForwardTiles {
    using Lanes = Vector<A>;
    static constexpr Index tile = widest * Lanes::size;

    const GatedLinearForward& args;
    Pieces<A> pieces;
    const Index most = group_size(args) * most_steps(args);
    const Index full_width = rounded_up(args.value_size, Lanes::size);
    A *const q = pieces.take(most * args.key_size), *const k = pieces.take(most * args.key_size),
             *const g = pieces.take(most * args.key_size);
    A *const v = pieces.take(most * full_width), *const o = pieces.take(most * full_width);
    A* const states = pieces.take(group_size(args) * args.key_size * full_width);

    /// Computes columns `begin` to `end` (the end of a tile) of some states.
    void run(const Group& group, Index begin, Index end) const {
        const Rows keys{group, args.key_size, 0, args.key_size};
        const Rows values{group, args.value_size, begin, end};
        for_each_tile_row(values, group.state, [&](A* row, Index at, Index size, Index width) {
            set_row(row, row_at<A>(args.s0, at), size, width);
        });
        for (Index segment = 0; segment < group.slots; ++segment) {
            if (args.starts != nullptr) {
                write_states(values, group.slot + segment * group.stride, args.starts);
            }
            const Steps steps = group.segment(args, segment);
            load_rows(keys, steps, args.q, q, args.key_size, load_row<S>);
            load_rows(keys, steps, args.k, k, args.key_size, load_row<S>);
            load_rows(keys, steps, args.log_g, g, args.key_size, load_gates<A>);
            load_rows(values, steps, args.v, v, width(values), load_row<S>);
            for (Index i = 0; i < group.count; ++i) walk_state(keys, values, steps, i);
            for_each_row(values, steps, width(values), [&](Index at, Index row) {
                store_row(o + row, static_cast<S*>(args.o) + at, values.size());
            });
        }
        write_states(values, group.state, args.s);
    }

    static Index width(const Rows& values) { return rounded_up(values.size(), Lanes::size); }

    void walk_state(const Rows& keys, const Rows& values, Steps steps, Index i) const {
        const Group& group = values.group;
        const Index all = width(values), key = i * args.key_size;
        Ahead ahead;
        ahead.add<S>(values, steps.first, i, args.o);
        if (const Index next = steps.first + steps.count; next < group.steps) {
            ahead.add<S>(keys, next, i, args.q, args.k);
            ahead.add<A>(keys, next, i, args.log_g);
            ahead.add<S>(values, next, i, args.v);
        }
        for (Index at = 0; at < all; at += tile) {
            const Index value = i * all + at;
            const TileRows<A> rows{q + key,          k + key,   g + key,
                                   v + value,        o + value, group.count * args.key_size,
                                   group.count * all};
            A* const state = states + value * args.key_size;
            const auto walk = walks<A>[smaller(tile, all - at) / Lanes::size - 1];
            for (Steps run{0, 0}; run.first < steps.count; run.first += run.count) {
                run = group.run_from(args, steps, run.first, i);
                if (group.restarts(args, steps.first + run.first, i)) restart(values, i, at, state);
                walk(rows, run, args.key_size, state, at == 0 ? ahead : Ahead());
            }
        }
    }

    /// Sets the tile that begins at column `at` to `s_reset`.
    void restart(const Rows& values, Index i, Index at, A* row) const {
        const Index size = smaller(tile, values.size() - at), width = rounded_up(size, Lanes::size);
        const Index first = (values.group.state + i) % args.heads * args.key_size;
        for (Index key = first; key < first + args.key_size; ++key, row += width) {
            set_row(row, row_at<A>(args.s_reset, key * args.value_size + values.begin + at), size, width);
        }
    }

    static void set_row(A* row, const A* from, Index size, Index width) {
        copy_row(row, from, size);
        fill_row(row + size, width - size, A(0));
    }

    /// Calls `visit(row of a tile, its offset in an array of states, size, width)` for each row of each tile;
    /// the states begin at state `place` of the array.
    template <typename Visit>
    void for_each_tile_row(const Rows& values, Index place, const Visit& visit) const {
        A* row = states;
        for (Index i = 0; i < values.group.count; ++i) {
            const Index first = (place + i) * args.key_size * args.value_size;
            for (Index at = values.begin; at < values.end; at += tile) {
                const Index size = smaller(tile, values.end - at);
                const Index width = rounded_up(size, Lanes::size);
                for (Index key = 0; key < args.key_size; ++key, row += width) {
                    visit(row, first + key * args.value_size + at, size, width);
                }
            }
        }
    }

    void write_states(const Rows& values, Index place, void* array) const {
        for_each_tile_row(values, place, [&](A* row, Index at, Index size, Index) {
            copy_row(static_cast<A*>(array) + at, row, size);
        });
    }
};

}  // namespace
}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear

namespace sru_kernels {

template <>
void cpu::Builds<GatedLinearForward>::SRU_KERNELS_VARIANT(const GatedLinearForward& args, int num_threads) {
    using namespace SRU_KERNELS_VARIANT;
    using namespace SRU_KERNELS_VARIANT::gated_linear;
    check_sequences(args, args.kernel.name);
    dispatch_storage(args.dtype, [&](auto zero) {
        using S = decltype(zero);
        using Tiles = ForwardTiles<S>;
        const WorkSpace<AccumulationType<S>> space(Tiles{args, {nullptr}}.pieces.used, num_threads);
        const Index tiles = (args.value_size + Tiles::tile - 1) / Tiles::tile;
        const auto run = [&](int thread, const Group& group, Index begin, Index end) {
            const Tiles work{args, {space.of_thread(thread)}};
            work.run(group, begin * Tiles::tile, smaller(end * Tiles::tile, args.value_size));
        };
        share_out_states(args, tiles, num_threads, run);
    });
}

}  // namespace sru_kernels
