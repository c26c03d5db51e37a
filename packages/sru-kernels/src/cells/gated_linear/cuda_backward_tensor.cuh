#pragma once

#include "cells/gated_linear/cuda_backward.cuh"
#include "cells/gated_linear/cuda_tensor.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// The state and its gradient for tensor cores, in chunks of 16 steps.
///
/// Some warps hold all columns of 16 keys each, of the state and of its gradient, and sum over columns. The
/// others hold a second copy of the gradient, all keys of 16 columns each, and sum over keys. No sum crosses
/// warps this way, at the cost of propagating the gradient twice.
template <typename S>
struct TensorStates {
    using A = float;
    using Place = BackwardPlace<S>;
    using Tiles = TensorTiles<8, 2>;

    static constexpr int rows_per_warp = Tiles::rows, most_rows = 64;  // keys or columns
    static constexpr bool is_short = sizeof(S) == 2;                   // stored values have 8 or 11 bits
    static constexpr bool on_tensor_cores = true;
    static constexpr bool adds_in_shared = false;
    /// With this padding, each row of shared memory begins in different banks from the three before it.
    static constexpr int key_padding = 8, column_padding = 8;

    const Place& at;
    Tiles state, grad;  // `state` is used only by warps whose rows are keys

    __device__ __forceinline__ explicit TensorStates(const Place& at)
        : at(at), state(at.thread), grad(at.thread) {}

    __device__ __forceinline__ int key_warps() const { return at.m.keys / rows_per_warp; }
    /// Whether the rows of the warp are keys rather than columns.
    __device__ __forceinline__ bool of_keys() const { return at.thread.index / 32 < key_warps(); }
    /// The first row of the warp.
    __device__ __forceinline__ int first() const {
        return (at.thread.index / 32 - (of_keys() ? 0 : key_warps())) * rows_per_warp;
    }
    __device__ __forceinline__ int tiles() const {
        return (of_keys() ? at.shape.columns : at.m.keys) / Tiles::columns_per_tile;
    }

    __device__ __forceinline__ void read(const void* array, Index index) {
        if (of_keys()) read(array, index, state);
    }
    __device__ __forceinline__ void read_grad(const void* array, Index index) { read(array, index, grad); }
    __device__ __forceinline__ void write_grad(void* array, Index index) {
        if (!of_keys()) return;
        visit(static_cast<float*>(array), index, grad, [&](float& number, float* to, bool exists) {
            if (exists) *to = number;
        });
    }
    /// Adds the gradient to an array, if present, and clears the gradient.
    __device__ __forceinline__ void add_grad(void* array, Index index) {
        visit(static_cast<float*>(array), index, grad, [&](float& number, float* to, bool exists) {
            if (of_keys() && array != nullptr && exists) *to += number;
            number = 0;
        });
    }

    __device__ __forceinline__ void read(const void* array, Index index, Tiles& owned) const {
        visit(static_cast<const float*>(array), index, owned,
              [&](float& number, const float* from, bool exists) {
                  number = array != nullptr && exists ? *from : 0.0F;
              });
    }
    template <typename Element, typename Visit>
    __device__ __forceinline__ void visit(Element* array, Index index, Tiles& owned,
                                          const Visit& visit_one) const {
        const int row_pitch = of_keys() ? at.value_size() : 1, pitch = of_keys() ? 1 : at.value_size();
        const int rows = (of_keys() ? at.key_size() : at.value_size()) - first();
        const int columns = of_keys() ? at.value_size() : at.key_size();
        Element* numbers = array + index * at.key_size() * at.value_size() + first() * row_pitch;
        owned.visit(tiles(), [&](float& number, int row, int column) {
            visit_one(number, numbers + row * row_pitch + column * pitch, row < rows && column < columns);
        });
    }

    /// Advances the state through a full chunk.
    __device__ __forceinline__ void advance() {
        if (of_keys()) advance_keys(state, at.m.ends, at.m.v);
    }

    /// Propagates the gradient back through a chunk.
    __device__ __forceinline__ void retreat(int) {
        const auto& m = at.m;
        if (of_keys()) return advance_keys(grad, m.starts, m.grad_o);
        const float* gates = at.in(m.gates);
        grad.template advance<is_short, false>(tiles(), at.in(m.grad_o) + first(), m.column_stride,
                                               at.in(m.starts), m.key_stride,
                                               [&](int, int key) { return gates[key]; });
    }

