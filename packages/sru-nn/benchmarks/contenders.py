"""The contenders: the modules of this package, PyTorch's, and `sru` 2.6.0 if it is installed.

They are created on the default device. On a GPU, calls return after the GPU has finished.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sru_nn import SRU, backend

Call = Callable[[], object]

OURS, REFERENCE, LSTM, GRU, OLD, GEMM = (
    "sru_nn",
    "sru_nn, reference operators",
    "nn.LSTM",
    "nn.GRU",
    "sru 2.6.0",
    "bare GEMM",
)


def finish() -> None:
    """Wait for the GPU, if the contenders are on one."""
    if torch.get_default_device().type == "cuda":
        torch.cuda.synchronize()


def old_sru() -> type[nn.Module] | None:
    """Import `sru` 2.6.0, which compiles at import; None on a GPU or if it is not installed."""
    if importlib.util.find_spec("sru") is None or torch.get_default_device().type == "cuda":
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sru
    if sru.__version__ != "2.6.0":
        raise RuntimeError(f"the package sru must be version 2.6.0, got {sru.__version__} in {sru.__file__}")
    return sru.SRU  # type: ignore[no-any-return]


def best_linear(x: Tensor, weight: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Choose the faster matrix product on this machine: PyTorch's default or oneDNN's."""
    from measure import race

    def onednn(x: Tensor, weight: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")  # type: ignore[no-any-return]

    if x.device.type == "cuda":
        return F.linear
    choices = {"default": F.linear, "oneDNN": onednn}
    with torch.inference_mode():
        times = race({name: lambda f=f: f(x, weight) for name, f in choices.items()}, seconds=0.3)
    return choices[min(times, key=lambda name: times[name].median)]


def modules(size: int, layers: int, dtype: torch.dtype) -> dict[str, nn.Module]:
    """Create modules with `size` inputs and outputs; ours and the old SRU have the same weights."""
    ours = SRU(size, size, layers).to(dtype)
    made: dict[str, nn.Module] = {
        OURS: ours,
        LSTM: nn.LSTM(size, size, layers).to(dtype),
        GRU: nn.GRU(size, size, layers).to(dtype),
    }
    old = old_sru() if dtype == torch.float32 else None
    if old is not None:
        made[OLD] = old(size, size, layers)
        ours.load_state_dict(made[OLD].state_dict())
    return made


def forward_calls(made: dict[str, nn.Module], x: Tensor) -> dict[str, Call]:
    """Return calls for inference over a whole sequence."""

    def call(module: nn.Module, choice: backend.Choice = "auto") -> Call:
        def run() -> object:
            with torch.inference_mode(), backend.using(choice):
                result = module(x)
            finish()
            return result

        return run

    calls = {name: call(module) for name, module in made.items()}
    calls[REFERENCE] = call(made[OURS], "reference")
    weight = made[OURS].rnn_lst[0].transform.weight.detach()  # type: ignore[union-attr,index]
    linear = best_linear(x, weight)

    def gemm() -> Tensor:
        with torch.inference_mode():
            result = linear(x, weight)
        finish()
        return result

    return calls | {GEMM: gemm}


def training_calls(made: dict[str, nn.Module], x: Tensor) -> dict[str, Call]:
    """Return calls for forward and backward, with gradients of the input and of every parameter."""
    gradient = torch.randn_like(x)

    def call(module: nn.Module, choice: backend.Choice = "auto") -> Call:
        inputs = x.detach().clone().requires_grad_()

        def run() -> object:
            with backend.using(choice), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # sru 2.6.0 warns about training on the CPU
                module.zero_grad(set_to_none=True)
                inputs.grad = None
                module(inputs)[0].backward(gradient)
            finish()
            return inputs.grad

        return run

    calls = {name: call(module) for name, module in made.items()}
    calls[REFERENCE] = call(made[OURS], "reference")
    return calls


def step_calls(size: int, layers: int) -> dict[str, Call]:
    """Return calls for decoding: one step with batch size 1, given a state."""
    made = modules(size, layers, torch.float32)
    x = torch.randn(1, 1, size)
    cells = {
        "nn.LSTMCell": [nn.LSTMCell(size, size) for _ in range(layers)],
        "nn.GRUCell": [nn.GRUCell(size, size) for _ in range(layers)],
    }
    weights = [torch.randn(3 * size, size) for _ in range(layers)]
    linear = best_linear(x[0], weights[0])

    def whole(name: str) -> Call:
        with torch.inference_mode():
            state = made[name](x)[1]

        def run() -> object:
            with torch.inference_mode():
                result = made[name](x, state)
            finish()
            return result

        return run

    def by_cells(name: str) -> Call:
        def run() -> None:
            with torch.inference_mode():
                h = x[0]
                for cell in cells[name]:
                    out = cell(h)
                    h = out[0] if isinstance(out, tuple) else out
            finish()

        return run

    def gemv() -> None:
        with torch.inference_mode():
            for weight in weights:
                linear(x[0], weight)
        finish()

    calls = {name: whole(name) for name in made}
    return calls | {name: by_cells(name) for name in cells} | {GEMM: gemv}
