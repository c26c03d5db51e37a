"""What PyTorch may do to a module: `torch.func`, second derivatives, parametrizations, copies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parametrizations

from sru_nn import SRU, GatedLinearRNN, MinGRU, SRUCell, SRUpp, backend
from sru_nn.compat import GRU, LSTM
from sru_nn.functional import sru_recurrence
from sru_nn.operators import TORCH_2_13

from .conftest import scripts_itself

T, B, E, D, L = 3, 2, 2, 2, 2
pytestmark = [pytest.mark.usefixtures("implementation"), scripts_itself]

MODULES = {
    "SRU": lambda: SRU(E, D, L, layer_norm=True, rescale=True),
    "SRU in two directions": lambda: SRU(E, D, L, bidirectional=True, use_tanh=True),
    "SRUCell": lambda: SRUCell(E, D, n_proj=1),
    "SRUpp": lambda: SRUpp(E, D, 2, L, num_heads=2),
    "LSTM": lambda: LSTM(E, D, L, proj_size=1),
    "GRU": lambda: GRU(E, D, L, bidirectional=True),
    "GatedLinearRNN": lambda: GatedLinearRNN(E, D, 1, num_heads=2, output_gate=True),
    "MinGRU": lambda: MinGRU(E, D, 1),
}


@pytest.fixture(params=MODULES)
def module(request) -> Iterator[nn.Module]:
    # PyTorch's fused attention has first derivatives only, and those in reverse.
    with sdpa_kernel(SDPBackend.MATH):
        yield MODULES[request.param]().double()


def output(module: nn.Module, x: Tensor, parameters: dict[str, Tensor] | None = None) -> Tensor:
    """The outputs and the final states in one vector."""
    h, c, *_ = module(x) if parameters is None else functional_call(module, parameters, (x,))
    states = c if isinstance(c, tuple) else (c,)
    return torch.cat([tensor.flatten() for tensor in (h, *states)])


def loss(module: nn.Module, x: Tensor, parameters: dict[str, Tensor] | None = None) -> Tensor:
    return output(module, x, parameters).square().sum()


def make_input(*shape: int) -> Tensor:
    return torch.randn(*shape, T, B, E, dtype=torch.float64)


def parameters_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in module.named_parameters()}


def jacobian_by_rows(module: nn.Module, x: Tensor) -> Tensor:
    """The derivative of every output by every input, by the ordinary backward pass, one output at a time."""
    x = x.clone().requires_grad_()
    rows = [torch.autograd.grad(y, x, retain_graph=True)[0] for y in output(module, x)]
    return torch.stack(rows)


def test_vmap_over_inputs(module):
    x = make_input(3)
    torch.testing.assert_close(
        vmap(lambda one: output(module, one))(x), torch.stack([output(module, one) for one in x])
    )


def test_vmap_over_an_ensemble(module):
    ensemble = [copy.deepcopy(module) for _ in range(3)]
    for member in ensemble:
        for parameter in member.parameters():
            nn.init.normal_(parameter)
    x = make_input()
    stacked, buffers = stack_module_state(ensemble)
    results = vmap(lambda *state: functional_call(module, state, (x,))[0])(stacked, buffers)
    torch.testing.assert_close(results, torch.stack([member(x)[0] for member in ensemble]))


def test_vmap_over_masks():
    rnn = SRU(E, D, L, bidirectional=True).double()
    x, masks = make_input(), torch.rand(3, T, B) < 0.5
    h, c = vmap(lambda mask: rnn(x, None, mask))(masks)
    for i, mask in enumerate(masks):
        torch.testing.assert_close((h[i], c[i]), rnn(x, None, mask))


def test_gradients_of_each_example(module):
    x, parameters = make_input(3), parameters_of(module)
    each = vmap(grad(lambda p, one: loss(module, one, p)), in_dims=(None, 0))(parameters, x)
    for i, one in enumerate(x):
        expected = torch.autograd.grad(loss(module, one), list(module.parameters()))
        for name, gradient in zip(parameters, expected, strict=True):
            torch.testing.assert_close(each[name][i], gradient)


def test_jacobians_agree_with_the_backward_pass(module):
    x = make_input()
    expected = jacobian_by_rows(module, x)
    torch.testing.assert_close(jacrev(lambda a: output(module, a))(x), expected)
    torch.testing.assert_close(jacfwd(lambda a: output(module, a))(x), expected)
    tangent = make_input()
    product = torch.einsum("otbe,tbe->o", expected, tangent)
    torch.testing.assert_close(jvp(lambda a: output(module, a), (x,), (tangent,))[1], product)
    with forward_ad.dual_level():
        dual = output(module, forward_ad.make_dual(x, tangent))
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, product)


def test_a_forward_derivative_by_a_parameter_alone(module):
    """Where only the recurrence's own vectors have a tangent, nothing before it would have raised."""
    x, parameters = make_input(), parameters_of(module)
    name = next(name for name in parameters if name.endswith(("weight_c", "gate_bias", "layers.0.bias")))
    tangent = torch.randn_like(parameters[name])

    def run(v: Tensor) -> Tensor:
        return loss(module, x, parameters | {name: v})

    _, derivative = jvp(run, (parameters[name],), (tangent,))
    torch.testing.assert_close(derivative, (grad(run)(parameters[name]) * tangent).sum())
    assert derivative != 0


