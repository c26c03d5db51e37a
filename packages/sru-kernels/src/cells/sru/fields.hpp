#pragma once

#include "cells/fields.hpp"
#include "sru_kernels/host_device.hpp"

// Arrays are contiguous. T length, B batch, K gates, D hidden size per direction, N directions, E input size;
// S is the storage type, A the type of states and sums.
namespace sru_kernels {

#define SRU_INPUT_FIELDS(FIELD)                                                                              \
    FIELD(DType, dtype, any, "The storage dtype S.")                                                         \
    FIELD(Activation, activation, among(Activation::identity, Activation::tanh, Activation::relu),           \
          "g, applied to the state before the output gate.")                                                 \
    FIELD(Size, length, at_least(0), "T")                                                                    \
    FIELD(Size, batch, at_least(0), "B")                                                                     \
    FIELD(Size, hidden_size, at_least(0), "D")                                                               \
    FIELD(Size, num_directions, one_of(1, 2), "N")                                                           \
    FIELD(Size, num_gates, one_of(3, 4), "K, the gates in u, of which a fourth is the highway")              \
    FIELD(In, u, required_if(has_steps()), "(T, B, K, N·D) S: u_c, u_f, u_r and, for K = 4, u_x.")           \
    FIELD(In, v, required_if(has_steps()), "(2, N·D) A: v_f and v_r; (T, B, 2, N·D) A if `v_per_position`.") \
    FIELD(In, bias, required_if(has_steps()), "(2, N·D) A: b_f and b_r.")                                    \
    FIELD(In, c0, optional, "(B, N·D) A, the state before the first step; zeros if absent.")                 \
    FIELD(In, x, absent_if(num_gates == 4, "with num_gates = 4, whose fourth gate is the highway"),          \
          "(T, B, N·D) S; no highway if absent. Must be absent for K = 4.")                                  \
    FIELD(In, mask_c, optional, "(B, N·D) A; ones if absent.")                                               \
    FIELD(Mask, marks, optional,                                                                             \
          "(T, B) bytes: 1 at padding, plus 2 where the first direction restarts, plus 4 where the "         \
          "second does; zeros if absent. A mask of bools marks padding.")                                    \
    FIELD(In, c_reset, optional, "(N·D) A, the state before a step that restarts; zeros if absent.")         \
    FIELD(Offsets, cu_seqlens, optional,                                                                     \
          "(B+1) offsets: row b has positions cu_seqlens[b] to cu_seqlens[b+1] of the T in all, and arrays " \
          "(T, B, ...) have no axis B.")                                                                     \
    FIELD(Offsets, order, optional,                                                                          \
          "(B) offsets: the order in which a GPU starts the rows, a permutation; the longest should come "   \
          "first. Each in turn if absent. A CPU orders them itself.")                                        \
    FIELD(Number, scale_x, any, "Multiplies x.")                                                             \
    FIELD(Flag, v_per_position, any, "Whether v differs between positions.")

/// The inputs of both the forward and the backward recurrence. The columns of the second direction run from
/// T−1 to 0.
struct SruInputs {
    SRU_KERNELS_FIELDS(SRU_INPUT_FIELDS)

    SRU_KERNELS_HOST_DEVICE Index columns() const { return num_directions * hidden_size; }
    SRU_KERNELS_HOST_DEVICE Walked walked(Index row) const {
        return cu_seqlens == nullptr ? Walked{row, batch, length} : sequence(cu_seqlens, row, length);
    }
    bool has_states() const { return batch > 0 && hidden_size > 0; }
    bool has_steps() const { return has_states() && length > 0; }
};

#define SRU_FORWARD_FIELDS(FIELD)                                                                           \
    FIELD(Out, h, required_if(has_steps()), "(T, B, N·D) S.")                                               \
    FIELD(Out, c, optional,                                                                                 \
          "(T, B, N·D) A, the state after each step at that step's own time index. Backward needs it; may " \
          "be absent in inference.")                                                                        \
    FIELD(Out, c_last, required_if(has_states()),                                                           \
          "(B, N·D) A, the state after the last step: time T−1, or 0 in the second direction.")

struct SruForward : SruInputs {
    static constexpr Kernel kernel{"sru_forward", "SruForward", R"(Run the SRU recurrence.

With c' the state before a step, m = mask_c or 1, and the highway x' = u_x for K = 4, scale_x · x for
K = 3 with x, else 0:

    f = σ(u_f + v_f ⊙ c' + b_f)        r = σ(u_r + v_r ⊙ c' + b_r)
    c = f ⊙ c' + (1 − f) ⊙ u_c         h = r ⊙ m ⊙ g(c) + (1 − r ⊙ m) ⊙ x'

At a padded position c = c' and h = 0, whatever u, v and x hold there. At any other position that restarts,
c' is c_reset. With cu_seqlens the rows are sequences of different lengths, end to end. A GPU does not check
offsets; wrong ones are kept within bounds.

NaN spreads to all that depends on it. An infinite u_f or u_r opens or shuts its gate exactly. An infinite u_c
or c0 makes the state of its column infinite or NaN from there on. Which of the two is not specified, since 0 · ∞
depends on rounding; nor are outputs of such a state. Other columns do not change.)"};

