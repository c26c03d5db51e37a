"""A part that is hooked, replaced, patched or wrapped is called on every path through a module."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks
from torch.utils._pytree import tree_map

from sru_nn import gemm

from ..conftest import either
from .rows import ROWS, Row, call, rows, tensors

pytestmark = [pytest.mark.usefixtures("implementation"), either]

# Length and gradients: one step without gradients is where decoding takes short cuts.
paths = pytest.mark.parametrize(
    ("length", "gradients"), [(4, True), (1, False)], ids=["training", "one step"]
)
watched = rows(main=True, also=["SRU, narrow projections, rescaled", "LSTM, both directions, projected"])


class Adapter(nn.Module):
    """A wrapper around a linear map, as in LoRA; its adapter is the map itself."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.base(x)


def double(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
    return 2 * output if type(module) is nn.Linear else None


def double_input(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor] | None:
    return (2 * args[0],) if type(module) is nn.Linear else None


def linears(module: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    """Return each linear map with its parent and its name there."""
    return [
        (parent, name, child)
        for parent in list(module.modules())
        for name, child in parent.named_children()
        if type(child) is nn.Linear
    ]


def replace_forward(linear: nn.Linear) -> None:
    """Replace `forward` on the instance, as an offloading hook does."""
    old = linear.forward
    linear.forward = lambda x: 2 * old(x)


EACH: dict[str, Callable[[nn.Module, str, nn.Linear], object]] = {
    "forward hook": lambda parent, name, linear: linear.register_forward_hook(double),
    "forward pre-hook": lambda parent, name, linear: linear.register_forward_pre_hook(double_input),
    "replaced forward": lambda parent, name, linear: replace_forward(linear),
    "adapter": lambda parent, name, linear: setattr(parent, name, Adapter(linear)),
}
EVERYWHERE: dict[str, Callable[[pytest.MonkeyPatch], object]] = {
    "patched class": lambda patch: patch.setattr(
        nn.Linear, "forward", lambda self, x: 2 * nn.functional.linear(x, self.weight, self.bias)
    ),
    "global hook": lambda patch: global_hooks.register_module_forward_hook(double),
    "global pre-hook": lambda patch: global_hooks.register_module_forward_pre_hook(double_input),
}


@pytest.fixture(autouse=True)
def _onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let oneDNN multiply, as on processors where it is faster; it must not bypass a watched map."""
    monkeypatch.setattr(gemm, "_chosen", gemm._has_onednn())


@pytest.fixture(autouse=True)
def _no_global_hooks() -> Iterator[None]:
    """Remove what a test registered for all modules."""
    before = [
        copy.copy(getattr(global_hooks, name)) for name in dir(global_hooks) if name.startswith("_global_")
    ]
    yield
    names = [name for name in dir(global_hooks) if name.startswith("_global_")]
    for name, value in zip(names, before, strict=True):
        if isinstance(value, dict):
            getattr(global_hooks, name).clear()
        else:
            setattr(global_hooks, name, value)


def runs(row: Row, module: nn.Module, x: Tensor) -> list[tuple[Tensor, object]]:
    """Return outputs and states of the call, of the stream if there is one, and of a step if `x` is one."""
    results = [call(module, x)]
    if row.stream is not None:
        h, carried = row.proceed(module, x, None)
        results.append((h, row.end(carried)))
    if len(x) == 1 and "step" not in row.exceptions:
        h, carried = module.step(x[0])
        results.append((h[None], row.end(carried)))
    return results


def outputs(row: Row, module: nn.Module, x: Tensor) -> list[Tensor]:
    return tensors(runs(row, module, x))


@paths
@pytest.mark.parametrize("watcher", [*EACH, *EVERYWHERE])
@watched
def test_inner_linear_maps(row: Row, watcher: str, length: int, gradients: bool, monkeypatch) -> None:
    module = row.build(torch.float32)
    x = row.inputs(length, 3, torch.float32)
    doubled = copy.deepcopy(module)
    for _, _, linear in linears(doubled):
        for name, parameter in linear.named_parameters():
            if name == "weight" or "pre-hook" not in watcher:
                parameter.data.mul_(2)
    with torch.set_grad_enabled(gradients):
        expected = outputs(row, doubled, x)
    if watcher in EACH:
        for parent, name, linear in linears(module):
            EACH[watcher](parent, name, linear)
    else:
        EVERYWHERE[watcher](monkeypatch)
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(outputs(row, module, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("everywhere", [False, True])
@watched
def test_backward_hooks_of_inner_linear_maps(row: Row, everywhere: bool) -> None:
    module, seen = row.build(torch.float32), []
    state = tree_map(Tensor.requires_grad_, row.state(module, 3))

    def note(linear: nn.Module, grad_input: object, grad_output: object) -> None:
        if type(linear) is nn.Linear:
            seen.append(linear)

    length, calls = 4, []
    for _, name, linear in linears(module):
        calls += [linear] * (length if name == "recurrent" else 1)  # it multiplies the state at each step
    if everywhere:
        global_hooks.register_module_full_backward_hook(note)
    else:
        for linear in set(calls):
            linear.register_full_backward_hook(note)
    h, _ = call(module, row.inputs(length, 3, torch.float32).requires_grad_(), state)
    h.sum().backward()
    assert sorted(map(id, seen)) == sorted(map(id, calls))


def layers(module: nn.Module) -> list[nn.Module]:
    return list(getattr(module, "rnn_lst", getattr(module, "layers", ())))


def mute_by_hook(layer: nn.Module, patch: pytest.MonkeyPatch) -> None:
    layer.register_forward_hook(lambda module, args, output: (0 * output[0], *output[1:]))


def mute_by_instance(layer: nn.Module, patch: pytest.MonkeyPatch) -> None:
    old = layer.forward

    def muted(*args: object, **options: object) -> tuple[Tensor, ...]:
        h, *rest = old(*args, **options)
        return (0 * h, *rest)

    layer.forward = muted


def mute_by_class(layer: nn.Module, patch: pytest.MonkeyPatch) -> None:
    old = type(layer).forward

    def muted(self: nn.Module, *args: object, **options: object) -> tuple[Tensor, ...]:
        h, *rest = old(self, *args, **options)
        return (0 * h if self is layer else h, *rest)

    patch.setattr(type(layer), "forward", muted)


def mute_by_global_hook(layer: nn.Module, patch: pytest.MonkeyPatch) -> None:
    global_hooks.register_module_forward_hook(
        lambda module, args, output: (0 * output[0], *output[1:]) if module is layer else None
    )


def mute_by_compiling(layer: nn.Module, patch: pytest.MonkeyPatch) -> None:
    """Replace the compiled call set by `layer.compile()`."""

    def muted(*args: object, **options: object) -> tuple[Tensor, ...]:
        h, *rest = layer._call_impl(*args, **options)
        return (0 * h, *rest)

    layer._compiled_call_impl = muted


muting = pytest.mark.parametrize(
    "mute", [mute_by_hook, mute_by_instance, mute_by_class, mute_by_global_hook, mute_by_compiling]
)


@paths
@muting
@rows("packed", main=True)
def test_layers(row: Row, mute, length: int, gradients: bool, monkeypatch) -> None:
    """With zeros in place of the last layer's output, only the bias of the stack's norm is left."""
    module, x = row.build(torch.float32), row.inputs(length, 3, torch.float32)
    mute(layers(module)[-1], monkeypatch)
    norm = getattr(module, "norm", None)
    with torch.set_grad_enabled(gradients):
        for h, _ in runs(row, module, x):
            torch.testing.assert_close(h, torch.zeros_like(h) if norm is None else norm.bias.expand_as(h))


@paths
@muting
@rows(main=True)
def test_modules(row: Row, mute, length: int, gradients: bool, monkeypatch) -> None:
    module, x = row.build(torch.float32), row.inputs(length, 3, torch.float32)
    mute(module, monkeypatch)
    with torch.set_grad_enabled(gradients):
        assert all(h.eq(0).all() for h, _ in runs(row, module, x))


@paths
@pytest.mark.parametrize("way", ["hook", "instance", "class"])
def test_transforms_of_sru_pp(way: str, length: int, gradients: bool, monkeypatch) -> None:
    """Without attention, half of a layer's highway is left."""
    row = ROWS["SRUpp"]
    module, x = row.build(torch.float32), row.inputs(length, 3, torch.float32)
    for cell in module.rnn_lst:
        transform, old = cell.transform, cell.transform.forward
        muted = lambda *args, old=old, **options: 0 * old(*args, **options)  # noqa: E731
        if way == "hook":
            transform.register_forward_hook(lambda module, args, output: 0 * output)
        elif way == "instance":
            transform.forward = muted
        else:
            transform.__class__ = type(
                "Muted", (type(transform),), {"forward": lambda self, *a, m=muted, **o: m(*a, **o)}
            )
    with torch.set_grad_enabled(gradients):
        for _, state in runs(row, module, x):
            assert state.eq(0).all()


@pytest.mark.parametrize(
    "name", ["SRU", "SRUCell", "SRUpp", "GatedLinearRNN", "LiGRU", "MinGRU", "LSTM", "GRU"]
)
def test_a_step_runs_the_forward_of_a_subclass(name: str):
    row = ROWS[name]
    module, x = row.build(), row.inputs(1, 2)
    before, _ = module.step(x[0])
    kind = type(module)

    def forward(self: nn.Module, *args: object, **kwargs: object) -> tuple[Tensor, ...]:
        h, *rest = kind.forward(self, *args, **kwargs)
        return 2 * h, *rest

    module.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": __name__})
    torch.testing.assert_close(module.step(x[0])[0], 2 * before)
