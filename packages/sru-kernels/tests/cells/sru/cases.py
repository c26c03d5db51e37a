"""The inputs of the SRU recurrence, and of one step of a layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...support.cases import STORAGES, Case
from ...support.engines import Array, Engine
from .oracle import PAD, oracle_forward


@dataclass(frozen=True)
class Sru(Case):
    """The inputs of one recurrence."""

    kernels = ("sru_forward", "sru_backward")

    u: Array  # (T, B, K, N·D)
    v: Array  # (2, N·D) or (T, B, 2, N·D)
    bias: Array
    c0: Array | None = None
    x: Array | None = None
    mask_c: Array | None = None
    marks: Array | None = None
    c_reset: Array | None = None
    cu_seqlens: Array | None = None
    num_directions: int = 1
    activation: str = "identity"
    scale_x: float = 1.0
    storage: str = "float32"
    grad_h: Array | None = None
    grad_c_last: Array | None = None

    def axes(self) -> dict[str, int]:
        return dict(zip(("T", "B", "K", "N·D"), self.u.shape, strict=True))

    def shape(self, name: str, axes: list[str]) -> tuple[int, ...]:
        return self.v.shape if name == "grad_v" and self.v.ndim == 4 else super().shape(name, axes)

    def options(self) -> dict[str, object]:
        length, batch, num_gates, columns = self.u.shape
        return {
            "activation": self.activation,
            "length": length,
            "batch": batch,
            "hidden_size": columns // self.num_directions,
            "num_directions": self.num_directions,
            "num_gates": num_gates,
            "scale_x": self.scale_x,
            "v_per_position": self.v.ndim == 4,
        }

    def rounded(self) -> Sru:
        exact = super().rounded()
        return replace(exact, scale_x=float(STORAGES[self.storage].accumulation(self.scale_x)))

    def widest(self) -> int:
        """The columns per thread that fill 16 bytes, or 1 if the case does not allow them."""
        width = 16 // np.dtype(STORAGES[self.storage].array).itemsize
        return width if self.v.ndim == 2 and self.u.shape[3] // self.num_directions % width == 0 else 1

    def forward(
        self, engine: Engine | None = None, *, keep_states: bool = True, **options: int
    ) -> dict[str, Array]:
        return self.run("sru_forward", engine, without=() if keep_states else ("c",), **options)

    def backward(
        self, c: Array, engine: Engine | None = None, *, want_grad_x: bool = True, **options: int
    ) -> dict[str, Array]:
        without = [] if want_grad_x and self.x is not None else ["grad_x"]
        without += [] if self.c_reset is not None else ["grad_c_reset"]
        return self.run("sru_backward", engine, without=tuple(without), c=c, **options)


def random_arrays(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(shape) for name, shape in shapes.items()}


def make_sru(
    length: int = 5,
    batch: int = 3,
    hidden_size: int = 17,
    *,
    num_gates: int = 3,
    num_directions: int = 1,
    absent: tuple[str, ...] = (),
    v_per_position: bool = False,
    **options: object,
) -> Sru:
    """Random inputs, all present except those in `absent`; x is absent with four gates."""
    columns = num_directions * hidden_size
    steps, state = (length, batch, columns), (batch, columns)
    arrays = random_arrays(
        {
            "u": (length, batch, num_gates, columns),
            "v": (length, batch, 2, columns) if v_per_position else (2, columns),
            **{"bias": (2, columns), "c0": state, "x": steps, "grad_h": steps, "grad_c_last": state},
        }
    )
    random = np.random.default_rng(1)
    arrays["mask_c"] = (random.random(state) < 0.7) / 0.7
    arrays["marks"] = (random.random((length, batch)) < 0.3).astype(np.uint8) * PAD
    skipped = {*absent, *(["x"] if num_gates == 4 else [])}
    present = {name: value for name, value in arrays.items() if name not in skipped}
    return Sru(**present, num_directions=num_directions, **options)


@dataclass(frozen=True)
class Step(Case):
    """The inputs of one step of a layer."""

    kernels = ("sru_step",)

    weight: Array  # (K, N·D, E), int8 if it has a scale
    input: Array  # (B, E)
    v: Array  # (2, N·D)
    bias: Array
    c0: Array | None = None  # (B, N·D)
    x: Array | None = None  # (B, N·D)
    weight_scale: Array | None = None  # (K, N·D)
    activation: str = "identity"
    scale_x: float = 1.0
    storage: str = "float32"

    def axes(self) -> dict[str, int]:
        return {**dict(zip(("K", "N·D", "E"), self.weight.shape, strict=True)), "B": len(self.input)}

    def options(self) -> dict[str, object]:
        num_gates, columns, input_size = self.weight.shape
        return {
            **{"activation": self.activation, "scale_x": self.scale_x, "batch": len(self.input)},
            **{"input_size": input_size, "columns": columns, "num_gates": num_gates},
        }

    def step(self, engine: Engine | None = None) -> dict[str, Array]:
        return self.run("sru_step", engine)

    def expected(self) -> dict[str, Array]:
        """The oracle's results for exactly the numbers that the kernel reads."""
        exact = self.rounded()
        u = np.einsum("kje,be->bkj", exact.weight, exact.input)[None]
        if self.weight_scale is not None:
            u = u * exact.weight_scale
        x = None if self.x is None else exact.x[None]
        options = {"activation": self.activation, "scale_x": self.scale_x}
        h, _, c_last = oracle_forward(Sru(u, exact.v, exact.bias, exact.c0, x, **options))
        return {"h": h[0], "c_last": c_last}


def make_step(
    batch: int = 3,
    input_size: int = 37,
    columns: int = 17,
    *,
    num_gates: int = 3,
    absent: tuple[str, ...] = (),
    quantized: bool = False,
    **options: object,
) -> Step:
    """Random inputs, all present except those in `absent`; x is absent with four gates."""
    arrays = random_arrays(
        {
            **{"weight": (num_gates, columns, input_size), "input": (batch, input_size)},
            **{"v": (2, columns), "bias": (2, columns), "c0": (batch, columns), "x": (batch, columns)},
        }
    )
    arrays["weight"] /= input_size**0.5
    if quantized:
        arrays["weight_scale"] = np.abs(arrays["weight"]).max(-1) / 127
        arrays["weight"] = np.round(arrays["weight"] / arrays["weight_scale"][..., None]).astype(np.int8)
    skipped = {*absent, *(["x"] if num_gates == 4 else [])}
    return Step(**{name: array for name, array in arrays.items() if name not in skipped}, **options)
