"""One SRU layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from sru_nn.arguments import (
    check_exclusive,
    check_features,
    check_like_parameters,
    check_number,
    check_probabilities,
    check_sizes,
    input_and_state,
    one_of_two_names,
)
from sru_nn.cells.sru.arguments import Activation, check_arguments
from sru_nn.cells.sru.inputs import checked
from sru_nn.cells.sru.operator import Inputs, sru_recurrence
from sru_nn.cells.sru.transform import in_gates, make_transform
from sru_nn.cells.sru.weights import Weights
from sru_nn.experimental.length_parallel import LengthParallel
from sru_nn.gemm import project
from sru_nn.pieces import sequence_numbers
from sru_nn.positions import Positions, check_reset, expand_initial, learned
from sru_nn.recurrent import check_step
from sru_nn.watched import as_leaf


class SRUCell(Weights):
    """One SRU layer over a whole sequence, in one direction or two.

        u = W x_t
        f_t = σ(u_f + v_f ⊙ c_{t-1} + b_f)        r_t = σ(u_r + v_r ⊙ c_{t-1} + b_r)
        c_t = f_t ⊙ c_{t-1} + (1 − f_t) ⊙ u_c     h_t = r_t ⊙ m ⊙ g(c_t) + (1 − r_t ⊙ m) ⊙ x'_t

    If the input is as wide as the output, x'_t is the input itself, times a constant with `rescale`.
    Otherwise W has a fourth block that projects it. The arguments, their defaults and their
    meaning are those of `sru` 2.6.0, in the same order; `use_relu` comes from its first releases.

    Args:
        input_size: E, the number of input features.
        hidden_size: D, the number of hidden features of each direction.
        dropout: Probability of the variational dropout m on g(c_t): one mask for all steps.
        rnn_dropout: Probability of the variational dropout on the input of W.
        bidirectional: Whether a second direction runs from the last step to the first.
        n_proj: Inner width of W as a product of two matrices; 0, or a width that is not smaller than
            both E and N·D, means one matrix.
        use_tanh: Whether g is tanh instead of the identity.
        highway_bias: Initial value of b_r; below zero favours the highway.
        has_skip_term: Whether there is a highway term x'_t.
        layer_norm: Whether the layer is normalised: its input, or its output with `normalize_after`.
        rescale: Whether x'_t is scaled to preserve the variance in deep stacks at initialisation.
        v1: Whether v_f and v_r are fixed at zero, as in the first version of the paper.
        custom_m: A module used instead of W. It maps `(T, B, E)` to the pre-activations
            `(T, B, N·D·K)` in the layout of `sru` 2.6.0, gates innermost, or to a pair of these and
            `(T, B, N·D·2)`, which is added to the recurrent vectors at each position.
        amp_recurrence_fp16: Whether autocast may run the recurrence in half precision; if False it runs in
            the dtype of the input.
        normalize_after: Whether `layer_norm` normalises the output instead of the input.
        weight_c_init: Bound of the uniform initialisation of v; None for √(3/2).
        use_relu: Whether g is ReLU.
        projection_size: The name of `n_proj` in `sru` 3.0.0.dev.
        transform_module: The name of `custom_m` in `sru` 3.0.0.dev.
        length_parallel: Whether `forward` solves for all steps at once:
            `sru_nn.experimental.length_parallel`.
        bias: Whether the gates have learned biases; if False, the biases stay zero.
        learn_initial_state: Whether the initial state is learned instead of zero. It gets no gradient if a
            state is always passed and no sequence is reset.

    State dicts of `sru` 2.3.5, 2.6.0 and 3.0.0.dev6 load unchanged.

    Attributes:
        transform: W, an `nn.Linear` with K·N·D outputs, gate after gate (or two, `down` and
            `up`, with `n_proj`); None with `custom_m`.
        weight_c: `(2·N·D,)`, v_f then v_r; a buffer of zeros with `v1`.
        bias: `(2·N·D,)`, b_f then b_r; a buffer of zeros without `bias`.
        initial_state: `(N·D,)`, with `learn_initial_state`; otherwise None.

    Raises:
        TypeError: A size is not an integer.
        ValueError: A size is not positive, a probability is outside [0, 1), both activations are requested,
            or an argument is passed under both of its names.

    Source: Lei et al., "Simple Recurrent Units for Highly Parallelizable Recurrence", EMNLP 2018.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        dropout: float = 0.0,
        rnn_dropout: float = 0.0,
        bidirectional: bool = False,
        n_proj: int = 0,
        use_tanh: bool = False,
        highway_bias: float = 0.0,
        has_skip_term: bool = True,
        layer_norm: bool = False,
        rescale: bool = True,
        v1: bool = False,
        custom_m: nn.Module | None = None,
        amp_recurrence_fp16: bool = False,
        normalize_after: bool = False,
        weight_c_init: float | None = None,
        *,
        use_relu: bool = False,
        projection_size: int | None = None,
        transform_module: nn.Module | None = None,
        length_parallel: bool | LengthParallel = False,
        bias: bool = True,
        learn_initial_state: bool = False,
    ) -> None:
        super().__init__()
        who = type(self).__name__
        n_proj = one_of_two_names(who, "n_proj", n_proj, 0, "projection_size", projection_size)
        custom_m = one_of_two_names(who, "custom_m", custom_m, None, "transform_module", transform_module)
        input_size, hidden_size = check_sizes(who, input_size=input_size, hidden_size=hidden_size)
        (n_proj,) = check_sizes(who, at_least=0, n_proj=n_proj)
        check_probabilities(who, dropout=dropout, rnn_dropout=rnn_dropout)
        check_number(who, "highway_bias", highway_bias)
        if weight_c_init is not None:
            check_number(who, "weight_c_init", weight_c_init, at_least=0)
        if custom_m is not None and not callable(custom_m):
            raise TypeError(f"{who}: custom_m must be a module, got a {type(custom_m).__name__}")
        check_exclusive(who, use_tanh=use_tanh, use_relu=use_relu)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_directions = 2 if bidirectional else 1
        self.output_size = self.num_directions * hidden_size
        self.dropout = float(dropout)
        self.rnn_dropout = float(rnn_dropout)
        self.bidirectional = bool(bidirectional)
        self.projection_size = n_proj if 0 < n_proj < min(input_size, self.output_size) else 0
        self.activation: Activation = "tanh" if use_tanh else "relu" if use_relu else "identity"
        self.highway_bias = highway_bias
        self.has_skip_term = bool(has_skip_term)
        self.rescale = bool(rescale)
        self.v1 = bool(v1)
        self.amp_recurrence_fp16 = bool(amp_recurrence_fp16)
        self.normalize_after = bool(normalize_after)
        self.weight_c_init = weight_c_init
        self.length_parallel = length_parallel
        self.num_matrices = 4 if has_skip_term and input_size != self.output_size else 3

        self.custom_m = custom_m
        self.transform: nn.Module | None = None
        if custom_m is None:
            outputs = self.num_matrices * self.output_size
            self.transform = make_transform(input_size, outputs, self.projection_size)
        for name, is_learned in (("weight_c", not v1), ("bias", bias)):
            zeros = torch.zeros(2 * self.output_size)
            if is_learned:
                self.register_parameter(name, nn.Parameter(zeros))
            else:  # a buffer, out of reach of optimizers and initialisers
                self.register_buffer(name, zeros)
        self.initial_state = nn.Parameter(torch.zeros(self.output_size)) if learn_initial_state else None
        width = self.output_size if normalize_after else input_size
        self.layer_norm = nn.LayerNorm(width) if layer_norm else None
        self.reset_parameters()

    def forward(
        self,
        input: Tensor | None = None,
        c0: Tensor | None = None,
        mask_pad: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        x: Tensor | None = None,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the layer.

        Args:
            input: `(T, B, E)`, or `(B, E)` for a single step; `(total, E)` or `(total, 1, E)` with
                `cu_seqlens`.
            c0: `(B, N·D)`, the state before the first step; `initial_state`, or zeros, if None. S instead of
                B with `cu_seqlens`.
            mask_pad: `(T, B)`, non-zero where a position is padding.
            reset: `(T, B)` bool, True where a sequence begins: as for `SRU`.
            cu_seqlens: `(S + 1,)` int32 or int64, where the concatenated sequences begin and end: as
                for `SRU`.
            x: Another name for `input`.
            state: Another name for `c0`.

        Returns:
            `h`: `(T, B, N·D)`, with T = 1 for a single step; in the layout of the input with `cu_seqlens`.
            `c`: `(B, N·D)`, the state after the last step, float32 or float64.

        Raises:
            ValueError: A shape does not fit, an argument is passed under both of its names, or `cu_seqlens`
                does not divide the input or is combined with `mask_pad` or `reset`.
            TypeError: A dtype does not fit.
        """
        given, c0 = input_and_state(self, input, c0, x, state)
        if isinstance(given, fx.Proxy):
            return as_leaf(  # type: ignore[no-any-return]
                self, given, c0, mask_pad, reset=reset, cu_seqlens=cu_seqlens
            )
        return self._forward(given, c0, Positions(mask_pad, reset, cu_seqlens))

    def step(
        self,
        x: Tensor,
        state: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        c: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run one time step, like `forward` with a sequence of one step.

        Args:
            x: `(B, E)`.
            state: `(B, N·D)`, the state before the step; the initial state if None.
            reset: `(B,)` bool, True where a sequence begins at this step; its state is then ignored.
            c: Another name for `state`.

        Returns:
            `h`: `(B, N·D)`.
            `c`: `(B, N·D)`, the state after the step, float32 or float64.

        Raises:
            ValueError: A shape does not fit, or the layer is bidirectional.
            TypeError: A dtype does not fit.
        """
        state = one_of_two_names(f"{type(self).__name__}.step", "state", state, None, "c", c)
        check_step(self, x, (2,))
        given: Any = x
        if reset is not None and not isinstance(given, fx.Proxy):
            check_reset(type(self).__name__, reset, "(B,)", tuple(x.shape[:-1]), x)
        beside = {} if reset is None else {"reset": reset.unsqueeze(0)}
        result = self(x.unsqueeze(0), state, **beside)
        return result[0].squeeze(0), result[1]

    def _forward(self, input: Any, c0: Any, where: Positions, *attention: Any) -> tuple[Tensor, Tensor]:
        """Check the arguments of the call, and run the layer."""
        flat = where.cu_seqlens is not None and isinstance(input, Tensor) and input.dim() == 2
        input, where = checked(self, input, c0, where)
        h, c = self._run(input, c0, where, *attention)
        return h.squeeze(1) if flat else h, c

    def _run(
        self, input: Tensor, c0: Tensor | None, where: Positions, *attention: Any
    ) -> tuple[Tensor, Tensor]:
        """Run on `(T, B, E)`, finite at padding; the other arguments are for the transform of SRU++."""
        transform, norm = self.transform, self.layer_norm
        check_features(type(self).__name__, "input", input, "(T, B, E)", (3,), self.input_size)
        check_like_parameters(type(self).__name__, input, self.bias if transform is None else transform)
        mask_pad, reset, cu_seqlens = where
        x, mask_c, sequences = input, None, where.sequences(input)
        if norm is not None and not self.normalize_after:
            x = norm(x)
        if self.training and self.rnn_dropout > 0:
            mask = self._variational_mask(x, sequences, self.input_size, self.rnn_dropout)
            if cu_seqlens is not None:
                mask = mask[sequence_numbers(cu_seqlens, x.shape[0])].unsqueeze(1)
            x = x * mask
        if self.training and self.dropout > 0:
            mask_c = self._variational_mask(x, sequences, self.output_size, self.dropout)
        u, v = self._transformed(x, where, *attention), self.weight_c.view(2, self.output_size)
        if transform is None:
            u, v = in_gates(self, u, v, x)
        else:
            u = u.view(*x.shape[:2], self.num_matrices, self.output_size)
        if not (self.amp_recurrence_fp16 and u.dtype in (torch.float16, torch.bfloat16)):
            u = u.to(input.dtype)
        highway = input.to(u.dtype) if self.has_skip_term and self.num_matrices == 3 else None
        initial = learned(self.initial_state, u)
        inputs = Inputs(
            u,
            v,
            self.bias.view(2, self.output_size),
            expand_initial(initial, sequences) if c0 is None else c0,
            highway,
            mask_c,
            mask_pad,
            self.bidirectional,
            self.activation,
            1.0 if highway is None else self.scale_x,
        )
        sequences_begin = (reset, None if reset is None else initial, cu_seqlens)
        check_arguments(*inputs, *sequences_begin)
        h, c = sru_recurrence(inputs, *sequences_begin, self.length_parallel)
        return norm(h) if norm is not None and self.normalize_after else h, c

    def _transformed(self, x: Tensor, where: Positions, *attention: Any) -> Any:
        return self.custom_m(x) if self.transform is None else project(self.transform, x)  # type: ignore[misc]

    def _variational_mask(self, like: Tensor, sequences: int, size: int, p: float) -> Tensor:
        """Draw one dropout mask per sequence for all its steps, in the dtype and on the device of `like`."""
        return F.dropout(like.new_ones(sequences, size), p)
