#pragma once

#include "cells/gated_linear/cuda_chunks.cuh"

// The gradients of the queries, keys and gates of a chunk, for each key by itself. Given are the products
// over the columns
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
// where each term of the last line holds g_r: a closed gate has a gradient of exactly 0, and nothing cancels.
namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear {

/// Rows (steps, keys) in shared memory, and what is written to global memory.
template <typename S, typename A = AccumulationType<S>>
struct KeyRows {
    const A *g, *grad_a, *z;  // grad_a (steps, steps) holds dA_ts in row s
    A *q, *k;                 // q is brought to the start of the chunk, k overwritten
    A *u, *y;                 // overwritten
    int width, steps;
    S *grad_q, *grad_k;  // of the first step
    A* grad_log_g;
    Index pitch;
};

/// What passes through the states at the ends of the chunk; leaves R_s Y_s in y.
template <int most, typename S, typename A>
__device__ __forceinline__ void through_states(const KeyRows<S, A>& rows, int key, int count,
                                               A (&grad_q)[most], A (&grad_g)[most]) {
    A product = 1;
#pragma unroll
    for (int s = most - 1; s >= 0; --s) {
        if (s >= count) continue;
        const int at = s * rows.width + key;
        const A y = rows.y[at] * product;
        rows.y[at] = y;
        grad_g[s] = rows.k[at] * y;
        product *= rows.g[at];
    }
    A sum = product * rows.z[key];
    product = 1;
#pragma unroll
    for (int t = 0; t < most; ++t) {
        if (t >= count) continue;
        const int at = t * rows.width + key;
        const A own = grad_g[t];
        grad_g[t] = sum;
        sum += own;
        product *= rows.g[at];
        grad_q[t] = rows.u[at] * product;
        rows.u[at] = rows.q[at] * grad_q[t];
    }
    sum = 0;
#pragma unroll
    for (int t = most - 1; t >= 0; --t) {
        if (t >= count) continue;
        sum += rows.u[t * rows.width + key];
        grad_g[t] += sum;
    }
}

/// What passes from step s to later ones within the chunk; returns what it adds to the gradient of k_s.
template <int most, typename S, typename A>
__device__ __forceinline__ A through_steps(const KeyRows<S, A>& rows, int key, int s, int count,
                                           A (&grad_q)[most], A (&grad_g)[most]) {
    const A* grad_a = rows.grad_a + s * rows.steps;
    A later[most];  // Σ dA_ts D_tr q_t over t ≥ r
    A sum = 0;
#pragma unroll
    for (int r = most - 1; r >= 0; --r) {
        if (r < s || r >= count) continue;
        const int at = r * rows.width + key;
        if (r < count - 1) sum *= rows.g[at + rows.width];
        sum = multiply_add(grad_a[r], rows.q[at], sum);
        later[r] = sum;
    }
    A k = rows.k[s * rows.width + key];
#pragma unroll
    for (int r = 0; r < most; ++r) {
        if (r < s || r >= count) continue;
        if (r > s) {
            k *= rows.g[r * rows.width + key];
            grad_g[r] = multiply_add(later[r], k, grad_g[r]);
        }
        grad_q[r] = multiply_add(grad_a[r], k, grad_q[r]);
    }
    return sum;
}

/// Writes the gradients of one key for the steps of a chunk, `most` at most.
template <int most, typename S, typename A>
__device__ __forceinline__ void differentiate_key(const KeyRows<S, A>& rows, int key, int count) {
    A grad_q[most], grad_g[most];
    through_states(rows, key, count, grad_q, grad_g);
#pragma unroll 1
    for (int s = 0; s < count; ++s) {
        // Later ones do not need this key.
        const A grad_k = through_steps(rows, key, s, count, grad_q, grad_g);
        rows.k[s * rows.width + key] = grad_k + rows.y[s * rows.width + key];
    }
    Index to = key;
#pragma unroll
    for (int t = 0; t < most; ++t) {
        if (t >= count) continue;
        rows.grad_q[to] = store<S>(grad_q[t]);
        rows.grad_k[to] = store<S>(rows.k[t * rows.width + key]);
        rows.grad_log_g[to] = grad_g[t];
        to += rows.pitch;
    }
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT::gated_linear
