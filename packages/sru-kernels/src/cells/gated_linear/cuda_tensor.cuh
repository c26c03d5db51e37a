#pragma once

#include "cells/gated_linear/cuda_chunks.cuh"
#include "runtime/cuda/tensor_core.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// A lane's elements of a state for tensor cores: a warp holds tiles of 16 rows of the state, or of its
/// transpose, by 8 columns. With g = lane / 4 and t = lane % 4 a lane holds these elements of a tile:
///
///     (g, 2t), (g, 2t+1), (g+8, 2t), (g+8, 2t+1)
///
/// This is the register layout of the result of a product with rows of steps. It is also the layout that a
/// product over the columns needs, if adjacent columns are the terms t and t + 4 of its sum.
///
/// There may be fewer tiles than the registers can hold, in multiples of `tiles_at_a_time`.
template <int most_tiles, int tiles_at_a_time>
struct TensorTiles {
    static constexpr int rows = 16, columns_per_tile = 8;

    const Thread& thread;
    float s[most_tiles][4];

    __device__ __forceinline__ explicit TensorTiles(const Thread& thread) : thread(thread) {}

    __device__ __forceinline__ int row() const { return thread.lane / 4; }      // g
    __device__ __forceinline__ int two() const { return thread.lane % 4 * 2; }  // 2t

    template <typename Visit>
    __device__ __forceinline__ void for_each_tile(int tiles, const Visit& visit) const {
#pragma unroll
        for (int first = 0; first < most_tiles; first += tiles_at_a_time) {
            if (first >= tiles) continue;
#pragma unroll
            for (int i = 0; i < tiles_at_a_time; ++i) visit(first + i);
        }
    }

    /// Calls `visit(number, row, column)` for each element.
    template <typename Visit>
    __device__ __forceinline__ void visit(int tiles, const Visit& visit) {
        for_each_tile(tiles, [&](int tile) {
#pragma unroll
            for (int i = 0; i < 4; ++i) visit(s[tile][i], row() + i / 2 * 8, 8 * tile + two() + i % 2);
        });
    }

    /// Adds the products of 16 rows of `x` (steps, columns) with the tiles: (steps, rows), in two tiles.
    template <bool x_is_short>
    __device__ __forceinline__ void multiply(int tiles, const float* x, int stride,
                                             float (&sums)[2][4]) const {
        x += row() * stride + two();
        for_each_tile(tiles, [&](int tile) {
            const float* upper = x + 8 * tile;
            const float* lower = upper + 8 * stride;
            const Split<4> factors({upper[0], lower[0], upper[1], lower[1]});
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                add_product<x_is_short, false>(sums[half], factors,
                                               Split<2>({s[tile][2 * half], s[tile][2 * half + 1]}));
            }
        });
    }

    /// S = scaled S + Σ x_t y_tᵀ over 16 rows of x (steps, rows) and y (steps, columns). `scale(row, column)`
    /// returns the factor of an element.
    template <bool x_is_short, bool y_is_short, typename Scale>
    __device__ __forceinline__ void advance(int tiles, const float* x, int x_stride, const float* y,
                                            int y_stride, const Scale& scale) {
        const int step = thread.lane % 4;
        x += step * x_stride + row();
        y += step * y_stride + row();
        const auto factors = [&](int steps) {
            const float* upper = x + steps * x_stride;
            const float* lower = upper + 4 * x_stride;
            return Split<4>({upper[0], upper[8], lower[0], lower[8]});
        };
        const Split<4> both[2] = {factors(0), factors(8)};
        for_each_tile(tiles, [&](int tile) {
#pragma unroll
            for (int i = 0; i < 4; ++i) s[tile][i] *= scale(i / 2 * 8, 8 * tile + two() + i % 2);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const float* other = y + 8 * half * y_stride + 8 * tile;
                add_product<x_is_short, y_is_short>(s[tile], both[half],
                                                    Split<2>({other[0], other[4 * y_stride]}));
            }
        });
    }
};

/// Calls `visit(sum, step, row)` for each sum that a lane holds of (steps, rows) in two tiles.
template <typename Sums, typename Visit>
__device__ __forceinline__ void visit_sums(const Sums& sums, const Thread& thread, const Visit& visit) {
    const int row = thread.lane / 4, two = thread.lane % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int i = 0; i < 4; ++i) visit(sums[half][i], row + i / 2 * 8, 8 * half + two + i % 2);
    }
}

/// The state in the forward kernel: a warp holds all keys of 16 columns.
template <typename S>
struct TensorState {
    static constexpr bool values_are_short = sizeof(S) == 2;  // their 8 or 11 bits fit into one TF32 term
    static constexpr bool on_tensor_cores = true;
    static constexpr int columns_per_warp = 16;
    /// With this padding, each row of shared memory begins in different banks from the three before it.
    static constexpr int key_padding = 8, column_padding = 8;

    const Index key_size, value_size;
    const int column;   // in the block
    const Index first;  // of the columns of the block
    const int tile_count;
    TensorTiles<16, 1> tiles;

    __device__ __forceinline__ TensorState(const GatedLinearInputs& in, const Shape& shape,
                                           const Thread& thread, Index first, bool)
        : key_size(in.key_size),
          value_size(in.value_size),
          column(thread.index / 32 * columns_per_warp),
          first(first),
          tile_count(shape.parts()),
          tiles(thread) {}

    template <typename Visit>
    __device__ __forceinline__ void visit(Index state, const Visit& visit) {
        const Index at = state * key_size * value_size + first + column;
        const Index left = value_size - (first + column);
        tiles.visit(tile_count, [&](float& number, int row, int key) {
            visit(number, at + key * value_size + row, key < key_size && row < left);
        });
    }

    __device__ __forceinline__ void read(const void* array, Index state) {
        const auto* numbers = static_cast<const float*>(array);
        visit(state, [&](float& number, Index at, bool exists) {
            number = numbers != nullptr && exists ? numbers[at] : 0.0F;
        });
    }

    __device__ __forceinline__ void write(void* array, Index state) {
        visit(state, [&](float& number, Index at, bool exists) {
            if (exists) static_cast<float*>(array)[at] = number;
        });
    }

    /// Writes the queries (16, keys) times the state to the rows of `o`.
    __device__ __forceinline__ void multiply(const float* q, int key_stride, float* o, int column_stride,
                                             int) const {
        float sums[2][4] = {};
        tiles.template multiply<false>(tile_count, q, key_stride, sums);
        visit_sums(sums, tiles.thread,
                   [&](float sum, int step, int row) { o[step * column_stride + column + row] = sum; });
    }

    /// S = diag(gates) S + Σ keys_t values_tᵀ over 16 rows, padded with zeros.
    __device__ __forceinline__ void advance(const float* gates, const float* k, int key_stride,
                                            const float* v, int column_stride, int) {
        tiles.template advance<values_are_short, false>(tile_count, v + column, column_stride, k, key_stride,
                                                        [&](int, int key) { return gates[key]; });
    }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear
