#pragma once

#include "sru_kernels/types.hpp"

// How sequences of different lengths are divided among threads. Compiled once, not per instruction set.
namespace sru_kernels::cpu {

/// Concatenated sequences: row b has the positions offsets[b] to offsets[b + 1] of `length` in total, and
/// `columns` that walk through them independently.
struct Sequences {
    const Index* offsets;
    Index rows, length, columns;
};

/// Columns `begin` to `begin + size` of one sequence, which walk through its positions together.
struct Unit {
    Index row, begin, size;
};

using UnitWork = void (*)(const void* argument, const Unit& unit);

/// Throws std::invalid_argument, which names the kernel, unless the offsets begin at 0, end at the length and
/// never decrease.
void check_offsets(const char* kernel, const Sequences& sequences);

/// Calls `work` once for every unit on a team of up to `num_threads` threads, or on this one if more are not
/// worthwhile. A unit holds whole lines of `line` columns, and `tile` columns at most. Long sequences are cut
/// into several, and the largest units are taken first, so that no thread is left with a long one at the end.
void for_each_unit(const Sequences& sequences, Index line, Index tile, bool worthwhile, int num_threads,
                   UnitWork work, const void* argument);

/// Writes the row indices to `order`, those of long sequences first.
void longest_first(const Index* offsets, Index rows, Index* order);

}  // namespace sru_kernels::cpu
