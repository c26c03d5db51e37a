"""Stacks of Li-GRU and SLi-GRU layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sru_nn.cells.ligru.arguments import Activation, Normalization, check_options
from sru_nn.cells.ligru.checkpoints import check_stack, read_stack
from sru_nn.cells.ligru.layer import LiGRULayer
from sru_nn.operators import is_plain
from sru_nn.positions import Positions
from sru_nn.recurrent import Sequences, without_padding
from sru_nn.stack import Stack, by_layer


class LightStack(Stack):
    """The base of `LiGRU` and `SLiGRU`: everything but the norm of the product with the state."""

    _fixed = Stack._fixed | {"normalization"}

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int, *, batch_first: bool, **options: Any
    ) -> None:
        super().__init__()
        self._set_sizes(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=options["bidirectional"],
            batch_first=batch_first,
            project_input=False,
        )
        check_options(type(self).__name__, **options)
        self.normalization: Normalization = options["normalization"]
        self.layers = nn.ModuleList(
            LiGRULayer(self.output_size if layer else self.input_size, self.hidden_size, **options)
            for layer in range(self.num_layers)
        )
        self.dropout = options["dropout"]

    def _set_dropout(self, p: float) -> None:
        for layer in self.layers:
            layer.dropout = p  # type: ignore[assignment]

    def forward(
        self,
        x: Sequences,
        state: Tensor | None = None,
        mask_pad: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> tuple[Sequences, Tensor]:
        """Run the stack.

        Args:
            x: `(T, B, E)`, `(B, T, E)` with `batch_first`, `(T, E)` for a single sequence; `(total, E)` or
                `(1, total, E)` with `cu_seqlens`; or a `PackedSequence`.
            state: `(L, B, N·D)`, or `(L, N·D)` for a single sequence: the states before the first step; the
                learned ones, or zeros, if None.
            mask_pad: `(T, B)`, `(B, T)` with `batch_first`, or `(T,)` for a single sequence: non-zero where a
                position is padding. Padding does not change the state, and its output is zero.
            reset: Bool, in the shape of `mask_pad`: True where a sequence begins. No state and no gradient
                crosses this point; the second direction restarts just before it. A reset at padding is
                ignored.
            cu_seqlens: `(S + 1,)` int32 or int64: the input holds S concatenated sequences without padding,
                sequence s from `cu_seqlens[s]` to `cu_seqlens[s + 1]`. The states then have S instead of B.
                The values are checked on the CPU only.

        Returns:
            `h`: the outputs of the last layer, with the layout of `x` and N·D features.
            `state`: `(L, B, N·D)`, the states after the last step, which for the second direction is the
            first in time; float32, or float64 for float64 input.

        Raises:
            ValueError: A shape does not fit, `cu_seqlens` does not fit the input, it or a `PackedSequence` is
                combined with an argument that it excludes, or batch norm gets a single real frame in
                training.
            TypeError: A dtype does not fit.
        """
        return self._forward(x, state, mask_pad, reset=reset, cu_seqlens=cu_seqlens)

    def _initial(self) -> Any:
        states = [layer.initial_state for layer in self.layers]
        return None if states[0] is None else torch.stack(states)  # type: ignore[arg-type]

    def _check_state(self, state: Any, *batch: int) -> None:
        if state is not None:
            self._check_state_tensor(
                "state", state, batch, "(L, B, N·D)", (self.num_layers, self.output_size)
            )

    def _run(self, x: Tensor, state: Tensor | None, where: Positions) -> tuple[Tensor, Tensor]:
        if self.training and self.normalization == "batch":
            self._check_frames(x, where.mask_pad)
        x, last = without_padding(x, where.mask_pad), []
        for layer, before in zip(self.layers, by_layer(state, self.num_layers), strict=True):
            x, after = layer(x, before, where.mask_pad, **where.options())
            last.append(after)
        return x, torch.stack(last)

    def _check_frames(self, x: Tensor, mask_pad: Tensor | None) -> None:
        """Raise if batch norm has fewer than two frames; masks are read on the CPU only, so no GPU waits."""
        frames = x.shape[0] * x.shape[1]
        if mask_pad is not None:
            if not (mask_pad.is_cpu and is_plain(mask_pad)):
                return
            frames -= int(mask_pad.sum())
        if frames < 2 and any(layer.norm.training for layer in self.layers):  # type: ignore[union-attr]
            raise ValueError(
                f"{type(self).__name__}: batch norm in training needs two real frames or more, got {frames}; "
                "pass more at once, call .eval(), or choose normalization='layer'"
            )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Mapping[str, Any], *args: Any
    ) -> None:
        read_stack(state_dict, prefix)
        check_stack(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def extra_repr(self) -> str:
        """Show the options that the layers do not show."""
        return f"{super().extra_repr()}, normalization={self.normalization!r}"


class LiGRU(LightStack):
    """A stack of light GRU layers: one gate, a rectified candidate and a norm of the projected input.

        u = norm(W x_t)
        z_t = σ(u_z + U_z h_{t-1})        h̃_t = g(u_h + U_h h_{t-1}) ⊙ m
        h_t = z_t ⊙ h_{t-1} + (1 − z_t) ⊙ h̃_t

    As in the published model, both directions share their weights and norm.

    Args:
        input_size: E, the number of input features.
        hidden_size: D, the number of hidden features of each direction.
        num_layers: L, the number of layers.
        normalization: The norm of W x: `"batch"`, batch norm over the real frames of a batch; `"layer"`,
            layer norm; or `"none"`.
        nonlinearity: g: `"relu"`, `"tanh"`, `"sin"` or `"leaky_relu"`.
        bias: Whether the norm, or W if there is no norm, has a learned bias; if False, it stays zero.
        dropout: Probability of the dropout m on the candidates of every layer: one mask per sequence and
            direction, used for all steps.
        re_init: Whether U is initialised as orthogonal, instead of like an `nn.Linear`.
        bidirectional: Whether each layer has a second direction from the last step to the first.
        batch_first: Whether the batch dimension of input, output and `mask_pad` comes first. The layout of
            the state does not change.
        learn_initial_state: Whether each layer has a learned initial state, a parameter `initial_state`
            `(N·D,)`, instead of zeros. It gets no gradient if a state is always passed and no sequence is
            reset.

    State dicts of `speechbrain.nnet.RNN.LiGRU` and of `fast_sligru` load unchanged; one of another
    architecture raises a `RuntimeError`, even with `strict=False`, that names the first argument that differs
    and both values. In these packages, any value other than `"batchnorm"` means layer norm.

    Attributes:
        layers: The L layers, each with `transform` (W, an `nn.Linear`, u_h then u_z), `norm`, and `recurrent`
            (U, an `nn.Linear`).

    Raises:
        TypeError: A size is not an integer.
        ValueError: An argument is outside its range.

    Source: Ravanelli et al., "Light Gated Recurrent Units for Speech Recognition", IEEE Transactions on
    Emerging Topics in Computational Intelligence, 2018 (arXiv:1803.10225), section III.

    Example:
        >>> import torch
        >>> rnn = LiGRU(40, 128, num_layers=2, bidirectional=True)
        >>> h, state = rnn(torch.randn(20, 8, 40))
        >>> h.shape, state.shape
        (torch.Size([20, 8, 256]), torch.Size([2, 8, 256]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        normalization: Normalization = "batch",
        nonlinearity: Activation = "relu",
        bias: bool = True,
        dropout: float = 0.0,
        re_init: bool = True,
        bidirectional: bool = False,
        batch_first: bool = False,
        learn_initial_state: bool = False,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            normalization=normalization,
            nonlinearity=nonlinearity,
            bias=bias,
            dropout=dropout,
            re_init=re_init,
            bidirectional=bidirectional,
            batch_first=batch_first,
            learn_initial_state=learn_initial_state,
            recurrent_norm=False,
            recurrent_elementwise_affine=False,
        )


class SLiGRU(LightStack):
    """A stack of stabilised light GRU layers: a `LiGRU` that also normalises the product with the state.

        u = norm(W x_t)        r = layer_norm(U h_{t-1})
        z_t = σ(u_z + r_z)        h̃_t = g(u_h + r_h) ⊙ m
        h_t = z_t ⊙ h_{t-1} + (1 − z_t) ⊙ h̃_t

    The layer norm is taken over both halves of r together. It prevents exploding gradients over many steps.

    Args:
        input_size: E, the number of input features.
        hidden_size: D, the number of hidden features of each direction.
        num_layers: L, the number of layers.
        normalization: As for `LiGRU`; `ff_normalization` in SpeechBrain.
        nonlinearity: As for `LiGRU`.
        recurrent_elementwise_affine: Whether the layer norm of U h has a learned weight and bias.
        bias: As for `LiGRU`.
        dropout: As for `LiGRU`.
        re_init: As for `LiGRU`.
        bidirectional: As for `LiGRU`.
        batch_first: As for `LiGRU`.
        learn_initial_state: As for `LiGRU`.

    State dicts of `speechbrain.nnet.RNN.SLiGRU` and of `fast_sligru` load unchanged, as for `LiGRU`.

    Attributes:
        layers: The L layers, as for `LiGRU`, each also with `recurrent_norm`.

    Raises:
        TypeError: A size is not an integer.
        ValueError: An argument is outside its range.

    Source: Moumen and Parcollet, "Stabilising and Accelerating Light Gated Recurrent Units for Automatic
    Speech Recognition", ICASSP 2023 (arXiv:2302.10144), section 3.

    Example:
        >>> import torch
        >>> rnn = SLiGRU(40, 128, num_layers=2)
        >>> h, state = rnn(torch.randn(20, 8, 40))
        >>> h, state = rnn.eval().step(torch.randn(8, 40), state)
        >>> h.shape, state.shape
        (torch.Size([8, 128]), torch.Size([2, 8, 128]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        normalization: Normalization = "batch",
        nonlinearity: Activation = "relu",
        recurrent_elementwise_affine: bool = False,
        bias: bool = True,
        dropout: float = 0.0,
        re_init: bool = True,
        bidirectional: bool = False,
        batch_first: bool = False,
        learn_initial_state: bool = False,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            normalization=normalization,
            nonlinearity=nonlinearity,
            bias=bias,
            dropout=dropout,
            re_init=re_init,
            bidirectional=bidirectional,
            batch_first=batch_first,
            learn_initial_state=learn_initial_state,
            recurrent_norm=True,
            recurrent_elementwise_affine=recurrent_elementwise_affine,
        )
