#include "runtime/cpu/schedule.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "runtime/cpu/threads.hpp"

namespace sru_kernels::cpu {
namespace {

/// Column steps below which a unit is not worth fetching.
constexpr Index smallest_unit = 4096;

/// A thread's share is divided into at least this many units. More would be slower: the fewer columns walk
/// together, the longer they wait for memory.
constexpr Index parts_of_share = 2;

Index rounded_up_quotient(Index size, Index by) { return (size + by - 1) / by; }

std::vector<Unit> cut(const Sequences& sequences, Index line, Index tile, int threads) {
    const Index share = sequences.length * sequences.columns / threads;
    const Index most_work = std::max(smallest_unit, threads > 1 ? share / parts_of_share : share);
    const Index lines = rounded_up_quotient(sequences.columns, line);
    std::vector<Unit> units;
    for (Index row = 0; row < sequences.rows; ++row) {
        const Index steps = std::max<Index>(1, sequences.offsets[row + 1] - sequences.offsets[row]);
        const Index most_lines = std::clamp<Index>(most_work / (steps * line), 1, tile / line);
        Index parts = rounded_up_quotient(lines, most_lines);
        // The same number for each thread.
        if (parts > 1) parts = std::min(lines, rounded_up_quotient(parts, threads) * threads);
        for (Index part = 0; part < parts; ++part) {
            const Index begin = lines * part / parts * line, end = lines * (part + 1) / parts * line;
            units.push_back({row, begin, std::min(end, sequences.columns) - begin});
        }
    }
    return units;
}

void sort_by_work(std::vector<Unit>& units, const Index* offsets) {
    const auto work = [&](const Unit& unit) {
        return unit.size * (offsets[unit.row + 1] - offsets[unit.row]);
    };
    std::stable_sort(units.begin(), units.end(),
                     [&](const Unit& a, const Unit& b) { return work(a) > work(b); });
}

[[noreturn]] void fail(const char* kernel, const std::string& what) {
    throw std::invalid_argument(std::string(kernel) + ": cu_seqlens must " + what);
}

}  // namespace

void check_offsets(const char* kernel, const Sequences& sequences) {
    const auto& [offsets, rows, length, columns] = sequences;
    if (offsets[0] != 0) fail(kernel, "begin at 0, got " + std::to_string(offsets[0]));
    for (Index row = 0; row < rows; ++row) {
        if (offsets[row + 1] >= offsets[row]) continue;
        fail(kernel, "not decrease, got " + std::to_string(offsets[row + 1]) + " after " +
                         std::to_string(offsets[row]));
    }
    if (offsets[rows] == length) return;
    fail(kernel, "end at the number of positions, " + std::to_string(length) + ", got " +
                     std::to_string(offsets[rows]));
}

void for_each_unit(const Sequences& sequences, Index line, Index tile, bool worthwhile, int num_threads,
                   UnitWork work, const void* argument) {
    const int threads = worthwhile ? num_threads : 1;
    std::vector<Unit> units = cut(sequences, line, tile, threads);
    if (threads > 1) sort_by_work(units, sequences.offsets);
    std::atomic<std::size_t> taken{0};
    const auto take = [&] {
        for (std::size_t next; (next = taken.fetch_add(1, std::memory_order_relaxed)) < units.size();) {
            work(argument, units[next]);
        }
    };
    run_team(threads, [](const void* team, int, int) { (*static_cast<decltype(&take)>(team))(); }, &take);
}

void longest_first(const Index* offsets, Index rows, Index* order) {
    std::iota(order, order + rows, Index{0});
    std::stable_sort(order, order + rows, [&](Index a, Index b) {
        return offsets[a + 1] - offsets[a] > offsets[b + 1] - offsets[b];
    });
}

}  // namespace sru_kernels::cpu
