#pragma once

#include "cells/fields.hpp"
#include "sru_kernels/host_device.hpp"

// Arrays are contiguous. T length, B batch, D hidden size per direction, N directions; S is the storage type,
// A the type of states, weights and sums.
namespace sru_kernels {

#define LIGRU_INPUT_FIELDS(FIELD)                                                                            \
    FIELD(DType, dtype, any, "The storage dtype S.")                                                         \
    FIELD(Activation, activation,                                                                            \
          among(Activation::tanh, Activation::relu, Activation::sin, Activation::leaky_relu),                \
          "g, applied to the pre-activation of the candidate.")                                              \
    FIELD(Size, length, at_least(0), "T")                                                                    \
    FIELD(Size, batch, at_least(0), "B")                                                                     \
    FIELD(Size, hidden_size, at_least(0, 2), "D")                                                            \
    FIELD(Size, num_directions, one_of(1, 2), "N")                                                           \
    FIELD(Flag, has_norm, any, "Whether a layer norm follows the product with the state.")                   \
    FIELD(In, u, required_if(has_steps()), "(T, B, 2, D) S: u_h and u_z, which both directions read.")       \
    FIELD(In, weight, required_if(has_steps()), "(2, D, D) S: U_h and U_z, of both directions.")             \
    FIELD(In, norm_weight, absent_if(!has_norm, "without a norm"),                                           \
          "(2, D) A, the weight of the norm; ones if absent.")                                               \
    FIELD(In, norm_bias, absent_if(!has_norm, "without a norm"), "(2, D) A, its bias; zeros if absent.")     \
    FIELD(In, mask_h, optional, "(B, N·D) A, multiplies the candidates; ones if absent.")                    \
    FIELD(Mask, marks, optional,                                                                             \
          "(T, B) bytes: 1 at padding, plus 2 where the first direction restarts, plus 4 where the "         \
          "second does; zeros if absent. A mask of bools marks padding.")                                    \
    FIELD(Offsets, cu_seqlens, optional,                                                                     \
          "(B+1) offsets: row b has positions cu_seqlens[b] to cu_seqlens[b+1] of the T in all, and arrays " \
          "(T, B, ...) have no axis B.")

/// The inputs of both the forward and the backward recurrence. The second direction runs from T−1 to 0.
struct LigruInputs {
    SRU_KERNELS_FIELDS(LIGRU_INPUT_FIELDS)

    SRU_KERNELS_HOST_DEVICE Walked walked(Index row) const {
        return cu_seqlens == nullptr ? Walked{row, batch, length} : sequence(cu_seqlens, row, length);
    }
    bool has_states() const { return batch > 0 && hidden_size > 0; }
    bool has_steps() const { return has_states() && length > 0; }
};

#define LIGRU_FORWARD_FIELDS(FIELD)                                                                          \
    FIELD(Number, norm_eps, any, "The ε of the norm.")                                                       \
    FIELD(In, h0, optional, "(B, N·D) A, the state before the first step; zeros if absent.")                 \
    FIELD(In, h_reset, optional, "(N·D) A, the state before a step that restarts; zeros if absent.")         \
    FIELD(Out, h, required_if(has_steps()), "(T, B, N·D) S.")                                                \
    FIELD(Out, h_last, required_if(has_states()),                                                            \
          "(B, N·D) A, the state after the last step: time T−1, or 0 in the second direction.")              \
    FIELD(Out, states, optional,                                                                             \
          "(T, B, N·D) A, the state after each step at that step's own time index. For the gradients; may "  \
          "be absent in inference.")                                                                         \
    FIELD(Out, products, optional,                                                                           \
          "(T, B, N, 2, D) A, what the gradients are computed from: U h', with a norm less its mean and "    \
          "times `rstd`. Unspecified at padding.")                                                           \
    FIELD(Out, rstd, absent_if(!has_norm, "without a norm"),                                                 \
          "(T, B, N) A, 1 / sqrt(variance + ε) of the norm. Unspecified at padding.")                        \
    FIELD(Out, scratch, optional_by_default,                                                                 \
          "(5, B, N, D + 4) A, memory to work in at an address that 16 divides, which a GPU needs; the CPU " \
          "has its own.")

struct LigruForward : LigruInputs {
    static constexpr Kernel kernel{"ligru_forward", "LigruForward", R"(Run the recurrence of the light GRU.

With h' the state before a step, m = mask_h or 1, and p = U h', or with a norm
p = norm_weight ⊙ (U h' − mean) / sqrt(variance + norm_eps) + norm_bias over its 2·D numbers:

    z = σ(u_z + p_z)        h = z ⊙ h' + (1 − z) ⊙ g(u_h + p_h) ⊙ m

The product multiplies the state in type A and sums in type A; with bfloat16 storage and the instruction set
avx512_bf16 it rounds the state, or its gradient, to bfloat16 first. At a padded position the state stays h' and
h = 0, whatever u holds there. At any other position that restarts, h' is h_reset. With cu_seqlens the rows are
sequences of different lengths, end to end. A GPU does not check offsets; wrong ones are kept within bounds.)"};

    SRU_KERNELS_MORE_FIELDS(LigruInputs, LIGRU_FORWARD_FIELDS)
};

#define LIGRU_BACKWARD_FIELDS(FIELD)                                                                         \
    FIELD(In, before, required_if(has_steps()), "(T, B, N, D) A, the state h' before each step.")            \
    FIELD(In, products, required_if(has_steps()), "(T, B, N, 2, D) A, as `ligru_forward` writes it.")        \
    FIELD(In, rstd, required_if(has_steps() && has_norm), "(T, B, N) A, as `ligru_forward` writes it.")      \
    FIELD(In, grad_h, optional, "(T, B, N·D) S; zeros if absent.")                                           \
    FIELD(In, grad_h_last, optional, "(B, N·D) A; zeros if absent.")                                         \
    FIELD(Out, grad_sums, required_if(has_steps()),                                                          \
          "(T, B, N, 2, D) A, of u_h + p_h and u_z + p_z; that of u is its sum over N. May be `products` "   \
          "if there is no norm.")                                                                            \
    FIELD(Out, grad_products, required_if(has_steps() && has_norm),                                          \
          "(T, B, N, 2, D) A, with a norm: of U h'. Without one it is `grad_sums`. May be `products`.")      \
    FIELD(Out, grad_h0, required_if(has_states()), "(B, N·D) A.")                                            \
    FIELD(Out, grad_h_reset, optional,                                                                       \
          "(B, N·D) A, summed over the starts of a row; the caller sums over B. Not computed if absent.")    \
    FIELD(Out, scratch, optional_by_default,                                                                 \
          "(5, B, N, D + 4) A, memory to work in at an address that 16 divides, which a GPU needs; the CPU " \
          "has its own.")

struct LigruBackward : LigruInputs {
    static constexpr Kernel kernel{"ligru_backward", "LigruBackward",
                                   R"(Write the gradients of `ligru_forward`, given some of its inputs.

The caller computes what needs no loop over time: the gradient of the weight, `grad_products`ᵀ `before`; that of u;
and those of the norm's weight and bias, the sums of `grad_sums` ⊙ `products` and of `grad_sums`. At a padded
position `grad_sums` and `grad_products` are 0, and no input is read. No gradient crosses a start.)"};

    SRU_KERNELS_MORE_FIELDS(LigruInputs, LIGRU_BACKWARD_FIELDS)
};

}  // namespace sru_kernels
