#pragma once

#include <cstdint>

#include "sru_kernels/host_device.hpp"
#include "sru_kernels/types.hpp"

namespace sru_kernels {

/// What the forward and the backward recurrence both read.
///
/// Arrays are contiguous. T = `length`, B = `batch`, N = `num_directions`, D = `hidden_size`, K =
/// `num_gates`; S is the storage type, A the type of states and sums; nullptr where an array is optional and
/// absent. The columns of the second direction walk time from T−1 to 0.
struct SruInputs {
    DType dtype;
    Activation activation;
    Index length;
    Index batch;
    Index hidden_size;
    Index num_directions;
    Index num_gates;               // 3, or 4 when u holds the highway
    const void* u;                 // (T, B, K, N·D) S
    const void* v;                 // (2, N·D) A, or (T, B, 2, N·D) A when v_per_position
    const void* bias;              // (2, N·D) A
    const void* c0;                // (B, N·D) A; absent means zeros
    const void* x;                 // (T, B, N·D) S, only with K = 3; absent means no highway
    const void* mask_c;            // (B, N·D) A; absent means ones
    const std::uint8_t* mask_pad;  // (T, B), nonzero is padding; absent means none
    double scale_x;
    bool v_per_position;

    SRU_KERNELS_HOST_DEVICE Index columns() const { return num_directions * hidden_size; }
};

struct SruForward : SruInputs {
    void* h;       // (T, B, N·D) S
    void* c;       // (T, B, N·D) A, the state after each step; absent when no backward follows
    void* c_last;  // (B, N·D) A, the state after the last step that each direction takes
};

struct SruBackward : SruInputs {
    const void* c;            // (T, B, N·D) A, as forward saved it
    const void* grad_h;       // (T, B, N·D) S; absent means zeros
    const void* grad_c_last;  // (B, N·D) A; absent means zeros
    void* grad_u;             // (T, B, K, N·D) S
    void* grad_x;             // (T, B, N·D) S; absent when not wanted
    void* grad_v;             // (2, B, N·D) A, summed over time, or (T, B, 2, N·D) A when v_per_position
    void* grad_bias;          // (2, B, N·D) A, summed over time
    void* grad_c0;            // (B, N·D) A
};

/// One time step of a layer from its input on, for inference: u = W · input, then the recurrence.
///
/// At a single step directions are nothing but columns. `c_last` may be `c0`.
struct SruStep {
    DType dtype;
    Activation activation;
    Index batch;
    Index input_size;    // E
    Index columns;       // N·D
    Index num_gates;     // 3, or 4 when u holds the highway
    const void* weight;  // (K, N·D, E) S, or signed 8-bit integers if they have a scale
    const void* input;   // (B, E) S
    const void* v;       // (2, N·D) A
    const void* bias;    // (2, N·D) A
    const void* c0;      // (B, N·D) A; absent means zeros
    const void* x;       // (B, N·D) S, only with K = 3; absent means no highway
    double scale_x;
    void* h;                   // (B, N·D) S
    void* c_last;              // (B, N·D) A
    const void* weight_scale;  // (K, N·D) A, the factor of each row of the weight; absent means that it is S
};

}  // namespace sru_kernels
