"""Checks and conversions of the states and weights that code written for PyTorch's modules passes."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from sru_nn.arguments import check_alike
from sru_nn.dtypes import accumulate_dtype, is_autocast
from sru_nn.fixed import refuse_change
from sru_nn.operators import is_plain


def check_pair(who: str, hx: Any) -> None:
    """Raise unless the state of an LSTM is a pair."""
    if isinstance(hx, Tensor):
        raise ValueError(f"{who}: hx must be a pair (h0, c0), got one tensor, which is what GRU takes")
    if not isinstance(hx, (tuple, list)) or len(hx) != 2:
        got = f"{len(hx)} values" if isinstance(hx, (tuple, list)) else f"a {type(hx).__name__}"
        raise ValueError(f"{who}: hx must be a pair (h0, c0), got {got}")


def one_state(who: str, hx: Any) -> Any:
    """Return the state of a GRU, unwrapped if it is in a tuple, as decoders for any module type pass it.

    Raises:
        ValueError: `hx` holds several tensors.
    """
    if not isinstance(hx, (tuple, list)):
        return hx
    if len(hx) != 1:
        raise ValueError(f"{who}: hx must be one tensor, got {len(hx)} values; LSTM takes a pair (h0, c0)")
    return hx[0]


_THEIRS = re.compile(r"(weight|bias)_(ih|hh|hr)(_l\d+(_reverse)?)?|_all_weights|_flat_weights_names")


class OwnWeights(nn.Module):
    """A module without PyTorch's weights: reading, assigning or loading one of them raises an error."""

    _first_layer: str
    _fixed: frozenset[str]

    def __init__(self) -> None:
        nn.Module.__init__(self)  # the constructor of PyTorch's class would create its own weights
        self.__dict__["_parameters"] = _Parameters(type(self).__name__, self._first_layer)

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_change(self, self._fixed, name, value)
        nn.Module.__setattr__(self, name, value)  # PyTorch's class maintains a flat list of its weights

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            _refuse(type(self).__name__, self._first_layer, name)
            raise

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Register a parameter, as `nn.Module` does; `module.name = parameter` calls this too.

        Raises:
            AttributeError: It has the name of a weight of PyTorch's module, and nothing would use it.
        """
        _refuse(type(self).__name__, self._first_layer, name)
        super().register_parameter(name, param)


class _Parameters(dict[str, Any]):
    """The `_parameters` of an `OwnWeights`, in which the old `nn.utils.spectral_norm` looks up a weight."""

    def __init__(self, who: str, layer: str) -> None:
        super().__init__()
        self.who, self.layer = who, layer

    def __missing__(self, name: str) -> Any:
        _refuse(self.who, self.layer, name)
        raise KeyError(name)


def _refuse(who: str, layer: str, name: str) -> None:
    """Raise if this is the name of a weight of PyTorch's module."""
    if _THEIRS.fullmatch(name):
        raise AttributeError(
            f"{who} has no {name}: its weights are those of an SRU, {layer}.transform.weight, "
            f"{layer}.weight_c and so on; loop over named_parameters()"
        )


class StartsFromC:
    """A module whose initial state is c0 alone, so that an h0 could be lost."""

    _carries_state = False

    def _check_h0(self, h0: Tensor, c0: Tensor) -> None:
        """Raise if h0 is non-zero and c0 is zero, because h0 would be lost."""
        # is_plain first: a compiled graph must not depend on earlier eager calls.
        if not is_plain(h0, c0) or self._carries_state or h0.is_meta:
            return
        if h0.is_cuda and torch.cuda.is_current_stream_capturing():
            return
        # Check only until a state has been carried over once: on a GPU every check synchronises.
        if bool(h0.any()):
            if not bool(c0.any()):
                raise ValueError(
                    f"{type(self).__name__}: h0 is not zero but c0 is, and an SRU starts from c0 alone, so "
                    "h0 would be lost; pass the initial state as c0"
                )
            self._carries_state = True


def state_for(who: str, name: str, c0: Tensor | None, x: Tensor) -> Tensor | None:
    """Return the state in the dtype that layers with input `x` need; raise if it differs outside autocast."""
    dtype = accumulate_dtype(x.dtype)
    if c0 is None or c0.dtype is dtype:
        return c0
    if is_autocast(x.device):
        return c0.to(dtype)
    check_alike(who, name, c0, "the input", x)
    return c0


def returned_state(c: Tensor, x: Tensor) -> Tensor:
    """Return a state in the dtype of the input; unchanged under autocast, which rounds only outputs."""
    return c if is_autocast(x.device) else c.to(x.dtype)


def refuse_foreign(state_dict: dict[str, Any], name: str, kind: str, errors: list[str]) -> None:
    """Add an error if the state dict has this entry, which only PyTorch's own modules save."""
    if name in state_dict:
        errors.append(
            f"{name}: these are weights of a torch.nn module; an SRU has no recurrent matrix and cannot load "
            f"them; retrain with sru_nn.compat.{kind}"
        )