def test_batched_backward_pass(module):
    x = make_input().requires_grad_()
    result = output(module, x)
    upstream = torch.randn(3, len(result), dtype=torch.float64)
    (batched,) = torch.autograd.grad(result, x, upstream, is_grads_batched=True, retain_graph=True)
    for i, one in enumerate(upstream):
        torch.testing.assert_close(batched[i], torch.autograd.grad(result, x, one, retain_graph=True)[0])


def test_hessian_agrees_with_the_double_backward_pass_of_the_reference(module):
    x = make_input()
    actual = hessian(lambda a: loss(module, a))(x)
    with backend.using("reference"):
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(module, leaf), leaf, create_graph=True)
        rows = [torch.autograd.grad(g, leaf, retain_graph=True)[0] for g in gradient.flatten()]
    torch.testing.assert_close(actual.reshape(x.numel(), x.numel()), torch.stack(rows).flatten(1))
    torch.testing.assert_close(jacrev(jacrev(lambda a: loss(module, a)))(x), actual)


def test_a_gradient_penalty_needs_the_reference():
    rnn = SRU(E, D, L).double()
    x = make_input().requires_grad_()
    with backend.using("reference"):
        assert torch.autograd.gradgradcheck(lambda a: rnn(a), x)
    if backend.active() == "kernels":
        (gradient,) = torch.autograd.grad(loss(rnn, x), x, create_graph=True)
        with pytest.raises(RuntimeError, match="no second derivative; choose the backend 'reference'"):
            gradient.square().sum().backward()


def test_a_transform_takes_the_reference_and_leaves_the_kernels_to_the_rest(monkeypatch):
    pytest.importorskip("sru_kernels", reason="the kernels are not installed")
    from sru_nn.cells.sru import operator as ops

    calls = []
    run = ops.run_kernel
    monkeypatch.setattr(ops, "run_kernel", lambda *args: calls.append(args[0]) or run(*args))
    u, v, bias = torch.randn(T, B, 3, D), torch.randn(2, D), torch.zeros(2, D)
    with backend.using("kernels"):
        vmap(lambda one: sru_recurrence(one, v, bias))(u[None])
        assert calls == []
        sru_recurrence(u, v, bias)
    assert calls == ["sru_forward"]


TRANSFORMS = {
    "jvp": lambda run, x: jvp(run, (x,), (x,))[1],
    "vmap": lambda run, x: vmap(run)(x[None]),
    "grad": lambda run, x: grad(lambda a: run(a).square().sum())(x),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_compiled_transforms(transform):
    if transform == "grad" and not TORCH_2_13:
        pytest.skip("the compiler of this PyTorch cannot transform an operator; it says so")
    torch._dynamo.reset()
    rnn = SRU(E, D, 1).double().requires_grad_(False)

    def run(x: Tensor) -> Tensor:
        return TRANSFORMS[transform](lambda a: rnn(a)[0], x)

    x = make_input()
    torch.testing.assert_close(torch.compile(run, backend="aot_eager", fullgraph=True)(x), run(x))


WEIGHTS = ("transform.weight", "weight_c", "bias")


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("length", [1, T])
def test_weight_norm(name, length):
    rnn = SRU(E, D, L).double()
    x, c0 = make_input()[:length], torch.randn(L, B, D, dtype=torch.float64)
    with torch.no_grad():
        for cell in rnn.rnn_lst:
            nn.init.normal_(cell.bias)  # zeros have no direction
        expected = rnn(x, c0)
        for cell in rnn.rnn_lst:
            parent, _, leaf = name.rpartition(".")
            parametrizations.weight_norm(cell.get_submodule(parent), leaf, dim=None)
        torch.testing.assert_close(rnn(x, c0), expected)  # also where a decoding step takes the short way
        for cell in rnn.rnn_lst:
            parent, _, leaf = name.rpartition(".")
            getattr(cell.get_submodule(parent).parametrizations, leaf).original0.mul_(2)  # twice the norm
        assert not torch.allclose(rnn(x, c0)[0], expected[0])
    rnn(x, c0)[0].sum().backward()
    originals = [p.grad for key, p in rnn.named_parameters() if "original" in key]
    assert len(originals) == 2 * L
    assert all(gradient is not None for gradient in originals)
    with pytest.raises(RuntimeError, match="parametrized"):
        pickle.dumps(rnn)  # PyTorch's word, not ours: the state dict is what is saved
    fresh = copy.deepcopy(rnn)
    fresh.load_state_dict(rnn.state_dict())
    torch.testing.assert_close(fresh(x, c0), rnn(x, c0))


def test_copies_are_equal_and_independent(module):
    x = make_input()
    expected = output(module, x)
    twins = [copy.deepcopy(module), pickle.loads(pickle.dumps(module)), copy.deepcopy(module)]
    with torch.no_grad():
        for parameter in twins[-1].parameters():
            parameter.add_(1)
    twins[-1].load_state_dict(module.state_dict())
    for twin in twins:
        assert list(twin.state_dict()) == list(module.state_dict())
        assert torch.equal(output(twin, x), expected)
        with torch.no_grad():
            for parameter in twin.parameters():
                parameter.zero_()
    assert torch.equal(output(module, x), expected)


def test_a_pickle_of_weights_needs_no_trust(module, tmp_path):
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    state = torch.load(tmp_path / "weights.pt", weights_only=True)
    fresh = copy.deepcopy(module)
    fresh.load_state_dict(state)
    x = make_input()
    assert torch.equal(output(fresh, x), output(module, x))
