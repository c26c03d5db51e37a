#include "cells/gated_linear/cpu_rows.hpp"
#include "runtime/cpu/kernel.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {
namespace {

/// Vectors in a row of a tile of the state; the outputs of a tile take as many registers.
constexpr Index widest = 4;

/// What a tile reads and writes in some steps.
template <typename A>
struct TileRows {
    const A *q, *k, *g;  // (steps, K)
    const A* v;          // (steps, width of the tile)
    A* o;
    Index key_stride;    // from one step to the next
    Index value_stride;  // of v and o
};

/// Walks the state of a tile (K, vectors) through some steps.
template <Index vectors, typename A>
void walk(const TileRows<A>& given, Index count, Index key_size, A* state, const Ahead& ahead) {
    using Lanes = Vector<A>;
    // A product takes as long as four that overlap: keep that many sums in flight.
    constexpr Index sums = vectors >= 3 ? 1 : 4 / vectors;
    const TileRows<A> rows = given;
    for (Index step = 0; step < count; ++step) {
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
using Walk = void (*)(const TileRows<A>&, Index, Index, A*, const Ahead&);

template <typename A>
constexpr Walk<A> walks[] = {walk<1, A>, walk<2, A>, walk<3, A>, walk<4, A>};

/// A thread's work space, and its work on neighbouring states or on some tiles of one.
template <typename S>
class ForwardTiles {
    using A = AccumulationType<S>;
    using Lanes = Vector<A>;

 public:
    static constexpr Index tile = widest * Lanes::size;

    static Index work_size(const GatedLinearForward& args) {
        return ForwardTiles(args, nullptr).pieces_.used;
    }

    ForwardTiles(const GatedLinearForward& args, A* memory) : args_(args), pieces_{memory} {
        const Index count = group_size(args);
        const Index width = rounded_up(args.value_size, Lanes::size);
        const Index keys = count * args.key_size * most_steps(args);
        const Index values = count * most_steps(args) * width;
        for (A** piece : {&q_, &k_, &g_}) *piece = pieces_.take(keys);
        for (A** piece : {&v_, &o_}) *piece = pieces_.take(values);
        states_ = pieces_.take(count * args.key_size * width);
    }

    /// Computes columns `begin` to `end`, the end of a tile, of `count` of the B·H states.
    void run(Index first, Index count, Index begin, Index end) const {
        const Rows keys{args_.key_size, first, count, 0, args_.key_size};
        const Rows values{args_.value_size, first, count, begin, end};
        read_states(values);
        for (Index segment = 0; segment < args_.segments(); ++segment) {
            if (args_.starts != nullptr) {
                const Index size = args_.states() * args_.key_size * args_.value_size;
                write_states(values, static_cast<A*>(args_.starts) + segment * size);
            }
            const Steps steps = steps_of(args_, segment);
            load(keys, values, steps);
            for (Index i = 0; i < count; ++i) walk_state(keys, values, segment, i);
            for_each_row(args_, values, steps, width(values), [&](Index at, Index row) {
                store_row(o_ + row, static_cast<S*>(args_.o) + at, values.size());
            });
        }
        write_states(values, static_cast<A*>(args_.s));
    }

 private:
    static Index width(const Rows& values) { return rounded_up(values.size(), Lanes::size); }

    void load(const Rows& keys, const Rows& values, Steps steps) const {
        const Index size = args_.key_size;
        load_rows(args_, keys, steps, args_.q, q_, size, load_row<S>);
        load_rows(args_, keys, steps, args_.k, k_, size, load_row<S>);
        load_rows(args_, keys, steps, args_.log_g, g_, size, load_gates<A>);
        load_rows(args_, values, steps, args_.v, v_, width(values), load_row<S>);
    }

    void walk_state(const Rows& keys, const Rows& values, Index segment, Index i) const {
        const Steps steps = steps_of(args_, segment);
        const Index all = width(values), key = i * args_.key_size;
        Ahead ahead;
        ahead.add<S>(args_, values, steps.first, i, args_.o);
        if (const Index next = steps.first + steps.count; next < args_.length) {
            ahead.add<S>(args_, keys, next, i, args_.q, args_.k);
            ahead.add<A>(args_, keys, next, i, args_.log_g);
            ahead.add<S>(args_, values, next, i, args_.v);
        }
        for (Index at = 0; at < all; at += tile) {
            const Index value = i * all + at;
            const TileRows<A> rows{q_ + key,          k_ + key,   g_ + key,
                                   v_ + value,        o_ + value, keys.count * args_.key_size,
                                   values.count * all};
            const auto run = walks<A>[smaller(tile, all - at) / Lanes::size - 1];
            run(rows, steps.count, args_.key_size, states_ + value * args_.key_size,
                at == 0 ? ahead : Ahead());
        }
    }

    /// Calls `visit(row of a tile, its place in a (B, H, K, V) array, size, width)` for each row of each
    /// tile.
    template <typename Visit>
    void for_each_tile_row(const Rows& values, const Visit& visit) const {
        A* row = states_;
        for (Index i = 0; i < values.count; ++i) {
            const Index first = (values.state + i) * args_.key_size * args_.value_size;
            for (Index at = values.begin; at < values.end; at += tile) {
                const Index size = smaller(tile, values.end - at);
                const Index width = rounded_up(size, Lanes::size);
                for (Index key = 0; key < args_.key_size; ++key, row += width) {
                    visit(row, first + key * args_.value_size + at, size, width);
                }
            }
        }
    }

    void read_states(const Rows& values) const {
        for_each_tile_row(values, [&](A* row, Index at, Index size, Index width) {
            copy_row(row, row_at<A>(args_.s0, at), size);
            fill_row(row + size, width - size, A(0));
        });
    }

    void write_states(const Rows& values, A* array) const {
        for_each_tile_row(values,
                          [&](A* row, Index at, Index size, Index) { copy_row(array + at, row, size); });
    }

    const GatedLinearForward& args_;
    Pieces<A> pieces_;
    A *q_, *k_, *g_, *v_, *o_, *states_;
};

}  // namespace
}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear

namespace sru_kernels {

template <>
void cpu::Builds<GatedLinearForward>::SRU_KERNELS_VARIANT(const GatedLinearForward& args, int num_threads) {
    using namespace SRU_KERNELS_VARIANT;
    using namespace SRU_KERNELS_VARIANT::gated_linear;
    dispatch_storage(args.dtype, [&](auto zero) {
        using S = decltype(zero);
        using Tiles = ForwardTiles<S>;
        const WorkSpace<AccumulationType<S>> space(Tiles::work_size(args), num_threads);
        const Index tiles = (args.value_size + Tiles::tile - 1) / Tiles::tile;
        const auto share = [&](int thread, Index begin, Index end) {
            const Tiles work(args, space.of_thread(thread));
            for (Index count; begin < end; begin += count) {
                const Index state = begin / tiles, tile = begin % tiles;
                if (tile == 0 && end - begin >= tiles) {
                    const Index states = smaller(group_size(args), (end - begin) / tiles);
                    work.run(state, states, 0, args.value_size);
                    count = states * tiles;
                } else {
                    count = smaller(tiles - tile, end - begin);
                    work.run(state, 1, tile * Tiles::tile,
                             smaller((tile + count) * Tiles::tile, args.value_size));
                }
            }
        };
        share_out(args.states() * tiles, is_worthwhile(args), num_threads, share);
    });
}

}  // namespace sru_kernels
