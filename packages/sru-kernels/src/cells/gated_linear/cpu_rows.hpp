#pragma once

#include <initializer_list>
#include <new>

#include "cells/gated_linear/fields.hpp"
#include "cells/gated_linear/step.hpp"
#include "runtime/cpu/tiles.hpp"
#include "runtime/cpu/vectors.hpp"
#include "sru_kernels/storage.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// Multiplications per thread below which starting other threads does not pay.
constexpr Index products_per_thread = 32768;

inline Index rounded_up(Index size, Index to) { return (size + to - 1) / to * to; }

inline bool is_worthwhile(const GatedLinearInputs& in) {
    return in.length * in.states() * in.key_size * in.value_size >= 2 * products_per_thread;
}

/// Memory to work in, one piece per thread. It is allocated before the threads start, because an exception in
/// one of them would end the process.
template <typename A>
class WorkSpace {
 public:
    WorkSpace(Index size, int num_threads)
        : size_(rounded_up(size, alignment / Index{sizeof(A)})),
          memory_(static_cast<A*>(::operator new(bytes(num_threads), std::align_val_t{alignment}))) {}
    ~WorkSpace() { ::operator delete(memory_, std::align_val_t{alignment}); }
    WorkSpace(const WorkSpace&) = delete;
    WorkSpace& operator=(const WorkSpace&) = delete;

    A* of_thread(Index thread) const { return memory_ + thread * size_; }

 private:
    static constexpr Index alignment = 64;

    std::size_t bytes(int num_threads) const {
        std::size_t result = 0;
        const bool overflows =
            __builtin_mul_overflow(static_cast<std::size_t>(size_) * sizeof(A), num_threads, &result);
        return overflows ? SIZE_MAX : result;
    }

    const Index size_;
    A* const memory_;
};

/// Divides a thread's memory into pieces of whole vectors. Without memory it only counts.
template <typename A>
struct Pieces {
    A* memory;
    Index used = 0;

    A* take(Index size) {
        A* piece = memory == nullptr ? nullptr : memory + used;
        used += rounded_up(size, Vector<A>::size);
        return piece;
    }
};

/// Some steps of a segment: the first one, and how many.
struct Steps {
    Index first;
    Index count;
};

/// The steps of the longest segment.
inline Index most_steps(const GatedLinearInputs& in) { return smaller(in.segment_length, in.length); }

inline Steps steps_of(const GatedLinearInputs& in, Index segment) {
    const Index first = segment * in.segment_length;
    return {first, smaller(in.segment_length, in.length - first)};
}

/// Elements `begin` to `end` of the rows of `count` neighbouring states, from `state` on, in a
/// (T, B·H, `width`) array.
struct Rows {
    Index width;
    Index state;
    Index count;
    Index begin;
    Index end;

    Index size() const { return end - begin; }

    /// The offset of a row in the array.
    Index at(const GatedLinearInputs& in, Index step, Index i) const {
        return (step * in.states() + state + i) * width + begin;
    }
};

/// Calls `visit(offset in the array, offset in the work space)` for each row of some steps. In the work space
/// rows of `width` numbers follow each other.
template <typename Visit>
void for_each_row(const GatedLinearInputs& in, const Rows& rows, Steps steps, Index width,
                  const Visit& visit) {
    Index to = 0;
    for (Index step = 0; step < steps.count; ++step) {
        for (Index i = 0; i < rows.count; ++i, to += width) visit(rows.at(in, steps.first + step, i), to);
    }
}

/// Rows that are needed soon, prefetched step by step during work on others: the distance from one step to
/// the next is too large for a processor's own prefetcher.
class Ahead {
 public:
    /// Adds row `i` of each of the arrays, from step `first` on.
    template <typename Element, typename... Arrays>
    void add(const GatedLinearInputs& in, const Rows& rows, Index first, Index i, const Arrays*... arrays) {
        constexpr auto bytes = Index{sizeof(Element)};
        for (const void* array : {static_cast<const void*>(arrays)...}) {
            if (array == nullptr) continue;
            arrays_[count_++] = {static_cast<const char*>(array) + rows.at(in, first, i) * bytes,
                                 in.states() * rows.width * bytes, rows.size() * bytes};
        }
    }

    /// The addresses may lie beyond the last step: nothing is read.
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

/// Calls `convert(from, to, size)` for each row, and pads it with zeros in the work space.
template <typename S, typename A>
void load_rows(const GatedLinearInputs& in, const Rows& rows, Steps steps, const void* array, A* to,
               Index width, void (*convert)(const S*, A*, Index)) {
    for_each_row(in, rows, steps, width, [&](Index at, Index row) {
        convert(static_cast<const S*>(array) + at, to + row, rows.size());
        fill_row(to + row + rows.size(), width - rows.size(), A(0));
    });
}

/// States that are worked on together: enough that their rows fill about a page of memory, because a TLB miss
/// is expensive.
inline Index group_size(const GatedLinearInputs& in) {
    const Index width = in.key_size + in.value_size;
    return width == 0 || width > 512 ? 1 : smaller(512 / width, in.states());
}

/// Divides the states, each of so many `parts`, among threads. Calls `run(thread, state, states, begin, end)`
/// for all parts of some states, or for parts `begin` to `end` of one.
template <typename Run>
void share_out_states(const GatedLinearInputs& in, Index parts, int num_threads, const Run& run) {
    share_out(in.states() * parts, is_worthwhile(in), num_threads, [&](int thread, Index begin, Index end) {
        for (Index count; begin < end; begin += count) {
            const Index state = begin / parts, part = begin % parts;
            const Index states = part == 0 ? smaller(group_size(in), (end - begin) / parts) : 0;
            count = states > 0 ? states * parts : smaller(parts - part, end - begin);
            run(thread, state, states > 0 ? states : 1, part, states > 0 ? parts : part + count);
        }
    });
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear
