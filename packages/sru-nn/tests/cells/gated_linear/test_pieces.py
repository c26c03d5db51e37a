"""Several sequences per row, or concatenated, on every backend against each sequence run alone."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sru_nn import backend, reference
from sru_nn.functional import gated_linear_recurrence

from ...conftest import CHOICES, either, examples, looks_at_grad
from .inputs import GATES, make_inputs, outputs_and_gradients

pytestmark = pytest.mark.usefixtures("many_turns")
operators = torch.ops.sru_nn
FASTEST = CHOICES[-1]
# Triton's interpreter takes a second where the others take a millisecond.
SLOW = FASTEST == "triton"
needs_two = pytest.mark.skipif(FASTEST == "reference", reason="there are no kernels here")
FUNCTIONS = {"reference": reference.gated_linear_recurrence, "functional": gated_linear_recurrence}
either_function = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
sizes = {
    "heads": st.integers(1, 3),
    "key_size": st.integers(1, 6),
    "value_size": st.integers(1, 6),
    "gates": st.sampled_from(list(GATES)),
    "seed": st.integers(0, 999),
}


def draw(shape: tuple[int, ...], share: float, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


def by_pieces(q, k, v, log_g, s0=None, s_reset=None, mask_pad=None, reset=None):
    """Loop over the rows and over the pieces of each row."""
    outputs, states = [], []
    for b in range(q.shape[1]):
        marked = reset[:, b] if mask_pad is None else reset[:, b] & ~mask_pad[:, b]
        bounds = [0, *marked.nonzero().flatten().tolist(), len(q)]
        state, parts = None if s0 is None else s0[b : b + 1], []
        for i, (begin, end) in enumerate(itertools.pairwise(bounds)):
            if i > 0:
                state = None if s_reset is None else s_reset.unsqueeze(0)
            now = [tensor[begin:end, b : b + 1] for tensor in (q, k, v, log_g)]
            pad = None if mask_pad is None else mask_pad[begin:end, b : b + 1]
            o, state = reference.gated_linear_recurrence(*now, state, mask_pad=pad)
            parts.append(o)
        outputs.append(torch.cat(parts))
        states.append(state)
    return torch.cat(outputs, 1), torch.cat(states)


def one_by_one(q, k, v, log_g, s0, mask_pad=None, *, lengths):
    """Loop over concatenated sequences."""
    pieces = zip(*(x.split(lengths) for x in (q, k, v, log_g)), s0.split(1), strict=True)
    outputs, states = zip(*(reference.gated_linear_recurrence(*piece) for piece in pieces), strict=True)
    return torch.cat(outputs), torch.cat(states)


@settings(examples, max_examples=5 if SLOW else 30)
@given(
    length=st.integers(0, 100),
    batch=st.integers(1, 3),
    share=st.sampled_from([0.0, 0.03, 0.3, 1.0]),
    padded=st.booleans(),
    states=st.booleans(),
    **sizes,
)
def test_a_reset_begins_a_sequence(length, batch, share, padded, states, seed, **options):
    inputs = make_inputs(length, batch, seed=seed, **options)
    if states:
        inputs["s_reset"] = inputs["s0"].sum(0)
    given = {"reset": draw((length, batch), share, seed)}
    mask_pad = draw((length, batch), 0.3, seed + 1) if padded else None
    expected = outputs_and_gradients(by_pieces, inputs, mask_pad, **given)
    for function in FUNCTIONS.values():
        actual = outputs_and_gradients(function, inputs, mask_pad, **given)
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@settings(examples, max_examples=4 if SLOW else 12)
@given(lengths=st.lists(st.sampled_from([0, 1, 5, 31, 32, 33, 70]), min_size=1, max_size=5), **sizes)
def test_sequences_lie_end_to_end(lengths, seed, **options):
    inputs = make_inputs(sum(lengths), 1, seed=seed, **options)
    inputs["s0"] = torch.randn(len(lengths), *inputs["s0"].shape[1:], dtype=torch.float64)
    expected = outputs_and_gradients(one_by_one, inputs, lengths=lengths)
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0, dtype=torch.int32 if seed % 2 else torch.int64)
    for function in FUNCTIONS.values():
        actual = outputs_and_gradients(function, inputs, cu_seqlens=cu_seqlens)
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@either_function
@pytest.mark.parametrize("sequences", [0, 2])
def test_sequences_without_a_position(function, sequences):
    inputs = {name: tensor[:0] for name, tensor in make_inputs(1, 1).items() if name != "s0"}
    s0 = torch.randn(sequences, 2, 3, 4)
    offsets = torch.zeros(sequences + 1, dtype=torch.int64)
    o, s = function(**inputs, s0=s0.double(), cu_seqlens=offsets)
    assert o.shape == (0, 1, 2, 4)
    assert torch.equal(s, s0.double())
    assert not function(**inputs, cu_seqlens=offsets)[1].any()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("ragged", [False, True])
def test_other_dtypes(ragged, dtype, tolerance):
    inputs = make_inputs(80, 1, key_size=20, value_size=33)
    given = {"cu_seqlens": torch.tensor([0, 3, 80])} if ragged else {"reset": draw((80, 1), 0.1, 0)}
    inputs["s0" if ragged else "s_reset"] = torch.randn(*(2,) * (1 + ragged), 20, 33, dtype=torch.float64)
    inputs = {name: tensor.to(dtype) for name, tensor in inputs.items()}
    exact = {name: tensor.double() for name, tensor in inputs.items()}
    expected = outputs_and_gradients(reference.gated_linear_recurrence, exact, **given)
    actual = outputs_and_gradients(gated_linear_recurrence, inputs, **given)
    assert [x.dtype for x in actual[:2]] == [dtype, torch.float32]
    for ours, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=tolerance, atol=tolerance * 20)


@pytest.mark.parametrize("length", [4, 40])
def test_nothing_crosses_a_reset(length):
    inputs = make_inputs(length, 1)
    inputs["s_reset"] = torch.randn(2, 3, 4, dtype=torch.float64)
    leaves = {name: tensor.requires_grad_() for name, tensor in inputs.items()}
    reset = torch.zeros(length, 1, dtype=torch.bool)
    reset[length // 2] = True
    o, s = gated_linear_recurrence(**leaves, reset=reset)
    given = [leaves[name] for name in ("q", "k", "v", "log_g", "s0")]
    *grads, of_state = torch.autograd.grad(o[length // 2 :].sum() + s.sum(), given)
    assert not any(grad[: length // 2].any() for grad in grads)
    assert not of_state.any()


@either_function
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_non_finite_values_end_at_a_reset(function, bad):
    """In the kernels and the reference; chunks multiply the values by a gate of zero, so NaN may pass."""
    inputs = make_inputs(40, 1)
    reset = torch.zeros(40, 1, dtype=torch.bool)
    reset[20] = True
    expected, last = function(**inputs, reset=reset)
    inputs["k"][3] = bad
    with backend.using(FASTEST):
        o, s = function(**inputs, reset=reset)
    if function is reference.gated_linear_recurrence or "kernels" in CHOICES:
        torch.testing.assert_close((o[20:], s), (expected[20:], last), rtol=1e-10, atol=1e-10)
    assert not o[3].isfinite().all()


def test_a_reset_at_padding_is_ignored():
    inputs, mask_pad = make_inputs(40), draw((40, 2), 0.4, 0)
    expected = gated_linear_recurrence(**inputs, mask_pad=mask_pad)
    found = gated_linear_recurrence(**inputs, mask_pad=mask_pad, reset=mask_pad)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("length", [1, 40])
def test_it_may_be_cut_anywhere(length):
    inputs, reset = make_inputs(length + 30), draw((length + 30, 2), 0.2, 0)
    s_reset = inputs["s0"].sum(0)
    expected = gated_linear_recurrence(**inputs, reset=reset, s_reset=s_reset)
    state, parts = inputs.pop("s0"), []
    for now in (slice(length), slice(length, None)):
        given = {name: tensor[now] for name, tensor in inputs.items()}
        part, state = gated_linear_recurrence(**given, s0=state, reset=reset[now], s_reset=s_reset)
        parts.append(part)
    torch.testing.assert_close((torch.cat(parts), state), expected, rtol=1e-10, atol=1e-10)


def piece_inputs(ragged: bool, length: int = 5, *sizes: int) -> list[Tensor | None]:
    """The arguments of the operator."""
    given = make_inputs(length, 1, *sizes)
    if ragged:
        s0 = torch.cat([given["s0"], 2 * given["s0"], -given["s0"]])
        offsets = torch.tensor([0, length // 2, length // 2, length])
        return [*list(given.values())[:4], s0, None, None, offsets]
    marks = 2 * draw((length, 1), 0.3, 0).to(torch.uint8)
    marks[1] = 2
    return [*given.values(), given["s0"][0] + 1, marks, None]


@pytest.mark.parametrize("ragged", [False, True])
def test_first_and_second_derivatives(ragged):
    *given, marks, offsets = piece_inputs(ragged, 4, 1, 2, 2)
    leaves = [tensor.requires_grad_() for tensor in given if tensor is not None]
    reset = None if marks is None else marks.bool()

    def run(q, k, v, log_g, s0, s_reset=None):
        return gated_linear_recurrence(q, k, v, log_g, s0, reset=reset, s_reset=s_reset, cu_seqlens=offsets)

    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)


@needs_two
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("forward", [FASTEST, "reference"])
def test_the_two_ways_save_the_same_states(forward, ragged):
    given = piece_inputs(ragged, 70)
    backward = FASTEST if forward == "reference" else "reference"
    with backend.using(forward):
        o, s, starts = operators.gated_linear_pieces_forward(*given, True)
        expected = operators.gated_linear_pieces_backward(*given, starts, o, s)
    with backend.using(backward):
        found = operators.gated_linear_pieces_backward(*given, starts, o, s)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("save", [False, True])
def test_the_shapes_of_the_results_are_known(save, ragged):
    given = piece_inputs(ragged, 40)
    torch.library.opcheck(operators.gated_linear_pieces_forward, (*given, save), test_utils="test_faketensor")


@either
@looks_at_grad
@pytest.mark.parametrize("ragged", [False, True])
def test_the_operators_are_well_made(ragged):
    given = piece_inputs(ragged, 40)
    o, s, starts = operators.gated_linear_pieces_forward(*given, True)
    grads = (torch.randn_like(o), torch.randn_like(s))
    torch.library.opcheck(operators.gated_linear_pieces_backward, (*given, starts, *grads))
    leaves = [x.requires_grad_() if x is not None and x.is_floating_point() else x for x in given]
    torch.library.opcheck(operators.gated_linear_pieces_forward, (*leaves, True))
