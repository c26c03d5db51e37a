#pragma once

#include <initializer_list>

#include "cells/gated_linear/fields.hpp"
#include "cells/gated_linear/step.hpp"
#include "runtime/cpu/schedule.hpp"
#include "runtime/cpu/tiles.hpp"
#include "runtime/cpu/vectors.hpp"
#include "runtime/cpu/work_space.hpp"
#include "sru_kernels/storage.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

inline void check_sequences(const GatedLinearInputs& in, const char* kernel) {
    if (in.cu_seqlens == nullptr) return;
    cpu::check_offsets(kernel, {in.cu_seqlens, in.batch, in.length, in.heads});
}

/// Multiplications per thread below which starting more threads does not pay off.
constexpr Index products_per_thread = 32768;

inline bool is_worthwhile(const GatedLinearInputs& in) {
    return in.steps() * in.key_size * in.value_size >= 2 * products_per_thread;
}

/// A range of steps in a segment.
struct Steps {
    Index first;
    Index count;
};

/// The number of steps in the longest segment.
inline Index most_steps(const GatedLinearInputs& in) { return smaller(in.segment_length, in.length); }

/// Adjacent states that advance through time together.
struct Group {
    Index state;  // the first
    Index count;
    Index steps;
    Index segments;
    Index slots;   // in `starts`; a sequence may have one more than it has segments
    Index slot;    // of the first segment
    Index place;   // row of the first step in a (T, B·H, size) array
    Index stride;  // from one step, or segment, to the next

    Group(const GatedLinearInputs& in, Index state, Index count) : state(state), count(count) {
        const Index row = state / in.heads, head = state % in.heads;
        const Walked walked = in.walked(row);
        steps = walked.count;
        slots = segments = steps == 0 ? 0 : (steps - 1) / in.segment_length + 1;
        Index segment = 0;
        if (in.cu_seqlens != nullptr) {
            segment = walked.first / in.segment_length;
            slots = (walked.first + steps) / in.segment_length + 1 - segment;
        }
        place = walked.first * in.heads + head;
        slot = (segment + row) * in.heads + head;
        stride = walked.stride * in.heads;
    }

    Steps segment(const GatedLinearInputs& in, Index segment) const {
        const Index first = segment * in.segment_length;
        return {first, first < steps ? smaller(in.segment_length, steps - first) : 0};
    }

    /// Whether state `i` restarts from `s_reset` at a step.
    bool restarts(const GatedLinearInputs& in, Index step, Index i) const {
        return in.marks != nullptr && (in.marks[(place + step * stride + i) / in.heads] & 2) != 0;
    }
    /// The steps of a segment from `begin` to the next restart of state `i`, or to the last step.
    Steps run_from(const GatedLinearInputs& in, Steps steps, Index begin, Index i) const {
        Index end = in.marks == nullptr ? steps.count : begin + 1;
        while (end < steps.count && !restarts(in, steps.first + end, i)) ++end;
        return {begin, end - begin};
    }
    /// The steps before `end`, from the last restart of state `i`, or from the first step.
    Steps run_before(const GatedLinearInputs& in, Steps steps, Index end, Index i) const {
        Index begin = in.marks == nullptr ? 0 : end - 1;
        while (begin > 0 && !restarts(in, steps.first + begin, i)) --begin;
        return {begin, end - begin};
    }
};

/// Elements `begin` to `end` of the rows of some states in a (T, B·H, `width`) array.
struct Rows {
    const Group& group;
    Index width;
    Index begin;
    Index end;

    Index size() const { return end - begin; }

    /// The offset of a row in the array.
    Index at(Index step, Index i) const { return (group.place + step * group.stride + i) * width + begin; }
};

/// Calls `visit(offset in the array, offset in the workspace)` for each row of some steps. The workspace
/// holds rows of `width` numbers without gaps.
template <typename Visit>
void for_each_row(const Rows& rows, Steps steps, Index width, const Visit& visit) {
    Index to = 0;
    for (Index step = 0; step < steps.count; ++step) {
        for (Index i = 0; i < rows.group.count; ++i, to += width) visit(rows.at(steps.first + step, i), to);
    }
}

/// Rows that are needed soon, prefetched step by step while others are processed: the stride from one step to
/// the next is too large for the hardware prefetcher.
class Ahead {
 public:
    /// Adds row `i` of each array, beginning with step `first`.
    template <typename Element, typename... Arrays>
    void add(const Rows& rows, Index first, Index i, const Arrays*... arrays) {
        constexpr auto bytes = Index{sizeof(Element)};
        for (const void* array : {static_cast<const void*>(arrays)...}) {
            if (array == nullptr) continue;
            arrays_[count_++] = {static_cast<const char*>(array) + rows.at(first, i) * bytes,
                                 rows.group.stride * rows.width * bytes, rows.size() * bytes};
        }
    }

