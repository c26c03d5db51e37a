"""The gated linear recurrence: random inputs, a call of the kernels, and the oracle in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from sru_kernels import cpu

from .cases import STORAGES, Array
from .invoke import invoke

STORED = ("q", "k", "v", "grad_o")
ACCUMULATED = ("log_g", "s0", "grad_s")


@dataclass(frozen=True)
class GatedLinear:
    """The inputs of one recurrence, in float64; None where an input is absent."""

    q: Array  # (T, B, H, K)
    k: Array
    v: Array  # (T, B, H, V)
    log_g: Array
    s0: Array | None = None  # (B, H, K, V)
    grad_o: Array | None = None
    grad_s: Array | None = None
    storage: str = "float32"
    segment_length: int = 4

    @property
    def state_shape(self) -> tuple[int, ...]:
        return (*self.q.shape[1:], self.v.shape[-1])

    def encoded(self) -> dict[str, Array]:
        """The arrays as the kernels read them."""
        kind = STORAGES[self.storage]
        given = {name: getattr(self, name) for name in (*STORED, *ACCUMULATED)}
        return {
            name: kind.encode(array) if name in STORED else np.ascontiguousarray(array, kind.accumulation)
            for name, array in given.items()
            if array is not None
        }

    def rounded(self) -> GatedLinear:
        """The same inputs as the kernels see them."""
        decode = STORAGES[self.storage].decode
        exact = {name: decode(a) if name in STORED else a.astype(float) for name, a in self.encoded().items()}
        return replace(self, **exact)

    def forward(self, *, keep_states: bool = True, num_threads: int = 1) -> dict[str, Array]:
        """Return `o`, `s` and, if they are kept, `starts` of the kernel."""
        kind = STORAGES[self.storage]
        outputs = {"o": self._stored(self.v.shape), "s": self._accumulated(self.state_shape)}
        if keep_states:
            segments = -(-len(self.q) // self.segment_length)
            outputs["starts"] = self._accumulated((segments, *self.state_shape))
        inputs = self._inputs("q", "k", "v", "log_g", "s0")
        invoke(cpu.gated_linear_forward, self._fields(), inputs, outputs, num_threads=num_threads)
        return {name: kind.decode(a) if name == "o" else a.astype(float) for name, a in outputs.items()}

    def backward(self, starts: Array, *, num_threads: int = 1) -> dict[str, Array]:
        """Return every gradient of the kernel."""
        kind = STORAGES[self.storage]
        outputs = {f"grad_{name}": self._stored(getattr(self, name).shape) for name in ("q", "k", "v")}
        outputs["grad_log_g"] = self._accumulated(self.q.shape)
        outputs["grad_s0"] = self._accumulated(self.state_shape)
        inputs = self._inputs("q", "k", "v", "log_g", "grad_o", "grad_s")
        inputs["starts"] = np.ascontiguousarray(starts, kind.accumulation)
        invoke(cpu.gated_linear_backward, self._fields(), inputs, outputs, num_threads=num_threads)
        return {
            name: a.astype(float) if name in ("grad_log_g", "grad_s0") else kind.decode(a)
            for name, a in outputs.items()
        }

    def _stored(self, shape: tuple[int, ...]) -> Array:
        """An output begins as NaN, so that a number not written is noticed."""
        return np.full(shape, STORAGES[self.storage].encode(np.array(np.nan)))

    def _accumulated(self, shape: tuple[int, ...]) -> Array:
        return np.full(shape, np.nan, STORAGES[self.storage].accumulation)

    def _inputs(self, *names: str) -> dict[str, Array]:
        encoded = self.encoded()
        return {name: encoded[name] for name in names if name in encoded}

    def _fields(self) -> dict[str, object]:
        length, batch, heads, key_size = self.q.shape
        return {
            **{"dtype": self.storage, "length": length, "batch": batch, "heads": heads},
            **{"key_size": key_size, "value_size": self.v.shape[-1], "segment_length": self.segment_length},
        }


def make_gated_linear(
    length: int = 9,
    batch: int = 2,
    heads: int = 3,
    key_size: int = 5,
    value_size: int = 7,
    *,
    absent: tuple[str, ...] = (),
    seed: int = 0,
    **options: object,
) -> GatedLinear:
    """Random inputs, all of them present but those in `absent`; one gate in ten is shut, one is open."""
    random = np.random.default_rng(seed)
    keys, values = (length, batch, heads, key_size), (length, batch, heads, value_size)
    log_g = np.log(random.random(keys))
    kind = random.random(keys)
    log_g[kind < 0.1] = -np.inf
    log_g[kind > 0.9] = 0.0
    state = (batch, heads, key_size, value_size)
    arrays = {
        "q": random.standard_normal(keys),
        "k": random.standard_normal(keys),
        "v": random.standard_normal(values),
        "log_g": log_g,
        "s0": random.standard_normal(state),
        "grad_o": random.standard_normal(values),
        "grad_s": random.standard_normal(state),
    }
    return GatedLinear(**{name: a for name, a in arrays.items() if name not in absent}, **options)


def oracle_states(case: GatedLinear) -> Iterator[Array]:
    """The states before the first step and after each."""
    state = np.zeros(case.state_shape, case.v.dtype) if case.s0 is None else case.s0
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
    """Every gradient, from the sum of what each number of each state does to the loss."""
    states = np.array(list(oracle_states(case)))
    grads = {f"grad_{name}": np.zeros(getattr(case, name).shape) for name in ("q", "k", "v", "log_g")}
    grad_s = np.zeros(case.state_shape) if case.grad_s is None else case.grad_s
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
