"""The inputs of the gated linear recurrence, and the oracle in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from ...support.cases import Case
from ...support.engines import Array, cpu_engine


@dataclass(frozen=True)
class GatedLinear(Case):
    """The inputs of one recurrence."""

    kernels = ("gated_linear_forward", "gated_linear_backward")

    q: Array  # (T, B, H, K)
    k: Array
    v: Array  # (T, B, H, V)
    log_g: Array
    s0: Array | None = None  # (B, H, K, V)
    grad_o: Array | None = None
    grad_s: Array | None = None
    storage: str = "float32"
    segment_length: int = 4

    def axes(self) -> dict[str, int]:
        sizes = dict(zip(("T", "B", "H", "K"), self.q.shape, strict=True))
        return {**sizes, "V": self.v.shape[-1], "segments": -(-len(self.q) // self.segment_length)}

    def options(self) -> dict[str, object]:
        length, batch, heads, key_size = self.q.shape
        return {
            **{"length": length, "batch": batch, "heads": heads, "key_size": key_size},
            **{"value_size": self.v.shape[-1], "segment_length": self.segment_length},
        }

    def magnitudes(self) -> GatedLinear:
        """Every number without its sign: the oracle then adds up the magnitudes of terms."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        signed = {
            name: np.abs(a) for name, a in arrays.items() if isinstance(a, np.ndarray) and name != "log_g"
        }
        return replace(self, **signed)

    def forward(self, *, keep_states: bool = True, num_threads: int = 1) -> dict[str, Array]:
        without = () if keep_states else ("starts",)
        return self.run("gated_linear_forward", cpu_engine(num_threads), without=without)

    def backward(self, starts: Array, *, num_threads: int = 1) -> dict[str, Array]:
        return self.run("gated_linear_backward", cpu_engine(num_threads), starts=starts)

    def both(self, *, num_threads: int = 1) -> dict[str, Array]:
        """The outputs and every gradient."""
        forward = self.forward(num_threads=num_threads)
        return {**forward, **self.backward(forward["starts"], num_threads=num_threads)}


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


def oracle_states(case: GatedLinear) -> Iterator[Array]:
    """The states before the first step and after each."""
    state = np.zeros((*case.q.shape[1:], case.v.shape[-1]), case.v.dtype) if case.s0 is None else case.s0
    yield state
    for k, v, log_g in zip(case.k, case.v, case.log_g, strict=True):
        state = np.exp(log_g)[..., None] * state + k[..., None] * v[..., None, :]
        yield state


def oracle_forward(case: GatedLinear) -> dict[str, Array]:
    """Return o, s and starts in the precision of the inputs, complex included."""
    states = np.array(list(oracle_states(case)))
    o = np.einsum("tbhk,tbhkv->tbhv", case.q, states[1:])
    return {"o": o, "s": states[-1], "starts": states[:-1][:: case.segment_length]}


def oracle_backward(case: GatedLinear) -> dict[str, Array]:
    """Every gradient, summed over the contributions of each number of each state."""
    states = np.array(list(oracle_states(case)))
    grads = {f"grad_{name}": np.zeros(getattr(case, name).shape) for name in ("q", "k", "v", "log_g")}
    grad_s = np.zeros(states.shape[1:]) if case.grad_s is None else case.grad_s
    for t in reversed(range(len(case.q))):
        grad_o = np.zeros(case.v.shape[1:]) if case.grad_o is None else case.grad_o[t]
        grad_s = grad_s + case.q[t][..., None] * grad_o[..., None, :]
        gate = np.exp(case.log_g[t])
        grads["grad_q"][t] = np.einsum("bhkv,bhv->bhk", states[t + 1], grad_o)
        grads["grad_k"][t] = np.einsum("bhkv,bhv->bhk", grad_s, case.v[t])
        grads["grad_v"][t] = np.einsum("bhkv,bhk->bhv", grad_s, case.k[t])
        grads["grad_log_g"][t] = gate * np.einsum("bhkv,bhkv->bhk", grad_s, states[t])
        grad_s = gate[..., None] * grad_s
    return {**grads, "grad_s0": grad_s}
