"""The gated linear recurrence on every backend against the reference, including difficult gates."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from sru_nn import backend, reference
from sru_nn.cells.gated_linear import chunks as gated_linear_chunks
from sru_nn.cells.gated_linear import meet as gated_linear_meet
from sru_nn.cells.gated_linear import pieces
from sru_nn.functional import gated_linear_recurrence

from ...conftest import CHOICES, examples, looks_at_grad
from .inputs import GATES, make_inputs, outputs_and_gradients

pytestmark = pytest.mark.usefixtures("many_turns")
operators = torch.ops.sru_nn
FASTEST = CHOICES[-1]
# Triton's interpreter takes a second where the others take a millisecond.
SLOW = FASTEST == "triton"
needs_two = pytest.mark.skipif(FASTEST == "reference", reason="there are no kernels here")
by_chunks = pytest.mark.parametrize("implementation", ["reference"], indirect=True)


def check(inputs: dict[str, Tensor], mask_pad: Tensor | None = None, tolerance: float = 1e-10) -> None:
    expected = outputs_and_gradients(reference.gated_linear_recurrence, inputs, mask_pad)
    actual = outputs_and_gradients(gated_linear_recurrence, inputs, mask_pad)
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@settings(examples, max_examples=5 if SLOW else 60)
@given(
    length=st.integers(0, 140),
    batch=st.integers(0, 3),
    heads=st.integers(1, 3),
    key_size=st.integers(1, 6),
    value_size=st.integers(1, 6),
    gates=st.sampled_from(list(GATES)),
    padded=st.booleans(),
    seed=st.integers(0, 999),
)
def test_equals_the_reference(length, batch, heads, key_size, value_size, gates, padded, seed):
    inputs = make_inputs(length, batch, heads, key_size, value_size, gates=gates, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    mask_pad = torch.rand(length, batch, generator=generator) < 0.3 if padded else None
    check(inputs, mask_pad)


@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("length", [33] if SLOW else [1, 2, 31, 32, 33, 64, 97])
def test_the_ends_of_chunks(length, gates):
    check(make_inputs(length, gates=gates))


def check_rounding(inputs: dict[str, Tensor], tolerance: float) -> None:
    """Compare with float64, with a tolerance relative to the sum of the magnitudes of an element's terms.

    An absolute tolerance allows for values that the chunks treat as zero.
    """
    exact = {name: tensor.double() for name, tensor in inputs.items()}
    magnitudes = {name: x if name == "log_g" else x.abs() for name, x in exact.items()}
    expected = outputs_and_gradients(reference.gated_linear_recurrence, exact)
    terms = outputs_and_gradients(reference.gated_linear_recurrence, magnitudes, sign=False)
    actual = outputs_and_gradients(gated_linear_recurrence, inputs)
    for ours, theirs, total in zip(actual, expected, terms, strict=True):
        assert ((ours.double() - theirs).abs() <= tolerance * total + 1e-17).all()


@pytest.mark.parametrize("gates", GATES)
def test_float32(gates):
    inputs = make_inputs(100, 1, key_size=16, value_size=8, gates=gates, dtype=torch.float32)
    check_rounding(inputs, 1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
@pytest.mark.parametrize("gate_dtype", ["storage", "accumulation"])
def test_half_storage_keeps_its_state_in_float32(dtype, tolerance, gate_dtype):
    inputs = make_inputs(80, 1, key_size=20, value_size=33, dtype=dtype)
    if gate_dtype == "accumulation":
        inputs |= {name: inputs[name].float() for name in ("log_g", "s0")}
    o, s, *gradients = outputs_and_gradients(gated_linear_recurrence, inputs)
    assert (o.dtype, s.dtype) == (dtype, torch.float32)
    assert [gradient.dtype for gradient in gradients] == [tensor.dtype for tensor in inputs.values()]
    _, expected = reference.gated_linear_recurrence(**{name: x.double() for name, x in inputs.items()})
    torch.testing.assert_close(s.double(), expected, rtol=1e-5, atol=1e-5)
    check_rounding(inputs, tolerance)


@by_chunks
@pytest.mark.parametrize(
    ("gates", "smallest", "block"),
    [
        ("usual", -1e3, 32),
        ("usual", -10.0, 8),
        ("usual", 0.0, 1),
        ("open", None, 32),
        ("half shut", None, 8),
        ("some shut", None, 1),
        ("very small", None, 1),
    ],
)
def test_blocks_are_as_long_as_the_gates_allow(gates, smallest, block, monkeypatch):
    monkeypatch.setitem(GATES, "open", lambda z: F.logsigmoid(z + 3))
    monkeypatch.setitem(GATES, "half shut", lambda z: F.logsigmoid(z - 2))
    monkeypatch.setitem(GATES, "usual", lambda z: -0.5 - 0.1 * torch.sigmoid(z))
    if smallest is not None:
        monkeypatch.setattr(gated_linear_meet, "_SMALLEST", smallest)
    taken = set()

    def watch(run):
        def watched(*args):
            if (met := run(*args)) is not None:
                taken.add(met.m)
            return met

        return watched

    for name in ("_by_division", "_by_products"):
        monkeypatch.setattr(gated_linear_meet, name, watch(getattr(gated_linear_meet, name)))
    check(make_inputs(64, gates=gates))
    assert taken == {block}


@by_chunks
@pytest.mark.parametrize("gate", [0.0, 1e-3])
def test_what_has_decayed_beyond_the_range_of_the_dtype_counts_as_zero(gate):
    """From a state of one, 1e-18 is kept within a chunk, and only values below 1e-19 are lost."""
    log_g = torch.tensor([-20.7, -20.7, -math.inf if gate == 0 else math.log(gate), -0.1]).view(4, 1, 1, 1)
    q, k, v, s0 = (
        torch.ones(4, 1, 1, 1),
        torch.zeros(4, 1, 1, 1),
        torch.ones(4, 1, 1, 1),
        torch.ones(1, 1, 1, 1),
    )
    k[2] = 1.0
    expected, last = reference.gated_linear_recurrence(q, k, v, log_g, s0)
    assert 1e-19 < expected[1] < 2e-18
    o, s = gated_linear_recurrence(q, k, v, log_g, s0)
    torch.testing.assert_close((o, s), (expected, last), rtol=1e-6, atol=0)
    traces = reference.gated_linear_recurrence(q, 0 * k, v, log_g, s0)[0]
    assert (traces[2:] <= 2e-21).all()
    o, s = gated_linear_recurrence(q, 0 * k, v, log_g, s0)
    assert (o[2:] == 0).all()
    assert s == 0


@pytest.mark.parametrize("gates", ["usual", "some shut"])
def test_it_may_be_cut_anywhere(gates):
    inputs = make_inputs(100, gates=gates)
    o, s = gated_linear_recurrence(**inputs)
    state, parts = inputs.pop("s0"), []
    for length in (0, 1, 40, 27, 32):
        now = {name: tensor[:length] for name, tensor in inputs.items()}
        inputs = {name: tensor[length:] for name, tensor in inputs.items()}
        part, state = gated_linear_recurrence(**now, s0=state)
        parts.append(part)
    torch.testing.assert_close((torch.cat(parts), state), (o, s), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("length", [4, 40])
def test_nan_in_padding_reaches_nothing(length):
    inputs, mask_pad = make_inputs(length), torch.rand(length, 2) < 0.4
    expected = outputs_and_gradients(gated_linear_recurrence, inputs, mask_pad)
    for name in ("q", "k", "v", "log_g"):
        inputs[name][mask_pad] = torch.nan
    actual = outputs_and_gradients(gated_linear_recurrence, inputs, mask_pad)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    assert (actual[0][mask_pad] == 0).all()


def test_inputs_stay_as_they_are_and_may_be_strided():
    # With one head and one sequence, a chunk has the same layout in the input as in the work space.
    inputs = make_inputs(64, 1, 1)
    before = {name: tensor.clone() for name, tensor in inputs.items()}
    expected = gated_linear_recurrence(**inputs)
    assert all(torch.equal(inputs[name], before[name]) for name in inputs)
    strided = {name: torch.stack([x, x], -1)[..., 0] for name, x in inputs.items()}
    torch.testing.assert_close(gated_linear_recurrence(**strided), expected)


@pytest.mark.parametrize("length", [1, 2, 40])
def test_gradients_of_strided_inputs(length):
    inputs = make_inputs(length)

    def of_strided(q, k, v, log_g, s0, mask_pad):
        parts = torch.cat([q, k, log_g, v], -1).split([3, 3, 3, 4], -1)
        s0 = s0.transpose(0, 1).contiguous().transpose(0, 1)
        q, k, log_g, v = (part.transpose(0, 1).contiguous().transpose(0, 1) for part in parts)
        return gated_linear_recurrence(q, k, v, log_g, s0, mask_pad=mask_pad)

    expected = outputs_and_gradients(gated_linear_recurrence, inputs)
    torch.testing.assert_close(outputs_and_gradients(of_strided, inputs), expected, rtol=0, atol=0)


def test_first_and_second_derivatives():
    inputs = make_inputs(5, 1, 2, 2, 2)
    leaves = [tensor.requires_grad_() for tensor in inputs.values()]
    assert torch.autograd.gradcheck(gated_linear_recurrence, leaves)
    assert torch.autograd.gradgradcheck(gated_linear_recurrence, leaves)


def test_derivatives_of_the_operator():
    """Graphs contain the operator; plain tensors bypass it."""
    leaves = [tensor.requires_grad_() for tensor in make_inputs(5, 1, 2, 2, 2).values()]

    def run(*given):
        return operators.gated_linear_forward(*given, True)[:2]

    assert torch.autograd.gradcheck(run, leaves, fast_mode=SLOW)


@needs_two
@pytest.mark.parametrize("forward", [FASTEST, "reference"])
def test_the_two_ways_save_the_same_states(forward):
    *inputs, s0 = make_inputs(70).values()
    backward = FASTEST if forward == "reference" else "reference"
    with backend.using(forward):
        o, s, starts = operators.gated_linear_forward(*inputs, s0, True)
        expected = operators.gated_linear_backward(*inputs, starts, o, s)
    with backend.using(backward):
        torch.testing.assert_close(
            operators.gated_linear_forward(*inputs, s0, True)[2], starts, rtol=1e-10, atol=1e-10
        )
        found = operators.gated_linear_backward(*inputs, starts, o, s)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@needs_two
@pytest.mark.parametrize("length", [1, 40])
def test_the_fastest_backend_takes_the_steps(length, monkeypatch):
    inputs = make_inputs(length)
    expected = outputs_and_gradients(reference.gated_linear_recurrence, inputs)
    monkeypatch.setattr(gated_linear_chunks, "forward", None)
    monkeypatch.setattr(gated_linear_chunks, "backward", None)
    with backend.using(FASTEST):
        torch.testing.assert_close(outputs_and_gradients(gated_linear_recurrence, inputs), expected)
        with torch.no_grad():
            torch.testing.assert_close(gated_linear_recurrence(**inputs), tuple(expected[:2]))


@pytest.mark.parametrize(("fits", "chosen"), [(True, "kernels"), (False, "triton")])
def test_heads_that_are_too_large_for_the_kernels_of_a_gpu_go_without_them(fits, chosen, monkeypatch):
    asked = []
    cuda = SimpleNamespace(gated_linear_fits=lambda *head: asked.append(head) or fits)
    monkeypatch.setattr(pieces, "kernels", lambda: (SimpleNamespace(cuda=cuda), {torch.float64: "float64"}))
    found = iter(["kernels", "triton"])  # the first choice, and the choice without the kernels
    monkeypatch.setattr(backend, "active", lambda device: next(found))
    q, v = (torch.empty(2, 1, 1, size, dtype=torch.float64, device="meta") for size in (3, 5))
    assert pieces.choose(SimpleNamespace(q=q, v=v)) == chosen
    assert asked == [("float64", 3, 5)]


@pytest.mark.parametrize("which", [0, 1])
def test_one_result_may_have_no_gradient(which):
    inputs = make_inputs(40)
    found = []
    for function in (gated_linear_recurrence, reference.gated_linear_recurrence):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs.values()]
        result = function(*leaves)[which].square().sum()
        found.append(torch.autograd.grad(result, leaves, allow_unused=True, materialize_grads=True))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


@looks_at_grad
def test_the_operators_are_well_made():
    q, k, v, log_g, s0 = (tensor.requires_grad_() for tensor in make_inputs(40, 1, 1).values())
    torch.library.opcheck(operators.gated_linear_forward, (q, k, v, log_g, s0, True))
    inputs = [tensor.detach() for tensor in (q, k, v, log_g)]
    o, s, starts = operators.gated_linear_forward(*inputs, s0.detach(), True)
    grads = (torch.randn_like(o), torch.randn_like(s))
    torch.library.opcheck(operators.gated_linear_backward, (*inputs, starts, *grads))
    with pytest.raises(RuntimeError, match="gated_linear_forward: a gradient needs save=True"):
        operators.gated_linear_forward(q, k, v, log_g, s0, False)[0].sum().backward()


@torch.no_grad()
def test_a_single_step_compiles_too():
    compiled = torch.compile(gated_linear_recurrence, fullgraph=True, backend="aot_eager")
    inputs = make_inputs(1)
    torch.testing.assert_close(compiled(**inputs), gated_linear_recurrence(**inputs))
