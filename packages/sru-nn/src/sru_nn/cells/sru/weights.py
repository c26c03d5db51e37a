"""The weights of an SRU layer: how they are drawn, and how they are read from a state dict."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sru_nn.arguments import shown_options
from sru_nn.cells.sru.transform import draw_transform, scale_
from sru_nn.checkpoints.architecture import check_cell, check_version
from sru_nn.checkpoints.layouts import read_cell, strip_wrappers
from sru_nn.fixed import refuse_change
from sru_nn.watched import refuse_script

# Arguments that a state dict can contradict.
_TOLD = (
    "input_size",
    "hidden_size",
    "num_directions",
    "num_matrices",
    "projection_size",
    "has_skip_term",
    "normalize_after",
    "v1",
    "rescale",
    "highway_bias",
    "scale_x",
)
# Arguments that determine the weights.
_FIXED = frozenset(
    {"hidden_size", "bidirectional", "num_directions", "output_size", "num_matrices", "projection_size", "v1"}
)


class Weights(nn.Module):
    """How an `SRUCell` initialises and loads its weights; `SRUCell` creates and documents them."""

    # 1: gates innermost, as in sru. 2: gates outermost.
    _version = 2
    __prepare_scriptable__ = refuse_script
    weight_c: Tensor
    bias: Tensor
    initial_state: nn.Parameter | None
    transform: nn.Module | None
    layer_norm: nn.LayerNorm | None
    custom_m: nn.Module | None
    output_size: int
    num_matrices: int
    dropout: float
    rnn_dropout: float
    highway_bias: float
    weight_c_init: float | None
    has_skip_term: bool
    rescale: bool
    v1: bool

    @property
    def transform_module(self) -> nn.Module:
        """The module that maps the input to the pre-activations, as `sru` 3.0.0.dev calls it."""
        module = self.custom_m if self.transform is None else self.transform
        assert module is not None
        return module

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_change(self, _FIXED, name, value)
        if name == "transform_module":
            name = "transform" if self.custom_m is None else "custom_m"
        super().__setattr__(name, value)

    @property
    def scale_x(self) -> float:
        """The factor of the highway term that preserves the variance of the input in the output."""
        return math.sqrt(1 + 2 * math.exp(self.highway_bias)) if self.rescale and self.has_skip_term else 1.0

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights so that u_c has the input's variance and the gates' inputs half of it."""
        self.bias.zero_()
        if "bias" not in self._buffers:
            self.bias[self.output_size :].fill_(self.highway_bias)
        if self.v1:
            self.weight_c.zero_()
        else:
            bound = math.sqrt(1.5) if self.weight_c_init is None else self.weight_c_init
            self.weight_c.uniform_(-bound, bound)
        if self.initial_state is not None:
            self.initial_state.zero_()
        if self.layer_norm is not None:
            self.layer_norm.reset_parameters()
        if self.custom_m is None:
            self._reset_transform()
        elif callable(reset := getattr(self.custom_m, "reset_parameters", None)):
            reset()

    def _reset_transform(self) -> None:
        assert self.transform is not None
        gates = draw_transform(self.transform, self.num_matrices)
        scale_(gates, math.sqrt(1 - self.rnn_dropout))
        scale_(gates[0], math.sqrt(1 - self.dropout))
        if not self.v1:
            scale_(gates[1:3], math.sqrt(0.5))
        if self.layer_norm is not None:
            scale_(gates, 0.1)
        if self.num_matrices == 4:
            scale_(gates[3], self.scale_x)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Mapping[str, Any], *args: Any
    ) -> None:
        check_version(type(self).__name__, self._version, local_metadata, prefix)
        strip_wrappers(state_dict, prefix)
        read_cell(state_dict, prefix, custom=self.custom_m is not None, output_size=self.output_size)
        check_cell(self._arguments(), state_dict, prefix)
        state_dict.pop(f"{prefix}scale_x", None)  # computed from the arguments here
        self._warn_of_missing(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    def _warn_of_missing(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        """Warn about a layer whose vectors are in a state dict but whose projection is not.

        `sru` names its projection differently, so filtering a state dict by this module's names drops it.
        """
        if self.transform is None or not {f"{prefix}weight_c", f"{prefix}bias"} <= state_dict.keys():
            return
        matrices = [name for name, value in self.transform.state_dict().items() if value.dim() > 1]
        names = [f"{prefix}transform.{name}" for name in matrices]
        if names and not any(name in state_dict for name in names):
            warnings.warn(
                f"{type(self).__name__}: the state dict has {prefix}weight_c but not {names[0]}, so that "
                "projection keeps the weights it has. If its names were filtered, load all of it: "
                "load_state_dict reads the names of sru. Or convert it first, with sru_nn.convert.convert",
                stacklevel=2,
            )

    def _arguments(self) -> dict[str, Any]:
        """Return the arguments that a state dict can contradict."""
        return {name: getattr(self, name) for name in _TOLD} | {
            "custom_m": None if self.custom_m is None else type(self.custom_m).__name__,
            "layer_norm": self.layer_norm is not None,
            "bias": "bias" not in self._buffers,
            "learn_initial_state": self.initial_state is not None,
        }

    def extra_repr(self) -> str:
        """Show the sizes and every option that differs from its default."""
        usual: dict[str, Any] = {
            "projection_size": 0,
            "dropout": 0.0,
            "rnn_dropout": 0.0,
            "bidirectional": False,
            "activation": "identity",
            "highway_bias": 0.0,
            "has_skip_term": True,
            "rescale": True,
            "v1": False,
            "normalize_after": False,
        }
        sizes = f"{self.input_size}, {self.hidden_size}"
        return ", ".join(filter(None, (sizes, shown_options(self, usual))))
