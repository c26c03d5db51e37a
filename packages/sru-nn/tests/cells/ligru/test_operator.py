"""The operators of the Li-GRU against the reference, with every option."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sru_nn import reference
from sru_nn.cells.ligru import operator
from sru_nn.cells.ligru.arguments import Activation
from sru_nn.cells.ligru.plain import Inputs
from sru_nn.functional import ligru_recurrence
from sru_nn.pieces import marks

from ...conftest import either, examples, looks_at_grad

pytestmark = pytest.mark.usefixtures("implementation")
D = 3
ACTIVATIONS = Activation.__args__


def make_inputs(
    length: int,
    batch: int,
    *,
    size: int = D,
    both: bool,
    norm: bool,
    where: str,
    dropped: bool,
    activation: str = "relu",
) -> dict[str, Any]:
    """Draw the arguments of the recurrence, in float64."""
    columns, count = size * (2 if both else 1), batch

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64)

    given: dict[str, Any] = {"u": draw(length, batch, 2, size), "weight": draw(2 * size, size) / size**0.5}
    if where == "cu_seqlens":
        count = 3
        given["u"] = draw(length, 1, 2, size)
        given["cu_seqlens"] = torch.tensor([0, length // 3, length // 3, length])
    if where in ("mask_pad", "reset"):
        given["mask_pad"] = torch.rand(length, batch) < 0.3
    if where == "reset":
        given |= {"reset": torch.rand(length, batch) < 0.3, "h_reset": draw(columns)}
    if norm:
        given |= {"norm_eps": 1e-5, "norm_weight": draw(2 * size), "norm_bias": draw(2 * size)}
    if dropped:
        given["mask_h"] = 2 * torch.rand(count, columns, dtype=torch.float64).round()
    return given | {"h0": draw(count, columns), "bidirectional": both, "activation": activation}


def converted(inputs: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    return {
        name: value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in inputs.items()
    }


def outputs_and_gradients(function: Any, given: dict[str, Any]) -> list[Tensor]:
    leaves = {
        name: value.clone().requires_grad_()
        for name, value in given.items()
        if isinstance(value, Tensor) and value.is_floating_point() and name != "mask_h"
    }
    results = function(**given | leaves)
    generator = torch.Generator().manual_seed(1)
    upstream = [torch.randn(r.shape, generator=generator, dtype=torch.float64).to(r.dtype) for r in results]
    gradients = torch.autograd.grad(
        results, [*leaves.values()], upstream, allow_unused=True, materialize_grads=True
    )
    return [*results, *gradients]


@settings(examples, max_examples=40)
@given(
    length=st.integers(0, 12),
    batch=st.integers(0, 3),
    size=st.sampled_from([1, D, 40]),  # 40: more than a vector of any instruction set
    both=st.booleans(),
    norm=st.booleans(),
    where=st.sampled_from(["nowhere", "mask_pad", "reset", "cu_seqlens"]),
    dropped=st.booleans(),
    activation=st.sampled_from(ACTIVATIONS),
    seed=st.integers(0, 999),
)
def test_equals_the_reference(length, batch, seed, **options):
    torch.manual_seed(seed)
    inputs = make_inputs(length, batch, **options)
    expected = outputs_and_gradients(reference.ligru_recurrence, inputs)
    actual = outputs_and_gradients(ligru_recurrence, inputs)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_storage_keeps_its_state_in_float32(dtype, assert_close):
    inputs = make_inputs(30, 2, both=True, norm=True, where="mask_pad", dropped=False, activation="tanh")
    inputs = converted(inputs, dtype)
    h, last, grad_u, *_ = outputs_and_gradients(ligru_recurrence, inputs)
    expected = reference.ligru_recurrence(**converted(inputs, torch.float64))
    assert (h.dtype, last.dtype, grad_u.dtype) == (dtype, torch.float32, dtype)
    assert_close(h, expected[0])
    if multiplies_in_bfloat16(dtype):
        assert not torch.equal(last, last.to(dtype).float())
        torch.testing.assert_close(last.double(), expected[1], rtol=1e-2, atol=1e-3)
    else:
        torch.testing.assert_close(last.double(), expected[1], rtol=1e-4, atol=1e-5)


def multiplies_in_bfloat16(dtype: torch.dtype) -> bool:
    """Whether the kernel for this dtype rounds the terms of its products, on this processor."""
    if (
        dtype != torch.bfloat16
        or operator.choose(Inputs(torch.zeros(2, 1, 2, D), torch.zeros(2 * D, D))) != "kernels"
    ):
        return False
    from sru_kernels import cpu

    return str(cpu.instruction_set()) == "avx512_bf16"


def test_each_backend_runs_its_own(implementation):
    inputs = Inputs(torch.zeros(2, 1, 2, D), torch.zeros(2 * D, D))
    assert operator.choose(inputs) == implementation


def test_autocast_rounds_no_product():
    inputs = make_inputs(4, 2, both=False, norm=True, where="reset", dropped=False)
    inputs = converted(inputs, torch.float32)
    expected = outputs_and_gradients(ligru_recurrence, inputs), reference.ligru_recurrence(**inputs)
    with torch.autocast("cpu", torch.bfloat16):
        actual = outputs_and_gradients(ligru_recurrence, inputs), reference.ligru_recurrence(**inputs)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@either
@looks_at_grad
@pytest.mark.parametrize("where", ["reset", "cu_seqlens"])
def test_the_operators_keep_what_the_dispatcher_expects(where):
    inputs = make_inputs(4, 2, both=True, norm=where == "reset", where=where, dropped=True)
    found = inputs.pop("reset", None), inputs.pop("mask_pad", None)
    fields = Inputs(**inputs, marks=None if found[0] is None else marks(found[1], found[0], True))
    leaves = [
        x.requires_grad_() if torch.is_tensor(x) and x.is_floating_point() and x is not fields.mask_h else x
        for x in fields
    ]
    torch.library.opcheck(torch.ops.sru_nn.ligru_forward.default, (*leaves, True))
    with torch.no_grad():
        h, last, states = torch.ops.sru_nn.ligru_forward(*fields, True)
        upstream = torch.randn_like(h), torch.randn_like(last)
    detached = [x.detach() if torch.is_tensor(x) else x for x in fields]
    torch.library.opcheck(torch.ops.sru_nn.ligru_backward.default, (*detached, states, *upstream))


@either
@pytest.mark.parametrize("where", ["reset", "cu_seqlens"])
def test_second_derivatives(where):
    inputs = make_inputs(3, 1, both=True, norm=True, where=where, dropped=False, activation="tanh")
    names = [name for name, x in inputs.items() if torch.is_tensor(x) and x.is_floating_point()]

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        return ligru_recurrence(**inputs | dict(zip(names, values, strict=True)))

    leaves = [inputs[name].requires_grad_() for name in names]
    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


@either
def test_a_dropout_mask_has_a_gradient():
    inputs = make_inputs(3, 2, both=False, norm=False, where="nowhere", dropped=True, activation="tanh")
    mask = inputs.pop("mask_h").requires_grad_()
    assert torch.autograd.gradcheck(lambda m: ligru_recurrence(**inputs, mask_h=m), mask)


@either
def test_a_backward_pass_through_the_reference_is_linear_in_the_length():
    """A gradient as large as the whole input at each step would make it quadratic."""
    sizes = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            sizes.append(sum(x.numel() for x in tree_leaves(result) if isinstance(x, Tensor)))
            return result

    totals = []
    for length in (20, 40):
        inputs = make_inputs(length, 1, both=False, norm=False, where="nowhere", dropped=False)
        h, _ = reference.ligru_recurrence(**inputs | {"u": inputs["u"].requires_grad_()})
        sizes.clear()
        with Count():
            h.sum().backward()
        totals.append(sum(sizes))
    assert totals[1] < 2.2 * totals[0]


WRONG = {
    "u": ({"u": torch.zeros(4, 2, 3, D)}, r"u must have shape \(T, B, 2, D\), got \(4, 2, 3, 3\)"),
    "weight": ({"weight": torch.zeros(D, 2 * D)}, r"weight must have shape \(2·D, D\) = \(6, 3\), got"),
    "activation": (
        {"activation": "selu"},
        r"activation must be one of \('relu', 'tanh', 'sin', 'leaky_relu'\)",
    ),
    "norm_weight": (
        {"norm_weight": torch.ones(D)},
        r"norm_weight must have shape \(2·D,\) = \(6,\), got \(3,\)",
    ),
    "norm_bias": (
        {"norm_eps": None, "norm_weight": None},
        "norm_bias has no effect without norm_eps; pass norm_eps, or norm_bias=None",
    ),
    "norm_eps": ({"norm_eps": -1.0}, "norm_eps must be at least 0, got -1"),
    "h_reset": ({"reset": None}, "h_reset has no effect without reset"),
    "mask_h": (
        {"mask_h": torch.ones(2, 2 * D)},
        r"mask_h must have shape \(B, N·D\) = \(2, 3\), got \(2, 6\)",
    ),
}


@either
@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(changes, message):
    inputs = make_inputs(4, 2, both=False, norm=True, where="reset", dropped=False)
    with pytest.raises(ValueError, match=f"^ligru_recurrence: {message}"):
        ligru_recurrence(**inputs | changes)
