"""The contenders that gpu_report.py times on a CUDA device, and the clock."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from cuda_model import CudaKernel
from torch import Tensor

from sru_nn import SRU, LiGRU, SLiGRU, backend
from sru_nn.functional import sru_recurrence

Call = Callable[[], object]
DEVICE = "cuda"
LARGER_THAN_CACHES = 512 << 20  # bytes
SECONDS = 0.3  # for the repetitions of one measurement
FEWEST, MOST = 5, 100


class Clock:
    """Times calls on the device, with cold caches and the device busy until each call starts."""

    def __init__(self) -> None:
        self._flush = torch.empty(LARGER_THAN_CACHES, dtype=torch.uint8, device=DEVICE)

    def __call__(self, call: Call) -> dict[str, float]:
        """The median and the quartiles, in seconds."""
        for _ in range(3):  # the first call compiles and selects algorithms
            call()
        once = self._seconds(call)
        times = [self._seconds(call) for _ in range(max(FEWEST, min(MOST, int(SECONDS / once))))]
        low, median, high = statistics.quantiles(times, n=4)
        return {"median": median, "low": low, "high": high}

    def _seconds(self, call: Call) -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._flush.zero_()
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3


def copy_bandwidth(clock: Clock) -> float:
    """Bytes per second read and written by a copy within the device's memory."""
    free, _ = torch.cuda.mem_get_info()
    source = torch.empty(min(1 << 30, free // 4), dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * source.numel() / clock(lambda: target.copy_(source))["median"]


def bytes_moved(shape: tuple[int, int, int], dtype: str) -> dict[str, float]:
    """The minimum of bytes moved by a recurrence with a highway input, alone and with its gradient."""
    length, batch, size = shape
    forward, backward = (CudaKernel(name, dtype) for name in ("sru_forward", "sru_backward"))
    alone = forward.read() + forward.sizes[0]  # without a gradient no states are saved
    both = forward.read() + forward.written() + backward.read() + backward.written()
    return {"forward": length * batch * size * alone, "both": length * batch * size * both}


def contenders(
    shape: tuple[int, int, int], dtype: str
) -> Iterator[tuple[str, Callable[[], dict[str, Call]]]]:
    """Names, and functions that return two calls each: `forward`, and `both` with the gradients."""
    for name in ("kernels", "triton"):
        yield f"SRU recurrence, {name}", lambda name=name: recurrence(shape, dtype, name)
    for name in ("kernels", "triton"):
        yield f"SRU layer, {name}", lambda name=name: layer(SRU, shape, dtype, name)
    for name, kind in (("Li-GRU", LiGRU), ("SLi-GRU", SLiGRU)):
        yield f"{name} layer, kernels", lambda kind=kind: layer(kind, shape, dtype, "kernels")
    for kind in (torch.nn.LSTM, torch.nn.GRU):
        yield f"cuDNN {kind.__name__} layer", lambda kind=kind: layer(kind, shape, dtype, "auto")


def recurrence(shape: tuple[int, int, int], dtype: str, name: Any) -> dict[str, Call]:
    """The recurrence alone, with a highway input."""
    length, batch, size = shape
    options: Mapping[str, Any] = {"device": DEVICE, "dtype": getattr(torch, dtype)}
    u, x = torch.randn(length, batch, 3, size, **options), torch.randn(length, batch, size, **options)
    v, bias = torch.rand(2, size, device=DEVICE), torch.zeros(2, size, device=DEVICE)

    def run(u: Tensor, v: Tensor, bias: Tensor, x: Tensor) -> Tensor:
        return sru_recurrence(u, v, bias, x=x)[0]

    return _calls(run, (u, v, bias, x), (), name)


def layer(kind: Any, shape: tuple[int, int, int], dtype: str, name: Any) -> dict[str, Call]:
    """One layer whose input is as wide as its output."""
    length, batch, size = shape
    module = kind(size, size).to(DEVICE, getattr(torch, dtype))
    x = torch.randn(length, batch, size, device=DEVICE, dtype=getattr(torch, dtype))
    return _calls(lambda x: module(x)[0], (x,), tuple(module.parameters()), name)


def _calls(
    run: Callable[..., Tensor], inputs: tuple[Tensor, ...], parameters: tuple[Tensor, ...], name: Any
) -> dict[str, Call]:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    with backend.using(name):
        grad_h = torch.randn_like(run(*inputs).detach())

    def forward() -> object:
        with torch.no_grad(), backend.using(name):
            return run(*inputs)

    def both() -> object:
        with backend.using(name):
            return torch.autograd.grad(run(*leaves), (*leaves, *parameters), grad_h)

    return {"forward": forward, "both": both}
