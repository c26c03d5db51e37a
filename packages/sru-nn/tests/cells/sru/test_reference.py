"""The reference against the equations one number at a time; its gradients against finite differences."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sru_nn.reference import (
    accumulate_dtype,
    sru_recurrence,
)

from ...conftest import examples

ACTIVATIONS = {"identity": lambda c: c, "tanh": math.tanh, "relu": lambda c: max(c, 0.0)}


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def make_inputs(
    length: int,
    batch: int,
    hidden: int,
    *,
    gates: int = 3,
    bidirectional: bool = False,
    highway: bool = True,
    per_position: bool = False,
    resets: bool = False,
    seed: int = 0,
) -> dict:
    generator = torch.Generator().manual_seed(seed)
    columns = hidden * (2 if bidirectional else 1)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    return {
        "u": randn(length, batch, gates, columns),
        "v": randn(length, batch, 2, columns) if per_position else randn(2, columns),
        "bias": randn(2, columns),
        "c0": randn(batch, columns),
        "x": randn(length, batch, columns) if highway and gates == 3 else None,
        "mask_c": (torch.rand(batch, columns, generator=generator) < 0.7).double() / 0.7,
        "mask_pad": torch.rand(length, batch, generator=generator) < 0.3,
        "reset": torch.rand(length, batch, generator=generator) < 0.4 if resets else None,
        "c_reset": randn(columns) if resets else None,
        "bidirectional": bidirectional,
    }


def one_number_at_a_time(
    u, v, bias, c0, *, x, bidirectional, activation, scale_x, mask_c, mask_pad, reset, c_reset
):
    """Follow the equations with Python floats."""
    length, batch, gates, columns = u.shape
    h, c_last = torch.zeros(length, batch, columns, dtype=u.dtype), c0.clone()
    for b, d in itertools.product(range(batch), range(columns)):
        c = c0[b, d].item()
        backwards = bidirectional and d >= columns // 2
        later = None  # the real position after t, which the second direction comes from
        for t in reversed(range(length)) if backwards else range(length):
            if mask_pad[t, b]:
                continue
            start = later if backwards else t
            later = t
            if reset is not None and start is not None and reset[start, b]:
                c = c_reset[d].item()
            v_f, v_r = (v[t, b] if v.dim() == 4 else v)[:, d].tolist()
            u_c, u_f, u_r = u[t, b, :3, d].tolist()
            f = sigmoid(u_f + v_f * c + bias[0, d].item())
            r = sigmoid(u_r + v_r * c + bias[1, d].item()) * mask_c[b, d].item()
            c = f * c + (1 - f) * u_c
            skip = u[t, b, 3, d].item() if gates == 4 else 0.0 if x is None else scale_x * x[t, b, d].item()
            h[t, b, d] = r * ACTIVATIONS[activation](c) + (1 - r) * skip
        c_last[b, d] = c
    return h, c_last


@settings(examples, max_examples=40)
@given(
    length=st.integers(0, 5),
    batch=st.integers(1, 3),
    hidden=st.integers(1, 3),
    gates=st.sampled_from([3, 4]),
    bidirectional=st.booleans(),
    highway=st.booleans(),
    per_position=st.booleans(),
    resets=st.booleans(),
    activation=st.sampled_from(sorted(ACTIVATIONS)),
    seed=st.integers(0, 999),
)
def test_follows_the_equations(
    length, batch, hidden, gates, bidirectional, highway, per_position, resets, activation, seed
):
    inputs = make_inputs(
        length,
        batch,
        hidden,
        gates=gates,
        bidirectional=bidirectional,
        highway=highway,
        per_position=per_position,
        resets=resets,
        seed=seed,
    )
    scale_x = 1.5 if inputs["x"] is not None else 1.0
    expected = one_number_at_a_time(**inputs, activation=activation, scale_x=scale_x)
    actual = sru_recurrence(**inputs, activation=activation, scale_x=scale_x)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("gates", [3, 4])
@pytest.mark.parametrize("per_position", [False, True])
def test_gradients_of_every_input(activation, bidirectional, gates, per_position):
    run, leaves = as_function_of_tensors(gates, bidirectional, per_position, activation)
    assert torch.autograd.gradcheck(run, leaves)


def test_gradients_of_the_gradients():
    run, leaves = as_function_of_tensors(4, True, True, "tanh")
    assert torch.autograd.gradgradcheck(run, leaves)


def as_function_of_tensors(gates, bidirectional, per_position, activation):
    inputs = make_inputs(
        3, 2, 1, gates=gates, bidirectional=bidirectional, per_position=per_position, resets=True
    )
    names = [name for name in ("u", "v", "bias", "c0", "x", "mask_c", "c_reset") if inputs[name] is not None]
    leaves = [inputs[name].requires_grad_() for name in names]

    def run(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return sru_recurrence(**{**inputs, **dict(zip(names, tensors, strict=True))}, activation=activation)

    return run, leaves


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("per_position", [False, True])
def test_nan_in_padding_reaches_nothing(bidirectional, per_position):
    inputs = make_inputs(6, 3, 2, bidirectional=bidirectional, per_position=per_position)
    clean = {name: value.clone() if isinstance(value, Tensor) else value for name, value in inputs.items()}
    pad = inputs["mask_pad"]
    assert pad.any()
    inputs["u"][pad], inputs["x"][pad] = torch.nan, torch.inf
    if per_position:
        inputs["v"][pad] = torch.nan
    outputs = []
    for case in (inputs, clean):
        leaves = [case[name].requires_grad_() for name in ("u", "v", "bias", "c0", "x")]
        h, c = sru_recurrence(**case)
        grads = torch.autograd.grad([h.sum() + (c * c).sum()], leaves)
        outputs.append((h, c, *grads))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=0, atol=0)
    assert outputs[0][2][pad].eq(0).all()


def test_a_fully_padded_sequence_keeps_its_state():
    inputs = make_inputs(3, 2, 2)
    inputs["mask_pad"] = torch.tensor([[True, False]]).expand(3, 2)
    h, c = sru_recurrence(**inputs)
    assert torch.equal(c[0], inputs["c0"][0])
    assert h[:, 0].eq(0).all()
    assert not torch.equal(c[1], inputs["c0"][1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_storage_accumulates_in_float32(dtype, assert_close):
    inputs = make_inputs(64, 2, 3, bidirectional=True)
    low = {
        name: value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in inputs.items()
    }
    exact = {
        name: value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in low.items()
    }
    (h, c), (h_exact, c_exact) = sru_recurrence(**low), sru_recurrence(**exact)
    assert h.dtype == dtype
    assert c.dtype == accumulate_dtype(dtype) == torch.float32
    assert_close(h, h_exact)
    assert_close(c, c_exact)  # float32 accuracy, for any storage dtype


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("per_position", [False, True])
@pytest.mark.parametrize("lengths", [(2, 0, 3, 1), (0, 0), ()])
def test_sequences_end_to_end_are_those_one_by_one(bidirectional, per_position, lengths):
    total, count = sum(lengths), len(lengths)
    inputs = make_inputs(total, 1, 2, bidirectional=bidirectional, per_position=per_position)
    rows = make_inputs(0, count, 2, bidirectional=bidirectional)
    inputs |= {"mask_pad": None, "c0": rows["c0"], "mask_c": rows["mask_c"]}
    ends = torch.tensor([0, *lengths]).cumsum(0)
    h, c = sru_recurrence(**inputs, cu_seqlens=ends)
    assert h.shape == (total, 1, inputs["u"].shape[3])
    assert c.shape == inputs["c0"].shape
    over_time = ["u", "x", *["v"] * per_position]
    for row, (start, end) in enumerate(itertools.pairwise(ends.tolist())):
        one = inputs | {name: inputs[name][start:end] for name in over_time}
        one |= {name: inputs[name][row : row + 1] for name in ("c0", "mask_c")}
        expected = sru_recurrence(**one)
        torch.testing.assert_close((h[start:end], c[row : row + 1]), expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_sequences_end_to_end_have_derivatives(bidirectional):
    inputs = make_inputs(3, 1, 1, bidirectional=bidirectional)
    c0 = make_inputs(0, 3, 1, bidirectional=bidirectional)["c0"]
    inputs |= {"mask_pad": None, "mask_c": None, "c0": c0}
    names = ["u", "v", "bias", "c0", "x"]
    leaves = [inputs[name].requires_grad_() for name in names]

    def run(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        changed = inputs | dict(zip(names, tensors, strict=True))
        return sru_recurrence(**changed, cu_seqlens=torch.tensor([0, 2, 2, 3]))

    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)
