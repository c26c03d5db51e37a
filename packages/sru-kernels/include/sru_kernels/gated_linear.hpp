#pragma once

#include "sru_kernels/host_device.hpp"
#include "sru_kernels/types.hpp"

namespace sru_kernels {

/// What the forward and the backward gated linear recurrence both read.
///
/// Arrays are contiguous. T = `length`, B = `batch`, H = `heads`, K = `key_size`, V = `value_size`; S is the
/// storage type, A the type of gates, states and sums; nullptr where an array is optional and absent.
struct GatedLinearInputs {
    DType dtype;
    Index length;
    Index batch;
    Index heads;
    Index key_size;
    Index value_size;
    Index segment_length;  // steps from one saved state to the next
    const void* q;         // (T, B, H, K) S
    const void* k;         // (T, B, H, K) S
    const void* v;         // (T, B, H, V) S
    const void* log_g;     // (T, B, H, K) A, none above zero

    /// All of them walk through time on their own.
    SRU_KERNELS_HOST_DEVICE Index states() const { return batch * heads; }

    SRU_KERNELS_HOST_DEVICE Index segments() const { return (length + segment_length - 1) / segment_length; }
};

struct GatedLinearForward : GatedLinearInputs {
    const void* s0;  // (B, H, K, V) A; absent means zeros
    void* o;         // (T, B, H, V) S
    void* s;         // (B, H, K, V) A, the state after the last step; may be s0
    void* starts;    // (segments, B, H, K, V) A, the state before each; absent when no backward follows
};

struct GatedLinearBackward : GatedLinearInputs {
    const void* starts;  // (segments, B, H, K, V) A, as forward saved it
    const void* grad_o;  // (T, B, H, V) S; absent means zeros
    const void* grad_s;  // (B, H, K, V) A; absent means zeros
    void* grad_q;        // (T, B, H, K) S
    void* grad_k;        // (T, B, H, K) S
    void* grad_v;        // (T, B, H, V) S
    void* grad_log_g;    // (T, B, H, K) A
    void* grad_s0;       // (B, H, K, V) A; may be grad_s
};

}  // namespace sru_kernels
