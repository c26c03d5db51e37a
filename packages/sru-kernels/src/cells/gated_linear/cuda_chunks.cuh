#pragma once

#include "cells/gated_linear/cuda_block.cuh"
#include "runtime/cuda/async_copy.cuh"

// How a block advances its state through time, in chunks of a few steps. With P_t = Π g up to step t of a
// chunk and R_s = Π g after step s, queries are moved to the start of their chunk and keys to its end:
//
//     A_ts = Σ_K q_t ⊙ Π_{r from s+1 to t} g_r ⊙ k_s     for s ≤ t
//     o_t = Σ_s A_ts v_s + (q_t ⊙ P_t) S                 S' = diag(Π g) S + Σ_s (k_s ⊙ R_s) v_sᵀ
//
// Gates are only multiplied, never divided by, so they may be arbitrarily small. A chunk ends at the end of a
// segment and before a restart, so that nothing from before a restart enters a product.
namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// Rows of a (T, B, H, size) array, or some columns of them.
template <typename Element>
struct Rows {
    const Element* from;  // nullptr if the array is absent
    Index pitch;          // from one row to the next
    int width;
};

/// Steps that are processed together.
struct Chunk {
    int first, count;
    bool is_restart;  // whether the state before it is `s_reset`
};

/// The steps of one state: fewer than 2^31, although offsets in arrays may be larger.
struct StateWalk {
    const GatedLinearInputs& in;
    const int state;
    int row, head;
    Index place, stride;  // the first position, and the distance between positions
    int count;

    __device__ __forceinline__ StateWalk(const GatedLinearInputs& in, int state)
        : in(in),
          state(state),
          row(state / static_cast<int>(in.heads)),
          head(state % static_cast<int>(in.heads)) {
        const Walked positions = in.walked(row);
        place = positions.first;
        stride = positions.stride;
        count = static_cast<int>(positions.count);
    }

    /// As `Thread::hide_place`.
    __device__ __forceinline__ void hide_place() {
        hide(row);
        hide(head);
        hide(place);
        hide(stride);
    }

    __device__ __forceinline__ Index position(int step) const { return place + step * stride; }
    /// The offset of the row of a step in a (T, B, H, size) array; `pitch` is the distance to the next step.
    __device__ __forceinline__ Index at(int step, Index size) const {
        return (position(step) * in.heads + head) * size;
    }
    __device__ __forceinline__ Index pitch(Index size) const { return stride * in.heads * size; }
    template <typename Element>
    __device__ __forceinline__ Rows<Element> rows(const void* array, int step, Index size, Index column,
                                                  int width) const {
        if (array == nullptr) return {};
        return {static_cast<const Element*>(array) + at(step, size) + column, pitch(size), width};
    }

    __device__ __forceinline__ int segment_length() const {
        return static_cast<int>(within(1, in.segment_length, INT32_MAX));
    }
    /// The index in `starts` of one of the state's segments.
    __device__ __forceinline__ Index slot(int segment) const {
        if (in.cu_seqlens == nullptr) return (segment * in.batch + row) * in.heads + head;
        return (place / in.segment_length + row + segment) * in.heads + head;
    }
    /// The state's number of entries in `starts`: a sequence may have one more entry than segments.
    __device__ __forceinline__ int slots() const {
        const Index length = in.segment_length;
        if (in.cu_seqlens == nullptr) return count == 0 ? 0 : static_cast<int>((count - 1) / length) + 1;
        return static_cast<int>((place + count) / length - place / length) + 1;
    }

    /// One bit per lane: whether the state restarts `lane` steps after `step`, or before it if `direction` is
    /// -1, up to `last`.
    __device__ __forceinline__ unsigned int starts(int step, int lane, int direction, int last) const {
        if (in.marks == nullptr) return 0;
        const int own = step + direction * lane;
        const bool within = direction > 0 ? own <= last : own >= last;
        return __ballot_sync(0xffffffffU, within && (in.marks[position(own)] & 2) != 0);
    }

    /// The chunk that begins at a step, if `left_in_segment` steps of the segment remain from there.
    __device__ __forceinline__ Chunk chunk_from(int first, int left_in_segment, int most, int lane) const {
        int chunk = count - first < left_in_segment ? count - first : left_in_segment;
        chunk = chunk < most ? chunk : most;
        const unsigned int found = starts(first, lane, 1, first + chunk - 1);
        if (found >> 1 != 0) chunk = __ffs(static_cast<int>(found & ~1U)) - 1;
        return {first, chunk, (found & 1) != 0};
    }
};

/// Rows in shared memory.
template <typename Element>
struct SharedRows {
    Element* first;
    int stride, width;
};

/// Calls `copy` for each of the `units` pieces of each row; adjacent threads process adjacent pieces.
template <typename Copy>
__device__ __forceinline__ void for_each_piece(const Thread& thread, int rows, int units, const Copy& copy) {
    if (units == 0) return;
    const int bits = 32 - __clz(units - 1);
#pragma unroll 1
    for (int i = thread.index; i < rows << bits; i += static_cast<int>(blockDim.x)) {
        const int row = i >> bits, unit = i & ((1 << bits) - 1);
        if (unit < units) copy(row, unit);
    }
}

