"""SRU: inference, training and decoding, for `nox -s bench -- sru --against COMMIT`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from turns import Calls, serve

from sru_nn import SRU

SEQUENCES = [(128, 32, 512), (1024, 1, 1024), (128, 1, 512), (32, 32, 128), (20, 1, 64)]
STEPS = [(64, 1), (64, 4), (1024, 1), (1024, 4)]

Made = tuple[Callable[[], object], list[float]]


def model(size: int, layers: int) -> SRU:
    """Return an SRU with the same weights in every commit."""
    rnn = SRU(size, size, layers)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _, parameter in sorted(rnn.named_parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5)
    return rnn


def numbers(length: int, batch: int, size: int) -> torch.Tensor:
    """Return the input."""
    return torch.randn(length, batch, size, generator=torch.Generator().manual_seed(1))


def forward(length: int, batch: int, size: int) -> Made:
    """Run inference over whole sequences."""
    rnn, x = model(size, 1), numbers(length, batch, size)

    def call() -> tuple[torch.Tensor, torch.Tensor]:
        with torch.inference_mode():
            return rnn(x)  # type: ignore[no-any-return]

    h, c = call()
    return call, [h.norm().item(), c.norm().item()]


def training(length: int, batch: int, size: int) -> Made:
    """Run forward and backward, with all gradients."""
    rnn, x = model(size, 1), numbers(length, batch, size).requires_grad_()
    gradient = torch.ones(length, batch, size)

    def call() -> None:
        rnn.zero_grad()
        x.grad = None
        rnn(x)[0].backward(gradient)

    call()
    return call, [tensor.grad.norm().item() for tensor in (x, *rnn.parameters()) if tensor.grad is not None]


def step(size: int, layers: int) -> Made:
    """Decode one position of one sequence."""
    rnn, x = model(size, layers), numbers(1, 1, size)
    with torch.inference_mode():
        h, state = rnn(x)

    def call() -> object:
        with torch.inference_mode():
            return rnn(x, state)

    return call, [h.norm().item(), state.norm().item()]


if __name__ == "__main__":
    torch.manual_seed(0)
    cases = {}
    for shape in SEQUENCES:
        cases[f"forward {shape}"] = Calls(lambda shape=shape: forward(*shape))
        cases[f"forward and backward {shape}"] = Calls(lambda shape=shape: training(*shape))
    for size, layers in STEPS:
        cases[f"step, D = {size}, {layers} layers"] = Calls(
            lambda size=size, layers=layers: step(size, layers)
        )
    serve(cases)
