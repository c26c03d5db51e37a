"""Random inputs of the gated linear recurrence, including difficult gates, and its results for them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

GATES = {
    "usual": lambda z: F.logsigmoid(z + 3),
    "all open": torch.zeros_like,
    "all shut": lambda z: torch.full_like(z, -math.inf),
    "some shut": lambda z: F.logsigmoid(z).masked_fill(z > 1.5, -math.inf),
    "very small": lambda z: -200 * z.abs(),
    "from one to nothing": lambda z: -((10 * z.abs()) ** z),
    "one key forgets at once": lambda z: F.logsigmoid(z + 3).index_fill(-1, torch.tensor([0]), -1e4),
}


def make_inputs(
    length: int,
    batch: int = 2,
    heads: int = 2,
    key_size: int = 3,
    value_size: int = 4,
    *,
    gates: str = "usual",
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    q, k, z = (randn(length, batch, heads, key_size) for _ in range(3))
    v, s0 = randn(length, batch, heads, value_size), randn(batch, heads, key_size, value_size)
    given = {"q": q, "k": k, "v": v, "log_g": GATES[gates](z), "s0": s0}
    return {name: tensor.to(dtype) for name, tensor in given.items()}


def outputs_and_gradients(
    function, inputs: dict[str, Tensor], mask_pad: Tensor | None = None, *, sign: bool = True, **options
) -> list[Tensor]:
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in inputs.items()}
    results = function(**leaves, mask_pad=mask_pad, **options)
    generator = torch.Generator().manual_seed(1)
    upstream = [torch.randn(r.shape, generator=generator, dtype=torch.float64).to(r.dtype) for r in results]
    upstream = [weight if sign else weight.abs() for weight in upstream]
    gradients = torch.autograd.grad(
        results, list(leaves.values()), upstream, allow_unused=True, materialize_grads=True
    )
    return [*results, *gradients]
