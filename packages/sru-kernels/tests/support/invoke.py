"""One call of a kernel on NumPy arrays. The workers import this file alone, with their own `sru_kernels`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from numpy.typing import NDArray

import sru_kernels
from sru_kernels import Activation, DType


def arguments(
    function: str, fields: Mapping[str, object], addresses: Mapping[str, int]
) -> tuple[object, ...]:
    """The tuple that `function` takes; enums come by name, and what has no address is absent."""
    kinds = {
        "sru_forward": sru_kernels.SruForward,
        "sru_backward": sru_kernels.SruBackward,
        "sru_step": sru_kernels.SruStep,
        "gated_linear_forward": sru_kernels.GatedLinearForward,
        "gated_linear_backward": sru_kernels.GatedLinearBackward,
    }
    kind = kinds[function]
    values = {**dict.fromkeys(kind._fields, 0), **fields, **addresses}
    values["dtype"] = DType[values["dtype"]]
    if "activation" in values:
        values["activation"] = Activation[values["activation"]]
    return kind(**values)


def invoke(
    kernel: Callable[..., None],
    fields: Mapping[str, object],
    inputs: Mapping[str, NDArray],
    outputs: Mapping[str, NDArray],
    **options: int,
) -> None:
    """Call `kernel`, which fills `outputs`."""
    addresses = {name: array.ctypes.data for name, array in {**inputs, **outputs}.items()}
    kernel(arguments(kernel.__name__, fields, addresses), **options)
