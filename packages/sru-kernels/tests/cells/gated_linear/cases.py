"""The inputs of the gated linear recurrence, and the oracle in NumPy."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from ...support.cases import Case
from ...support.engines import Array, Engine, cpu_engine

START = 2  # the bit of marks where a state restarts


@dataclass(frozen=True)
class GatedLinear(Case):
    """The inputs of one recurrence. With `cu_seqlens` the arrays (T, B, ...) have a batch of one."""

    kernels = ("gated_linear_forward", "gated_linear_backward")

    q: Array  # (T, B, H, K)
    k: Array
    v: Array  # (T, B, H, V)
    log_g: Array
    s0: Array | None = None  # (B, H, K, V)
    grad_o: Array | None = None
    grad_s: Array | None = None
    marks: Array | None = None  # (T, B)
    s_reset: Array | None = None  # (H, K, V)
    cu_seqlens: Array | None = None
    storage: str = "float32"
    segment_length: int = 4

    def axes(self) -> dict[str, int]:
        length, batch, heads, key_size = self.q.shape
        segments = -(-length // self.segment_length)
        if self.cu_seqlens is not None:
            batch = len(self.cu_seqlens) - 1
            segments = length // self.segment_length + batch
        sizes = {"T": length, "B": batch, "H": heads, "K": key_size, "V": self.v.shape[-1]}
        return {**sizes, "segments": segments}

    def shape(self, name: str, axes: list[str]) -> tuple[int, ...]:
        shape = super().shape(name, axes)
        is_ragged = self.cu_seqlens is not None and axes[0] in ("T", "segments")
        return (shape[0], 1, *shape[2:]) if is_ragged else shape

    def options(self) -> dict[str, object]:
        names = {"length": "T", "batch": "B", "heads": "H", "key_size": "K", "value_size": "V"}
        sizes = {name: self.axes()[letter] for name, letter in names.items()}
        return {**sizes, "segment_length": self.segment_length}

    def cut(self, steps: slice, row: int, **changes: object) -> GatedLinear:
        """Some steps of one row of the batch, as a batch of one."""
        names = ("q", "k", "v", "log_g", "grad_o")
        arrays = {name: getattr(self, name)[steps, row : row + 1] for name in names}
        return replace(self, **arrays, marks=None, s_reset=None, cu_seqlens=None, **changes)

    def magnitudes(self) -> GatedLinear:
        """All inputs with their absolute values, from which the oracle sums the magnitudes of terms."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        kept = ("log_g", "marks", "cu_seqlens")
        signed = {
            name: np.abs(a) for name, a in arrays.items() if isinstance(a, np.ndarray) and name not in kept
        }
        return replace(self, **signed)

    def forward(
        self, engine: Engine | None = None, *, keep_states: bool = True, num_threads: int = 1
    ) -> dict[str, Array]:
        without = () if keep_states else ("starts",)
        return self.run("gated_linear_forward", engine or cpu_engine(num_threads), without=without)

    def backward(
        self, starts: Array, engine: Engine | None = None, *, num_threads: int = 1
    ) -> dict[str, Array]:
        without = () if self.s_reset is not None else ("grad_s_reset",)
        engine = engine or cpu_engine(num_threads)
        return self.run("gated_linear_backward", engine, without=without, starts=starts)

    def both(self, engine: Engine | None = None, *, num_threads: int = 1) -> dict[str, Array]:
        """The outputs and every gradient."""
        forward = self.forward(engine, num_threads=num_threads)
        return {**forward, **self.backward(forward["starts"], engine, num_threads=num_threads)}


def make_gated_linear(
    length: int = 9,
    batch: int = 2,
    heads: int = 3,
    key_size: int = 5,
    value_size: int = 7,
    *,
    absent: tuple[str, ...] = (),
    **options: object,
) -> GatedLinear:
    """Random inputs, all present except those in `absent`. One gate in ten is closed, one is open."""
    random = np.random.default_rng(0)
    keys, values = (length, batch, heads, key_size), (length, batch, heads, value_size)
    log_g = np.log(random.random(keys))
    kind = random.random(keys)
    log_g[kind < 0.1] = -np.inf
    log_g[kind > 0.9] = 0.0
    state = (batch, heads, key_size, value_size)
    shapes = {"q": keys, "k": keys, "v": values, "s0": state, "grad_o": values, "grad_s": state}
    arrays = {name: random.standard_normal(shape) for name, shape in shapes.items() if name not in absent}
    return GatedLinear(log_g=log_g, **arrays, **options)


def oracle_states(case: GatedLinear) -> tuple[Array, Array]:
    """The states before each step, after any restart, and the states before the first and after each step."""
    state = np.zeros((*case.q.shape[1:], case.v.shape[-1]), case.v.dtype) if case.s0 is None else case.s0
    first = np.zeros((), case.v.dtype) if case.s_reset is None else case.s_reset
    before, after = [], [state]
    for t, (k, v, log_g) in enumerate(zip(case.k, case.v, case.log_g, strict=True)):
        before.append(np.where(starts_of(case)[t], first, state))
        state = np.exp(log_g)[..., None] * before[-1] + k[..., None] * v[..., None, :]
        after.append(state)
    return np.array(before).reshape(len(before), *state.shape), np.array(after)


def starts_of(case: GatedLinear) -> Array:
    """Where the states restart, (T, B, 1, 1, 1)."""
    marks = np.zeros(case.q.shape[:2], np.uint8) if case.marks is None else case.marks
    return (marks & START != 0)[:, :, None, None, None]


def oracle_forward(case: GatedLinear) -> dict[str, Array]:
    """Return o, s and starts in the precision of the inputs, complex included."""
    _, after = oracle_states(case)
    o = np.einsum("tbhk,tbhkv->tbhv", case.q, after[1:])
    return {"o": o, "s": after[-1], "starts": after[:-1][:: case.segment_length]}


def oracle_backward(case: GatedLinear) -> dict[str, Array]:
    """Every gradient, as a sum over the contributions of all elements of the states."""
    before, after = oracle_states(case)
    grads = {f"grad_{name}": np.zeros(getattr(case, name).shape) for name in ("q", "k", "v", "log_g")}
    grad_s = np.zeros(after.shape[1:]) if case.grad_s is None else case.grad_s
    grad_s_reset = np.zeros(after.shape[1:])
    for t in reversed(range(len(case.q))):
        grad_o = np.zeros(case.v.shape[1:]) if case.grad_o is None else case.grad_o[t]
        grad_s = grad_s + case.q[t][..., None] * grad_o[..., None, :]
        gate = np.exp(case.log_g[t])
        grads["grad_q"][t] = np.einsum("bhkv,bhv->bhk", after[t + 1], grad_o)
        grads["grad_k"][t] = np.einsum("bhkv,bhv->bhk", grad_s, case.v[t])
        grads["grad_v"][t] = np.einsum("bhkv,bhk->bhv", grad_s, case.k[t])
        grads["grad_log_g"][t] = gate * np.einsum("bhkv,bhkv->bhk", grad_s, before[t])
        grad_s = gate[..., None] * grad_s
        grad_s_reset += np.where(starts_of(case)[t], grad_s, 0.0)
        grad_s = np.where(starts_of(case)[t], 0.0, grad_s)
    given = {} if case.s_reset is None else {"grad_s_reset": grad_s_reset}
    return {**grads, "grad_s0": grad_s, **given}
