#pragma once

#include "cells/gated_linear/cuda_chunks.cuh"
#include "runtime/cuda/tensor_core.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// The numbers of a state that a lane holds where tensor cores multiply: a warp has all keys of 16 columns.
///
/// The transposed state is the result of products with the values. As such it lies in registers in the way in
/// which a product with the queries takes it, if these give neighbouring keys to the steps t and t + 4 of the
/// sum.
template <typename S>
struct TensorState {
    static constexpr bool values_are_short = sizeof(S) == 2;  // 8 or 11 bits, of which nothing is left out
    static constexpr bool on_tensor_cores = true;
    static constexpr int columns_per_warp = 16;
    /// With which rows of shared memory begin in other banks than the three before them.
    static constexpr int key_padding = 8, column_padding = 8;
    static constexpr int most_tiles = 16;  // of 8 keys

    const Index key_size, value_size;
    const int tiles;     // of 8 keys, those that there are
    const int row, two;  // g and 2t
    const int column;    // in the block
    const Index first;   // of the columns of the block
    float s[most_tiles][4];

    __device__ __forceinline__ TensorState(const GatedLinearInputs& in, const Shape& shape,
                                           const Thread& thread, Index first, bool)
        : key_size(in.key_size),
          value_size(in.value_size),
          tiles(shape.parts()),
          row(thread.lane / 4),
          two(thread.lane % 4 * 2),
          column(thread.index / 32 * columns_per_warp),
          first(first) {}

    template <typename Visit>
    __device__ __forceinline__ void visit(Index state, const Visit& visit) {
        const Index at = state * key_size * value_size + first + column + row;
        const Index left = value_size - (first + column + row);
#pragma unroll
        for (int tile = 0; tile < most_tiles; ++tile) {
            if (tile >= tiles) break;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int key = 8 * tile + two + i % 2, ahead = i / 2 * 8;
                visit(s[tile][i], at + key * value_size + ahead, key < key_size && ahead < left);
            }
        }
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

    /// Rows of `o` are the queries (16, keys) times the state.
    __device__ __forceinline__ void multiply(const float* q, int key_stride, float* o, int column_stride,
                                             int) const {
        float sums[2][4] = {};
#pragma unroll
        for (int tile = 0; tile < most_tiles; ++tile) {
            if (tile >= tiles) break;
            const float* upper = q + row * key_stride + 8 * tile + two;
            const float* lower = upper + 8 * key_stride;
            const Split<4> queries({upper[0], lower[0], upper[1], lower[1]});
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                add_product<false>(sums[half], queries, Split<2>({s[tile][2 * half], s[tile][2 * half + 1]}));
            }
        }
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                o[(row + i / 2 * 8) * column_stride + column + 8 * half + two + i % 2] = sums[half][i];
            }
        }
    }

    /// S = diag(gates) S + Σ keys_t values_tᵀ over 16 rows, zeros where there are fewer.
    __device__ __forceinline__ void advance(const float* gates, const float* k, int key_stride,
                                            const float* v, int column_stride, int) {
        const int step = two / 2;
        const auto values = [&](int rows) {
            const float* upper = v + (rows + step) * column_stride + column + row;
            const float* lower = upper + 4 * column_stride;
            return Split<4>({upper[0], upper[8], lower[0], lower[8]});
        };
        const Split<4> both[2] = {values(0), values(8)};
#pragma unroll
        for (int tile = 0; tile < most_tiles; ++tile) {
            if (tile >= tiles) break;
#pragma unroll
            for (int i = 0; i < 4; ++i) s[tile][i] *= gates[8 * tile + two + i % 2];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const float* keys = k + (8 * half + step) * key_stride + 8 * tile + row;
                add_product<values_are_short>(s[tile], both[half], Split<2>({keys[0], keys[4 * key_stride]}));
            }
        }
    }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear
