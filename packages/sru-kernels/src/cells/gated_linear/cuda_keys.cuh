#pragma once

#include "cells/gated_linear/cuda_chunks.cuh"

// The gradients of the queries, keys and gates of a chunk, computed per key from products over the columns
//
//     U_t = S do_t        Y_s = dS' v_s        Z = (S ⊙ dS') 1        dA_ts = do_t · v_s
//
// with S the state before the chunk and dS' the gradient of the state after it. With D_ts = Π g from after s
// to t
//
//     dq_t = P_t U_t + Σ_s dA_ts D_ts k_s        dk_s = R_s Y_s + Σ_t dA_ts D_ts q_t
//     d(log g)_r = Σ q_t P_t U_t over t ≥ r  +  Σ k_s R_s Y_s over s < r  +  P R Z  +  Σ dA_ts D_ts q_t k_s
//     over s < r ≤ t
//
// Every term of the last line contains g_r: a closed gate has a gradient of exactly 0, and nothing cancels.
//
// A thread processes 8 steps of a key. A longer chunk has an early and a late half, which interact only
// through the state between them. Writing ' for products of gates within a half, the late half has the
// gradients of a separate chunk with U = P U_t + Σ_s dA_ts R'_s k_s over the early s, and the early half has
// those of a separate chunk with Y = R Y_s + Σ_t dA_ts P'_t q_t over the late t.
namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

constexpr int half_steps = 8;

/// Rows (steps, keys) in shared memory, and the outputs in global memory.
template <typename S, typename A = AccumulationType<S>>
struct KeyRows {
    const A *q, *k, *g, *u, *y, *z;
    const A* grad_a;  // (steps, pair_stride): dA_ts in row s and in row t, and 0 for t beyond the chunk
    A* starts;        // output: the queries at the start of the chunk, and 0 for steps beyond the chunk
    int steps, stride, pair_stride, key_size;
    S *grad_q, *grad_k;  // at the first step
    A* grad_log_g;
    Index pitch;
};

/// Half of the steps of a key, whose gradients one thread writes. Most rows are read more than once, which
/// costs less than keeping them in registers.
template <typename S, typename A = AccumulationType<S>>
struct HalfKey {
    const KeyRows<S, A>& rows;
    const int key, first;
    int count;  // of the chunk
    A q[half_steps], g[half_steps];
    A grad_q[half_steps], grad_k[half_steps], grad_g[half_steps];
    A before = 1;  // in the late half, the product of the gates of the early half

    __device__ __forceinline__ HalfKey(const KeyRows<S, A>& rows, int key, int first, int count)
        : rows(rows), key(key), first(first), count(count) {}

    __device__ __forceinline__ bool exists(int step) const { return first + step < count; }
    /// Steps beyond the chunk are read if shared memory has rows for them, because branches would be slower.
    /// Results that depend only on such a step are not written.
    __device__ __forceinline__ int row(int step) const {
        const int last = rows.steps - 1;
        return first + step < last ? first + step : last;
    }
    __device__ __forceinline__ A own(const A* numbers, int step) const {
        return numbers[row(step) * rows.stride + key];
    }
    __device__ __forceinline__ A own(const A* numbers, int step, A otherwise) const {
        const A number = own(numbers, step);
        return exists(step) ? number : otherwise;
    }
    /// Reads dA for a step and the steps of the half that begins with step `first`.
    __device__ __forceinline__ void read_pairs(int step, int first, A (&to)[half_steps]) const {
#pragma unroll
        for (int i = 0; i < half_steps; i += 4) {
            A four[4];
            read4(rows.grad_a + step * rows.pair_stride + first + i, four);
#pragma unroll
            for (int j = 0; j < 4; ++j) to[i + j] = four[j];
        }
    }

    __device__ __forceinline__ void differentiate() {
        if (!exists(0)) {
            for (int step = first; step < rows.steps; ++step) rows.starts[step * rows.stride + key] = 0;
            return;
        }
        A passing;  // the part of d(log g) common to all steps
        if (first > 0) {
            passing = add_early();
        } else {
            passing = add_late();
        }
        hide(count);
        through_states(passing);
        hide(count);
#pragma unroll
        for (int s = 0; s < half_steps; ++s) through_steps(s);
        write();
    }

    /// Adds the contribution of the early half: leaves the U of the late half in grad_q and its Y in grad_k.
    __device__ __forceinline__ A add_early() {
        A keys = 0;
#pragma unroll
        for (int t = 0; t < half_steps; ++t) grad_q[t] = 0;
#pragma unroll 2
        for (int s = half_steps - 1; s >= 0; --s) {
            const int at = s * rows.stride + key;
            const A k = rows.k[at] * before;
            before *= rows.g[at];
            keys = multiply_add(k, rows.y[at], keys);
            A pairs[half_steps];
            read_pairs(s, half_steps, pairs);
#pragma unroll
            for (int t = 0; t < half_steps; ++t) grad_q[t] = multiply_add(pairs[t], k, grad_q[t]);
        }
        A after = 1;
#pragma unroll
        for (int t = 0; t < half_steps; ++t) {
            grad_q[t] = multiply_add(before, own(rows.u, t, 0), grad_q[t]);
            grad_k[t] = own(rows.y, t);
            g[t] = own(rows.g, t, 1);
            after *= g[t];
        }
        return after * multiply_add(before, rows.z[key], keys);
    }

    /// Likewise adds the contribution of the late half to the early half.
    __device__ __forceinline__ A add_late() {
        A after = 1, queries = 0;
#pragma unroll
        for (int s = 0; s < half_steps; ++s) grad_k[s] = 0;
#pragma unroll 2
        for (int t = half_steps; t < count; ++t) {
            const int at = t * rows.stride + key;
            after *= rows.g[at];
            const A query = rows.q[at] * after;
            queries = multiply_add(query, rows.u[at], queries);
            A pairs[half_steps];
            read_pairs(t, 0, pairs);
#pragma unroll
            for (int s = 0; s < half_steps; ++s) grad_k[s] = multiply_add(pairs[s], query, grad_k[s]);
        }
        A product = 1;
#pragma unroll
        for (int s = 0; s < half_steps; ++s) {
            grad_q[s] = own(rows.u, s, 0);
            grad_k[s] = multiply_add(after, own(rows.y, s), grad_k[s]);
            g[s] = own(rows.g, s, 1);
            product *= g[s];
        }
        return product * multiply_add(after, rows.z[key], queries);
    }

    /// The gradients through the states at both ends of the half.
    __device__ __forceinline__ void through_states(A sum) {
        A product = 1;
#pragma unroll
        for (int s = half_steps - 1; s >= 0; --s) {
            grad_k[s] *= product;
            product *= g[s];
        }
        product = 1;
#pragma unroll
        for (int t = 0; t < half_steps; ++t) {
            grad_g[t] = sum;
            sum = multiply_add(own(rows.k, t), grad_k[t], sum);
            product *= g[t];
            grad_q[t] *= product;
            q[t] = own(rows.q, t, 0);
            if (first + t < rows.steps) {
                rows.starts[(first + t) * rows.stride + key] = q[t] * (product * before);
            }
        }
        sum = 0;
#pragma unroll
        for (int t = half_steps - 1; t >= 0; --t) {
            sum = multiply_add(q[t], grad_q[t], sum);
            grad_g[t] += sum;
        }
    }

    /// The gradients between step s and later steps within the half.
    __device__ __forceinline__ void through_steps(int s) {
        A pairs[half_steps], later[half_steps];  // Σ dA_ts D_tr q_t over t ≥ r
        read_pairs(row(s), first, pairs);
        A sum = 0;
#pragma unroll
        for (int r = half_steps - 1; r >= s; --r) {
            if (r < half_steps - 1) sum *= g[r + 1];
            later[r] = sum = multiply_add(pairs[r], q[r], sum);
        }
        grad_k[s] += sum;
        A k = own(rows.k, s);
        grad_q[s] = multiply_add(pairs[s], k, grad_q[s]);
#pragma unroll
        for (int r = s + 1; r < half_steps; ++r) {
            k *= g[r];
            grad_g[r] = multiply_add(later[r], k, grad_g[r]);
            grad_q[r] = multiply_add(pairs[r], k, grad_q[r]);
        }
    }

    __device__ __forceinline__ void write() const {
        if (key >= rows.key_size) return;
        Index to = key + first * rows.pitch;
#pragma unroll
        for (int t = 0; t < half_steps; ++t) {
            if (exists(t)) {
                rows.grad_q[to] = store<S>(grad_q[t]);
                rows.grad_k[to] = store<S>(grad_k[t]);
                rows.grad_log_g[to] = grad_g[t];
            }
            to += rows.pitch;
        }
    }
};

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear
