#pragma once

#include "cells/gated_linear/cuda_backward.cuh"

namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// The state and its gradient without tensor cores, for all types. A warp holds all columns of some keys:
/// most sums of a step run over columns.
template <typename S>
struct PlainStates {
    using A = AccumulationType<S>;
    using Place = BackwardPlace<S>;

    static constexpr bool on_tensor_cores = false;
    static constexpr bool adds_in_shared = true;
    static constexpr int key_padding = 0, column_padding = 4;

    Place& at;
    Owned<A> state, grad;

    __device__ __forceinline__ explicit PlainStates(Place& at) : at(at) {}

    __device__ __forceinline__ void read(const void* array, Index index) { rows().read(array, index, state); }
    __device__ __forceinline__ void read_grad(const void* array, Index index) {
        rows().read(array, index, grad);
    }
    __device__ __forceinline__ void write_grad(void* array, Index index) { rows().write(array, index, grad); }
    /// Adds the gradient to an array, if present, and clears the gradient.
    __device__ __forceinline__ void add_grad(void* array, Index index) {
        if (array != nullptr) rows().add(array, index, grad);
        grad.clear();
    }
    __device__ __forceinline__ StateRows<A> rows() const {
        const GatedLinearBackward& args = at.args;
        return {at.thread, args.key_size, args.value_size, at.thread.column(),
                in_fours<A>(args.value_size, args.starts, args.s_reset, args.grad_s, args.grad_s0,
                            args.grad_s_reset)};
    }

    /// Advances the state through a full chunk.
    __device__ __forceinline__ void advance() {
        state.advance(at.thread, at.in(at.m.gates), at.in(at.m.ends), at.m.key_stride, at.in(at.m.v),
                      at.m.column_stride, at.shape.steps());
    }

    /// Propagates the gradient back through a chunk.
    __device__ __forceinline__ void retreat(int count) {
        grad.advance(at.thread, at.in(at.m.gates), at.in(at.m.starts), at.m.key_stride, at.in(at.m.grad_o),
                     at.m.column_stride, count);
    }

    /// dA of `cuda_keys.cuh`.
    __device__ __forceinline__ void multiply_values(int count) const {
        const int width = at.m.pair_stride;
        for_each_piece(at.thread, count, width, [&](int s, int t) {
            if (s > t) return;
            A sum = 0;
            if (t < count) {
#pragma unroll 2
                for (int column = 0; column < at.shape.columns; column += 4) {
                    A grad_o[4], v[4];
                    read4(at.column_row(at.m.grad_o, t) + column, grad_o);
                    read4(at.column_row(at.m.v, s) + column, v);
#pragma unroll
                    for (int j = 0; j < 4; ++j) sum = multiply_add(grad_o[j], v[j], sum);
                }
                at.in(at.m.grad_a)[t * width + s] = sum;
            }
            at.in(at.m.grad_a)[s * width + t] = sum;
        });
    }

    /// The products of a chunk with the state before it and the gradient of the state after it: the gradient
    /// of v, and U, Y and Z of `cuda_keys.cuh`.
    __device__ __forceinline__ void multiply(int first, int count) const {
        write_grad_v(first, count);
        __syncthreads();  // u and y overwrite grad_v and the keys
        at.thread.hide_place();
        multiply_states(count);
    }

    /// The gradient of v: Σ_t A_ts do_t plus the keys times the gradient of the state.
    ///
    /// The warps hold different keys and add to each row one after another, always in the same order.
    __device__ __forceinline__ void write_grad_v(int first, int count) const {
        const auto& m = at.m;
        const int warps = static_cast<int>(blockDim.x) / 32, warp = at.thread.index / 32;
#pragma unroll 1
        for (int turn = 0; turn < warps; ++turn) {
#pragma unroll 1
            for (int s = (warp + turn) & (warps - 1); s < count; s += warps) {
                A k[Owned<A>::keys], sums[columns_per_thread];
                read_keys(at.in(m.ends) + s * m.key_stride, at.thread, k);
                grad.times_keys(k, sums);
                A* row = at.column_row(m.grad_v, s) + at.thread.column();
                sum_over_lanes<columns_per_thread>(
                    sums, at.thread.lane, at.shape.groups(), 32, 0,
                    [&](int j, A sum) { row[j] = turn == 0 ? sum : row[j] + sum; });
            }
            __syncthreads();
        }
        const bool wide = in_fours<S>(at.args.value_size, at.args.grad_v);
        for_each_piece(at.thread, count, at.shape.columns / 4, [&](int s, int four) {
            A sums[4];
            read4(at.column_row(m.grad_v, s) + 4 * four, sums);
            for (int t = s; t < count; ++t) {
                add_four(at.in(m.a)[t * at.shape.steps() + s], at.column_row(m.grad_o, t) + 4 * four, sums);
            }
            S* to = static_cast<S*>(at.args.grad_v) + at.walk.at(first + s, at.value_size()) + 4 * four;
            store4(to, sums, at.value_size() - 4 * four, wide);
        });
    }

    /// U, Y and Z.
    __device__ __forceinline__ void multiply_states(int count) const {
        constexpr int keys = Owned<A>::keys;
        const auto put = [&](const A(&sums)[keys], A* row) {
            sum_over_lanes<keys>(sums, at.thread.lane, 1, at.shape.groups(), 0,
                                 [&](int i, A sum) { row[at.thread.key(i)] = sum; });
        };
        A sums[keys];
#pragma unroll 1
        for (int t = 0; t < count; ++t) {
            A columns[columns_per_thread];
            read4(at.column_row(at.m.grad_o, t) + at.thread.column(), columns);
            state.times_columns(columns, sums);
            put(sums, at.in(at.m.u) + t * at.m.key_stride);
            read4(at.column_row(at.m.v, t) + at.thread.column(), columns);
            grad.times_columns(columns, sums);
            put(sums, at.in(at.m.y) + t * at.m.key_stride);
        }
#pragma unroll
        for (int i = 0; i < keys; ++i) {
            sums[i] = 0;
#pragma unroll
            for (int j = 0; j < columns_per_thread; ++j) {
                sums[i] = multiply_add(state.s[i][j], grad.s[i][j], sums[i]);
            }
        }
        put(sums, at.in(at.m.z));
    }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear
