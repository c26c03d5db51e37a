"""Calls of a kernel on NumPy arrays. The workers import only this file, with their own `sru_kernels`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from numpy.typing import NDArray

import sru_kernels
from sru_kernels import Activation, DType, _native

TUPLES = {kernel: getattr(sru_kernels, name) for name, (kernel, _) in _native.fields.items()}


def arguments(
    kernel: str, fields: Mapping[str, object], addresses: Mapping[str, int] | None = None
) -> tuple[object, ...]:
    """The tuple of arguments of a kernel. Enums are passed by name; arrays without an address are absent."""
    values = {**dict.fromkeys(TUPLES[kernel]._fields, 0), **fields, **(addresses or {})}
    for name, enum in {"dtype": DType, "activation": Activation}.items():
        if isinstance(values.get(name), str):
            values[name] = enum[values[name]]
    return TUPLES[kernel](**values)


def invoke(
    kernel: Callable[..., None],
    fields: Mapping[str, object],
    inputs: Mapping[str, NDArray],
    outputs: Mapping[str, NDArray],
    **options: int,
) -> None:
    """Call `kernel`, which writes to `outputs`."""
    addresses = {name: array.ctypes.data for name, array in {**inputs, **outputs}.items()}
    kernel(arguments(kernel.__name__, fields, addresses), **options)
