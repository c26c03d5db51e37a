"""The operators on rows of several sequences and on concatenated ones, against the float64 reference."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sru_nn import reference
from sru_nn.cells.sru import pieces as ops
from sru_nn.dtypes import accumulate_dtype
from sru_nn.functional import sru_recurrence
from sru_nn.pieces import FIRST, PAD, SECOND, longest_first

from ...conftest import TOLERANCES, either, looks_at_grad, random_cases

LEAVES = ("u", "v", "bias", "c0", "c_reset", "x")
OPTIONS = {
    "gates": st.sampled_from([3, 4]),
    "bidirectional": st.booleans(),
    "skip": st.booleans(),
    "per_position": st.booleans(),
    "dropout": st.booleans(),
    "c0": st.booleans(),
    "activation": st.sampled_from(["identity", "tanh", "relu"]),
}


def make_arguments(
    *,
    length: int = 6,
    batch: int = 3,
    hidden: int = 5,
    lengths: list[int] | None = None,
    gates: int = 3,
    bidirectional: bool = False,
    skip: bool = True,
    per_position: bool = False,
    dropout: bool = True,
    padded: bool = True,
    c0: bool = True,
    c_reset: bool = True,
    activation: str = "tanh",
    dtype: torch.dtype = torch.float64,
) -> dict[str, Any]:
    """Return arguments of `sru_recurrence`: rows with resets, or concatenated sequences of these lengths."""
    columns, wide = hidden * (2 if bidirectional else 1), accumulate_dtype(dtype)
    highway, ragged = skip and gates == 3, lengths is not None
    length, batch, rows = (sum(lengths), 1, len(lengths)) if lengths is not None else (length, batch, batch)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=wide)

    return {
        "u": randn(length, batch, gates, columns).to(dtype),
        "v": randn(*((length, batch) if per_position else ()), 2, columns),
        "bias": randn(2, columns),
        "c0": randn(rows, columns) if c0 else None,
        "c_reset": randn(columns) if c_reset and not ragged else None,
        "x": randn(length, batch, columns).to(dtype) if highway else None,
        "mask_c": (torch.rand(rows, columns) < 0.7).to(wide) / 0.7 if dropout else None,
        "mask_pad": torch.rand(length, batch) < 0.3 if padded and not ragged else None,
        "reset": None if ragged else torch.rand(length, batch) < 0.3,
        "cu_seqlens": torch.tensor([0, *lengths]).cumsum(0) if lengths is not None else None,
        "bidirectional": bidirectional,
        "activation": activation,
        "scale_x": 1.3 if highway else 1.0,
    }


def run(chosen: Any, arguments: dict[str, Any]) -> tuple[Tensor, Tensor]:
    given = dict(arguments)
    where = [given.pop(name) for name in ("reset", "c_reset", "cu_seqlens")]
    return ops.run(chosen, ops.Inputs(**given), *where)


def results(function: Any, arguments: dict[str, Any], upstream: list[Tensor | None]) -> list[Tensor]:
    """Outputs, last states and every gradient."""
    names = [name for name in LEAVES if arguments[name] is not None]
    leaves = {name: arguments[name].detach().requires_grad_() for name in names}
    outputs = function(arguments | leaves)
    pairs = zip(outputs, upstream, strict=True)
    used = [pair for pair in pairs if pair[0].requires_grad and pair[1] is not None]
    total = sum((output * weight).sum() for output, weight in used)
    of = list(leaves.values())
    if not used:
        return [*outputs, *map(torch.zeros_like, of)]
    return [*outputs, *torch.autograd.grad(total, of, allow_unused=True, materialize_grads=True)]


def check(implementation, assert_close, arguments, dispatched, used):
    dtype, wide = arguments["u"].dtype, accumulate_dtype(arguments["u"].dtype)
    exact = {
        name: value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in arguments.items()
    }
    h, c = reference.sru_recurrence(**exact)
    upstream = [torch.randn(h.shape, dtype=dtype), torch.randn(c.shape, dtype=wide)]
    upstream = [weight if is_used else None for weight, is_used in zip(upstream, used, strict=True)]
    doubles = [None if weight is None else weight.double() for weight in upstream]
    expected = results(lambda given: reference.sru_recurrence(**given), exact, doubles)
    if arguments["mask_pad"] is not None:
        arguments["u"][arguments["mask_pad"]] = torch.nan
    chosen = None if dispatched else implementation
    actual = results(lambda given: run(chosen, given), arguments, upstream)
    assert [tensor.dtype for tensor in actual[:2]] == [dtype, wide]
    for ours, theirs in zip(actual, expected, strict=True):
        assert_close(ours, theirs)


def test_the_kernels_receive_the_launch_order(monkeypatch):
    kernels = pytest.importorskip("sru_kernels")
    told = {}

    def run_kernel(name: str, like: Tensor, *fields: Any) -> None:
        told[name] = getattr(kernels, {"sru_forward": "SruForward", "sru_backward": "SruBackward"}[name])(
            *fields
        )

    monkeypatch.setattr(ops, "launch_order", lambda cu_seqlens, columns: longest_first(cu_seqlens) + columns)
    monkeypatch.setattr(ops, "run_kernel", run_kernel)
    arguments = make_arguments(lengths=[2, 5, 3], bidirectional=True)
    arguments["u"].requires_grad_()
    run("kernels", arguments)[0].sum().backward()
    assert [fields.order.tolist() for fields in told.values()] == [[11, 12, 10]] * 2


USED = st.sampled_from([(True, True), (True, True), (True, False), (False, True)])


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@random_cases(10)
@given(
    length=st.sampled_from([0, 1, 2, 7, 20]),
    batch=st.integers(0, 3),
    hidden=st.sampled_from([1, 5, 17]),
    options=st.fixed_dictionaries({**OPTIONS, "padded": st.booleans(), "c_reset": st.booleans()}),
    dispatched=st.booleans(),
    used=USED,
    seed=st.integers(0, 999),
)
def test_resets(implementation, assert_close, dtype, length, batch, hidden, options, dispatched, used, seed):
    torch.manual_seed(seed)
    arguments = make_arguments(length=length, batch=batch, hidden=hidden, dtype=dtype, **options)
    check(implementation, assert_close, arguments, dispatched, used)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@random_cases(10)
@given(
    lengths=st.lists(st.sampled_from([0, 1, 2, 9]), max_size=4),
    hidden=st.sampled_from([1, 5, 17]),
    options=st.fixed_dictionaries(OPTIONS),
    short=st.booleans(),
    dispatched=st.booleans(),
    used=USED,
    seed=st.integers(0, 999),
)
def test_sequences_end_to_end(
    implementation, assert_close, dtype, lengths, hidden, options, short, dispatched, used, seed
):
    torch.manual_seed(seed)
    arguments = make_arguments(lengths=lengths, hidden=hidden, dtype=dtype, **options)
    if short:
        arguments["cu_seqlens"] = arguments["cu_seqlens"].int()
    check(implementation, assert_close, arguments, dispatched, used)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_reset_is_a_fresh_sequence(bidirectional, assert_close):
    """Loop over the pieces of one row, without relying on how the reference restarts."""
    given = make_arguments(length=9, batch=1, bidirectional=bidirectional, padded=False, dropout=False)
    cuts = [0, 2, 3, 7, 9]
    given["reset"] = torch.zeros(9, 1, dtype=torch.bool)
    given["reset"][cuts[1:-1]] = True
    h, c = sru_recurrence(**given)
    half = given["c0"].shape[1] // 2 if bidirectional else given["c0"].shape[1]
    for begin, end in itertools.pairwise(cuts):
        state = given["c_reset"].unsqueeze(0).clone()
        if begin == 0:
            state[:, :half] = given["c0"][:, :half]
        if end == 9:
            state[:, half:] = given["c0"][:, half:]
        one = given | {"u": given["u"][begin:end], "x": given["x"][begin:end], "c0": state}
        h_one, c_one = sru_recurrence(**one | {"reset": None, "c_reset": None})
        assert_close(h[begin:end], h_one)
        if end == 9:
            assert_close(c[:, :half], c_one[:, :half])
        if begin == 0:
            assert_close(c[:, half:], c_one[:, half:])


FUNCTIONS = {"recurrence": lambda given: sru_recurrence(**given), "operators": lambda given: run(None, given)}


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("form", ["resets", "end to end"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_nothing_crosses_a_start(function, form, value, bidirectional):
    lengths = [3, 4] if form == "end to end" else None
    given = make_arguments(length=7, batch=1, lengths=lengths, bidirectional=bidirectional, padded=False)
    if lengths is None:
        given["reset"] = (torch.arange(7) == 3).unsqueeze(1)
    clean = run_with_gradient(function, given)
    for spoiled, others in ((slice(0, 3), slice(3, 7)), (slice(3, 7), slice(0, 3))):
        given["u"] = given["u"].detach().clone()
        before = given["u"][spoiled].clone()
        given["u"][spoiled] = value
        h, gradient = run_with_gradient(function, given, others)
        given["u"][spoiled] = before
        assert torch.equal(h[others], clean[0][others])
        _, expected = run_with_gradient(function, given, others)
        assert torch.equal(gradient[others], expected[others])
        assert not expected[spoiled].any()  # exactly zero


def run_with_gradient(function: Any, given: dict[str, Any], of: slice = slice(None)) -> tuple[Tensor, Tensor]:
    u = given["u"].detach().requires_grad_()
    h, _ = function(given | {"u": u})
    return h.detach(), torch.autograd.grad(h[of].sum(), u)[0]


@pytest.mark.usefixtures("implementation")
def test_a_reset_at_the_beginning_replaces_the_given_state():
    given = make_arguments(padded=False)
    given["reset"][0] = True
    given["c0"].requires_grad_().data.fill_(torch.nan)
    h, c = sru_recurrence(**given)
    assert h.isfinite().all()
    (gradient,) = torch.autograd.grad(h.sum() + c.sum(), given["c0"])
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_reset_at_padding_is_ignored(bidirectional):
    given = make_arguments(bidirectional=bidirectional)
    given["mask_pad"][2] = True
    marked = given | {"reset": given["reset"] | given["mask_pad"]}
    unmarked = given | {"reset": given["reset"] & ~given["mask_pad"]}
    torch.testing.assert_close(sru_recurrence(**marked), sru_recurrence(**unmarked), rtol=0, atol=0)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("bidirectional", [False, True])
def test_no_reset_at_all_changes_no_bit(bidirectional):
    given = make_arguments(bidirectional=bidirectional) | {"c_reset": None}
    given["reset"] = torch.zeros_like(given["reset"])
    without = sru_recurrence(**given | {"reset": None})
    torch.testing.assert_close(sru_recurrence(**given), without, rtol=0, atol=0)


FORMS = {
    "resets": {"padded": False},
    "resets and padding in both directions": {"bidirectional": True, "gates": 4},
    "end to end": {"lengths": [2, 3]},
    "end to end with an empty one": {"lengths": [2, 0, 3], "bidirectional": True, "per_position": True},
}


@looks_at_grad
@either
@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("form", FORMS)
def test_opcheck(form, monkeypatch):
    seen = []
    monkeypatch.setattr(ops, "_OPERATORS", lambda chosen, inputs: seen.append(inputs) or (None, None))
    run(None, make_arguments(hidden=2, dtype=torch.float32, **FORMS[form]))
    (inputs,) = seen
    names = [name for name in LEAVES if getattr(inputs, name) is not None]
    leaves = {name: getattr(inputs, name).detach().requires_grad_() for name in names}
    operators = torch.ops.sru_nn
    torch.library.opcheck(operators.sru_pieces_forward.default, (*inputs._replace(**leaves), True))
    torch.library.opcheck(operators.sru_pieces_forward.default, (*inputs, False))
    h, c_last, c = operators.sru_pieces_forward(*inputs, True)
    upstream = (torch.randn_like(h), torch.randn_like(c_last))
    torch.library.opcheck(operators.sru_pieces_backward.default, (*inputs, c, *upstream))


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("form", FORMS)
def test_second_derivatives(form):
    given = make_arguments(**{"length": 3, "batch": 2, "hidden": 1} | FORMS[form])
    names = [name for name in LEAVES if given[name] is not None]
    leaves = [given[name].requires_grad_() for name in names]

    def function(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        return sru_recurrence(**given | dict(zip(names, tensors, strict=True)))

    assert torch.autograd.gradgradcheck(function, leaves)
    total = sum(result.sin().sum() for result in function(*leaves))
    gradients = torch.autograd.grad(total, leaves, retain_graph=True)
    # Gradients that can be differentiated again are computed in another way.
    torch.testing.assert_close(torch.autograd.grad(total, leaves, create_graph=True), gradients)


def test_the_marks_that_reach_the_kernel():
    """Padding first; the second direction restarts at the last real position before a reset."""
    reset = torch.tensor([False, True, False, True, True])[:, None]
    mask_pad = torch.tensor([False, False, True, True, False])[:, None]
    found = ops.make_marks(mask_pad, reset, True)
    assert found.flatten().tolist() == [SECOND, FIRST + SECOND, PAD, PAD, FIRST]