    SRU_KERNELS_MORE_FIELDS(SruInputs, SRU_FORWARD_FIELDS)
};

#define SRU_BACKWARD_FIELDS(FIELD)                                                                           \
    FIELD(In, c, required_if(has_steps()), "(T, B, N·D) A, as `sru_forward` wrote it.")                      \
    FIELD(In, grad_h, optional, "(T, B, N·D) S; zeros if absent.")                                           \
    FIELD(In, grad_c_last, optional, "(B, N·D) A; zeros if absent.")                                         \
    FIELD(Out, grad_u, required_if(has_steps()), "(T, B, K, N·D) S.")                                        \
    FIELD(Out, grad_x,                                                                                       \
          absent_if(x == nullptr, "without x; with num_gates = 4 the gradient of the highway is in grad_u"), \
          "(T, B, N·D) S; not computed if absent.")                                                          \
    FIELD(Out, grad_v, required_if(v_per_position ? has_steps() : has_states()),                             \
          "(2, B, N·D) A, summed over time; the caller sums over B. (T, B, 2, N·D) A if `v_per_position`.")  \
    FIELD(Out, grad_bias, required_if(has_states()),                                                         \
          "(2, B, N·D) A, summed over time; the caller sums over B.")                                        \
    FIELD(Out, grad_c0, required_if(has_states()), "(B, N·D) A.")                                            \
    FIELD(Out, grad_c_reset, optional,                                                                       \
          "(B, N·D) A, summed over the starts of a row; the caller sums over B. Not computed if absent.")

struct SruBackward : SruInputs {
    static constexpr Kernel kernel{"sru_backward", "SruBackward",
                                   R"(Write the gradients of `sru_forward`, given the same inputs.

At a padded position the gradients of u, x and a v per position are 0, and nothing there is read. No gradient
crosses a start.)"};

    SRU_KERNELS_MORE_FIELDS(SruInputs, SRU_BACKWARD_FIELDS)
};

#define SRU_STEP_FIELDS(FIELD)                                                                          \
    FIELD(DType, dtype, any, "The storage dtype S.")                                                    \
    FIELD(Activation, activation, among(Activation::identity, Activation::tanh, Activation::relu),      \
          "g, applied to the state before the output gate.")                                            \
    FIELD(Size, batch, at_least(0), "B")                                                                \
    FIELD(Size, input_size, at_least(0), "E")                                                           \
    FIELD(Size, columns, at_least(0), "N·D: in a single step directions are only more columns")         \
    FIELD(Size, num_gates, one_of(3, 4), "K, the gates in u, of which a fourth is the highway")         \
    FIELD(In, weight, required_if(has_states() && input_size > 0),                                      \
          "(K, N·D, E) S, or int8 with `weight_scale`: the rows of u_c, u_f, u_r and, for K = 4, u_x.") \
    FIELD(In, input, required_if(has_states() && input_size > 0), "(B, E) S.")                          \
    FIELD(In, v, required_if(has_states()), "(2, N·D) A: v_f and v_r.")                                 \
    FIELD(In, bias, required_if(has_states()), "(2, N·D) A: b_f and b_r.")                              \
    FIELD(In, c0, optional, "(B, N·D) A, the state before the step; zeros if absent.")                  \
    FIELD(In, x, absent_if(num_gates == 4, "with num_gates = 4, whose fourth gate is the highway"),     \
          "(B, N·D) S; no highway if absent. May be `input`. Must be absent for K = 4.")                \
    FIELD(Number, scale_x, any, "Multiplies x.")                                                        \
    FIELD(Out, h, required_if(has_states()), "(B, N·D) S.")                                             \
    FIELD(Out, c_last, required_if(has_states()), "(B, N·D) A, the state after the step. May be `c0`.") \
    FIELD(In, weight_scale, optional_by_default,                                                        \
          "(K, N·D) A, the factor of each row of an int8 weight; the weight is S if absent.")

struct SruStep {
    static constexpr Kernel kernel{
        "sru_step", "SruStep",
        R"(Take one time step of a layer: u = W · input, then the step of `sru_forward`.

For small batches, where the product takes as long as reading the weight. u is never stored and stays in
the accumulation dtype. The order of its sums depends only on E and the instruction set.)"};

    SRU_KERNELS_FIELDS(SRU_STEP_FIELDS)

    bool has_states() const { return batch > 0 && columns > 0; }
};

}  // namespace sru_kernels
