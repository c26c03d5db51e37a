"""A call of the kernels with a case, on whichever engine runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .cases import STORAGES, Array, Case

Shapes = Mapping[str, tuple[bool, tuple[int, ...]]]  # is it in the storage dtype? and the shape
Engine = Callable[[str, Mapping[str, object], Mapping[str, Array], Mapping[str, Array], int], None]


@dataclass
class Kernels:
    """Calls the kernels with a case; every output begins as NaN, so that one not written is noticed.

    `engine` is called with the function's name, the fields that are no arrays, the arrays that it reads,
    those that it fills, and the columns per thread: `columns_per_thread`, or the widest that the case allows.
    """

    engine: Engine
    columns_per_thread: int | None = None

    def forward(self, case: Case, *, keep_states: bool = True) -> dict[str, Array]:
        length, batch, _, columns = case.shape
        shapes = {"h": (True, (length, batch, columns)), "c_last": (False, (batch, columns))}
        if keep_states:
            shapes["c"] = (False, (length, batch, columns))
        return self._run("sru_forward", case, shapes, {})

    def backward(self, case: Case, c: Array, *, want_grad_x: bool = True) -> dict[str, Array]:
        length, batch, num_gates, columns = case.shape
        shapes = {
            "grad_u": (True, (length, batch, num_gates, columns)),
            "grad_v": (False, (2, batch, columns) if case.v.ndim == 2 else case.v.shape),
            "grad_bias": (False, (2, batch, columns)),
            "grad_c0": (False, (batch, columns)),
        }
        if case.x is not None and want_grad_x:
            shapes["grad_x"] = (True, (length, batch, columns))
        inputs = {"c": c, "grad_h": case.grad_h, "grad_c_last": case.grad_c_last}
        return self._run("sru_backward", case, shapes, inputs)

    def widest(self, case: Case) -> int:
        """The columns per thread that fill 16 bytes, or 1 where the case does not allow them."""
        width = 16 // np.dtype(STORAGES[case.storage].array).itemsize
        hidden_size = case.shape[3] // case.num_directions
        return width if case.v.ndim == 2 and hidden_size % width == 0 else 1

    def _run(
        self, function: str, case: Case, shapes: Shapes, others: Mapping[str, Array | None]
    ) -> dict[str, Array]:
        kind = STORAGES[case.storage]
        names = ("u", "v", "bias", "c0", "x", "mask_c", "mask_pad")
        given = {**{name: getattr(case, name) for name in names}, **others}
        inputs = {name: _encoded(name, value, case) for name, value in given.items() if value is not None}
        nan = {True: kind.encode(np.array(np.nan)), False: np.array(np.nan, kind.accumulation)}
        outputs = {name: np.full(shape, nan[stored]) for name, (stored, shape) in shapes.items()}
        width = self.widest(case) if self.columns_per_thread is None else self.columns_per_thread
        self.engine(function, _fields(case), inputs, outputs, width)
        return {
            name: kind.decode(array) if shapes[name][0] else array.astype(np.float64)
            for name, array in outputs.items()
        }


def _fields(case: Case) -> dict[str, object]:
    length, batch, num_gates, columns = case.shape
    return {
        "dtype": case.storage,
        "activation": case.activation,
        "length": length,
        "batch": batch,
        "hidden_size": columns // case.num_directions,
        "num_directions": case.num_directions,
        "num_gates": num_gates,
        "scale_x": case.scale_x,
        "v_per_position": case.v.ndim == 4,
    }


def _encoded(name: str, value: Array, case: Case) -> Array:
    kind = STORAGES[case.storage]
    if name in ("u", "x", "grad_h"):
        return kind.encode(value)
    return np.ascontiguousarray(value, np.uint8 if name == "mask_pad" else kind.accumulation)
