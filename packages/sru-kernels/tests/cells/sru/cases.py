"""The inputs of the SRU recurrence, and of one step of a layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...support.cases import STORAGES, Case
from ...support.engines import Array, Engine
from .oracle import FIRST, PAD, SECOND, oracle_forward


@dataclass(frozen=True)
class Sru(Case):
    """The inputs of one recurrence. With `cu_seqlens` the arrays (T, B, ...) have no axis B."""

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
    order: Array | None = None
    num_directions: int = 1
    activation: str = "identity"
    scale_x: float = 1.0
    storage: str = "float32"
    grad_h: Array | None = None
    grad_c_last: Array | None = None

    @property
    def v_per_position(self) -> bool:
        return self.v.ndim > 2

    def axes(self) -> dict[str, int]:
        length, *batch, num_gates, columns = self.u.shape
        rows = batch[0] if self.cu_seqlens is None else len(self.cu_seqlens) - 1
        return {"T": length, "B": rows, "K": num_gates, "N·D": columns}

    def shape(self, name: str, axes: list[str]) -> tuple[int, ...]:
        if name == "grad_v" and self.v_per_position:
            return self.v.shape
        is_ragged = self.cu_seqlens is not None and axes[0] == "T"
        return super().shape(name, [axis for axis in axes if not (is_ragged and axis == "B")])

    def options(self) -> dict[str, object]:
        sizes = self.axes()
        return {
            "activation": self.activation,
            "length": sizes["T"],
            "batch": sizes["B"],
            "hidden_size": sizes["N·D"] // self.num_directions,
            "num_directions": self.num_directions,
            "num_gates": sizes["K"],
            "scale_x": self.scale_x,
            "v_per_position": self.v_per_position,
        }

    def rounded(self) -> Sru:
        exact = super().rounded()
        return replace(exact, scale_x=float(STORAGES[self.storage].accumulation(self.scale_x)))

    def widest(self) -> int:
        """The largest number of columns per thread on a GPU: as many as fit into 16 bytes."""
        return 16 // np.dtype(STORAGES[self.storage].array).itemsize

    def forward(
        self, engine: Engine | None = None, *, keep_states: bool = True, **options: int
    ) -> dict[str, Array]:
        return self.run("sru_forward", engine, without=() if keep_states else ("c",), **options)

    def backward(
        self, c: Array, engine: Engine | None = None, *, without: tuple[str, ...] = (), **options: int
    ) -> dict[str, Array]:
        without = (*without, *(["grad_x"] if self.x is None else []))
        return self.run("sru_backward", engine, without=without, c=c, **options)

    def both(self, engine: Engine | None = None) -> dict[str, Array]:
        """The outputs and every gradient."""
        forward = self.forward(engine)
        return {**forward, **self.backward(forward["c"], engine)}


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
            **{"bias": (2, columns), "c0": state, "c_reset": (columns,), "x": steps},
            **{"grad_h": steps, "grad_c_last": state},
        }
    )
    random = np.random.default_rng(1)
    arrays["mask_c"] = (random.random(state) < 0.7) / 0.7
    chances = {PAD: 0.3, FIRST: 0.3, SECOND: 0.3}
    arrays["marks"] = sum((random.random((length, batch)) < p) * np.uint8(bit) for bit, p in chances.items())
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
        """The oracle's results for the same rounded inputs as the kernel's."""
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
