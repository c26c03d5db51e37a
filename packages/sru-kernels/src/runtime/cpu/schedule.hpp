#pragma once

#include "sru_kernels/types.hpp"

// How sequences of different lengths are divided among threads. Compiled once, not per instruction set.
namespace sru_kernels::cpu {

/// Concatenated sequences: row b has positions offsets[b] to offsets[b + 1], out of `length` in all. Its
/// `columns` columns walk through them independently.
struct Sequences {
    const Index* offsets;
    Index rows, length, columns;
};

/// Columns `begin` to `begin + size` of one sequence, which walk through its positions together.
struct Unit {
    Index row, begin, size;
};

using UnitWork = void (*)(const void* argument, const Unit& unit);

/// Throws std::invalid_argument, which names the kernel, unless the offsets begin at 0, never decrease and
/// end at the length.
void check_offsets(const char* kernel, const Sequences& sequences);

/// Calls `work` once per unit, on a team of up to `num_threads` threads, or on the calling thread if more are
/// not worthwhile. A unit consists of whole lines of `line` columns, at most `tile` columns in all. Long
/// sequences are cut into several units, and the largest units are taken first, so that no thread is left
/// with a long one at the end.
void for_each_unit(const Sequences& sequences, Index line, Index tile, bool worthwhile, int num_threads,
                   UnitWork work, const void* argument);

/// Writes the row indices to `order`, longest sequences first.
void longest_first(const Index* offsets, Index rows, Index* order);

}  // namespace sru_kernels::cpu
