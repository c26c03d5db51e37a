#pragma once

#include "runtime/cpu/threads.hpp"
#include "sru_kernels/host_device.hpp"
#include "sru_kernels/types.hpp"

// How independent columns are divided among threads.
//
// Nothing here calls a function template of the standard library, which would be compiled once per
// instruction set under one name: see host_device.hpp.
namespace sru_kernels::SRU_KERNELS_VARIANT {

/// Columns that walk through time together: few enough that their states and sums stay in the L1 and L2
/// caches.
constexpr Index tile_size = 2048;

SRU_KERNELS_HOST_DEVICE Index smaller(Index a, Index b) { return a < b ? a : b; }

template <typename Element>
void fill_row(Element* row, Index size, Element value) {
    for (Index i = 0; i < size; ++i) row[i] = value;
}

/// Copies a row, or zeros if it is absent.
template <typename Element>
void copy_row(Element* to, const Element* from, Index size) {
    if (from == nullptr) return fill_row(to, size, Element{});
    for (Index i = 0; i < size; ++i) to[i] = from[i];
}

template <typename Element>
void add_row(Element* to, const Element* from, Index size) {
    for (Index i = 0; i < size; ++i) to[i] += from[i];
}

/// The row at `offset`, or nullptr if the array is absent.
template <typename Element>
const Element* row_at(const void* array, Index offset) {
    return array == nullptr ? nullptr : static_cast<const Element*>(array) + offset;
}

/// Calls `work(thread, threads)` once on each thread of a team of at most `num_threads`.
template <typename Work>
void run_on_team(int num_threads, const Work& work) {
    cpu::run_team(
        num_threads,
        [](const void* argument, int thread, int threads) {
            (*static_cast<const Work*>(argument))(thread, threads);
        },
        &work);
}

/// Calls `visit(thread, begin, end)` once on each thread of a team, with its share of `total` items.
///
/// The team has all threads, or one if more are not worthwhile: libgomp destroys and creates threads whenever
/// the size of a team changes.
template <typename Visit>
void share_out(Index total, bool worthwhile, int num_threads, const Visit& visit) {
    const auto share = [&](int thread, int threads) {
        visit(thread, total * thread / threads, total * (thread + 1) / threads);
    };
    if (num_threads <= 1 || !worthwhile || total <= 1) return share(0, 1);
    run_on_team(num_threads, share);
}

/// Calls `visit(begin, size)` for every `tile` of `total` columns, on up to `num_threads` threads. Each
/// thread owns whole cache lines of `line` columns.
template <typename Visit>
void for_each_tile(Index total, Index tile, Index line, bool worthwhile, int num_threads,
                   const Visit& visit) {
    const Index lines = (total + line - 1) / line;
    share_out(lines, worthwhile, num_threads, [&](int, Index first, Index last) {
        const Index end = smaller(total, last * line);
        for (Index begin = first * line; begin < end; begin += tile) {
            visit(begin, smaller(tile, end - begin));
        }
    });
}

/// The rows of an array; if it is absent, a row filled with `value` in place of each.
template <typename Element>
class OptionalRows {
 public:
    OptionalRows(const void* array, Index size, Element value) : array_(static_cast<const Element*>(array)) {
        if (array == nullptr) fill_row(elements_, size, value);
    }
    const Element* at(Index offset) const { return array_ == nullptr ? elements_ : array_ + offset; }

 private:
    const Element* const array_;
    alignas(64) Element elements_[tile_size];
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT
