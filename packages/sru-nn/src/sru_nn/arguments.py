"""Checks of arguments shared by the modules and functions."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sru_nn.dtypes import STORAGE_DTYPES, accumulate_dtype

_T = TypeVar("_T")


def check_sizes(who: str, *, at_least: int = 1, **sizes: Any) -> None:
    """Raise unless every size is an integer of at least `at_least`."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral):
            raise TypeError(f"{who}: {name} must be an int, got {size!r} ({type(size).__name__})")
        if size < at_least:
            raise ValueError(f"{who}: {name} must be at least {at_least}, got {size}")


def check_number(who: str, name: str, value: Any, *, at_least: float = -math.inf) -> None:
    """Raise unless a value is a number of at least `at_least`."""
    is_number = isinstance(value, Real)  # on a line of its own: mypy knows no order of Real
    if not is_number:
        raise TypeError(f"{who}: {name} must be a number, got {value!r} ({type(value).__name__})")
    if not value >= at_least:
        raise ValueError(f"{who}: {name} must be at least {at_least:g}, got {value}")


def check_probabilities(who: str, **probabilities: Any) -> None:
    """Raise unless every dropout probability lies in [0, 1)."""
    for name, p in probabilities.items():
        check_number(who, name, p)
        if not 0 <= p < 1:
            raise ValueError(f"{who}: {name} must be a probability in [0, 1), got {p}")


def check_exclusive(who: str, **flags: bool) -> None:
    """Raise if more than one of these options is on."""
    if sum(map(bool, flags.values())) > 1:
        raise ValueError(f"{who}: {' and '.join(flags)} exclude each other; choose one")


def one_of_two_names(who: str, name: str, value: _T, usual: _T, alias: str, other: _T | None) -> _T:
    """Return an argument that goes by two names, such as `n_proj` in `sru` 2 and `projection_size` in 3."""
    if other is None:
        return value
    if value is not usual and value != usual:
        raise ValueError(f"{who}: {name} and {alias} are two names of one argument; pass one of them")
    return other


def input_and_state(module: nn.Module, input: Any, c0: Any, x: Any, state: Any) -> tuple[Any, Any]:
    """Return the two arguments that `sru` calls `input` and `c0`, and this package `x` and `state`."""
    if x is not None or state is not None:
        input = one_of_two_names(type(module).__name__, "input", input, None, "x", x)
        c0 = one_of_two_names(type(module).__name__, "c0", c0, None, "state", state)
    if input is None:
        raise TypeError(f"{type(module).__name__}: the input is missing; pass it first, or as x=")
    return input, c0


def check_tensor(who: str, name: str, value: Any, hint: str = "") -> None:
    """Raise unless a value is a tensor."""
    if not isinstance(value, Tensor):
        got = "None" if value is None else f"a {type(value).__name__}"
        raise TypeError(f"{who}: {name} must be a tensor, got {got}{hint}")


def check_features(
    who: str, name: str, x: Any, letters: str, dims: tuple[int, ...], size: int, hint: str = ""
) -> None:
    """Raise unless an input is a tensor with one of these numbers of dimensions and E features."""
    check_tensor(who, name, x)
    if x.dim() not in dims or x.shape[-1] != size:
        raise ValueError(
            f"{who}: {name} must have shape {letters} with E = {size}, got {tuple(x.shape)}{hint}"
        )


def check_shape(who: str, name: str, value: Any, letters: str, *shapes: tuple[Any, ...]) -> None:
    """Raise unless an argument is a tensor of one of these shapes; the message names the first."""
    is_pair = name != "mask_pad" and isinstance(value, (tuple, list))
    check_tensor(who, name, value, "; pass the state alone, without an h0" if is_pair else "")
    if not any(value.shape == shape for shape in shapes):
        expected = f"({', '.join(map(str, shapes[0]))})" if len(shapes[0]) > 1 else shapes[0]
        raise ValueError(f"{who}: {name} must have shape {letters} = {expected}, got {tuple(value.shape)}")


class Checker:
    """Checks the argument of a function that sets the dtype and the device, and the others against it."""

    def __init__(
        self, who: str, name: str, like: Any, letters: str, order: str, sizes: tuple[int, ...] = ()
    ) -> None:
        """Raise unless a tensor has a storage dtype, four axes, and one of these sizes in the third."""
        self.who, self.first, self.like = who, name, like
        check_tensor(who, name, like)
        if like.dim() != 4 or (sizes and like.shape[2] not in sizes):
            with_gates = " with K = 3 or 4" if len(sizes) > 1 else ""
            raise ValueError(
                f"{who}: {name} must have shape {letters}{with_gates}, got {tuple(like.shape)}; "
                f"reshape the projection's output with .view{letters}, {order}"
            )
        if like.dtype not in STORAGE_DTYPES:
            raise TypeError(f"{who}: {name} must be float32, float64, float16 or bfloat16, got {like.dtype}")

    def __call__(
        self,
        name: str,
        tensor: Any,
        letters: str,
        shape: tuple[int | str, ...],
        dtypes: tuple[torch.dtype, ...] | None = None,
        *,
        optional: bool = False,
    ) -> None:
        """Raise unless a tensor fits; without `dtypes` those of storage and accumulation do."""
        if optional and tensor is None:
            return
        check_shape(self.who, name, tensor, letters, shape)
        like = self.like
        dtypes = dtypes or (like.dtype, accumulate_dtype(like.dtype))
        if tensor.dtype not in dtypes:
            either = " or ".join(dict.fromkeys(str(dtype) for dtype in dtypes))
            raise TypeError(
                f"{self.who}: {name} must be {either} with {self.first} of {like.dtype}, got {tensor.dtype}"
            )
        if tensor.device != like.device:
            raise ValueError(
                f"{self.who}: {name} must be on the device of {self.first}, {like.device}, "
                f"got {tensor.device}"
            )


def check_like_parameters(who: str, input: Tensor, parameters: nn.Module | Tensor) -> None:
    """Raise unless a module with these parameters can take this input.

    Args:
        who: The class, for the message.
        input: The input.
        parameters: The module that meets the input first, or one of its parameters, of which only the device
            is compared. A quantized module without floating-point parameters takes any input.

    Raises:
        TypeError: The dtype differs, outside autocast.
        ValueError: The device differs.
    """
    if not input.is_floating_point():
        raise TypeError(
            f"{who}: input must be a floating-point tensor, got {input.dtype}; convert it with .float()"
        )
    # Not next(..., None), which torch.compile of PyTorch 2.6 cannot trace.
    own = parameters if isinstance(parameters, Tensor) else [*parameters.parameters(), None][0]
    if own is None:
        return
    if input.device != own.device:
        raise ValueError(
            f"{who}: input must be on the device of the parameters, {own.device}, got {input.device}; "
            "move one of them with .to()"
        )
    if own is parameters or input.dtype == own.dtype or torch.is_autocast_enabled(input.device.type):
        return
    raise TypeError(
        f"{who}: input must have the dtype of the parameters, {own.dtype}, got {input.dtype}; "
        "convert one of them with .to()"
    )


def shown_options(module: nn.Module, usual: dict[str, Any]) -> str:
    """Write the options of a module that are not at their usual values, for `extra_repr`."""
    shown = {name: getattr(module, name) for name in usual}
    return ", ".join(f"{name}={value!r}" for name, value in shown.items() if value != usual[name])