    __device__ __forceinline__ void advance_keys(Tiles& owned, int keys, int columns) const {
        const float* gates = at.in(at.m.gates) + first() + owned.row();
        const float upper = gates[0], lower = gates[8];
        owned.template advance<false, is_short>(tiles(), at.in(keys) + first(), at.m.key_stride,
                                                at.in(columns), at.m.column_stride,
                                                [&](int row, int) { return row == 0 ? upper : lower; });
    }

    /// dA of `cuda_keys.cuh`, computed by two warps.
    __device__ __forceinline__ void multiply_values(int count) const {
        const auto& m = at.m;
        const int half = static_cast<int>(blockDim.x) / 32 - 1 - at.thread.index / 32;
        if (half > 1) return;
        const int row = grad.row(), two = grad.two();
        const float* grad_o = at.column_row(m.grad_o, row) + two;
        const float* v = at.column_row(m.v, 8 * half + row) + two;
        float sums[4] = {};
#pragma unroll 2
        for (int column = 0; column < at.shape.columns; column += 8) {
            const float *upper = grad_o + column, *lower = upper + 8 * m.column_stride;
            add_product<is_short, is_short>(sums, Split<4>({upper[0], lower[0], upper[1], lower[1]}),
                                            Split<2>({v[column], v[column + 1]}));
        }
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int t = row + i / 2 * 8, s = 8 * half + two + i % 2;
            if (s > t) continue;
            at.in(m.grad_a)[s * m.pair_stride + t] = at.in(m.grad_a)[t * m.pair_stride + s] =
                t < count ? sums[i] : 0.0F;
        }
    }

    /// The products of a chunk with the state before it and the gradient of the state after it: the gradient
    /// of v, and U, Y and Z of `cuda_keys.cuh`.
    __device__ __forceinline__ void multiply(int first_step, int count) const {
        const auto& m = at.m;
        float u[2][4] = {}, y[2][4] = {};
        if (of_keys()) {
            write_z();
            state.template multiply<is_short>(tiles(), at.in(m.grad_o), m.column_stride, u);
            grad.template multiply<is_short>(tiles(), at.in(m.v), m.column_stride, y);
        } else {
            grad.template multiply<false>(tiles(), at.in(m.ends), m.key_stride, y);
            add_chunk(count, y);
            write_grad_v(first_step, count, y);
        }
        __syncthreads();  // y overwrites the keys
        if (!of_keys()) return;
        visit_sums(u, at.thread,
                   [&](float sum, int t, int key) { at.in(m.u)[t * m.key_stride + first() + key] = sum; });
        visit_sums(y, at.thread,
                   [&](float sum, int s, int key) { at.in(m.y)[s * m.key_stride + first() + key] = sum; });
    }

    __device__ __forceinline__ void write_z() const {
        float sums[2] = {};
        state.for_each_tile(tiles(), [&](int tile) {
#pragma unroll
            for (int i = 0; i < 4; ++i)
                sums[i / 2] = multiply_add(state.s[tile][i], grad.s[tile][i], sums[i / 2]);
        });
        sum_over_lanes<2>(sums, at.thread.lane, 1, 4, 0,
                          [&](int i, float sum) { at.in(at.m.z)[first() + grad.row() + 8 * i] = sum; });
    }

    /// Adds Σ A_ts do_t over t ≥ s. Not on tensor cores, where a non-finite do_t would spread to later s.
    __device__ __forceinline__ void add_chunk(int count, float (&sums)[2][4]) const {
        const float* a = at.in(at.m.a) + grad.row();
        const float* grad_o = at.in(at.m.grad_o) + first() + grad.two();
#pragma unroll 2
        for (int t = 0; t < count; ++t) {
            const float factors[2] = {a[0], a[8]};
#pragma unroll
            for (int half = 0; half < 2; ++half) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    if (grad.row() + i / 2 * 8 > t) continue;
                    sums[half][i] = multiply_add(factors[i / 2], grad_o[8 * half + i % 2], sums[half][i]);
                }
            }
            a += at.shape.steps();
            grad_o += at.m.column_stride;
        }
    }

    __device__ __forceinline__ void write_grad_v(int first_step, int count, const float (&sums)[2][4]) const {
        const Index pitch = at.walk.pitch(at.value_size());
        const int columns = at.value_size() - first();
        S* to = static_cast<S*>(at.args.grad_v) + at.walk.at(first_step, at.value_size()) + first();
        visit_sums(sums, at.thread, [&](float sum, int step, int column) {
            if (step < count && column < columns) to[step * pitch + column] = store<S>(sum);
        });
    }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear
