"""Residual stacks: layers that wrap a recurrence in a norm, two linear maps and a residual connection."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from sru_nn.gemm import project
from sru_nn.positions import Positions, expand_initial, learned
from sru_nn.recurrent import Sequences, without_padding
from sru_nn.stack import Stack, by_layer
from sru_nn.watched import refuse_script


class ResidualBlock(nn.Module):
    """x_t + W_o y_t, where y is a recurrence over u_t = W norm(x_t) that a subclass defines.

    Attributes:
        norm: The layer norm.
        transform: W, an `nn.Linear`.
        output: W_o, an `nn.Linear`.
        dropout: The dropout of W_o y_t.
        state_shape: The shape of the state of one sequence.
        initial_state: The initial state of sequences, a parameter; None if it is zero.
    """

    __prepare_scriptable__ = refuse_script

    def __init__(
        self,
        hidden_size: int,
        pre_activations: int,
        outputs: int,
        state_shape: tuple[int, ...],
        dropout: float,
        learn_initial_state: bool,
    ) -> None:
        super().__init__()
        self.state_shape = state_shape
        self.initial_state = nn.Parameter(torch.zeros(state_shape)) if learn_initial_state else None
        self.norm = nn.LayerNorm(hidden_size)
        self.transform = nn.Linear(hidden_size, pre_activations, bias=False)
        self.output = nn.Linear(outputs, hidden_size, bias=False)
        self.dropout = nn.Dropout(dropout)

    @abstractmethod
    def recur(self, u: Tensor, state: Tensor | None, where: Positions) -> tuple[Tensor, Tensor]:
        """Return y `(T, B, ...)` and the state after the last step."""

    def _at_resets(self, u: Tensor, where: Positions) -> Tensor | None:
        """Return the learned initial state of pieces; None if there is no such state or no reset."""
        return None if where.reset is None else learned(self.initial_state, u)

    def reset_parameters(self) -> None:
        """Reinitialise the weights as PyTorch does for each module; a learned state is set to zero."""
        if self.initial_state is not None:
            nn.init.zeros_(self.initial_state)
        for module in (self.norm, self.transform, self.output):
            module.reset_parameters()

    def forward(
        self,
        x: Tensor,
        state: Tensor | None = None,
        mask_pad: Tensor | None = None,
        *,
        reset: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the block.

        Args:
            x: `(T, B, D)`; `(total, 1, D)` with `cu_seqlens`.
            state: The state before the first step; `initial_state`, or zeros, if None.
            mask_pad: `(T, B)` bool, True where a position is padding.
            reset: `(T, B)` bool, True where a sequence begins.
            cu_seqlens: `(S + 1,)` int64, where the concatenated sequences begin and end.

        Returns:
            `x`: `(T, B, D)`.
            `state`: The state after the last step.
        """
        where = Positions(mask_pad, reset, cu_seqlens)
        u = project(self.transform, self.norm(x))
        if state is None:
            state = expand_initial(learned(self.initial_state, u), where.sequences(x))
        y, state = self.recur(u, state, where)
        return x + self.dropout(project(self.output, y)), state


class ResidualStack(Stack):
    """Residual blocks in sequence, with a linear map before them and a norm after them."""

    state_letters = "(L, B, ...)"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float,
        batch_first: bool,
    ) -> None:
        super().__init__()
        self._set_sizes(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=False,
            batch_first=batch_first,
            project_input=True,
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.layers = nn.ModuleList()
        self.dropout = dropout

    def _add(self, blocks: Iterable[ResidualBlock]) -> None:
        self.layers.extend(blocks)
        self.reset_parameters()

    def _set_dropout(self, p: float) -> None:
        for block in self.layers:
            block.dropout.p = p  # type: ignore[union-attr]

    def _initial(self) -> Any:
        states = [block.initial_state for block in self.layers]
        return None if states[0] is None else torch.stack(states)  # type: ignore[arg-type]

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
            state: The states before the first step, in the shape given by the class; without B for a single
                sequence; the learned ones, or zeros, if None.
            mask_pad: `(T, B)`, `(B, T)` with `batch_first`, or `(T,)` for a single sequence: non-zero where a
                position is padding. Padding does not change the state, and its output is zero.
            reset: Bool, in the shape of `mask_pad`: True where a sequence begins. No state and no gradient
                crosses this point. A reset at padding is ignored.
            cu_seqlens: `(S + 1,)` int32 or int64: the input holds S concatenated sequences without padding,
                sequence s from `cu_seqlens[s]` to `cu_seqlens[s + 1]`. The states then have S instead of B.
                The values are checked on the CPU only.

        Returns:
            `h`: The outputs of the last layer, with the layout of `x` and D features.
            `state`: The states after the last step; float32, or float64 for float64 input.

        Raises:
            ValueError: A shape does not fit, `cu_seqlens` does not fit the input, or it or a `PackedSequence`
                is combined with an argument that it excludes.
            TypeError: A dtype does not fit.
        """
        return self._forward(x, state, mask_pad, reset=reset, cu_seqlens=cu_seqlens)

    def _first(self) -> nn.Module:
        return self.input_to_hidden or self.norm

    def _check_state(self, state: Any, *batch: int) -> None:
        if state is not None:
            block: ResidualBlock = self.layers[0]  # type: ignore[assignment]
            shape = (self.num_layers, *block.state_shape)
            self._check_state_tensor("state", state, batch, self.state_letters, shape)

    def _run(self, x: Tensor, state: Tensor | None, where: Positions) -> tuple[Tensor, Tensor]:
        x = self._enter(x, where.mask_pad)
        last, options = [], where.options()
        for block, before in zip(self.layers, by_layer(state, self.num_layers), strict=True):
            x, after = block(x, before, where.mask_pad, **options)
            last.append(after)
        return without_padding(self.norm(x), where.mask_pad), torch.stack(last)
