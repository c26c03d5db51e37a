#pragma once

#include "cells/fields.hpp"
#include "sru_kernels/host_device.hpp"

// Arrays are contiguous. T length, B batch, H heads, K key size, V value size; S is the storage type, A the
// type of gates, states and sums.
namespace sru_kernels {

/// Whether the state of a head fits into the registers of a block: at most 128 keys and values, and, with
/// both sizes rounded up to powers of two, at most 8192 elements of 4 bytes or 4096 of 8.
constexpr bool gated_linear_fits(DType dtype, Index key_size, Index value_size) {
    constexpr Index most = 128;
    if (key_size > most || value_size > most) return false;
    Index keys = 1, values = 1;
    while (keys < key_size) keys *= 2;
    while (values < value_size) values *= 2;
    return keys * values <= (dtype == DType::float64 ? 4096 : 8192);
}

#define GATED_LINEAR_INPUT_FIELDS(FIELD)                                                                     \
    FIELD(DType, dtype, any, "The storage dtype S.")                                                         \
    FIELD(Size, length, at_least(0), "T")                                                                    \
    FIELD(Size, batch, at_least(0), "B")                                                                     \
    FIELD(Size, heads, at_least(0), "H")                                                                     \
    FIELD(Size, key_size, at_least(0), "K")                                                                  \
    FIELD(Size, value_size, at_least(0), "V")                                                                \
    FIELD(Size, segment_length, at_least(1, 0), "The number of steps per segment of `starts`.")              \
    FIELD(In, q, required_if(has_keys()), "(T, B, H, K) S, the queries.")                                    \
    FIELD(In, k, required_if(has_keys()), "(T, B, H, K) S, the keys.")                                       \
    FIELD(In, v, required_if(has_values()), "(T, B, H, V) S, the values.")                                   \
    FIELD(In, log_g, required_if(has_keys()), "(T, B, H, K) A, the logarithms of the gates, at most 0.")     \
    FIELD(Mask, marks, optional, "(T, B) bytes: 2, possibly plus other bits, where a row restarts.")         \
    FIELD(In, s_reset, optional, "(H, K, V) A, the state before a step that restarts; zeros if absent.")     \
    FIELD(Offsets, cu_seqlens, optional,                                                                     \
          "(B+1) offsets: row b has positions cu_seqlens[b] to cu_seqlens[b+1] of the T in all, and arrays " \
          "(T, B, ...) have no axis B.")

/// The inputs of both the forward and the backward recurrence.
struct GatedLinearInputs {
    SRU_KERNELS_FIELDS(GATED_LINEAR_INPUT_FIELDS)

    /// The number of states, which are independent of each other.
    SRU_KERNELS_HOST_DEVICE Index states() const { return batch * heads; }
    /// Steps of all states.
    SRU_KERNELS_HOST_DEVICE Index steps() const {
        return (cu_seqlens == nullptr ? length * batch : length) * heads;
    }
    SRU_KERNELS_HOST_DEVICE Walked walked(Index row) const {
        return cu_seqlens == nullptr ? Walked{row, batch, length} : sequence(cu_seqlens, row, length);
    }
    bool has_rows(Index size) const { return batch > 0 && heads > 0 && size > 0; }
    bool has_keys() const { return has_rows(key_size) && length > 0; }
    bool has_values() const { return has_rows(value_size) && length > 0; }
    bool has_states() const { return has_rows(key_size) && value_size > 0; }
};

#define GATED_LINEAR_FORWARD_FIELDS(FIELD)                                                                  \
    FIELD(In, s0, optional, "(B, H, K, V) A, the state before the first step; zeros if absent.")            \
    FIELD(Out, o, required_if(has_values()), "(T, B, H, V) S.")                                             \
    FIELD(Out, s, required_if(has_states()), "(B, H, K, V) A, the state after the last step. May be `s0`.") \
    FIELD(Out, starts, optional,                                                                            \
          "(segments, B, H, K, V) A, the state before each segment; without an axis B with `cu_seqlens`, "  \
          "where segment j of row b has index cu_seqlens[b] // segment_length + b + j. Backward needs it; " \
          "may be absent in inference.")

struct GatedLinearForward : GatedLinearInputs {
    static constexpr Kernel kernel{"gated_linear_forward", "GatedLinearForward",
                                   R"(Run linear attention with a gate for each key, step by step.

    S_t = diag(g_t) S_{t-1} + k_t v_tᵀ        o_t = S_tᵀ q_t

At a restart, `s_reset` replaces S_{t-1}, and no gradient flows to earlier steps.

The state stays in the accumulation dtype and in the nearest caches. Gates may be arbitrarily small. Results
computed from non-finite numbers are infinite or NaN; which of the two is unspecified.)"};

    SRU_KERNELS_MORE_FIELDS(GatedLinearInputs, GATED_LINEAR_FORWARD_FIELDS)
};

#define GATED_LINEAR_BACKWARD_FIELDS(FIELD)                                            \
    FIELD(In, starts, required_if(has_states() && length > 0),                         \
          "(segments, B, H, K, V) A, as `gated_linear_forward` wrote it.")             \
    FIELD(In, grad_o, optional, "(T, B, H, V) S; zeros if absent.")                    \
    FIELD(In, grad_s, optional, "(B, H, K, V) A; zeros if absent.")                    \
    FIELD(Out, grad_q, required_if(has_keys()), "(T, B, H, K) S.")                     \
    FIELD(Out, grad_k, required_if(has_keys()), "(T, B, H, K) S.")                     \
    FIELD(Out, grad_v, required_if(has_values()), "(T, B, H, V) S.")                   \
    FIELD(Out, grad_log_g, required_if(has_keys()), "(T, B, H, K) A.")                 \
    FIELD(Out, grad_s0, required_if(has_states()), "(B, H, K, V) A. May be `grad_s`.") \
    FIELD(Out, grad_s_reset, optional,                                                 \
          "(B, H, K, V) A, summed over the restarts of a row; the caller sums over B.")

struct GatedLinearBackward : GatedLinearInputs {
    static constexpr Kernel kernel{"gated_linear_backward", "GatedLinearBackward",
                                   R"(Write the gradients of `gated_linear_forward`, given the same inputs.

    dS_t = q_t do_tᵀ + diag(g_{t+1}) dS_{t+1}        dq_t = S_t do_t        dk_t = dS_t v_t
    dv_t = dS_tᵀ k_t        d(log g)_t = g_t ⊙ (dS_t ⊙ S_{t-1}) 1

The states are recomputed from `starts`.)"};

    SRU_KERNELS_MORE_FIELDS(GatedLinearInputs, GATED_LINEAR_BACKWARD_FIELDS)
};

}  // namespace sru_kernels
