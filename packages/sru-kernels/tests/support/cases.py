"""The inputs of one recurrence, and how NumPy holds them in each storage dtype."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sru_kernels import DType

Array = NDArray[np.generic]


def to_bfloat16(values: Array) -> Array:
    """Round to 8 significant bits, ties to even, by arithmetic alone."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    rounded = np.ldexp(np.rint(mantissa * 256) / 256, exponent).astype(np.float32)
    return (rounded.view(np.uint32) >> 16).astype(np.uint16)


def from_bfloat16(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)


@dataclass(frozen=True)
class Storage:
    """How NumPy holds a storage dtype, which bfloat16 needs help for."""

    dtype: DType
    array: type
    accumulation: type = np.float32

    def encode(self, values: Array) -> Array:
        encoded = to_bfloat16(values) if self.dtype is DType.bfloat16 else np.asarray(values, self.array)
        return np.ascontiguousarray(encoded)

    def decode(self, stored: Array) -> Array:
        return (from_bfloat16(stored) if self.dtype is DType.bfloat16 else stored).astype(np.float64)


STORAGES = {
    "float32": Storage(DType.float32, np.float32),
    "float64": Storage(DType.float64, np.float64, np.float64),
    "float16": Storage(DType.float16, np.float16),
    "bfloat16": Storage(DType.bfloat16, np.uint16),
}


@dataclass(frozen=True)
class Case:
    """The inputs of one recurrence, in float64; None where an input is absent."""

    u: Array  # (T, B, K, N·D)
    v: Array  # (2, N·D) or (T, B, 2, N·D)
    bias: Array
    c0: Array | None = None
    x: Array | None = None
    mask_c: Array | None = None
    mask_pad: Array | None = None
    num_directions: int = 1
    activation: str = "identity"
    scale_x: float = 1.0
    storage: str = "float32"
    grad_h: Array | None = None
    grad_c_last: Array | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.u.shape

    def rounded(self) -> Case:
        """The same inputs as the kernel sees them: rounded to the storage and accumulation dtypes."""
        kind = STORAGES[self.storage]
        stored = {
            name: kind.decode(kind.encode(value))
            for name in ("u", "x", "grad_h")
            if (value := getattr(self, name)) is not None
        }
        accumulated = {
            name: np.asarray(value, kind.accumulation).astype(np.float64)
            for name in ("v", "bias", "c0", "mask_c", "grad_c_last")
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **stored, **accumulated, scale_x=float(kind.accumulation(self.scale_x)))


def make_case(
    length: int = 5,
    batch: int = 3,
    hidden_size: int = 17,
    *,
    num_gates: int = 3,
    num_directions: int = 1,
    absent: tuple[str, ...] = (),
    v_per_position: bool = False,
    seed: int = 0,
    **options: object,
) -> Case:
    """Random inputs, all of them present but those in `absent`; x is absent with four gates."""
    random = np.random.default_rng(seed)
    columns = num_directions * hidden_size
    arrays = {
        "u": random.standard_normal((length, batch, num_gates, columns)),
        "v": random.standard_normal((length, batch, 2, columns) if v_per_position else (2, columns)),
        "bias": random.standard_normal((2, columns)),
        "c0": random.standard_normal((batch, columns)),
        "x": random.standard_normal((length, batch, columns)),
        "mask_c": (random.random((batch, columns)) < 0.7) / 0.7,
        "mask_pad": random.random((length, batch)) < 0.3,
        "grad_h": random.standard_normal((length, batch, columns)),
        "grad_c_last": random.standard_normal((batch, columns)),
    }
    skipped = {*absent, *(["x"] if num_gates == 4 else [])}
    present = {name: value for name, value in arrays.items() if name not in skipped}
    return Case(**present, num_directions=num_directions, **options)
