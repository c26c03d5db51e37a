"""The operators, on the kernels and in plain PyTorch, against the reference in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from sru_nn import backend, reference
from sru_nn.cells.sru import operator as ops
from sru_nn.dtypes import accumulate_dtype
from sru_nn.functional import sru_recurrence

from ...conftest import INTERPRETED, TOLERANCES, looks_at_grad, random_cases

needs_kernels = pytest.mark.skipif(backend.active() == "reference", reason="there are no kernels here")
LEAVES = ("u", "v", "bias", "c0", "x")


def make_inputs(
    *,
    length: int = 6,
    batch: int = 3,
    hidden: int = 5,
    gates: int = 3,
    bidirectional: bool = False,
    skip: bool = True,
    per_position: bool = False,
    masks: bool = True,
    c0: bool = True,
    activation: str = "tanh",
    dtype: torch.dtype = torch.float64,
) -> ops.Inputs:
    columns = hidden * (2 if bidirectional else 1)
    wide = accumulate_dtype(dtype)
    highway = skip and gates == 3
    return ops.Inputs(
        u=torch.randn(length, batch, gates, columns, dtype=dtype),
        v=torch.randn(*((length, batch) if per_position else ()), 2, columns, dtype=wide),
        bias=torch.randn(2, columns, dtype=wide),
        c0=torch.randn(batch, columns, dtype=wide) if c0 else None,
        x=torch.randn(length, batch, columns, dtype=dtype) if highway else None,
        mask_c=(torch.rand(batch, columns) < 0.7).to(wide) / 0.7 if masks else None,
        mask_pad=torch.rand(length, batch) < 0.3 if masks else None,
        bidirectional=bidirectional,
        activation=activation,
        scale_x=1.3 if highway else 1.0,
    )


def change(inputs: ops.Inputs, function: Any) -> ops.Inputs:
    """Apply a function to every floating-point tensor."""
    return ops.Inputs(
        *(function(x) if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)
    )


def results(run: Any, inputs: ops.Inputs, upstream: list[Tensor | None]) -> list[Tensor]:
    """Outputs, final states and every gradient."""
    given = {name: getattr(inputs, name) for name in LEAVES if getattr(inputs, name) is not None}
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in given.items()}
    outputs = run(inputs._replace(**leaves))
    # With no steps and no c0, the last state depends on no input.
    pairs = zip(outputs, upstream, strict=True)
    used = [pair for pair in pairs if pair[0].requires_grad and pair[1] is not None]
    total = sum((output * weight).sum() for output, weight in used)
    of = list(leaves.values())
    if not used:
        return [*outputs, *map(torch.zeros_like, of)]
    return [*outputs, *torch.autograd.grad(total, of, allow_unused=True, materialize_grads=True)]


def oracle(inputs: ops.Inputs) -> tuple[Tensor, Tensor]:
    return reference.sru_recurrence(**inputs._asdict())


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@random_cases(40)
@given(
    length=st.sampled_from([0, 1, 2, 7, 33]),
    batch=st.integers(0, 4),
    hidden=st.sampled_from([1, 5, 16, 17, 40 if INTERPRETED else 100]),  # 40 takes two programs in Triton
    options=st.fixed_dictionaries(
        {
            "gates": st.sampled_from([3, 4]),
            "bidirectional": st.booleans(),
            "skip": st.booleans(),
            "per_position": st.booleans(),
            "masks": st.booleans(),
            "c0": st.booleans(),
            "activation": st.sampled_from(["identity", "tanh", "relu"]),
        }
    ),
    strided=st.booleans(),
    dispatched=st.booleans(),
    used=st.sampled_from([(True, True), (True, True), (True, False), (False, True)]),
    seed=st.integers(0, 999),
)
def test_all_results(
    implementation, assert_close, dtype, length, batch, hidden, options, strided, dispatched, used, seed
):
    torch.manual_seed(seed)
    inputs = make_inputs(length=length, batch=batch, hidden=hidden, dtype=dtype, **options)
    wide, columns = accumulate_dtype(dtype), inputs.bias.shape[1]
    upstream = [torch.randn(length, batch, columns, dtype=dtype), torch.randn(batch, columns, dtype=wide)]
    upstream = [weight if is_used else None for weight, is_used in zip(upstream, used, strict=True)]
    exact = [None if weight is None else weight.double() for weight in upstream]
    expected = results(oracle, change(inputs, Tensor.double), exact)
    if inputs.mask_pad is not None:
        inputs.u[inputs.mask_pad] = torch.nan
        if inputs.x is not None:
            inputs.x[inputs.mask_pad] = torch.inf
    if strided:
        inputs = change(inputs, lambda tensor: torch.stack([tensor, tensor], -1)[..., 0])
    chosen = None if dispatched else implementation
    actual = results(lambda given: ops.run(chosen, given), inputs, upstream)
    assert [tensor.dtype for tensor in actual[:2]] == [dtype, wide]
    for ours, theirs in zip(actual, expected, strict=True):
        assert_close(ours, theirs)


@needs_kernels
def test_threads_change_no_bit():
    inputs = make_inputs(length=40, batch=9, hidden=70, dtype=torch.float32)
    upstream = [torch.randn(40, 9, 70), torch.randn(9, 70)]
    threads = torch.get_num_threads()
    outcomes = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            outcomes.append(results(lambda given: ops.run("kernels", given), inputs, upstream))
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*outcomes, rtol=0, atol=0)


@looks_at_grad
@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize(
    "options", [{}, {"gates": 4, "bidirectional": True}, {"per_position": True}], ids=str
)
def test_opcheck(options):
    inputs = make_inputs(dtype=torch.float32, **options)
    leaves = {name: getattr(inputs, name).detach().requires_grad_() for name in ("u", "v", "bias", "c0")}
    torch.library.opcheck(torch.ops.sru_nn.sru_forward.default, (*inputs._replace(**leaves), True))
    h, c_last, c = torch.ops.sru_nn.sru_forward(*inputs, True)
    upstream = (torch.randn_like(h), torch.randn_like(c_last))
    torch.library.opcheck(torch.ops.sru_nn.sru_backward.default, (*inputs, c, *upstream))


def saved_bytes(function: Any) -> int:
    """Return how many bytes autograd keeps for a call, each storage counted once."""
    found = {}

    def pack(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return sum(found.values())


@needs_kernels
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("gates", [3, 4])
def test_the_forward_pass_saves_its_inputs_and_the_states_alone(gates, dtype):
    length, batch, columns = 50, 4, 64
    inputs = make_inputs(length=length, batch=batch, hidden=columns, gates=gates, dtype=dtype)
    inputs.u.requires_grad_()
    given = sum(value.nbytes for value in inputs if isinstance(value, Tensor))
    states = length * batch * columns * accumulate_dtype(dtype).itemsize
    assert saved_bytes(lambda: ops.run("kernels", inputs)) == given + states


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("recording", [False, True])
def test_no_state_is_kept_without_a_gradient(recording):
    inputs = make_inputs(dtype=torch.float32)
    inputs.u.requires_grad_(not recording)
    with torch.set_grad_enabled(recording):
        assert saved_bytes(lambda: ops.run(None, inputs)) == 0
        assert torch.ops.sru_nn.sru_forward(*inputs, False)[2].numel() == 0


@pytest.mark.parametrize("dispatched", [False, True])
@pytest.mark.parametrize("options", [{}, {"gates": 4, "bidirectional": True, "masks": False}], ids=str)
def test_second_derivatives(implementation, dispatched, options):
    inputs = make_inputs(length=3, batch=2, hidden=1, **options)
    names = [name for name in LEAVES if getattr(inputs, name) is not None]
    leaves = [getattr(inputs, name).requires_grad_() for name in names]
    chosen = None if dispatched else implementation

    def run(*tensors):
        return ops.run(chosen, inputs._replace(**dict(zip(names, tensors, strict=True))))

    assert torch.autograd.gradgradcheck(run, leaves)
    total = sum(result.sin().sum() for result in run(*leaves))
    gradients = torch.autograd.grad(total, leaves, retain_graph=True)
    # Gradients that can be differentiated again are computed in another way.
    torch.testing.assert_close(torch.autograd.grad(total, leaves, create_graph=True), gradients)


@pytest.mark.usefixtures("implementation")
def test_the_backward_operator_has_no_gradient():
    inputs = make_inputs()
    h, c_last, c = torch.ops.sru_nn.sru_forward(*inputs, True)
    inputs.u.requires_grad_()
    grad_u, *_ = torch.ops.sru_nn.sru_backward(*inputs, c, h, c_last)
    with pytest.raises(RuntimeError, match=r"sru_backward: a graph has no second derivative; run the recurr"):
        grad_u.sum().backward()


@pytest.mark.usefixtures("implementation")
def test_a_dropout_mask_with_a_gradient():
    """The kernels treat it as a constant, so the reference runs."""
    inputs = make_inputs()
    gradients = []
    for run in (sru_recurrence, reference.sru_recurrence):
        mask_c = inputs.mask_c.clone().requires_grad_()
        h, _ = run(**inputs._replace(mask_c=mask_c)._asdict())
        gradients += torch.autograd.grad(h.square().sum(), mask_c)
    torch.testing.assert_close(*gradients)


class Watch(TorchDispatchMode):
    """Records which of our operators run, and on which device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "sru_nn":
            self.seen.append((function._opname, args[0].device.type))
        return function(*args, **(kwargs or {}))


def test_fake_tensors_on_cuda_reach_the_operators(monkeypatch):
    # A machine with a usable GPU, as far as the choice of the backend can see.
    monkeypatch.setitem(backend._problems["kernels"], torch.device("cuda", 0), None)
    with FakeTensorMode(), Watch() as watch, torch.device("cuda"):
        u, v, bias = torch.empty(7, 3, 4, 10), torch.empty(2, 10), torch.empty(2, 10)
        h, c_last = sru_recurrence(u, v, bias, bidirectional=True)
        inputs = ops.Inputs(u, v, bias, None, None, None, None, True, "identity", 1.0)
        _, _, c = torch.ops.sru_nn.sru_forward(*inputs, True)
        gradients = torch.ops.sru_nn.sru_backward(*inputs, c, h, c_last)
    assert watch.seen == [("sru_forward", "cuda")] * 2 + [("sru_backward", "cuda")]
    assert [tensor.shape for tensor in (h, c_last, c)] == [(7, 3, 10), (3, 10), (7, 3, 10)]
    assert [gradient.shape for gradient in gradients[:4]] == [u.shape, v.shape, bias.shape, c_last.shape]
    assert {tensor.device.type for tensor in (h, c_last, c, *gradients)} == {"cuda"}
