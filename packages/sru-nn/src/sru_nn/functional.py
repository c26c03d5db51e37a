"""Recurrences as functions of tensors, the lowest public level. Arguments are checked once, here."""

from __future__ import annotations

from torch import Tensor

from sru_nn.arguments import check_number
from sru_nn.cells.gated_linear import arguments as gated_linear_arguments
from sru_nn.cells.gated_linear import operator as gated_linear
from sru_nn.cells.ligru import arguments as ligru_arguments
from sru_nn.cells.ligru import operator as ligru
from sru_nn.cells.mingru import arguments as mingru_arguments
from sru_nn.cells.mingru import operator as mingru
from sru_nn.cells.sru import arguments as sru_arguments
from sru_nn.cells.sru import operator as sru
from sru_nn.cells.sru.arguments import Activation as Activation
from sru_nn.experimental.length_parallel import LengthParallel
from sru_nn.positions import check_ends


def sru_recurrence(
    u: Tensor,
    v: Tensor,
    bias: Tensor,
    c0: Tensor | None = None,
    *,
    x: Tensor | None = None,
    bidirectional: bool = False,
    activation: Activation = "identity",
    scale_x: float = 1.0,
    mask_c: Tensor | None = None,
    mask_pad: Tensor | None = None,
    reset: Tensor | None = None,
    c_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    length_parallel: bool | LengthParallel = False,
) -> tuple[Tensor, Tensor]:
    """Run the SRU recurrence over a batch of pre-activations.

        f_t = σ(u_f + v_f ⊙ c_{t-1} + b_f)        r_t = σ(u_r + v_r ⊙ c_{t-1} + b_r)
        c_t = f_t ⊙ c_{t-1} + (1 − f_t) ⊙ u_c     h_t = r_t ⊙ m ⊙ g(c_t) + (1 − r_t ⊙ m) ⊙ x'_t

    The highway term x'_t is u_x when `u` has four gates, s·x_t when `x` is given, and zero otherwise. At a
    padded position c_t = c_{t-1} and h_t = 0, and no gradient reaches the inputs of that position.

    T is time, B batch, K the number of gates, D the hidden size per direction and N the number of directions
    (2 if `bidirectional`; the second half of the columns then runs from the last step to the first).

    Args:
        u: `(T, B, K, N·D)`, the pre-activations `u_c, u_f, u_r` (K = 3) and `u_x` (K = 4). float32,
            float64, float16 or bfloat16; this is the storage dtype.
        v: `(2, N·D)`, the recurrent vectors `v_f, v_r`, or `(T, B, 2, N·D)` for one pair per position.
        bias: `(2, N·D)`, the biases `b_f, b_r`.
        c0: `(B, N·D)`, the state before the first step; zeros if None.
        x: `(T, B, N·D)`, the highway input, in the storage dtype; only with K = 3.
        bidirectional: Whether the columns hold two directions.
        activation: The function g: `"identity"`, `"tanh"` or `"relu"`.
        scale_x: The factor s of `x`.
        mask_c: `(B, N·D)`, the variational dropout mask m, already divided by the keep probability.
        mask_pad: `(T, B)` bool, True where a position is padding.
        reset: `(T, B)` bool, True where a sequence begins; ignored at padding. The state is replaced with
            `c_reset` before that position in the first direction, after it in the second.
        c_reset: `(N·D,)`, the state after a reset; zeros if None.
        cu_seqlens: `(S + 1,)` int32 or int64, 0 and the ends of S sequences that are concatenated in a batch
            of one. `c0`, `mask_c` and `c` then have S instead of B; a sequence may be empty. Excludes
            `mask_pad` and `reset`. The values are checked on the CPU only; on a GPU, wrong values access no
            memory outside the tensors.
        length_parallel: Experimental, with a warning: whether to solve for all steps at once, without the
            kernels; a `LengthParallel` sets its options.

    `v`, `bias`, `c0`, `c_reset` and `mask_c` are in the storage dtype or in the accumulation dtype. No
    gradient crosses the beginning of a sequence.

    Returns:
        `h`: `(T, B, N·D)`, the outputs in the storage dtype.
        `c`: `(B, N·D)`, the state after the last step, in the accumulation dtype: float64 for float64
        storage, float32 otherwise.

    Raises:
        ValueError: A shape, a device or the combination of options is wrong.
        TypeError: A dtype is wrong.

    Warns:
        FutureWarning: `length_parallel` is given.
        RuntimeWarning: `length_parallel` did not converge; the steps were computed one by one.

    It runs in the kernels of `sru-kernels` where they can be used (see `sru_nn.backend`). Forward-mode
    differentiation, `torch.func` transforms and higher derivatives use the reference instead, whose graph
    holds every step; a compiled graph supports only first derivatives.

    Non-finite values affect only their own column and sequence, from their step on. An infinite u_f or u_r
    opens or closes its gate. After an infinite u_c or c0 the state is infinite or NaN; which of the two is
    unspecified, because 0·∞ depends on how a gate rounds.

    Source: Lei et al., "Simple Recurrent Units for Highly Parallelizable Recurrence", EMNLP 2018, section 3;
    the mask and the scale are placed as in the `sru` package, version 2.6.0.
    """
    if type(scale_x) is not float:
        check_number("sru_recurrence", "scale_x", scale_x)
    inputs = sru.Inputs(u, v, bias, c0, x, mask_c, mask_pad, bidirectional, activation, float(scale_x))
    sru_arguments.check_arguments(*inputs, reset=reset, c_reset=c_reset, cu_seqlens=cu_seqlens)
    check_ends("sru_recurrence", cu_seqlens, u.shape[0])
    return sru.sru_recurrence(inputs, reset, c_reset, cu_seqlens, length_parallel)


