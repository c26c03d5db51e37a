"""The base class of every stack: layers one after the other, behind an optional linear map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sru_nn.arguments import check_sizes
from sru_nn.gemm import project
from sru_nn.recurrent import Recurrent


class Stack(Recurrent):
    """Layers of which each takes the output of the one before; a subclass builds and runs them."""

    input_to_hidden: nn.Linear | None

    def _set_sizes(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        *,
        bidirectional: bool,
        batch_first: bool,
        project_input: bool,
    ) -> int:
        """Set the attributes of all stacks and return the input size of the first layer."""
        who = type(self).__name__
        check_sizes(who, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_directions = 2 if bidirectional else 1
        self.output_size = self.num_directions * hidden_size
        self.num_layers = num_layers
        self.bidirectional = bool(bidirectional)
        self.batch_first = bool(batch_first)
        self.input_to_hidden = None
        if not project_input or input_size == self.output_size:
            return input_size
        self.input_to_hidden = nn.Linear(input_size, self.output_size, bias=False)
        return self.output_size

    def _first(self) -> nn.Module | None:
        return self.input_to_hidden

    def _enter(self, x: Tensor) -> Tensor:
        """Apply the linear map before the layers."""
        return x if self.input_to_hidden is None else project(self.input_to_hidden, x)

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        for child in self.children():
            for module in child if isinstance(child, nn.ModuleList) else (child,):
                module.reset_parameters()  # type: ignore[operator]

    def extra_repr(self) -> str:
        """Show what the layers' own lines do not."""
        shown = ("bidirectional", "nn_rnn_compatible_return", "causal", "batch_first")
        flags = [f"{name}=True" for name in shown if getattr(self, name, False)]
        return ", ".join([f"{self.input_size}, {self.hidden_size}, num_layers={self.num_layers}", *flags])


def in_turn(
    layers: Sequence[Any] | nn.ModuleList,
    x: Tensor,
    states: Tensor | None,
    call: Callable[[int, Any, Tensor, Tensor | None], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor]:
    """Run layers, each on the output of the one before.

    Args:
        layers: The L layers.
        x: The input of the first.
        states: `(L, ...)`, the state of each layer; None for zeros.
        call: Takes the number of a layer, the layer, its input and its state; returns its output and state.

    Returns:
        The output of the last layer, and the new states `(L, ...)`.
    """
    before = [None] * len(layers) if states is None else states.unbind(0)
    after = []
    for number, (layer, state) in enumerate(zip(layers, before, strict=True)):
        x, state = call(number, layer, x, state)
        after.append(state)
    return x, torch.stack(after)