    /// Addresses beyond the last step are harmless: prefetching reads nothing.
    SRU_KERNELS_HOST_DEVICE void fetch(Index step) const {
        for (Index i = 0; i < count_; ++i) {
            const char* row = arrays_[i].first + step * arrays_[i].stride;
            for (Index at = 0; at < arrays_[i].size; at += line) __builtin_prefetch(row + at);
        }
    }

 private:
    static constexpr Index line = 64;

    struct Array {
        const char* first;
        Index stride;  // in bytes, like the size
        Index size;
    };

    Array arrays_[8];
    Index count_ = 0;
};

template <typename S>
void load_row(const S* __restrict from, AccumulationType<S>* __restrict to, Index size) {
#pragma omp simd
    for (Index i = 0; i < size; ++i) to[i] = load(from[i]);
}

template <typename A>
void load_gates(const A* __restrict from, A* __restrict to, Index size) {
#pragma omp simd
    for (Index i = 0; i < size; ++i) to[i] = exp_of_negative(from[i]);
}

template <typename S>
void store_row(const AccumulationType<S>* __restrict from, S* __restrict to, Index size) {
#pragma omp simd
    for (Index i = 0; i < size; ++i) to[i] = store<S>(from[i]);
}

/// Calls `convert(from, to, size)` for each row, and pads the row with zeros in the workspace.
template <typename S, typename A>
void load_rows(const Rows& rows, Steps steps, const void* array, A* to, Index width,
               void (*convert)(const S*, A*, Index)) {
    for_each_row(rows, steps, width, [&](Index at, Index row) {
        convert(static_cast<const S*>(array) + at, to + row, rows.size());
        fill_row(to + row + rows.size(), width - rows.size(), A(0));
    });
}

/// The number of states processed together: enough that their rows fill about a page of memory, because a TLB
/// miss is expensive. All have the same number of steps.
inline Index group_size(const GatedLinearInputs& in) {
    const Index width = in.key_size + in.value_size, most = in.cu_seqlens == nullptr ? in.states() : in.heads;
    return width == 0 || width > 512 ? 1 : smaller(512 / width, most);
}

/// The first part, counting `parts` per state, that is preceded by at least `steps` steps of other parts.
inline Index part_after(const GatedLinearInputs& in, Index parts, Index steps) {
    if (steps == 0) return 0;  // the first sequence may be empty
    const Index of_row = in.heads * parts;
    Index row = 0;
    for (Index end = in.batch - 1; row < end;) {
        const Index middle = row + (end - row) / 2;
        if (in.cu_seqlens[middle + 1] * of_row < steps) {
            row = middle + 1;
        } else {
            end = middle;
        }
    }
    const Walked walked = in.walked(row);
    return row * of_row + (steps - walked.first * of_row + walked.count - 1) / walked.count;
}

/// Distributes the states, each divided into `parts`, over threads so that all process about the same number
/// of steps. Calls `run(thread, begin, end)` for a range of parts.
template <typename Run>
void share_out_parts(const GatedLinearInputs& in, Index parts, int num_threads, const Run& run) {
    const Index all = in.states() * parts;
    if (in.cu_seqlens == nullptr) return share_out(all, is_worthwhile(in), num_threads, run);
    const Index steps = in.steps() * parts;
    share_out(steps, is_worthwhile(in), num_threads, [&](int thread, Index begin, Index end) {
        run(thread, part_after(in, parts, begin), end == steps ? all : part_after(in, parts, end));
    });
}

/// Distributes the states over threads. Calls `run(thread, group, begin, end)` for all parts of some states,
/// or for parts `begin` to `end` of one state.
template <typename Run>
void share_out_states(const GatedLinearInputs& in, Index parts, int num_threads, const Run& run) {
    share_out_parts(in, parts, num_threads, [&](int thread, Index begin, Index end) {
        for (Index count; begin < end; begin += count) {
            const Index state = begin / parts, part = begin % parts;
            const Index most = in.cu_seqlens == nullptr ? in.states() : in.heads - state % in.heads;
            const Index whole = smaller((end - begin) / parts, most);
            const Index states = part == 0 ? smaller(group_size(in), whole) : 0;
            count = states > 0 ? states * parts : smaller(parts - part, end - begin);
            run(thread, Group(in, state, states > 0 ? states : 1), part, states > 0 ? parts : part + count);
        }
    });
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear
