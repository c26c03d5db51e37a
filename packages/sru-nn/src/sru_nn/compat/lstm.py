"""The drop-in replacement for `nn.LSTM`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sru_nn.compat.base import DropIn, last_outputs
from sru_nn.compat.states import StartsFromC, check_pair
from sru_nn.positions import Positions
from sru_nn.recurrent import Sequences


class LSTM(StartsFromC, DropIn, nn.LSTM):  # type: ignore[misc]
    """A stack of SRU layers with the interface of `nn.LSTM`, which it subclasses.

        f_t = σ(u_f + v_f ⊙ c_{t-1} + b_f)        r_t = σ(u_r + v_r ⊙ c_{t-1} + b_r)
        c_t = f_t ⊙ c_{t-1} + (1 − f_t) ⊙ u_c     h_t = r_t ⊙ c_t + (1 − r_t) ⊙ x_t

    with u = W x_t; x_t is projected if it is not as wide as the output (see `SRUCell`).

    **h0 does not influence any step.** An SRU carries only c from step to step, so c0 is its whole initial
    state. h_n is the output of the last real step of each layer and direction. Code that carries an LSTM's
    state from segment to segment passes both and continues exactly where the segment ended. A model that
    *computes* an initial state must pass it as c0: a non-zero h0 with an all-zero c0 would be lost, and
    raises an error. Eager calls check this until both have been non-zero once; `torch.compile` and
    `torch.export` do not.

    Args:
        input_size: E, the number of input features.
        hidden_size: D, the size of the state of each direction.
        num_layers: L, the number of layers.
        bias: Whether the gates have learned biases b_f and b_r; if False, the biases are buffers of zeros.
        batch_first: Whether the batch dimension of input, output and `mask_pad` comes first. The layout of
            the states does not change.
        dropout: Dropout probability, below 1, on the output of each layer but the last. As in every SRU, one
            mask is used for all steps and applied to c_t before the output, not to the highway; `nn.LSTM`
            applies a new mask to the whole output at every step.
        bidirectional: Whether each layer has a second direction from the last step to the first.
        proj_size: P, the width of each direction's output after a linear map without bias, in each layer; 0
            for none. An LSTM feeds the projection back into the cell. An SRU does not, so the projection only
            narrows the output for the next layer and the caller.
        device: The device of the parameters.
        dtype: The dtype of the parameters.
        learn_initial_state: Whether each layer has a learned initial c (see `SRUCell`).

    Attributes:
        rnn_lst: The L layers, of type `SRUCell`. Without `proj_size` the state dict is that of an `SRU`
            of the same sizes; there is no `weight_ih_l0`.
        projections: For each layer the linear maps of its directions; empty without `proj_size`.

    Raises:
        TypeError: A size is not an integer.
        ValueError: An argument is outside its range.

    Source: Lei et al., "Simple Recurrent Units for Highly Parallelizable Recurrence", EMNLP 2018.

    Example:
        >>> import torch
        >>> rnn = LSTM(64, 128, num_layers=2, bidirectional=True)
        >>> output, (h_n, c_n) = rnn(torch.randn(20, 8, 64))
        >>> output.shape, h_n.shape, c_n.shape
        (torch.Size([20, 8, 256]), torch.Size([4, 8, 128]), torch.Size([4, 8, 128]))
    """

    mode = "LSTM"

    def forward(
        self,
        input: Sequences,
        hx: tuple[Tensor, Tensor] | None = None,
        *,
        mask_pad: Tensor | None = None,
        reset: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> tuple[Sequences, tuple[Tensor, Tensor]]:
        """Run the stack.

        Args:
            input: `(T, B, E)`, `(B, T, E)` with `batch_first`, `(T, E)` for a single sequence; `(total, E)`
                or `(1, total, E)` with `cu_seqlens`; or a `PackedSequence`.
            hx: The pair (h0, c0), `(L·N, B, H_out)` and `(L·N, B, D)`, or without B for a single sequence;
                zeros, or the learned c0, if None. H_out is P with `proj_size` and D without. h0 is used only
                as the h_n of a sequence without real steps.
            mask_pad: `(T, B)`, `(B, T)` with `batch_first`, or `(T,)` for a single sequence: non-zero
                where a position is padding, anywhere in the sequence. `nn.LSTM` has no such argument.
            reset: Bool, in the shape of `mask_pad`: True where a sequence begins, as for `SRU`.
            cu_seqlens: `(S + 1,)` int32 or int64: the input holds S concatenated sequences, as for `SRU`.

        Returns:
            `output`: the outputs of the last layer, with the layout of `input` and N·H_out features; zero at
                padding.
            `h_n`: in a pair with c_n; `(L·N, B, H_out)`, the output of each layer and direction at its last
            real step, which for the second direction is the first in time.
            `c_n`: `(L·N, B, D)`, the state of each layer and direction after that step. All have the dtype of
            the input; under autocast `output` and `h_n` have the dtype of autocast, and `c_n` is float32.

        Raises:
            ValueError: A shape does not fit, `hx` is not a pair, h0 would be lost, `cu_seqlens` does not fit
                the input, or `cu_seqlens` or a `PackedSequence` comes with an argument that it excludes.
            TypeError: A dtype does not fit.
        """
        return self._forward(input, hx, mask_pad, reset=reset, cu_seqlens=cu_seqlens)

    def _check_state(self, state: Any, *batch: int) -> None:
        if state is None:
            return
        check_pair("LSTM", state)
        self._check_row("h0", state[0], batch, self._row_size)
        self._check_row("c0", state[1], batch, self.hidden_size)

    def _initial(self) -> Any:
        c = super()._initial()
        return None if c is None else (None, c)

    def _run(self, x: Tensor, state: Any, where: Positions) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h0, c0 = (None, None) if state is None else state
        if h0 is not None and c0 is not None:
            self._check_h0(h0, c0)
        ends = []

        def after(layer: int, x: Tensor) -> Tensor:
            x = self._projected(layer, x)
            ends.append(last_outputs(x, where, self._row_size))
            return x

        output, c = self._run_layers(x, c0, where, after)
        h = torch.cat(ends).to(output.dtype)
        if h0 is not None and where.mask_pad is not None:
            h = torch.where(where.mask_pad.all(0).unsqueeze(-1), h0.to(h.dtype), h)
        if h0 is not None and where.cu_seqlens is not None:
            h = torch.where(where.cu_seqlens.diff().eq(0).unsqueeze(-1), h0.to(h.dtype), h)
            return output, (h, c)
        if h0 is not None and x.shape[0] == 0:
            h = h0.to(h.dtype)
        return output, (h, c)
