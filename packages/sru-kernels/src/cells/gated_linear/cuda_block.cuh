#pragma once

#include <cuda_runtime.h>

#include <cstring>

#include "cells/gated_linear/fields.hpp"
#include "runtime/cuda/hide.cuh"
#include "sru_kernels/math.hpp"
#include "sru_kernels/storage.hpp"

// How a block holds a state in registers: a thread owns some keys of four adjacent columns. Sums over keys or
// columns are reductions across the lanes of a warp.
namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

constexpr int columns_per_thread = 4;
constexpr int largest_forward_block = 128, largest_backward_block = 256;

template <typename A>
constexpr int keys_per_thread = 32 / sizeof(A);

/// The largest number of steps in a chunk.
template <typename A>
constexpr int most_steps = 64 / sizeof(A);

/// The layout of a block. Powers of two are stored as exponents.
///
/// Adjacent lanes own adjacent groups of columns, then the same columns of the next part of the keys; later
/// threads own further columns.
struct Shape {
    int step_bits;   // steps per chunk
    int part_bits;   // parts of the keys
    int group_bits;  // adjacent groups of columns
    int columns;     // per block
    int tiles;       // blocks per state

    SRU_KERNELS_HOST_DEVICE int steps() const { return 1 << step_bits; }
    SRU_KERNELS_HOST_DEVICE int parts() const { return 1 << part_bits; }
    SRU_KERNELS_HOST_DEVICE int groups() const { return 1 << group_bits; }
};

/// The position of a thread in its block.
struct Thread {
    int index, lane;
    int part;   // of the keys
    int group;  // of the columns
    int parts;

    /// Hides the position, so that the compiler does not keep the addresses derived from it in registers.
    __device__ __forceinline__ void hide_place() {
        hide(index);
        hide(lane);
        hide(part);
        hide(group);
    }

    __device__ __forceinline__ explicit Thread(const Shape& shape)
        : index(static_cast<int>(threadIdx.x)),
          lane(index & 31),
          part((index >> shape.group_bits) & (shape.parts() - 1)),
          group((index & (shape.groups() - 1)) +
                (index >> (shape.group_bits + shape.part_bits) << shape.group_bits)),
          parts(shape.parts()) {}

    /// The thread's keys, in groups of four; the lanes of a warp read adjacent groups.
    __device__ __forceinline__ int key(int i) const { return 4 * (part + parts * (i / 4)) + i % 4; }
    __device__ __forceinline__ int column() const { return group * columns_per_thread; }
};

template <typename A>
__device__ __forceinline__ void read4(const A* from, A (&to)[4]) {
    uint4 words[sizeof(to) / sizeof(uint4)];
#pragma unroll
    for (unsigned int i = 0; i < sizeof(to) / sizeof(uint4); ++i)
        words[i] = reinterpret_cast<const uint4*>(from)[i];
    memcpy(to, words, sizeof(to));
}

template <typename A>
__device__ __forceinline__ void write4(A* to, const A (&from)[4]) {
    uint4 words[sizeof(from) / sizeof(uint4)];
    memcpy(words, from, sizeof(from));
#pragma unroll
    for (unsigned int i = 0; i < sizeof(from) / sizeof(uint4); ++i)
        reinterpret_cast<uint4*>(to)[i] = words[i];
}

/// Reads the values of a thread's keys from a row of shared memory.
template <typename A>
__device__ __forceinline__ void read_keys(const A* row, const Thread& thread, A (&to)[keys_per_thread<A>]) {
#pragma unroll
    for (int i = 0; i < keys_per_thread<A>; i += 4) {
        A four[4];
        read4(row + thread.key(i), four);
#pragma unroll
        for (int j = 0; j < 4; ++j) to[i + j] = four[j];
    }
}

/// Sums each of n values over the lanes whose numbers differ in the bits from `bit` to below `end`, and calls
/// `take(index, sum)` for each sum in one of these lanes. The order of summation is fixed.
template <int n, typename A, typename Take>
__device__ __forceinline__ void sum_over_lanes(const A (&x)[n], int lane, int bit, int end, int first,
                                               const Take& take) {
    if constexpr (n == 1) {
        const int rest = end - bit;
        A sum = x[0];
        for (; bit < end; bit *= 2) sum += __shfl_xor_sync(0xffffffffU, sum, bit);
        if ((lane & rest) == 0) take(first, sum);
    } else {
        if (bit == end) {
#pragma unroll
            for (int i = 0; i < n; ++i) take(first + i, x[i]);
            return;
        }
        // Each lane of a pair keeps one half of the values.
        const bool second = (lane & bit) != 0;
        A half[n / 2];
#pragma unroll
        for (int i = 0; i < n / 2; ++i) {
            const A given = __shfl_xor_sync(0xffffffffU, second ? x[i] : x[i + n / 2], bit);
            half[i] = (second ? x[i + n / 2] : x[i]) + given;
        }
        sum_over_lanes<n / 2>(half, lane, 2 * bit, end, second ? first + n / 2 : first, take);
    }
}

