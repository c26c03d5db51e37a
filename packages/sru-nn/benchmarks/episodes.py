"""Rows with several episodes: our modules with resets, PyTorch's modules with the usual workarounds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from measure import compare
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sru_nn import SRU, GatedLinearRNN, MinGRU

SHAPE = (128, 128, 256)
"""T, B, D, as in TorchRL's benchmark of recurrent policies."""
SHARE = 0.03
Call = Callable[[], list[Tensor]]
Run = Callable[[Tensor], Tensor]

OURS = {"SRU": SRU, "MinGRU": MinGRU, "GatedLinearRNN": partial(GatedLinearRNN, num_heads=4)}
CHECKED = 8
"""Number of rows compared with separate episodes, which take several times the memory."""
WITHOUT, WITH = "without resets", "with resets"
PADDED, PACKED, LOOP = "split and padded", "split and packed", "loop over steps"


def calls() -> dict[str, Call]:
    """Return training calls by name, after comparing those that compute the same function."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(SHAPE, generator=generator)
    reset = torch.rand(SHAPE[:2], generator=generator) < SHARE
    size = SHAPE[2]
    made: dict[str, Call] = {}
    for name, kind in OURS.items():
        rnn = kind(size, size, 1)
        made[f"{name}, {WITHOUT}"] = training(rnn, x, lambda x, rnn=rnn: rnn(x)[0])
        made[f"{name}, {WITH}"] = training(rnn, x, lambda x, rnn=rnn: rnn(x, reset=reset)[0])
        few, begins = x[:, :CHECKED], reset[:, :CHECKED]
        ours = training(rnn, few, lambda x, rnn=rnn, reset=begins: rnn(x, reset=reset)[0])
        compare(ours(), training(rnn, few, lambda x, rnn=rnn, reset=begins: padded(rnn, x, reset))())
    for kind in (nn.GRU, nn.LSTM):
        rnn, name = kind(size, size), f"nn.{kind.__name__}"
        made[f"{name}, {PADDED}"] = training(rnn, x, lambda x, rnn=rnn: padded(rnn, x, reset))
        made[f"{name}, {PACKED}"] = training(rnn, x, lambda x, rnn=rnn: packed(rnn, x, reset))
        compare(made[f"{name}, {PADDED}"](), made[f"{name}, {PACKED}"]())
        if kind is nn.GRU:
            cell = nn.GRUCell(size, size)
            cell.load_state_dict({key.removesuffix("_l0"): value for key, value in rnn.state_dict().items()})
            made[f"nn.GRUCell, {LOOP}"] = training(cell, x, lambda x, cell=cell: looped(cell, x, reset))
            compare(made[f"nn.GRUCell, {LOOP}"](), made[f"{name}, {PADDED}"]())
    return made


def training(rnn: nn.Module, x: Tensor, run: Run) -> Call:
    """Return a call that returns the outputs and the gradients of the input and of all parameters."""
    upstream = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    leaf = x.clone().requires_grad_()
    of = [leaf, *rnn.parameters()]

    def call() -> list[Tensor]:
        h = run(leaf)
        return [h.detach(), *torch.autograd.grad(h, of, upstream)]

    return call


def split(x: Tensor, reset: Tensor) -> tuple[Tensor, Tensor]:
    """Give each episode its own padded row: `(T, S, E)`, and a mask `(S, T)`, true at real positions."""
    begins = reset.t().clone()
    begins[:, 0] = True
    bounds = torch.cat([begins.flatten().nonzero().squeeze(1), torch.tensor([begins.numel()])])
    lengths = bounds.diff()
    real = torch.arange(int(lengths.max())) < lengths[:, None]
    # pad_sequence does the same, but its backward pass copies the whole batch once per episode.
    rows = x.new_zeros(*real.shape, x.shape[2])
    rows[real] = x.transpose(0, 1).flatten(0, 1)
    return rows.transpose(0, 1), real


def padded(rnn: nn.Module, x: Tensor, reset: Tensor) -> Tensor:
    """Run the episodes as a padded batch, the usual way in recurrent policies."""
    rows, real = split(x, reset)
    h = rnn(rows)[0]  # padding at the end does not affect earlier outputs
    return h.transpose(0, 1)[real].view(x.shape[1], x.shape[0], -1).transpose(0, 1)


def packed(rnn: nn.Module, x: Tensor, reset: Tensor) -> Tensor:
    """Run the episodes as a packed batch."""
    rows, real = split(x, reset)
    h = rnn(pack_padded_sequence(rows, real.sum(1), enforce_sorted=False))[0]
    rows = pad_packed_sequence(h)[0].transpose(0, 1)[real]
    return rows.view(x.shape[1], x.shape[0], -1).transpose(0, 1)


def looped(cell: nn.GRUCell, x: Tensor, reset: Tensor) -> Tensor:
    """Run one step at a time and zero the state where an episode begins."""
    state, outputs = x.new_zeros(x.shape[1:]), []
    for x_t, begins in zip(x, reset, strict=True):
        state = cell(x_t, state.masked_fill(begins[:, None], 0.0))
        outputs.append(state)
    return torch.stack(outputs)
