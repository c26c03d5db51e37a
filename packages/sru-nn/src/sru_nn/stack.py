"""What the stacks of layers have in common: the form of their state, and of their state dict."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from sru_nn.checkpoints.architecture import check_stack
from sru_nn.checkpoints.layouts import strip_wrappers
from sru_nn.forms import one_by_one, side_by_side


class Stack(nn.Module):
    """Layers of which each takes the output of the one before; a subclass makes and runs them."""

    input_size: int
    hidden_size: int
    output_size: int
    num_layers: int
    num_directions: int
    nn_rnn_compatible_return: bool
    input_to_hidden: nn.Linear | None
    rnn_lst: nn.ModuleList

    def _check_state(self, c0: Tensor | None, *batch: int) -> None:
        """Raise unless an initial state fits a batch of this size, or, without one, a single sequence."""
        shape = (self.num_layers, *batch, self.output_size)
        compatible = (self.num_layers * self.num_directions, *batch, self.hidden_size)
        if c0 is None or c0.shape == shape or (self.nn_rnn_compatible_return and c0.shape == compatible):
            return
        letters = "(L, B, N·D)" if batch else "(L, N·D)"
        raise ValueError(
            f"{type(self).__name__}: c0 must have shape {letters} = {shape}, got {tuple(c0.shape)}"
        )

    def _layer_states(self, c0: Tensor) -> Tensor:
        """Bring the initial state from either of its shapes to `(L, B, N·D)`."""
        return c0 if c0.shape[-1] == self.output_size else side_by_side(c0, self.num_directions)

    def _returned_states(self, c: Tensor) -> Tensor:
        """Bring the states from `(L, B, N·D)` to the shape that this module returns."""
        return one_by_one(c, self.num_directions) if self.nn_rnn_compatible_return else c

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        strip_wrappers(state_dict, prefix)
        check_stack(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