def gated_linear_recurrence(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_g: Tensor,
    s0: Tensor | None = None,
    *,
    mask_pad: Tensor | None = None,
    reset: Tensor | None = None,
    s_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run linear attention with a gate per key, a recurrence with a matrix state.

        S_t = diag(g_t) S_{t-1} + k_t v_tᵀ        o_t = S_tᵀ q_t

    At a padded position S_t = S_{t-1} and o_t = 0, and no gradient reaches the inputs of that position. Where
    a sequence begins, S_{t-1} is `s_reset`, and no gradient reaches earlier positions. A reset at a padded
    position is ignored.

    T is time, B batch, H the number of heads, K the size of a head's queries and keys, and V the size of its
    values.

    Args:
        q: `(T, B, H, K)`, the queries. float32, float64, float16 or bfloat16; this is the storage dtype.
        k: `(T, B, H, K)`, the keys, in the storage dtype.
        v: `(T, B, H, V)`, the values, in the storage dtype.
        log_g: `(T, B, H, K)`, the logarithms of the gates, at most zero; minus infinity closes a gate. In the
            storage dtype or in the accumulation dtype.
        s0: `(B, H, K, V)`, the state before the first step, in either dtype; zeros if None.
        mask_pad: `(T, B)` bool, True where a position is padding.
        reset: `(T, B)` bool, True where a sequence begins; ignored at padding.
        s_reset: `(H, K, V)`, the state after a reset; zeros if None.
        cu_seqlens: `(S + 1,)` int32 or int64, 0 and the ends of S sequences that are concatenated in a batch
            of one. `s0` and `s` then have S instead of B; a sequence may be empty. Excludes `mask_pad` and
            `reset`. The values are checked on the CPU only.

    Returns:
        `o`: `(T, B, H, V)`, the outputs in the storage dtype.
        `s`: `(B, H, K, V)`, the state after the last step, in the accumulation dtype: float64 for float64
        storage, float32 otherwise.

    Raises:
        ValueError: A shape or a device is wrong.
        TypeError: A dtype is wrong.

    It runs in the kernels of `sru-kernels` where they can be used (see `sru_nn.backend`), on a CPU step by
    step. Everywhere else it processes chunks of 32 steps as matrix products: in Triton on a GPU, with float32
    products that follow `torch.set_float32_matmul_precision`, or in plain PyTorch, where values that decay
    within a chunk below 1e-19 of a query, a key or a state (1e-154 in float64) are taken as zero. All of
    these are accurate for gates of any size. Forward-mode differentiation, `torch.func` transforms and second
    derivatives use the reference, step by step.

    Non-finite values affect only their own head and sequence; in chunks they may also affect earlier steps.

    Source: Katharopoulos et al., "Transformers are RNNs: Fast Autoregressive Transformers with Linear
    Attention", ICML 2020; Yang et al., "Gated Linear Attention Transformers with Hardware-Efficient
    Training", ICML 2024, sections 3 and 4.
    """
    gated_linear_arguments.check_arguments(q, k, v, log_g, s0, mask_pad, reset, s_reset, cu_seqlens)
    check_ends("gated_linear_recurrence", cu_seqlens, q.shape[0])
    return gated_linear.gated_linear_recurrence(
        q, k, v, log_g, s0, mask_pad=mask_pad, reset=reset, s_reset=s_reset, cu_seqlens=cu_seqlens
    )


def mingru_recurrence(
    u: Tensor,
    h0: Tensor | None = None,
    *,
    mask_pad: Tensor | None = None,
    reset: Tensor | None = None,
    h_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence of the minimal GRU over a batch of pre-activations.

        z_t = σ(u_z)        h_t = (1 − z_t) ⊙ h_{t-1} + z_t ⊙ u_h

    At a padded position the state is h_{t-1} and the output zero, and no gradient reaches the inputs of that
    position.

    Args:
        u: `(T, B, 2, D)`, the pre-activations `u_h, u_z`. float32, float64, float16 or bfloat16; this is the
            storage dtype.
        h0: `(B, D)`, the state before the first step, in the storage dtype or in the accumulation dtype;
            zeros if None.
        mask_pad: `(T, B)` bool, True where a position is padding.
        reset: `(T, B)` bool, True where a sequence begins; ignored at padding.
        h_reset: `(D,)`, the state after a reset; zeros if None.
        cu_seqlens: `(S + 1,)` int32 or int64, 0 and the ends of S sequences that are concatenated in a batch
            of one. `h0` and `h_last` then have S instead of B; a sequence may be empty. Excludes `mask_pad`
            and `reset`. The values are checked on the CPU only; on a GPU, wrong values access no memory
            outside the tensors.

    Returns:
        `h`: `(T, B, D)`, the states after each step in the storage dtype.
        `h_last`: `(B, D)`, the state after the last step, in the accumulation dtype: float64 for float64
        storage, float32 otherwise.

    Raises:
        ValueError: A shape or a device is wrong.
        TypeError: A dtype is wrong.

    It uses a loop, a parallel scan over time or the kernels of the SRU (see `sru_nn.backend`), whichever
    should be fastest. `torch.func` transforms and second derivatives of the kernels use the loop; a compiled
    graph supports only first derivatives.

    Non-finite values affect only their own column and sequence, from their step on: the state is infinite or
    NaN, and which of the two is unspecified. An infinite u_z opens or closes its gate.

    Source: Feng et al., "Were RNNs All We Needed?", 2024 (arXiv:2410.01201), section 3.1.
    """
    mingru_arguments.check_arguments(u, h0, mask_pad, reset, h_reset, cu_seqlens)
    check_ends("mingru_recurrence", cu_seqlens, u.shape[0])
    return mingru.mingru_recurrence(
        u, h0, mask_pad=mask_pad, reset=reset, h_reset=h_reset, cu_seqlens=cu_seqlens
    )


def ligru_recurrence(
    u: Tensor,
    weight: Tensor,
    h0: Tensor | None = None,
    *,
    bidirectional: bool = False,
    activation: ligru_arguments.Activation = "relu",
    norm_eps: float | None = None,
    norm_weight: Tensor | None = None,
    norm_bias: Tensor | None = None,
    mask_h: Tensor | None = None,
    mask_pad: Tensor | None = None,
    reset: Tensor | None = None,
    h_reset: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence of the light GRU, or of the stabilised one, over a batch of pre-activations.

        r = U h_{t-1}, or layer_norm(U h_{t-1}) with `norm_eps`
        z_t = σ(u_z + r_z)        h̃_t = g(u_h + r_h) ⊙ m        h_t = z_t ⊙ h_{t-1} + (1 − z_t) ⊙ h̃_t

    At a padded position the state is h_{t-1} and the output zero, and no gradient reaches the inputs of that
    position. The second direction processes the same `u` from the last step to the first, with the same
    weights.

    Args:
        u: `(T, B, 2, D)`, the pre-activations `u_h, u_z`. float32, float64, float16 or bfloat16; this is the
            storage dtype. All other tensors except masks are in this dtype or in the accumulation dtype.
        weight: `(2·D, D)`, the matrix U, U_h before U_z; rounded to the storage dtype.
        h0: `(B, N·D)`, the state before the first step; zeros if None.
        bidirectional: Whether there is a second direction (N = 2).
        activation: The function g: `"relu"`, `"tanh"`, `"sin"` or `"leaky_relu"`.
        norm_eps: The ε of the layer norm over the 2·D elements of U h; None for no norm.
        norm_weight: `(2·D,)`, the weight of the norm; ones if None.
        norm_bias: `(2·D,)`, the bias of the norm; zeros if None.
        mask_h: `(B, N·D)`, the dropout mask m of the candidates, already divided by the keep probability.
        mask_pad: `(T, B)` bool, True where a position is padding.
        reset: `(T, B)` bool, True where a sequence begins; ignored at padding.
        h_reset: `(N·D,)`, the state after a reset; zeros if None.
        cu_seqlens: `(S + 1,)` int32 or int64, 0 and the ends of S sequences that are concatenated in a batch
            of one, as for `sru_recurrence`. `h0`, `mask_h` and `h_last` then have S instead of B.

    Returns:
        `h`: `(T, B, N·D)`, the states after each step in the storage dtype.
        `h_last`: `(B, N·D)`, the state after the last step, in the accumulation dtype: float64 for float64
        storage, float32 otherwise.

    Raises:
        ValueError: A shape, a device or the combination of options is wrong.
        TypeError: A dtype is wrong.

    Products are in the accumulation dtype, even under autocast; but on processors with AVX512-BF16 a product
    with a bfloat16 `weight` rounds the state, or its gradient, to bfloat16. It runs in the kernels of
    `sru-kernels` where they can be used (see `sru_nn.backend`), otherwise in plain PyTorch. `torch.func`
    transforms, a `mask_h` with a gradient and second derivatives use the reference; a compiled graph supports
    only first derivatives.

    Non-finite values affect only their own sequence, from their step on. The next step multiplies by them,
    and it is unspecified which states are then infinite, NaN or finite.

    Source: Ravanelli et al., "Light Gated Recurrent Units for Speech Recognition", 2018 (arXiv:1803.10225);
    Moumen and Parcollet, "Stabilising and Accelerating Light Gated Recurrent Units for Automatic Speech
    Recognition", ICASSP 2023 (arXiv:2302.10144).
    """
    norm = {"norm_eps": norm_eps, "norm_weight": norm_weight, "norm_bias": norm_bias}
    where = {"mask_pad": mask_pad, "reset": reset, "h_reset": h_reset, "cu_seqlens": cu_seqlens}
    options = {"bidirectional": bidirectional, "activation": activation, "mask_h": mask_h, **norm, **where}
    ligru_arguments.check_arguments(u, weight, h0, **options)
    check_ends("ligru_recurrence", cu_seqlens, u.shape[0])
    return ligru.ligru_recurrence(u, weight, h0, **options)  # type: ignore[arg-type]
