"""The operators against the reference: outputs, states and every gradient, over the option matrix."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from sru_nn import SRU, backend, reference
from sru_nn.cells.sru import operator as ops
from sru_nn.dtypes import accumulate_dtype
from sru_nn.functional import sru_recurrence

from ...conftest import looks_at_grad

pytest.importorskip("sru_kernels", reason="the kernels are not installed")

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def make_arguments(
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
    dtype: torch.dtype = torch.float64,
) -> dict:
    columns = hidden * (2 if bidirectional else 1)
    accumulate = accumulate_dtype(dtype)
    highway = skip and gates == 3
    return {
        "u": torch.randn(length, batch, gates, columns, dtype=dtype),
        "v": torch.randn(*((length, batch) if per_position else ()), 2, columns, dtype=accumulate),
        "bias": torch.randn(2, columns, dtype=accumulate),
        "c0": torch.randn(batch, columns, dtype=accumulate) if c0 else None,
        "x": torch.randn(length, batch, columns, dtype=dtype) if highway else None,
        "scale_x": 1.3 if highway else 1.0,
        "mask_c": (torch.rand(batch, columns) < 0.7).to(accumulate) / 0.7 if masks else None,
        "mask_pad": torch.rand(length, batch) < 0.3 if masks else None,
        "bidirectional": bidirectional,
        "activation": "tanh",
    }


def results(function, arguments: dict, upstream: list[Tensor]) -> list[Tensor]:
    """Outputs, final states and every gradient."""
    names = [name for name in ("u", "v", "bias", "c0", "x") if arguments[name] is not None]
    leaves = {name: arguments[name].detach().clone().requires_grad_() for name in names}
    outputs = function(**{**arguments, **leaves})
    gradients = torch.autograd.grad(outputs, list(leaves.values()), upstream)
    return [*outputs, *gradients]


def compare_with_reference(arguments: dict, assert_close) -> None:
    exact = {
        name: value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in arguments.items()
    }
    length, batch, _, columns = arguments["u"].shape
    upstream = [
        torch.randn(length, batch, columns, dtype=arguments["u"].dtype),
        torch.randn(batch, columns, dtype=arguments["bias"].dtype),
    ]
    actual = results(sru_recurrence, arguments, upstream)
    expected = results(reference.sru_recurrence, exact, [tensor.double() for tensor in upstream])
    for ours, theirs in zip(actual, expected, strict=True):
        assert_close(ours, theirs)


@pytest.mark.parametrize("gates", [3, 4])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("activation", ["identity", "tanh", "relu"])
def test_option_matrix(gates, bidirectional, activation, assert_close):
    for skip, per_position, masks, c0 in itertools.product([False, True], repeat=4):
        arguments = make_arguments(
            gates=gates, bidirectional=bidirectional, skip=skip, per_position=per_position, masks=masks, c0=c0
        )
        compare_with_reference(arguments | {"activation": activation}, assert_close)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("length", "batch", "hidden"), [(1, 1, 1), (1, 3, 16), (7, 2, 17), (33, 1, 64), (5, 4, 100)]
)
def test_sizes_and_dtypes(dtype, length, batch, hidden, assert_close):
    for bidirectional in (False, True):
        arguments = make_arguments(
            length=length, batch=batch, hidden=hidden, bidirectional=bidirectional, dtype=dtype
        )
        compare_with_reference(arguments, assert_close)


@pytest.mark.parametrize(("length", "batch"), [(0, 3), (4, 0)])
def test_nothing_to_do(length, batch, assert_close):
    compare_with_reference(make_arguments(length=length, batch=batch), assert_close)


def test_non_contiguous_inputs(assert_close):
    arguments = make_arguments(bidirectional=True)
    strided = {
        name: torch.stack([value, value], dim=-1)[..., 0] if isinstance(value, Tensor) else value
        for name, value in arguments.items()
    }
    assert not strided["u"].is_contiguous()
    compare_with_reference(strided, assert_close)


def test_nan_in_padding_reaches_nothing():
    arguments = make_arguments(bidirectional=True)
    upstream = [torch.randn(6, 3, 10).double(), torch.randn(3, 10).double()]
    clean = results(sru_recurrence, arguments, upstream)
    pad = arguments["mask_pad"]
    arguments["u"][pad], arguments["x"][pad] = torch.nan, torch.inf
    for actual, expected in zip(results(sru_recurrence, arguments, upstream), clean, strict=True):
        assert torch.equal(actual, expected)


def test_threads_change_no_bit():
    arguments = make_arguments(length=40, batch=9, hidden=70, dtype=torch.float32)
    upstream = [torch.randn(40, 9, 70), torch.randn(9, 70)]
    threads = torch.get_num_threads()
    try:
        outcomes = []
        for count in (1, 2):
            torch.set_num_threads(count)
            outcomes.append(results(sru_recurrence, arguments, upstream))
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*outcomes, strict=True):
        assert torch.equal(one, two)


@looks_at_grad
@pytest.mark.parametrize("gates", [3, 4])
def test_opcheck(gates):
    given = make_arguments(gates=gates, dtype=torch.float32)
    names = ("u", "v", "bias", "c0", "x", "mask_c", "mask_pad", "bidirectional", "activation", "scale_x")
    for name in ("u", "v", "bias", "c0"):
        given[name].requires_grad_()
    torch.library.opcheck(torch.ops.sru_nn.sru_forward.default, (*(given[name] for name in names), True))
    plain = [value.detach() if isinstance(value, Tensor) else value for value in (given[n] for n in names)]
    h, c_last, c = torch.ops.sru_nn.sru_forward(*plain, True)
    torch.library.opcheck(
        torch.ops.sru_nn.sru_backward.default, (*plain, c, torch.randn_like(h), torch.randn_like(c_last))
    )


def saved_bytes(function) -> int:
    """Return how many bytes autograd keeps for a call, each storage counted once."""
    found = {}

    def pack(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return sum(found.values())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gates", [3, 4])
def test_the_forward_pass_saves_its_inputs_and_the_states_alone(gates, dtype):
    length, batch, columns = 50, 4, 64
    arguments = make_arguments(
        length=length, batch=batch, hidden=columns, gates=gates, skip=gates == 3, dtype=dtype
    )
    arguments["u"].requires_grad_()
    inputs = sum(value.nbytes for value in arguments.values() if isinstance(value, Tensor))
    states = length * batch * columns * accumulate_dtype(dtype).itemsize
    with backend.using("kernels"):
        assert saved_bytes(lambda: sru_recurrence(**arguments)) == inputs + states


@pytest.mark.parametrize("recording", [False, True])
def test_no_state_is_kept_without_a_gradient(recording):
    arguments = make_arguments(dtype=torch.float32)
    arguments["u"].requires_grad_(not recording)
    with torch.set_grad_enabled(recording):
        assert saved_bytes(lambda: sru_recurrence(**arguments)) == 0
        inputs = ops.Inputs(**arguments)
        assert torch.ops.sru_nn.sru_forward(*inputs, False)[2].numel() == 0


@pytest.mark.parametrize("used", [0, 1])
def test_gradients_where_only_one_result_is_used(used, assert_close):
    arguments = make_arguments(bidirectional=True)
    gradients = []
    for function in (sru_recurrence, reference.sru_recurrence):
        u = arguments["u"].detach().clone().requires_grad_()
        function(**{**arguments, "u": u})[used].square().sum().backward()
        gradients.append(u.grad)
    assert_close(*gradients)


def test_second_derivative_is_refused():
    arguments = make_arguments()
    u = arguments["u"].requires_grad_()
    h, _ = sru_recurrence(**arguments)
    (gradient,) = torch.autograd.grad(h.square().sum(), u, create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative; choose the backend 'reference'"):
        gradient.sum().backward()


def test_a_mask_with_a_gradient_goes_to_the_reference():
    arguments = make_arguments()
    mask = arguments["mask_c"].requires_grad_()
    with backend.using("kernels"):
        sru_recurrence(**arguments)[0].sum().backward()
    assert mask.grad.ne(0).any()


@pytest.mark.parametrize("bidirectional", [False, True])
def test_compiled_module_equals_eager(bidirectional):
    torch._dynamo.reset()
    rnn = SRU(6, 5, 2, bidirectional=bidirectional, layer_norm=True)
    compiled = torch.compile(rnn, fullgraph=True, backend="aot_eager")
    outcomes = []
    with backend.using("kernels"):
        for model in (rnn, compiled):
            rnn.zero_grad()
            torch.manual_seed(1)
            x = torch.randn(7, 3, 6, requires_grad=True)
            h, c = model(x, None, torch.rand(7, 3) < 0.3)
            (h.square().sum() + c.square().sum()).backward()
            outcomes.append([h, c, x.grad, *(parameter.grad for parameter in rnn.parameters())])
    for eager, ours in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, eager)


class Watch(TorchDispatchMode):
    """Notes which of our operators run, and on what device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace == "sru_nn":
            self.seen.append((function._opname, args[0].device.type))
        return function(*args, **(kwargs or {}))