/// The elements of a state that a thread owns.
template <typename A>
struct Owned {
    static constexpr int keys = keys_per_thread<A>, columns = columns_per_thread;
    A s[keys][columns];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < keys; ++i) {
#pragma unroll
            for (int j = 0; j < columns; ++j) s[i][j] = 0;
        }
    }

    /// S = diag(gates) S + Σ keys_t values_tᵀ over some rows.
    __device__ __forceinline__ void advance(const Thread& thread, const A* gates, const A* key_rows,
                                            int key_stride, const A* value_rows, int value_stride, int rows) {
        A g[keys];
        read_keys(gates, thread, g);
#pragma unroll
        for (int i = 0; i < keys; ++i) {
#pragma unroll
            for (int j = 0; j < columns; ++j) s[i][j] *= g[i];
        }
#pragma unroll 2
        for (int row = 0; row < rows; ++row) {
            A k[keys], v[columns];
            read_keys(key_rows + row * key_stride, thread, k);
            read4(value_rows + row * value_stride + thread.column(), v);
#pragma unroll
            for (int i = 0; i < keys; ++i) {
#pragma unroll
                for (int j = 0; j < columns; ++j) s[i][j] = multiply_add(k[i], v[j], s[i][j]);
            }
        }
    }

    /// The contribution of these keys to q S, for each column.
    __device__ __forceinline__ void times_keys(const A (&q)[keys], A (&sums)[columns]) const {
#pragma unroll
        for (int j = 0; j < columns; ++j) {
            sums[j] = 0;
#pragma unroll
            for (int i = 0; i < keys; ++i) sums[j] = multiply_add(q[i], s[i][j], sums[j]);
        }
    }

    /// The contribution of these columns to S v, for each key.
    __device__ __forceinline__ void times_columns(const A (&v)[columns], A (&sums)[keys]) const {
#pragma unroll
        for (int i = 0; i < keys; ++i) {
            sums[i] = 0;
#pragma unroll
            for (int j = 0; j < columns; ++j) sums[i] = multiply_add(s[i][j], v[j], sums[i]);
        }
    }
};

/// A thread's elements of a (K, V) array in global memory.
template <typename A>
struct StateRows {
    const Thread& thread;
    Index key_size, value_size;
    Index column;  // the thread's first
    bool wide;     // whether four columns are accessed at a time

    template <typename Array>
    __device__ __forceinline__ void read(const Array* array, Index state, Owned<A>& owned) const {
        owned.clear();
        if (array != nullptr)
            visit(static_cast<const A*>(array) + state * key_size * value_size,
                  [&](const A* at, int i, int count) {
                      if (wide) return read4(at, owned.s[i]);
                      for (int j = 0; j < columns_per_thread; ++j)
                          if (j < count) owned.s[i][j] = at[j];
                  });
    }

    __device__ __forceinline__ void write(void* array, Index state, const Owned<A>& owned) const {
        visit(static_cast<A*>(array) + state * key_size * value_size, [&](A* at, int i, int count) {
            if (wide) return write4(at, owned.s[i]);
#pragma unroll
            for (int j = 0; j < columns_per_thread; ++j)
                if (j < count) at[j] = owned.s[i][j];
        });
    }

    __device__ __forceinline__ void add(void* array, Index state, const Owned<A>& owned) const {
        Owned<A> sum;
        read(array, state, sum);
#pragma unroll
        for (int i = 0; i < Owned<A>::keys; ++i) {
#pragma unroll
            for (int j = 0; j < columns_per_thread; ++j) sum.s[i][j] += owned.s[i][j];
        }
        write(array, state, sum);
    }

    template <typename Element, typename Visit>
    __device__ __forceinline__ void visit(Element* state, const Visit& visit) const {
        const Index left = value_size - column;
        const int count = left < columns_per_thread ? static_cast<int>(left) : columns_per_thread;
        Index pitch = value_size;
        hide(pitch);
        Element* at = state + thread.key(0) * pitch + column;
#pragma unroll
        for (int i = 0; i < Owned<A>::keys; ++i) {
            if (i > 0) at += i % 4 == 0 ? (4 * thread.parts - 3) * pitch : pitch;
            if (thread.key(i) < key_size && count > 0) visit(at, i, count);
        }
    }
};

/// A thread's elements of the state, and the operations of the forward kernel on them, without tensor cores,
/// for all types. A warp holds all keys of its columns.
template <typename A>
struct PlainState {
    static constexpr bool on_tensor_cores = false;
    static constexpr int key_padding = 0, column_padding = 4;

    const Thread& thread;
    const int groups;
    const StateRows<A> rows;
    Owned<A> owned;

    __device__ __forceinline__ PlainState(const GatedLinearInputs& in, const Shape& shape,
                                          const Thread& thread, Index first, bool wide)
        : thread(thread),
          groups(shape.groups()),
          rows{thread, in.key_size, in.value_size, first + thread.column(), wide} {}

    __device__ __forceinline__ void read(const void* array, Index state) { rows.read(array, state, owned); }
    __device__ __forceinline__ void write(void* array, Index state) const { rows.write(array, state, owned); }

    /// Writes the queries times the state to the rows of `o`.
    __device__ __forceinline__ void multiply(const A* q, int key_stride, A* o, int column_stride,
                                             int count) const {
#pragma unroll 1
        for (int t = 0; t < count; ++t) {
            A queries[Owned<A>::keys], sums[columns_per_thread];
            read_keys(q + t * key_stride, thread, queries);
            owned.times_keys(queries, sums);
            A* row = o + t * column_stride + thread.column();
            sum_over_lanes<columns_per_thread>(sums, thread.lane, groups, 32, 0,
                                               [&](int j, A sum) { row[j] = sum; });
        }
    }

    __device__ __forceinline__ void advance(const A* gates, const A* k, int key_stride, const A* v,
                                            int column_stride, int count) {
        owned.advance(thread, gates, k, key_stride, v, column_stride, count);
    }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear
