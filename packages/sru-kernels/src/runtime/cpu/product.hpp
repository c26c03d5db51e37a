#pragma once

#include <cstddef>
#include <utility>

#include "runtime/cpu/instruction_set.hpp"
#include "runtime/cpu/vectors.hpp"
#include "sru_kernels/storage.hpp"

// Products of a few rows with a matrix that is packed once and used many times.
//
// The packed matrix is a sequence of panels, each two vectors wide and stored row by row. The sums of a tile
// of the product stay in registers; each row of a panel takes two loads, and one broadcast per row of the
// left matrix. Terms are added in the same order in every tile, so results do not depend on how rows are
// grouped.
//
// Processors that have the instructions multiply bfloat16 in pairs: a row of the panel and a number of the
// left matrix then hold two consecutive terms, rounded to bfloat16, and the sums are float32.
namespace sru_kernels::SRU_KERNELS_VARIANT {

/// Rows of the left matrix that are multiplied at a time: as many as keep the sums in registers. AVX-512 has
/// 32 registers, other sets have 16; without fused instructions, a product needs one more.
#if defined(__AVX512F__)
constexpr Index most_tile_rows = 12;
#elif defined(__AVX2__)
constexpr Index most_tile_rows = 6;
#else
constexpr Index most_tile_rows = 4;
#endif

/// The vectors in a row of a panel.
constexpr Index panel_vectors = 2;

/// The columns of a panel.
template <typename A>
constexpr Index panel_columns = panel_vectors * Vector<A>::size;

/// Whether numbers stored as S are multiplied in pairs on this processor.
template <typename S>
bool multiplies_pairs() {
#if defined(__AVX512F__)
    if (std::is_same_v<S, BFloat16>) return cpu::instruction_set() == cpu::InstructionSet::avx512_bf16;
#endif
    return false;
}

/// The rows of a panel for a product of `depth` terms.
inline Index panel_rows(Index depth, bool in_pairs) { return in_pairs ? (depth + 1) / 2 : depth; }

/// The place of term `k` of a column in a panel of pairs, counted in bfloat16.
template <typename A>
Index place_in_pairs(Index k, Index column) {
    return 2 * (k / 2 * panel_columns<A> + column) + k % 2;
}

/// Rows of the left matrix, `stride` apart, and a panel. `depth` counts columns of the left matrix and rows
/// of the panel. With `in_pairs`, each number of either matrix holds two bfloat16.
template <typename A>
struct Factors {
    const A* left;
    Index stride;
    const A* panel;
    Index depth;
    bool in_pairs;
};

/// Writes the product of `rows` rows with a panel to `out` (rows, columns of a panel).
template <Index rows, typename A>
void multiply_tile(const Factors<A>& given, A* out) {
    using Lanes = Vector<A>;
    const Factors<A> factors = given;
    Lanes sums[rows][panel_vectors];
#pragma GCC unroll 16
    for (Index row = 0; row < rows; ++row) {
#pragma GCC unroll 2
        for (Index j = 0; j < panel_vectors; ++j) sums[row][j] = Lanes::zero();
    }
    const A *left = factors.left, *panel = factors.panel;
    for (Index k = 0; k < factors.depth; ++k, panel += panel_columns<A>) {
        Lanes right[panel_vectors];
#pragma GCC unroll 2
        for (Index j = 0; j < panel_vectors; ++j) right[j] = Lanes::load(panel + j * Lanes::size);
#pragma GCC unroll 16
        for (Index row = 0; row < rows; ++row) {
            const Lanes number = Lanes::all(left[row * factors.stride + k]);
#pragma GCC unroll 2
            for (Index j = 0; j < panel_vectors; ++j) {
                sums[row][j] = multiply_add(number, right[j], sums[row][j]);
            }
        }
    }
#pragma GCC unroll 16
    for (Index row = 0; row < rows; ++row) {
#pragma GCC unroll 2
        for (Index j = 0; j < panel_vectors; ++j) {
            sums[row][j].store(out + row * panel_columns<A> + j * Lanes::size);
        }
    }
}

#if defined(__AVX512F__)
/// `multiply_tile` for pairs of bfloat16.
template <Index rows>
__attribute__((target("avx512bf16"))) void multiply_tile_of_pairs(const Factors<float>& given, float* out) {
    const Factors<float> factors = given;
    __m512 sums[rows][panel_vectors];
#pragma GCC unroll 16
    for (Index row = 0; row < rows; ++row) {
#pragma GCC unroll 2
        for (Index j = 0; j < panel_vectors; ++j) sums[row][j] = _mm512_setzero_ps();
    }
    const float *left = factors.left, *panel = factors.panel;
    for (Index k = 0; k < factors.depth; ++k, panel += panel_columns<float>) {
        __m512bh right[panel_vectors];
#pragma GCC unroll 2
        for (Index j = 0; j < panel_vectors; ++j) {
            right[j] = (__m512bh)_mm512_loadu_si512(panel + j * Vector<float>::size);
        }
#pragma GCC unroll 16
        for (Index row = 0; row < rows; ++row) {
            int pair;
            __builtin_memcpy(&pair, left + row * factors.stride + k, sizeof pair);
            const __m512bh pairs = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 2
            for (Index j = 0; j < panel_vectors; ++j) {
                sums[row][j] = _mm512_dpbf16_ps(sums[row][j], pairs, right[j]);
            }
        }
    }
#pragma GCC unroll 16
    for (Index row = 0; row < rows; ++row) {
#pragma GCC unroll 2
        for (Index j = 0; j < panel_vectors; ++j) {
            _mm512_storeu_ps(out + row * panel_columns<float> + j * Vector<float>::size, sums[row][j]);
        }
    }
}
#endif

template <typename A, std::size_t... rows>
void multiply_some(Index count, const Factors<A>& factors, A* out, std::index_sequence<rows...>) {
    using Multiply = void (*)(const Factors<A>&, A*);
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<A, float>) {
        static constexpr Multiply of_pairs[] = {multiply_tile_of_pairs<Index(rows) + 1>...};
        if (factors.in_pairs) return of_pairs[count - 1](factors, out);
    }
#endif
    static constexpr Multiply of_rows[] = {multiply_tile<Index(rows) + 1, A>...};
    of_rows[count - 1](factors, out);
}

/// Divides `count` rows into tiles of about equal height. For each tile, calls `prefetch(row)` for each row,
/// multiplies, and calls `visit(first row, rows, their product)`. Prefetches for more rows at once would be
/// dropped: a core can have about two dozen lines in flight.
template <typename A, typename Prefetch, typename Visit>
void multiply_rows(Index count, Factors<A> factors, const Prefetch& prefetch, const Visit& visit) {
    alignas(64) A out[most_tile_rows * panel_columns<A>];
    const Index tiles = (count + most_tile_rows - 1) / most_tile_rows;
    const A* const left = factors.left;
    for (Index tile = 0; tile < tiles; ++tile) {
        const Index first = count * tile / tiles, rows = count * (tile + 1) / tiles - first;
        factors.left = left + first * factors.stride;
        for (Index row = first; row < first + rows; ++row) prefetch(row);
        multiply_some(rows, factors, out, std::make_index_sequence<std::size_t{most_tile_rows}>{});
        visit(first, rows, static_cast<const A*>(out));
    }
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT
