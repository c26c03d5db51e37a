"""The drop-in replacement for `nn.GRU`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sru_nn.compat.base import DropIn
from sru_nn.compat.states import one_state
from sru_nn.positions import Positions
from sru_nn.recurrent import Sequences


class GRU(DropIn, nn.GRU):  # type: ignore[misc]
    """A stack of SRU layers with the interface of `nn.GRU`, which it subclasses.

        f_t = σ(u_f + v_f ⊙ c_{t-1} + b_f)        r_t = σ(u_r + v_r ⊙ c_{t-1} + b_r)
        c_t = f_t ⊙ c_{t-1} + (1 − f_t) ⊙ u_c     h_t = r_t ⊙ c_t + (1 − r_t) ⊙ x_t

    with u = W x_t; x_t is projected if it is not as wide as the output (see `SRUCell`).

    **h0 and h_n are states c, not outputs.** The state of a GRU is its output; that of an SRU is not. The one
    tensor passed from call to call must contain what the next step needs. A call that receives h_n therefore
    continues exactly where the segment ended, and a computed h0 has an effect. But `h_n[-1]` is not the last
    row of `output`: a model that uses h_n as a summary of the sequence gets c, the memory before the output
    gate and the highway.

    Args:
        input_size: E, the number of input features.
        hidden_size: D, the size of the state of each direction.
        num_layers: L, the number of layers.
        bias: As for `LSTM`.
        batch_first: As for `LSTM`.
        dropout: As for `LSTM`.
        bidirectional: Whether each layer has a second direction from the last step to the first.
        device: The device of the parameters.
        dtype: The dtype of the parameters.
        learn_initial_state: Whether each layer has a learned initial state (see `SRUCell`).

    Attributes:
        rnn_lst: The L layers, of type `SRUCell`. The state dict is that of an `SRU` of the same sizes; there
            is no `weight_ih_l0`.

    Raises:
        TypeError: A size is not an integer.
        ValueError: An argument is outside its range.

    Source: Lei et al., "Simple Recurrent Units for Highly Parallelizable Recurrence", EMNLP 2018.

    Example:
        >>> import torch
        >>> rnn = GRU(64, 128, num_layers=2, bidirectional=True)
        >>> output, h_n = rnn(torch.randn(20, 8, 64))
        >>> output.shape, h_n.shape
        (torch.Size([20, 8, 256]), torch.Size([4, 8, 128]))
    """

    mode = "GRU"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
        *,
        learn_initial_state: bool = False,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
            learn_initial_state=learn_initial_state,
        )

    def forward(
        self,
        input: Sequences,
        hx: Tensor | tuple[Tensor] | None = None,
        *,
        mask_pad: Tensor | None = None,
        reset: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> tuple[Sequences, Tensor]:
        """Run the stack.

        Args:
            input: `(T, B, E)`, `(B, T, E)` with `batch_first`, `(T, E)` for a single sequence; `(total, E)`
                or `(1, total, E)` with `cu_seqlens`; or a `PackedSequence`.
            hx: `(L·N, B, D)`, or `(L·N, D)` for a single sequence: the states before the first step; the
                learned ones, or zeros, if None. A tuple of one tensor is also accepted.
            mask_pad: `(T, B)`, `(B, T)` with `batch_first`, or `(T,)` for a single sequence: non-zero
                where a position is padding, anywhere in the sequence. `nn.GRU` has no such argument.
            reset: Bool, in the shape of `mask_pad`: True where a sequence begins, as for `SRU`.
            cu_seqlens: `(S + 1,)` int32 or int64: the input holds S concatenated sequences, as for `SRU`.

        Returns:
            `output`: the outputs of the last layer, with the layout of `input` and N·D features; zero at
                padding.
            `h_n`: `(L·N, B, D)`, the state c of each layer and direction after its last real step, which for
            the second direction is the first in time; in the dtype of the input. Under autocast it is float32
            and `output` has the dtype of autocast.

        Raises:
            ValueError: A shape does not fit, `hx` is not one tensor, `cu_seqlens` does not fit the input, or
                `cu_seqlens` or a `PackedSequence` comes with an argument that it excludes.
            TypeError: A dtype does not fit.
        """
        hx = one_state("GRU", hx)
        return self._forward(input, hx, mask_pad, reset=reset, cu_seqlens=cu_seqlens)

    def step(self, x: Tensor, state: Any = None, *, reset: Tensor | None = None) -> tuple[Tensor, Any]:
        """Run one time step, as `SRU.step` does; the state may be a tuple of one tensor, as in `forward`."""
        return super().step(x, one_state("GRU", state), reset=reset)

    def _check_state(self, state: Any, *batch: int) -> None:
        if state is not None:
            self._check_row("hx", state, batch, self.hidden_size)

    def _run(self, x: Tensor, state: Tensor | None, where: Positions) -> tuple[Tensor, Tensor]:
        return self._run_layers(x, state, where)