def test_fake_tensors_on_cuda_reach_the_cuda_operator(monkeypatch):
    for operator in ("sru_forward", "sru_backward"):
        # One implementation for all devices, which asks the backend when it runs.
        assert torch._C._dispatch_has_kernel_for_dispatch_key(
            f"sru_nn::{operator}", "CompositeExplicitAutograd"
        )
    # A machine with a usable GPU, as far as the choice of the backend can see.
    monkeypatch.setattr(backend, "_problems", {torch.device("cuda", 0): None})
    with FakeTensorMode(), Watch() as watch, torch.device("cuda"):
        u, v, bias = torch.empty(7, 3, 4, 10), torch.empty(2, 10), torch.empty(2, 10)
        h, c_last = sru_recurrence(u, v, bias, bidirectional=True)
        inputs = ops.Inputs(u, v, bias, None, None, None, None, True, "identity", 1.0)
        _, _, c = torch.ops.sru_nn.sru_forward(*inputs, True)
        gradients = torch.ops.sru_nn.sru_backward(*inputs, c, h, c_last)
    assert watch.seen == [("sru_forward", "cuda")] * 2 + [("sru_backward", "cuda")]
    assert (h.shape, c_last.shape, c.shape) == ((7, 3, 10), (3, 10), (7, 3, 10))
    assert [gradient.shape for gradient in gradients[:4]] == [u.shape, v.shape, bias.shape, c_last.shape]
    assert {tensor.device.type for tensor in (h, c_last, c, *gradients)} == {"cuda"}