/// Copies rows, asynchronously and 16 bytes at a time if they are aligned.
template <typename Element>
__device__ __forceinline__ void fetch(const Thread& thread, const Rows<Element>& rows, int count,
                                      const SharedRows<Element>& to) {
    if (rows.from == nullptr) return;
    constexpr int piece = 16 / sizeof(Element);
    const bool aligned = reinterpret_cast<std::uintptr_t>(rows.from) % 16 == 0 && rows.pitch % piece == 0 &&
                         rows.width % piece == 0;
    if (has_async_copies && aligned) {
        for_each_piece(thread, count, rows.width / piece, [&](int row, int unit) {
            copy_async(to.first + row * to.stride + unit * piece,
                       rows.from + row * rows.pitch + unit * piece);
        });
    } else {
        for_each_piece(thread, count, rows.width, [&](int row, int unit) {
            to.first[row * to.stride + unit] = rows.from[row * rows.pitch + unit];
        });
    }
}

/// Converts rows in shared memory, and pads them with columns and rows of zeros.
template <typename Element, typename A, typename Convert>
__device__ __forceinline__ void unpack(const Thread& thread, const SharedRows<Element>& from, int count,
                                       const SharedRows<A>& to, int rows, const Convert& convert) {
    for_each_piece(thread, rows, to.width / 4, [&](int row, int unit) {
        A four[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int i = 4 * unit + j;
            four[j] = row < count && i < from.width ? convert(from.first[row * from.stride + i]) : A(0);
        }
        write4(to.first + row * to.stride + 4 * unit, four);
    });
}

/// Computes A_ts `(steps, steps)` for s ≤ t; the other elements are not written.
template <typename A>
__device__ __forceinline__ void meet(const Thread& thread, const SharedRows<A>& q, const A* k, const A* g,
                                     int count, A* a, int steps) {
    constexpr int pair = 2;      // a thread computes two s and four keys
    constexpr int together = 4;  // several t share a reduction across lanes, which has a long latency
    const int quads = q.width / 4, bits = 31 - __clz(quads);
    const int items = ((count + pair - 1) / pair) << bits;
#pragma unroll 1
    for (int base = thread.index - thread.lane; base < items; base += static_cast<int>(blockDim.x)) {
        const int s = ((base + thread.lane) >> bits) * pair;
        A keys[pair][4] = {};
        int at = (base >> bits) * pair * q.stride + 4 * ((base + thread.lane) & (quads - 1));
#pragma unroll 1
        for (int t = (base >> bits) * pair; t < count; t += together) {
            A sums[together * pair] = {};
#pragma unroll
            for (int i = 0; i < together; ++i, at += q.stride) {
                if (t + i >= count) continue;
                A query[4], gate[4];
                read4(q.first + at, query);
                read4(g + at, gate);
#pragma unroll
                for (int j = 0; j < pair; ++j) {
#pragma unroll
                    for (int key = 0; key < 4; ++key) keys[j][key] *= gate[key];
                    if (t + i == s + j) read4(k + at, keys[j]);
#pragma unroll
                    for (int key = 0; key < 4; ++key)
                        sums[i * pair + j] = multiply_add(query[key], keys[j][key], sums[i * pair + j]);
                }
            }
            sum_over_lanes<together * pair>(sums, thread.lane, 1, quads, 0, [&](int i, A sum) {
                const int to = t + i / pair, from = s + i % pair;
                if (from <= to && to < count) a[to * steps + from] = sum;
            });
        }
    }
}

/// Moves keys to the end of their chunk, k_s ⊙ R_s, and computes the product of its gates.
template <typename A>
__device__ __forceinline__ void move_to_end(const Thread& thread, const SharedRows<A>& k, const A* g,
                                            int count, A* ends, A* gates) {
#pragma unroll 1
    for (int key = thread.index; key < k.width; key += static_cast<int>(blockDim.x)) {
        A after = 1;
        for (int s = count - 1, at = s * k.stride + key; s >= 0; --s, at -= k.stride) {
            ends[at] = k.first[at] * after;
            after *= g[at];
        }
        gates[key] = after;
    }
}

/// Moves queries to the start of their chunk, q_t ⊙ P_t.
template <typename A>
__device__ __forceinline__ void move_to_start(const Thread& thread, const SharedRows<A>& q, const A* g,
                                              int count) {
#pragma unroll 1
    for (int key = thread.index; key < q.width; key += static_cast<int>(blockDim.x)) {
        A before = 1;
        for (int t = 0, at = key; t < count; ++t, at += q.stride) {
            before *= g[at];
            q.first[at] *= before;
        }
    }
}

/// Rounds four adjacent elements of a row and writes those that are inside the row.
template <typename S, typename A>
__device__ __forceinline__ void store4(S* to, const A (&from)[4], Index left, bool wide) {
    S stored[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) stored[j] = store<S>(from[j]);
    if (wide && left >= 4) {
        using Word = std::conditional_t<sizeof(S) == 2, uint2, uint4>;
        Word words[sizeof(stored) / sizeof(Word)];
        memcpy(words, stored, sizeof(stored));
#pragma unroll
        for (unsigned int i = 0; i < sizeof(stored) / sizeof(Word); ++i)
            reinterpret_cast<Word*>(to)[i] = words[i];
        return;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j)
        if (j < left) to[j] = stored[j];
}

/// Adds `factor` times four adjacent elements.
template <typename A>
__device__ __forceinline__ void add_four(A factor, const A* from, A (&sums)[4]) {
    A four[4];
    read4(from, four);
#pragma unroll
    for (int j = 0; j < 4; ++j) sums[j] = multiply_add(factor, four[j], sums[j]);
}

/// Whether rows of `size` elements in these arrays can be accessed four elements at a time.
template <typename Element, typename... Arrays>
__device__ __forceinline__ bool in_fours(Index size, const Arrays*... arrays) {
    constexpr unsigned int bytes = sizeof(Element) == 2 ? 8 : 16;
    const std::uintptr_t together = (std::uintptr_t{0} | ... | reinterpret_cast<std::uintptr_t>(arrays));
    return size % 4 == 0 && together % bytes == 0;
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear
