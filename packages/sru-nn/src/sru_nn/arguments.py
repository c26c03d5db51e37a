"""Argument checks shared by the modules and functions."""

from __future__ import annotations

import functools
import inspect
import math
import operator
import os
from collections.abc import Callable
from numbers import Integral, Real
from reprlib import repr as short
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sru_nn.dtypes import STORAGE_DTYPES, accumulate_dtype

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])
_DENSE = torch.strided
_LARGEST = 2**63  # sizes are 64 bits wide


def check_sizes(who: str, *, at_least: int = 1, **sizes: Any) -> list[int]:
    """Return the sizes as Python integers, which do not overflow; raise if one is not a valid size."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral):
            raise TypeError(f"{who}: {name} must be an int, got {short(size)} ({type(size).__name__})")
        if not at_least <= operator.index(size) < _LARGEST:
            limit = f"at least {at_least}" if size < at_least else f"below {_LARGEST}"
            raise ValueError(f"{who}: {name} must be {limit}, got {short(size)}")
    return [operator.index(size) for size in sizes.values()]


def check_flags(who: str, **flags: Any) -> None:
    """Raise unless every flag is a bool; 0, 1 and NumPy bools are accepted."""
    for name, flag in flags.items():
        if type(flag).__name__ not in ("bool", "bool_", "int"):
            raise TypeError(f"{who}: {name} must be a bool, got {short(flag)} ({type(flag).__name__})")


def check_choice(who: str, name: str, choice: Any, choices: tuple[str, ...]) -> None:
    """Raise unless an argument is one of `choices`."""
    if not isinstance(choice, str) or choice not in choices:
        raise ValueError(f"{who}: {name} must be one of {choices}, got {short(choice)}")


def check_number(who: str, name: str, value: Any, *, at_least: float = -math.inf) -> None:
    """Raise unless a value is a number of at least `at_least`."""
    is_number = isinstance(value, (float, Real))  # a separate line: mypy cannot compare a Real
    if not is_number:
        raise TypeError(f"{who}: {name} must be a number, got {short(value)} ({type(value).__name__})")
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
    """Return an argument that has two names, such as `n_proj` in `sru` 2 and `projection_size` in 3."""
    if other is None:
        return value
    if value is not usual and (usual is None or value != usual):
        raise ValueError(f"{who}: {name} and {alias} are two names of one argument; pass one of them")
    return other


def input_and_state(module: nn.Module, input: Any, c0: Any, x: Any, state: Any) -> tuple[Any, Any]:
    """Return the two arguments called `input` and `c0` in `sru`, and `x` and `state` in this package."""
    if x is not None or state is not None:
        input = one_of_two_names(type(module).__name__, "input", input, None, "x", x)
        c0 = one_of_two_names(type(module).__name__, "c0", c0, None, "state", state)
    if input is None:
        raise TypeError(f"{type(module).__name__}: the input is missing; pass it first, or as x=")
    return input, c0


def check_tensor(who: str, name: str, value: Any, hint: str = "") -> None:
    """Raise unless a value is a dense tensor, neither nested nor quantized."""
    if not isinstance(value, Tensor):
        got = "None" if value is None else f"a {type(value).__name__}"
        raise TypeError(f"{who}: {name} must be a tensor, got {got}{hint}")
    if value.is_nested:
        raise TypeError(f"{who}: {name} must be a dense tensor, got a nested one; pad it")
    if value.is_quantized:
        raise TypeError(f"{who}: {name} must be a dense tensor, got a quantized one; call .dequantize()")
    if value.layout is not _DENSE:
        raise TypeError(f"{who}: {name} must be a dense tensor, got {value.layout}; call .to_dense()")


def check_floating(who: str, name: str, value: Any) -> None:
    """Raise unless a value is a dense floating-point tensor."""
    check_tensor(who, name, value)
    if not value.is_floating_point():
        raise TypeError(f"{who}: {name} must be a floating-point tensor, got {value.dtype}")


def check_alike(
    who: str, name: str, tensor: Tensor, first: str, like: Tensor, dtypes: tuple[torch.dtype, ...] = ()
) -> None:
    """Raise unless a tensor is on the device of `like` and has one of the dtypes.

    By default these are the dtype of `like` and its accumulation dtype.

    Raises:
        TypeError: The dtype does not fit.
        ValueError: The device differs.
    """
    dtypes = dtypes or (like.dtype, accumulate_dtype(like.dtype))
    if tensor.dtype not in dtypes:
        either = " or ".join(dict.fromkeys(str(dtype) for dtype in dtypes))
        raise TypeError(f"{who}: {name} must be {either} with {first} of {like.dtype}, got {tensor.dtype}")
    if tensor.device != like.device:
        raise ValueError(
            f"{who}: {name} must be on the device of {first}, {like.device}, got {tensor.device}"
        )


def check_module(who: str, model: Any) -> None:
    """Raise unless a model is a module."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"{who}: model must be an nn.Module, got a {type(model).__name__}")


