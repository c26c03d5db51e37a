"""The SRU in NumPy, step by step in float64, and a call of the kernels on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sru_kernels import Activation, DType, cpu

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


def sigmoid(z: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * z))  # no overflow, complex numbers too


def oracle_forward(case: Case) -> tuple[Array, Array, Array]:
    """Return h, c and c_last in the precision of the inputs, complex included."""
    length, batch, num_gates, columns = case.shape
    dtype = np.result_type(case.u, case.v, case.bias, *(a for a in (case.c0, case.x) if a is not None))
    h = np.zeros((length, batch, columns), dtype)
    c = np.zeros((length, batch, columns), dtype)
    c_last = np.zeros((batch, columns), dtype)
    v = np.broadcast_to(case.v, (length, batch, 2, columns))
    mask = 1.0 if case.mask_c is None else case.mask_c
    half = columns // case.num_directions
    for direction in range(case.num_directions):
        own = slice(direction * half, (direction + 1) * half)
        state = np.zeros((batch, columns), dtype) if case.c0 is None else case.c0.astype(dtype)
        for t in range(length) if direction == 0 else reversed(range(length)):
            keep = np.zeros((batch, 1), bool) if case.mask_pad is None else case.mask_pad[t, :, None]
            u = np.where(keep[:, None], 0.0, case.u[t])
            gates = [np.where(keep, 0.0, v[t, :, k]) * state + case.bias[k] + u[:, k + 1] for k in (0, 1)]
            f, r = sigmoid(gates[0]), sigmoid(gates[1])
            state = np.where(keep, state, f * state + (1 - f) * u[:, 0])
            g = state
            if case.activation == "tanh":
                g = np.tanh(state)
            elif case.activation == "relu":
                g = np.where(state.real < 0, 0.0, state)
            highway = 0.0
            if num_gates == 4:
                highway = u[:, 3]
            elif case.x is not None:
                highway = np.where(keep, 0.0, case.x[t]) * case.scale_x
            c[t, :, own] = state[:, own]
            h[t, :, own] = np.where(keep, 0.0, r * mask * g + (1 - r * mask) * highway)[:, own]
        c_last[:, own] = state[:, own]
    return h, c, c_last


def oracle_backward(case: Case) -> dict[str, Array]:
    """Return every gradient, by complex steps: exact to rounding, with no formula of a derivative.

    Batch rows and columns do not touch each other, so one perturbed run per remaining index gives the
    gradients of all of them.
    """
    step = 1e-100
    length, batch, num_gates, columns = case.shape

    def slope(name: str, index: tuple[object, ...]) -> Array:
        given = getattr(case, name)
        perturbed = (np.zeros((batch, columns)) if given is None else given).astype(np.complex128)
        perturbed[index] += 1j * step
        h, _, c_last = oracle_forward(replace(case, **{name: perturbed}))
        loss = np.zeros(c_last.shape, np.complex128)
        if case.grad_h is not None:
            padded = False if case.mask_pad is None else case.mask_pad[:, :, None]
            loss += (np.where(padded, 0.0, case.grad_h) * h).sum(0)
        if case.grad_c_last is not None:
            loss += case.grad_c_last * c_last
        return loss.imag / step

    def slope_of_rows(name: str, rows: int) -> Array:
        slopes = [slope(name, (t, slice(None), row)) for t in range(length) for row in range(rows)]
        return np.array(slopes).reshape(length, rows, batch, columns).swapaxes(1, 2)

    grads = {
        "grad_u": slope_of_rows("u", num_gates),
        "grad_bias": np.array([slope("bias", (k,)) for k in (0, 1)]),
        "grad_c0": slope("c0", ()),
        "grad_v": slope_of_rows("v", 2) if case.v.ndim == 4 else np.array([slope("v", (k,)) for k in (0, 1)]),
    }
    if case.x is not None:
        grads["grad_x"] = np.array([slope("x", (t,)) for t in range(length)]).reshape(length, batch, columns)
    return grads


@dataclass
class Kernels:
    """Calls the kernels with a case; every output begins as NaN, so that one not written is noticed."""

    num_threads: int = 1
    keep: list[Array] = field(default_factory=list)  # arrays whose addresses were taken

    def address(self, array: Array | None) -> int:
        if array is None:
            return 0
        assert array.flags.c_contiguous
        self.keep.append(array)
        return array.ctypes.data

    def inputs(self, case: Case) -> dict[str, object]:
        kind = STORAGES[case.storage]
        length, batch, num_gates, columns = case.shape

        def given(value: Array | None, encode: Callable[[Array], Array]) -> int:
            return 0 if value is None else self.address(encode(value))

        def accumulated(value: Array) -> Array:
            return np.ascontiguousarray(value, kind.accumulation)

        return {
            "dtype": kind.dtype,
            "activation": Activation[case.activation],
            "length": length,
            "batch": batch,
            "hidden_size": columns // case.num_directions,
            "num_directions": case.num_directions,
            "num_gates": num_gates,
            "u": given(case.u, kind.encode),
            "v": given(case.v, accumulated),
            "v_per_position": case.v.ndim == 4,
            "bias": given(case.bias, accumulated),
            "c0": given(case.c0, accumulated),
            "x": given(case.x, kind.encode),
            "scale_x": case.scale_x,
            "mask_c": given(case.mask_c, accumulated),
            "mask_pad": given(case.mask_pad, lambda mask: mask.astype(np.uint8)),
            "num_threads": self.num_threads,
        }

    def outputs(self, case: Case, shapes: dict[str, tuple[bool, tuple[int, ...]]]) -> dict[str, Array]:
        """Arrays of NaN by name; `shapes` says which are in the storage dtype, and the shape."""
        kind = STORAGES[case.storage]
        nan = {True: kind.encode(np.array(np.nan)), False: np.array(np.nan, kind.accumulation)}
        return {name: np.full(shape, nan[stored]) for name, (stored, shape) in shapes.items()}

    def decoded(self, case: Case, outputs: dict[str, Array], stored: tuple[str, ...]) -> dict[str, Array]:
        decode = STORAGES[case.storage].decode
        return {n: decode(a) if n in stored else a.astype(np.float64) for n, a in outputs.items()}

    def forward(self, case: Case, *, keep_states: bool = True) -> dict[str, Array]:
        length, batch, _, columns = case.shape
        shapes = {"h": (True, (length, batch, columns)), "c_last": (False, (batch, columns))}
        if keep_states:
            shapes["c"] = (False, (length, batch, columns))
        outputs = self.outputs(case, shapes)
        addresses = {name: self.address(array) for name, array in outputs.items()}
        cpu.sru_forward(**self.inputs(case), **{"c": 0, **addresses})
        return self.decoded(case, outputs, ("h",))

    def backward(self, case: Case, c: Array, *, want_grad_x: bool = True) -> dict[str, Array]:
        kind = STORAGES[case.storage]
        length, batch, num_gates, columns = case.shape
        shapes = {
            "grad_u": (True, (length, batch, num_gates, columns)),
            "grad_v": (False, (2, batch, columns) if case.v.ndim == 2 else case.v.shape),
            "grad_bias": (False, (2, batch, columns)),
            "grad_c0": (False, (batch, columns)),
        }
        if case.x is not None and want_grad_x:
            shapes["grad_x"] = (True, (length, batch, columns))
        outputs = self.outputs(case, shapes)
        addresses = {name: self.address(array) for name, array in outputs.items()}
        cpu.sru_backward(
            **self.inputs(case),
            c=self.address(np.ascontiguousarray(c, kind.accumulation)),
            grad_h=0 if case.grad_h is None else self.address(kind.encode(case.grad_h)),
            grad_c_last=0
            if case.grad_c_last is None
            else self.address(np.ascontiguousarray(case.grad_c_last, kind.accumulation)),
            **{"grad_x": 0, **addresses},
        )
        return self.decoded(case, outputs, ("grad_u", "grad_x"))


@pytest.fixture
def kernels() -> Kernels:
    return Kernels()


@pytest.fixture
def case() -> Callable[..., Case]:
    return make_case


@pytest.fixture
def oracle() -> tuple[Callable[[Case], tuple[Array, Array, Array]], Callable[[Case], dict[str, Array]]]:
    return oracle_forward, oracle_backward
