"""The base class of every stack of SRU layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sru_nn.checkpoints.architecture import check_stack
from sru_nn.checkpoints.layouts import strip_wrappers
from sru_nn.stack import Stack


class SRUStack(Stack):
    """What all stacks of SRU layers share: the layouts of the state, and loading."""

    nn_rnn_compatible_return: bool
    rnn_lst: nn.ModuleList

    def __getitem__(self, layer: int) -> Any:
        """Return a layer."""
        return self.rnn_lst[layer]

    def _check_state(self, state: Any, *batch: int) -> None:
        if state is None:
            return
        shapes = [(self.num_layers, self.output_size)]
        if self.nn_rnn_compatible_return:
            shapes.append((self.num_layers * self.num_directions, self.hidden_size))
        self._check_state_tensor("c0", state, batch, "(L, B, N·D)", *shapes)

    def _layer_states(self, c0: Tensor | None) -> Tensor | None:
        """Bring the initial state from either of its shapes to `(L, B, N·D)`."""
        if c0 is None or c0.shape[-1] == self.output_size:
            return c0
        return torch.unflatten(c0, 0, (self.num_layers, self.num_directions)).transpose(1, 2).flatten(2)

    def _returned_states(self, c: Tensor) -> Tensor:
        """Bring the states from `(L, B, N·D)` to the shape that this module returns."""
        if not self.nn_rnn_compatible_return or self.num_directions == 1:
            return c
        return torch.unflatten(c, 2, (self.num_directions, self.hidden_size)).transpose(1, 2).flatten(0, 1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        strip_wrappers(state_dict, prefix)
        names = ("num_layers", "input_size", "hidden_size", "num_directions")
        arguments = {name: getattr(self, name) for name in names}
        arguments["proj_input_to_hidden_first"] = self.input_to_hidden is not None
        check_stack(arguments, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)
