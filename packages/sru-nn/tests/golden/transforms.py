"""Custom transforms used by the golden cases: needs only torch, so that both packages can run them."""

import torch
from torch import Tensor, nn


class LinearWithVectors(nn.Module):
    """Return pre-activations and per-position recurrent vectors, in the layout of `sru` 2.6.0."""

    def __init__(self, input_size: int, output_size: int, num_matrices: int) -> None:
        super().__init__()
        self.u = nn.Linear(input_size, output_size * num_matrices)
        self.v = nn.Linear(input_size, output_size * 2)

    def reset_parameters(self) -> None:
        self.u.reset_parameters()
        self.v.reset_parameters()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.u(x), torch.tanh(self.v(x))


def make_custom_m(kind: str, sizes: list[tuple[int, int, int]]) -> "list[nn.Module] | None":
    """Make one transform per layer of `(input_size, output_size, num_matrices)`: none, "u" or "uv"."""
    if kind == "none":
        return None
    if kind == "u":
        return [nn.Linear(inputs, outputs * gates) for inputs, outputs, gates in sizes]
    return [LinearWithVectors(*size) for size in sizes]
