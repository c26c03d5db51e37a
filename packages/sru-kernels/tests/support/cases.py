"""The inputs of a kernel in float64, and their NumPy representation in each storage dtype."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from sru_kernels import DType, _native

from .engines import Array, Engine, cpu_engine
from .invoke import TUPLES

# For each kernel and array, parsed from the field's description: In or Out, the letters of its axes, and S,
# A, bytes or offsets.
ARRAYS = {
    kernel: {
        name: (way, axes.split(", "), kind)
        for name, _, description, _ in fields
        for way, axes, kind in re.findall(r"^(In|Out), \(([^)]*)\) (S|A|bytes|offsets)\b", description)
    }
    for kernel, fields in _native.fields.values()
}

INTEGERS = {"bytes": np.uint8, "offsets": np.int64}


def to_bfloat16(values: Array) -> Array:
    """Round to 8 significant bits, ties to even, in plain arithmetic."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    rounded = np.ldexp(np.rint(mantissa * 256) / 256, exponent).astype(np.float32)
    return (rounded.view(np.uint32) >> 16).astype(np.uint16)


def from_bfloat16(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)


@dataclass(frozen=True)
class Storage:
    """A storage dtype in NumPy, which lacks bfloat16."""

    dtype: DType
    array: type
    accumulation: type = np.float32

    def encode(self, values: Array, kind: str) -> Array:
        """An array as kernels read it: in the dtype of `kind`, or unchanged if it holds integers."""
        if kind in INTEGERS:
            return np.ascontiguousarray(values, INTEGERS[kind])
        if np.issubdtype(np.asarray(values).dtype, np.integer):
            return np.ascontiguousarray(values)
        if kind == "S" and self.dtype is DType.bfloat16:
            return np.ascontiguousarray(to_bfloat16(values))
        return np.ascontiguousarray(values, self.array if kind == "S" else self.accumulation)

    def decode(self, array: Array, kind: str) -> Array:
        is_bfloat16 = kind == "S" and self.dtype is DType.bfloat16 and array.dtype == np.uint16
        return (from_bfloat16(array) if is_bfloat16 else array).astype(np.float64)


STORAGES = {
    "float32": Storage(DType.float32, np.float32),
    "float64": Storage(DType.float64, np.float64, np.float64),
    "float16": Storage(DType.float16, np.float16),
    "bfloat16": Storage(DType.bfloat16, np.uint16),
}


@dataclass(frozen=True)
class Case:
    """The inputs of a cell's kernels in float64, named like the fields; None if absent."""

    kernels: ClassVar[tuple[str, ...]]

    def axes(self) -> dict[str, int]:
        """The sizes of the axes, by letter."""
        raise NotImplementedError

    def shape(self, name: str, axes: list[str]) -> tuple[int, ...]:
        """The shape of an output with these axes."""
        sizes = {"2": 2, **self.axes()}
        return tuple(sizes[axis] for axis in axes)

    def options(self) -> dict[str, object]:
        """The fields of all kernels that are not arrays, except `dtype`."""
        raise NotImplementedError

    def rounded(self) -> Any:
        """The inputs rounded to the storage and accumulation dtypes, as the kernels read them."""
        storage = STORAGES[self.storage]
        return replace(
            self,
            **{
                name: storage.decode(storage.encode(value, kind), kind)
                for kernel in self.kernels
                for name, (way, _, kind) in ARRAYS[kernel].items()
                if way == "In" and kind not in INTEGERS and (value := getattr(self, name, None)) is not None
            },
        )

    def run(
        self,
        kernel: str,
        engine: Engine | None = None,
        *,
        without: tuple[str, ...] = (),
        columns_per_thread: int = 0,
        threads_per_column: int = 1,
        **saved: Array,
    ) -> dict[str, Array]:
        """Return every output except `without`. They are filled with NaN first, to reveal missed elements."""
        storage = STORAGES[self.storage]
        inputs, outputs = {}, {}
        for name, (way, axes, kind) in ARRAYS[kernel].items():
            if way == "Out" and name not in without:
                outputs[name] = np.full(self.shape(name, axes), storage.encode(np.array(np.nan), kind))
            elif way == "In" and (value := saved.get(name, getattr(self, name, None))) is not None:
                inputs[name] = storage.encode(value, kind)
        known = TUPLES[kernel]._fields
        fields = {name: value for name, value in self.options().items() if name in known}
        options = {"columns_per_thread": columns_per_thread, "threads_per_column": threads_per_column}
        (engine or cpu_engine())(kernel, {"dtype": self.storage, **fields}, inputs, outputs, options)
        return {name: storage.decode(array, ARRAYS[kernel][name][2]) for name, array in outputs.items()}
