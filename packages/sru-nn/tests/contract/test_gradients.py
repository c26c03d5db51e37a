"""Outputs, states and every gradient match the float64 reference, on every backend and in every dtype."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call, vjp
from torch.utils._pytree import tree_map, tree_map_only

from sru_nn.reference import accumulate_dtype

from ..conftest import STACK_TOLERANCES, examples
from .rows import Row, call, rows, tensors

pytestmark = pytest.mark.usefixtures("implementation")


def to(value: Any, dtype: torch.dtype) -> Any:
    return tree_map_only(Tensor, lambda tensor: tensor.detach().to(dtype), value)


def reference(
    module: nn.Module,
    x: Tensor,
    state: Any,
    mask: Tensor | None,
    upstream: Any,
    reset: Tensor | None = None,
) -> list[Tensor]:
    """Compute in float64. Inside `torch.func` every recurrence is the reference, step by step."""
    module = copy.deepcopy(module).double()

    where = {"mask_pad": mask, "reset": reset}

    def run(parameters: dict[str, Tensor], x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        return functional_call(module, parameters, (x, state), where)[:2]

    parameters = to(dict(module.named_parameters()), torch.float64)
    given = [] if state is None else [to(state, torch.float64)]
    results, pull = vjp(run, parameters, to(x, torch.float64), *given)
    of_parameters, *of_inputs = pull(to(upstream, torch.float64))
    return tensors(
        results, of_inputs, [of_parameters[n] for n, p in module.named_parameters() if p.requires_grad]
    )


@pytest.mark.parametrize("dtype", STACK_TOLERANCES, ids=str)
@rows()
@examples
@given(
    length=st.one_of(st.integers(1, 5), st.integers(33, 40)),
    batch=st.integers(1, 3),
    masked=st.booleans(),
    seed=st.integers(0, 999),
)
def test_all_results(row: Row, dtype, length, batch, masked, seed):
    if dtype.itemsize == 2 and "half" in row.exceptions:
        pytest.skip(row.exceptions["half"])
    if dtype == torch.float32 and "half" in row.exceptions:
        length = min(length, 5)
    torch.manual_seed(seed)
    module = row.build(dtype)
    x, state = row.inputs(length, batch, dtype), row.state(module, batch)
    mask = torch.rand(length, batch) < 0.3 if masked else None
    of = [*tensors(x, state), *(p for p in module.parameters() if p.requires_grad)]
    results = call(module, x.requires_grad_(), tree_map(Tensor.requires_grad_, state), mask)
    upstream = tree_map(torch.randn_like, results)
    gradients = torch.autograd.grad(
        tensors(results), of, tensors(upstream), allow_unused=True, materialize_grads=True
    )
    assert results[0].dtype == dtype
    kept = dtype if hasattr(module, "mode") else accumulate_dtype(dtype)
    assert {part.dtype for part in tensors(results[1])} == {kept}
    expected = reference(module, x, state, mask, upstream)
    rtol, atol = (bound * row.magnifies for bound in STACK_TOLERANCES[dtype])
    for actual, exact in zip([*tensors(results), *gradients], expected, strict=True):
        torch.testing.assert_close(actual.double(), exact, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", STACK_TOLERANCES, ids=str)
@rows()
@settings(examples, max_examples=3)
@given(data=st.data(), batch=st.integers(1, 3), masked=st.booleans(), seed=st.integers(0, 999))
def test_all_results_where_sequences_begin(row: Row, dtype, data, batch, masked, seed):
    """No state is given, to cover learned ones; float64 also runs more steps than a kernel takes at once."""
    if dtype != torch.float64 and "half" in row.exceptions:
        pytest.skip(row.exceptions["half"])
    short, long = st.integers(1, 8), st.integers(33, 40)
    length = data.draw(st.one_of(short, long) if dtype == torch.float64 else short)
    torch.manual_seed(seed)
    module, x = row.build(dtype), row.inputs(length, batch, dtype).requires_grad_()
    mask = torch.rand(length, batch) < 0.3 if masked else None
    reset = torch.rand(length, batch) < 0.2
    results = call(module, x, None, mask, reset=reset)
    upstream = tree_map(torch.randn_like, results)
    of = [x, *(p for p in module.parameters() if p.requires_grad)]
    gradients = torch.autograd.grad(
        tensors(results), of, tensors(upstream), allow_unused=True, materialize_grads=True
    )
    expected = reference(module, x, None, mask, upstream, reset)
    rtol, atol = (bound * row.magnifies for bound in STACK_TOLERANCES[dtype])
    for actual, exact in zip([*tensors(results), *gradients], expected, strict=True):
        torch.testing.assert_close(actual.double(), exact, rtol=rtol, atol=atol)
