"""The inputs of the Li-GRU recurrence, and the caller's work between the forward and backward passes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from ...support.cases import Case
from ...support.engines import Array, Engine, cpu_engine

PAD, FIRST, SECOND = 1, 2, 4  # the bits of marks


@dataclass(frozen=True)
class Ligru(Case):
    """The inputs of one recurrence. With `cu_seqlens` the arrays (T, B, ...) have a batch of one."""

    kernels = ("ligru_forward", "ligru_backward")

    u: Array  # (T, B, 2, D)
    weight: Array  # (2, D, D)
    norm_eps: float | None = None
    norm_weight: Array | None = None  # (2, D)
    norm_bias: Array | None = None
    mask_h: Array | None = None  # (B, N·D)
    marks: Array | None = None  # (T, B)
    cu_seqlens: Array | None = None
    h0: Array | None = None  # (B, N·D)
    h_reset: Array | None = None  # (N·D)
    grad_h: Array | None = None  # (T, B, N·D)
    grad_h_last: Array | None = None  # (B, N·D)
    num_directions: int = 1
    activation: str = "relu"
    storage: str = "float32"
    rounds_terms: bool = False  # of products, to bfloat16, as `avx512_bf16` does

    def axes(self) -> dict[str, int]:
        length, batch, _, size = self.u.shape
        batch = batch if self.cu_seqlens is None else len(self.cu_seqlens) - 1
        directions = self.num_directions
        named = {"T": length, "B": batch, "N": directions, "D": size, "N·D": directions * size}
        return {**named, "5": 5, "D + 4": size + 4}

    def shape(self, name: str, axes: list[str]) -> tuple[int, ...]:
        shape = super().shape(name, axes)
        is_ragged = self.cu_seqlens is not None and axes[0] == "T"
        return (shape[0], 1, *shape[2:]) if is_ragged else shape

    def run(self, kernel: str, engine: Engine | None = None, **options: Any) -> dict[str, Array]:
        found = super().run(kernel, engine, **options)
        found.pop("scratch")  # starts as NaN, like every output
        return found

    def options(self) -> dict[str, object]:
        names = {"length": "T", "batch": "B", "hidden_size": "D", "num_directions": "N"}
        sizes = {name: self.axes()[letter] for name, letter in names.items()}
        has_norm = self.norm_eps is not None
        return {
            **sizes,
            "activation": self.activation,
            "has_norm": has_norm,
            "norm_eps": self.norm_eps or 0.0,
        }

    def starts(self) -> Array:
        """Where the states restart, (T, B, N, 1)."""
        bits = np.array([FIRST, SECOND])[: self.num_directions]
        if self.marks is None:
            return np.zeros((*self.u.shape[:2], self.num_directions, 1), bool)
        return (self.marks[..., None] & bits != 0)[..., None] & ~self.padding()[..., None, None]

    def padding(self) -> Array:
        """Where positions are padding, (T, B)."""
        marks = np.zeros(self.u.shape[:2], np.uint8) if self.marks is None else self.marks
        return marks & PAD != 0

    def by_direction(self, states: Array | None, count: int) -> Array:
        """States (count, N·D), or zeros if None, as (count, N, D)."""
        directions, size = self.num_directions, self.u.shape[-1]
        return (
            np.zeros((count, directions, size)) if states is None else states.reshape(count, directions, size)
        )

    def states_before(self, states: Array) -> Array:
        """The states (T, B, N, D) before each step, from those after it (T, B, N·D)."""
        length, batch, _, size = self.u.shape
        states = states.reshape(length, batch, self.num_directions, size)
        first = self.by_direction(self.h0, batch)
        parts = [np.concatenate([first[None, :, 0], states[:-1, :, 0]]) if length else states[:, :, 0]]
        if self.num_directions == 2:
            parts.append(np.concatenate([states[1:, :, 1], first[None, :, 1]]) if length else states[:, :, 1])
        reset = self.by_direction(None if self.h_reset is None else self.h_reset[None], 1)
        return np.where(self.starts(), reset, np.stack(parts, 2))

    def sequence(self, number: int) -> Ligru:
        """One of the sequences of `cu_seqlens`, as a batch of one."""
        begin, end = self.cu_seqlens[number : number + 2]
        over_time = {name: getattr(self, name) for name in ("u", "marks", "grad_h")}
        of_rows = {name: getattr(self, name) for name in ("h0", "mask_h", "grad_h_last")}
        cut = {name: a if a is None else a[begin:end] for name, a in over_time.items()}
        row = {name: a if a is None else a[number : number + 1] for name, a in of_rows.items()}
        return replace(self, **cut, **row, cu_seqlens=None)

    def forward(
        self, engine: Engine | None = None, *, without: tuple[str, ...] = (), num_threads: int = 1
    ) -> dict[str, Array]:
        without += () if self.norm_eps is not None else ("rstd",)
        return self.run("ligru_forward", engine or cpu_engine(num_threads), without=without)

    def backward(
        self, saved: dict[str, Array], engine: Engine | None = None, *, num_threads: int = 1
    ) -> dict[str, Array]:
        """The gradients that the kernel writes, from `before`, `products` and, with a norm, `rstd`."""
        without = () if self.h_reset is not None else ("grad_h_reset",)
        without += () if self.norm_eps is not None else ("grad_products",)
        return self.run("ligru_backward", engine or cpu_engine(num_threads), without=without, **saved)

    def both(self, engine: Engine | None = None, *, num_threads: int = 1) -> dict[str, Array]:
        """The outputs and every gradient."""
        forward = self.forward(engine, num_threads=num_threads)
        saved = {name: forward[name] for name in ("products", "rstd") if name in forward}
        exact = self.rounded()
        if self.cu_seqlens is None:
            saved["before"] = exact.states_before(forward["states"])
        else:
            parts = [
                exact.sequence(i).states_before(forward["states"][begin:end])
                for i, (begin, end) in enumerate(pairwise(self.cu_seqlens))
            ]
            empty = np.zeros((0, 1, self.num_directions, self.u.shape[-1]))
            saved["before"] = np.concatenate([empty, *parts])
        return {**forward, **self.backward(saved, engine, num_threads=num_threads)}


def make_ligru(
    length: int = 9,
    batch: int = 3,
    hidden_size: int = 5,
    *,
    num_directions: int = 2,
    norm: bool = False,
    absent: tuple[str, ...] = (),
    **options: object,
) -> Ligru:
    """Random inputs, all present except those in `absent`, with padding and restarts."""
    random = np.random.default_rng(0)
    columns = num_directions * hidden_size
    shapes = {"u": (length, batch, 2, hidden_size), "h0": (batch, columns), "h_reset": (columns,)}
    shapes |= {"grad_h": (length, batch, columns), "grad_h_last": (batch, columns)}
    if norm:
        shapes |= dict.fromkeys(("norm_weight", "norm_bias"), (2, hidden_size))
        options["norm_eps"] = 1e-3
    arrays = {name: random.standard_normal(shape) for name, shape in shapes.items()}
    arrays["weight"] = random.standard_normal((2, hidden_size, hidden_size)) / max(1, hidden_size) ** 0.5
    arrays["mask_h"] = 2.0 * (random.random((batch, columns)) < 0.5)
    arrays["marks"] = random.choice(
        [0, PAD, FIRST, SECOND, FIRST + SECOND], (length, batch), p=[0.4, 0.3, 0.1, 0.1, 0.1]
    )
    arrays["marks"] = arrays["marks"].astype(np.uint8)
    given = {name: a for name, a in arrays.items() if name not in absent}
    return Ligru(**given, num_directions=num_directions, **options)


def make_ragged(lengths: list[int], hidden_size: int = 5, **options: object) -> Ligru:
    """Concatenated sequences of these lengths."""
    absent = (*options.pop("absent", ()), "marks", "h_reset")
    case = make_ligru(sum(lengths), 1, hidden_size, absent=absent, **options)
    random, shape = np.random.default_rng(3), (len(lengths), case.num_directions * hidden_size)
    names = [name for name in ("h0", "mask_h", "grad_h_last") if name not in absent]
    states = {name: random.standard_normal(shape) for name in names}
    return replace(case, **states, cu_seqlens=np.cumsum([0, *lengths]))
