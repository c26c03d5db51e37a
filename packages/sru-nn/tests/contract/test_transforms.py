"""`torch.func`, forward-mode differentiation, batches of gradients and second derivatives."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from sru_nn import SRU, backend

from ..conftest import TORCH_2_13, either, scripts_itself
from .rows import Row, call, learned, rows, tensors

pytestmark = [pytest.mark.usefixtures("implementation"), scripts_itself]
T, B = 2, 2


@pytest.fixture
def module(row: Row) -> Iterator[nn.Module]:
    # PyTorch's fused attention supports only first derivatives, in reverse mode.
    with sdpa_kernel(SDPBackend.MATH):
        yield row.build()


@pytest.fixture
def x(row: Row) -> Tensor:
    return row.inputs(T, B)


@pytest.fixture
def three(row: Row) -> Tensor:
    """Three inputs at once."""
    return torch.stack([row.inputs(T, B) for _ in range(3)])


def output(module: nn.Module, x: Tensor, parameters: dict[str, Tensor] | None = None) -> Tensor:
    """The outputs and the final states in one vector."""
    results = call(module, x) if parameters is None else functional_call(module, parameters, (x,))[:2]
    return torch.cat([part.flatten() for part in tensors(results)])


def loss(module: nn.Module, x: Tensor, parameters: dict[str, Tensor] | None = None) -> Tensor:
    return output(module, x, parameters).square().sum()


def parameters_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in module.named_parameters() if p.requires_grad}


@rows(main=True)
def test_vmap_over_inputs(module, three):
    expected = torch.stack([output(module, one) for one in three])
    torch.testing.assert_close(vmap(lambda one: output(module, one))(three), expected)


@rows(main=True)
def test_vmap_over_an_ensemble(module, x):
    ensemble = [copy.deepcopy(module) for _ in range(3)]
    for member in ensemble:
        for parameter in member.parameters():
            nn.init.normal_(parameter)
    stacked, buffers = stack_module_state(ensemble)
    results = vmap(lambda *state: functional_call(module, state, (x,))[0])(stacked, buffers)
    torch.testing.assert_close(results, torch.stack([member(x)[0] for member in ensemble]))


@rows(main=True)
def test_vmap_over_masks(module, x):
    masks = torch.rand(3, T, B) < 0.5
    expected = torch.stack([call(module, x, None, mask)[0] for mask in masks])
    torch.testing.assert_close(vmap(lambda mask: call(module, x, None, mask)[0])(masks), expected)


@rows(main=True)
def test_gradients_of_each_example(module, three):
    parameters = parameters_of(module)
    each = vmap(grad(lambda p, one: loss(module, one, p)), in_dims=(None, 0))(parameters, three)
    for i, one in enumerate(three):
        expected = torch.autograd.grad(loss(module, one), list(module.parameters()))
        torch.testing.assert_close([each[name][i] for name in parameters], list(expected))


@rows(main=True)
def test_jacobians_agree_with_the_backward_pass(module, x):
    leaf = x.clone().requires_grad_()
    expected = torch.stack([torch.autograd.grad(y, leaf, retain_graph=True)[0] for y in output(module, leaf)])
    torch.testing.assert_close(jacrev(lambda a: output(module, a))(x), expected)
    torch.testing.assert_close(jacfwd(lambda a: output(module, a))(x), expected)
    tangent = torch.randn_like(x)
    with forward_ad.dual_level():
        dual = output(module, forward_ad.make_dual(x, tangent))
        product = torch.einsum("otbe,tbe->o", expected, tangent)
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, product)


@rows(main=True)
def test_a_forward_derivative_by_each_parameter_alone(module, x):
    """If only a direct argument of the recurrence has a tangent, no earlier operation would raise."""
    parameters = parameters_of(module)
    gradients = grad(lambda p: loss(module, x, p))(parameters)
    for name, value in parameters.items():
        tangent = torch.randn_like(value)
        _, derivative = jvp(lambda v, n=name: loss(module, x, parameters | {n: v}), (value,), (tangent,))
        torch.testing.assert_close(derivative, (gradients[name] * tangent).sum())


@rows(main=True)
def test_a_batch_of_gradients(module, x):
    result = output(module, x.requires_grad_())
    upstream = torch.randn(3, len(result), dtype=torch.float64)
    (batched,) = torch.autograd.grad(result, x, upstream, is_grads_batched=True, retain_graph=True)
    expected = [torch.autograd.grad(result, x, one, retain_graph=True)[0] for one in upstream]
    torch.testing.assert_close(batched, torch.stack(expected))


@rows(main=True)
def test_a_hessian_is_the_double_backward_pass_of_the_reference(module, x):
    actual = hessian(lambda a: loss(module, a))(x)
    with backend.using("reference"):
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(module, leaf), leaf, create_graph=True)
        expected = [torch.autograd.grad(g, leaf, retain_graph=True)[0] for g in gradient.flatten()]
    torch.testing.assert_close(actual.flatten(0, 2), torch.stack(expected))


TRANSFORMS = {
    "jvp": lambda run, x: jvp(run, (x,), (x,))[1],
    "vmap": lambda run, x: vmap(run)(x[None]),
    "grad": lambda run, x: grad(lambda a: run(a).square().sum())(x),
}


@pytest.mark.compile
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_compiled_transforms(transform):
    if transform == "grad" and not TORCH_2_13:
        pytest.skip("the compiler of this PyTorch cannot transform an operator; it says so")
    torch._dynamo.reset()
    rnn = SRU(3, 4, 1).double().requires_grad_(False)

    def run(x: Tensor) -> Tensor:
        return TRANSFORMS[transform](lambda a: rnn(a)[0], x)

    x = torch.randn(T, B, 3, dtype=torch.float64)
    torch.testing.assert_close(torch.compile(run, backend="aot_eager", fullgraph=True)(x), run(x))


POSITIONS = {
    "reset": {"reset": torch.tensor([[False, True], [True, False], [False, True]])},
    "cu_seqlens": {"cu_seqlens": torch.tensor([0, 1, 1, 3])},
}


@either
@pytest.mark.parametrize("where", POSITIONS)
@learned("SRU,", "MinGRU", "LSTM")
def test_second_derivatives_where_sequences_begin(row: Row, where: str):
    options = POSITIONS[where]
    module = row.build()
    x = row.inputs(3, 2) if where == "reset" else row.inputs(3, 1).squeeze(1)
    names, values = zip(*module.named_parameters(), strict=True)

    def run(x: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        replaced = dict(zip(names, parameters, strict=True))
        return tuple(tensors(functional_call(module, replaced, (x,), options)[:2]))

    given = (x.requires_grad_(), *values)
    assert torch.autograd.gradgradcheck(run, given, fast_mode=True, atol=1e-6)