def check_path(who: str, path: Any) -> str:
    """Return a path as text; raise if it is not a path."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{who}: path must be a str or an os.PathLike, got a {type(path).__name__}")
    return str(os.fspath(path))


def check_features(
    who: str, name: str, x: Any, letters: str, dims: tuple[int, ...], size: int, hint: str = ""
) -> None:
    """Raise unless an input is a tensor with an allowed number of dimensions and E features."""
    check_tensor(who, name, x)
    if x.dim() not in dims or x.shape[-1] != size:
        raise ValueError(
            f"{who}: {name} must have shape {letters} with E = {size}, got {tuple(x.shape)}{hint}"
        )


def check_shape(
    who: str,
    name: str,
    value: Any,
    letters: str,
    *shapes: tuple[Any, ...],
    like: Tensor | None = None,
    hint: str = "",
) -> None:
    """Raise unless an argument is a tensor of one of these shapes; the message names the first.

    If `like`, the input, is given, it must also be on the same device.
    """
    is_pair = name != "mask_pad" and isinstance(value, (tuple, list))
    check_tensor(who, name, value, "; pass the state alone, without an h0" if is_pair else "")
    if not any(value.shape == shape for shape in shapes):
        expected = f"({', '.join(map(str, shapes[0]))})" if len(shapes[0]) > 1 else shapes[0]
        got = f"{tuple(value.shape)}{hint}"
        raise ValueError(f"{who}: {name} must have shape {letters} = {expected}, got {got}")
    if like is not None:
        check_alike(who, name, value, "the input", like, dtypes=(value.dtype,))


class Checker:
    """Checks the argument that sets the dtype and device of a call, and the other arguments against it."""

    def __init__(
        self, who: str, name: str, like: Any, letters: str, order: str, sizes: tuple[int, ...] = ()
    ) -> None:
        """Raise unless `like` has a storage dtype, four axes and, if given, one of `sizes` in the third."""
        self.who, self.first, self.like = who, name, like
        check_tensor(who, name, like)
        if like.dim() != 4 or (sizes and like.shape[2] not in sizes):
            with_gates = " with K = 3 or 4" if len(sizes) > 1 else ""
            raise ValueError(
                f"{who}: {name} must have shape {letters}{with_gates}, got {tuple(like.shape)}; "
                f"reshape the projection's output with .view{letters}, {order}"
            )
        self.dtype, self.device = like.dtype, like.device
        if self.dtype not in STORAGE_DTYPES:
            raise TypeError(f"{who}: {name} must be float32, float64, float16 or bfloat16, got {like.dtype}")

    def __call__(
        self,
        name: str,
        tensor: Any,
        letters: str,
        shape: tuple[int | str, ...],
        dtypes: tuple[torch.dtype, ...] = (),
        *,
        optional: bool = False,
    ) -> None:
        """Raise unless a tensor fits; `dtypes` defaults to the storage and accumulation dtypes."""
        if tensor is None and optional:
            return
        if (  # the common case must be fast
            isinstance(tensor, Tensor)
            and tensor.dtype is (dtypes[0] if dtypes else self.dtype)
            and tensor.layout is _DENSE
            and not tensor.is_nested
            and tensor.shape == shape
            and tensor.device == self.device
        ):
            return
        check_shape(self.who, name, tensor, letters, shape)
        check_alike(self.who, name, tensor, self.first, self.like, dtypes)


def checked(home: str, function: _F, check: Callable[..., None] | None = None) -> _F:
    """Wrap a function of the module `home` so that it rejects arguments of undeclared types.

    `check`, if given, is then called with all arguments except `states`, by keyword.
    """
    who, signature = function.__name__, inspect.signature(function)
    # Works whether or not annotations are evaluated.
    kinds = {
        name: inspect.formatannotation(parameter.annotation).strip("'").removeprefix("torch.")
        for name, parameter in signature.parameters.items()
    }

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        bound, tensors = signature.bind(*args, **kwargs), []
        for name, value in bound.arguments.items():
            kind = kinds[name]
            if kind == "bool":
                check_flags(who, **{name: value})
            elif kind == "float":
                check_number(who, name, value)
            elif kind == "str" and not isinstance(value, str):
                raise TypeError(f"{who}: {name} must be a str, got {short(value)} ({type(value).__name__})")
            elif kind.startswith("Tensor") and not (value is None and kind.endswith("None")):
                many = signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
                tensors += [(name, tensor) for tensor in (value if many else (value,))]
        for name, tensor in tensors:
            check_tensor(who, name, tensor)
            check_alike(who, name, tensor, tensors[0][0], tensors[0][1], dtypes=(tensor.dtype,))
        if check is not None:
            check(**{name: value for name, value in bound.arguments.items() if name != "states"})
        return function(*args, **kwargs)

    run.__module__ = home
    return run  # type: ignore[return-value]


def check_like_parameters(who: str, input: Tensor, parameters: nn.Module | Tensor | None) -> None:
    """Raise unless a module with these parameters can take this input.

    Args:
        who: The class, for the message.
        input: The input.
        parameters: The first module that receives the input; or a parameter, in which case only the device is
            compared. If None, or a quantized module without floating-point parameters, any floating-point
            input is accepted.

    Raises:
        TypeError: The dtype differs, outside autocast.
        ValueError: The device differs.
    """
    if not input.is_floating_point():
        raise TypeError(
            f"{who}: input must be a floating-point tensor, got {input.dtype}; convert it with .float()"
        )
    own = parameters
    if isinstance(parameters, nn.Module):
        # Not next(..., None), which torch.compile of PyTorch 2.6 cannot trace; parameters() is slow.
        own = ([*parameters._parameters.values()] or [*parameters.parameters(), None])[0]
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
    """Format the options of a module that differ from their defaults, for `extra_repr`."""
    shown = {name: getattr(module, name) for name in usual}
    return ", ".join(f"{name}={value!r}" for name, value in shown.items() if value != usual[name])
