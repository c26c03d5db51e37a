"""One step of a layer from its input on: random inputs, a call of the kernel, and the oracle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sru_kernels import cpu

from .cases import STORAGES, Array, Case
from .invoke import invoke
from .oracle import oracle_forward

STORED = ("weight", "input", "x")
ACCUMULATED = ("v", "bias", "c0", "weight_scale")


@dataclass(frozen=True)
class Step:
    """The inputs of one step, in float64; None where an input is absent."""

    weight: Array  # (K, N·D, E), integers from -127 to 127 if they have a scale
    input: Array  # (B, E)
    v: Array  # (2, N·D)
    bias: Array
    c0: Array | None = None  # (B, N·D)
    x: Array | None = None  # (B, N·D)
    weight_scale: Array | None = None  # (K, N·D)
    activation: str = "identity"
    scale_x: float = 1.0
    storage: str = "float32"

    def encoded(self) -> dict[str, Array]:
        """The arrays as the kernel reads them."""
        kind = STORAGES[self.storage]
        arrays = {name: getattr(self, name) for name in (*STORED, *ACCUMULATED)}
        integers = {} if self.weight_scale is None else {"weight": arrays.pop("weight").astype(np.int8)}
        return integers | {
            name: kind.encode(array)
            if name in STORED
            else np.ascontiguousarray(array, dtype=kind.accumulation)
            for name, array in arrays.items()
            if array is not None
        }

    def run(self, num_threads: int = 1) -> dict[str, Array]:
        """Return `h` and `c` of the kernel, which begin as NaN, so that one not written is noticed."""
        kind = STORAGES[self.storage]
        num_gates, columns, input_size = self.weight.shape
        batch = len(self.input)
        fields = {
            **{"dtype": self.storage, "activation": self.activation, "scale_x": self.scale_x},
            **{"batch": batch, "input_size": input_size, "columns": columns, "num_gates": num_gates},
        }
        h = np.full((batch, columns), kind.encode(np.array(np.nan)))
        c_last = np.full((batch, columns), np.nan, kind.accumulation)
        outputs = {"h": h, "c_last": c_last}
        invoke(cpu.sru_step, fields, self.encoded(), outputs, num_threads=num_threads)
        return {"h": kind.decode(h), "c": c_last.astype(np.float64)}

    def expected(self) -> dict[str, Array]:
        """What the oracle makes of the very numbers that the kernel reads."""
        kind = STORAGES[self.storage]
        exact = {
            name: kind.decode(array)
            if name in STORED and array.dtype != np.int8
            else array.astype(np.float64)
            for name, array in self.encoded().items()
        }
        u = np.einsum("kje,be->bkj", exact["weight"], exact["input"])[None]
        if self.weight_scale is not None:
            u = u * exact["weight_scale"]
        x = exact.get("x")
        case = Case(
            u,
            exact["v"],
            exact["bias"],
            exact.get("c0"),
            None if x is None else x[None],
            activation=self.activation,
            scale_x=self.scale_x,
        )
        h, _, c_last = oracle_forward(case)
        return {"h": h[0], "c": c_last}


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
    """Random inputs, all of them present but those in `absent`; x is absent with four gates."""
    random = np.random.default_rng(0)
    arrays = {
        "weight": random.standard_normal((num_gates, columns, input_size)) / input_size**0.5,
        "input": random.standard_normal((batch, input_size)),
        "v": random.standard_normal((2, columns)),
        "bias": random.standard_normal((2, columns)),
        "c0": random.standard_normal((batch, columns)),
        "x": random.standard_normal((batch, columns)),
    }
    if quantized:
        arrays["weight_scale"] = np.abs(arrays["weight"]).max(-1) / 127
        arrays["weight"] = np.round(arrays["weight"] / arrays["weight_scale"][..., None])
    skipped = {*absent, *(["x"] if num_gates == 4 else [])}
    return Step(**{name: array for name, array in arrays.items() if name not in skipped}, **options)
