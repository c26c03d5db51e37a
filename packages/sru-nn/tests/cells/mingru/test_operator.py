"""Each implementation of the minimal GRU's recurrence against the reference."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sru_nn import backend
from sru_nn.cells.mingru import operator as mingru
from sru_nn.cells.mingru import reference
from sru_nn.functional import mingru_recurrence

from ...conftest import INTERPRETED, random_cases


def by_sru(*inputs, mask_pad):
    return mingru.by_sru(*inputs, chosen=backend.active(), mask_pad=mask_pad)


WAYS = {"scan": mingru.by_scan, "sru": by_sru, "chosen": mingru_recurrence}


@pytest.fixture
def way(request, implementation):
    if request.param == "sru" and implementation == "reference":
        pytest.skip("the operator without kernels is for graphs")
    return request.param


def make_inputs(
    length: int, batch: int = 2, size: int = 3, *, scale: float = 1.0, seed: int = 0
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(length, batch, 2, size, generator=generator, dtype=torch.float64)
    u[:, :, 1] *= scale
    return [u, torch.randn(batch, size, generator=generator, dtype=torch.float64)]


def outputs_and_gradients(function, inputs: list[Tensor], mask_pad: Tensor | None = None) -> list[Tensor]:
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    results = function(*leaves, mask_pad=mask_pad)
    generator = torch.Generator().manual_seed(1)
    upstream = [torch.randn(r.shape, generator=generator, dtype=torch.float64).to(r.dtype) for r in results]
    return [
        *results,
        *torch.autograd.grad(results, leaves, upstream, allow_unused=True, materialize_grads=True),
    ]


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("way", WAYS, indirect=True)
def test_equals_the_reference(way):
    @random_cases(30)
    @given(
        length=st.integers(0, 20 if INTERPRETED else 70),
        batch=st.integers(0, 3),
        size=st.integers(1, 4),
        scale=st.sampled_from([1.0, 30.0, 1e4]),
        padded=st.booleans(),
        seed=st.integers(0, 999),
    )
    def check(length, batch, size, scale, padded, seed):
        inputs = make_inputs(length, batch, size, scale=scale, seed=seed)
        mask_pad = torch.rand(length, batch) < 0.3 if padded else None
        expected = outputs_and_gradients(reference.mingru_recurrence, inputs, mask_pad)
        actual = outputs_and_gradients(WAYS[way], inputs, mask_pad)
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)

    check()


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_storage_keeps_its_state_in_float32(way, dtype, assert_close):
    inputs = [tensor.to(dtype) for tensor in make_inputs(40)]
    expected = reference.mingru_recurrence(*(tensor.double() for tensor in inputs))
    h, last = WAYS[way](*inputs, mask_pad=None)
    assert h.dtype == dtype
    assert last.dtype == torch.float32
    assert_close(h, expected[0])
    assert_close(last, expected[1])


@pytest.mark.usefixtures("implementation")
def test_second_derivatives():
    leaves = [tensor.requires_grad_() for tensor in make_inputs(20, 1, 1)]
    assert torch.autograd.gradgradcheck(mingru_recurrence, leaves)


@random_cases(30)
@given(
    length=st.integers(0, 20),
    batch=st.integers(0, 3),
    size=st.integers(1, 4),
    padded=st.booleans(),
    replaced=st.booleans(),
    seed=st.integers(0, 999),
)
def test_resets(implementation, length, batch, size, padded, replaced, seed):
    """Also for sizes where the loop would be fastest without resets: the scan does not support starts."""
    torch.manual_seed(seed)
    inputs = make_inputs(length, batch, size, seed=seed)
    inputs += [torch.randn(size, dtype=torch.float64)] * replaced
    reset, mask_pad = torch.rand(2, length, batch) < 0.3

    def using(function):
        def run(u, h0, h_reset=None, *, mask_pad):
            return function(u, h0, mask_pad=mask_pad, reset=reset, h_reset=h_reset)

        return run

    mask = mask_pad if padded else None
    expected = outputs_and_gradients(using(reference.mingru_recurrence), inputs, mask)
    actual = outputs_and_gradients(using(mingru_recurrence), inputs, mask)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)


@random_cases(20)
@given(lengths=st.lists(st.integers(0, 9), max_size=4), size=st.integers(1, 4), seed=st.integers(0, 999))
def test_sequences_end_to_end(implementation, lengths, size, seed):
    inputs = [make_inputs(sum(lengths), 1, size, seed=seed)[0], make_inputs(0, len(lengths), size)[1]]
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0)

    def using(function):
        return lambda *given, mask_pad: function(*given, cu_seqlens=cu_seqlens)

    expected = outputs_and_gradients(using(reference.mingru_recurrence), inputs)
    actual = outputs_and_gradients(using(mingru_recurrence), inputs)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    u, h0 = inputs
    for row, (begin, end) in enumerate(itertools.pairwise(cu_seqlens.tolist())):
        alone = reference.mingru_recurrence(u[begin:end], h0[row : row + 1])
        torch.testing.assert_close((actual[0][begin:end], actual[1][row : row + 1]), alone)


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("size", [3, 70 if INTERPRETED else 5000])  # for wide rows the loop is fastest
def test_nothing_crosses_a_reset(size):
    u, h0 = make_inputs(4, 2, size)
    reset = (torch.arange(4) == 2).unsqueeze(1).expand(4, 2)
    expected = mingru_recurrence(u[2:])[0]
    u[:2], h0[:] = torch.nan, torch.inf
    h, _ = mingru_recurrence(u.requires_grad_(), h0, reset=reset)
    torch.testing.assert_close(h[2:], expected)
    (gradient,) = torch.autograd.grad(h[:2].sum(), u)
    assert not gradient[2:].any()
