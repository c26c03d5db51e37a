"""Every recurrent module that the contract suite runs over: one row per module and set of options.

To put a module under the contract, add a row. The tests in this folder need nothing else: they call the
module as `module(x, state, mask_pad=..., reset=..., cu_seqlens=...)` and, where it has one, `module.step(x,
state, reset=...)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from sru_nn import (
    SRU,
    GatedLinearRNN,
    LiGRU,
    MinGRU,
    SLiGRU,
    SRUCell,
    SRUpp,
    SRUppAttention,
    SRUppCell,
    SRUppState,
)
from sru_nn.compat import GRU, LSTM

E, D, L = 5, 8, 2


class Vectors(nn.Module):
    """A custom transform that also returns recurrent vectors for each position."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = nn.Linear(D, 3 * D), nn.Linear(D, 2 * D)

    def reset_parameters(self) -> None:
        self.u.reset_parameters()
        self.v.reset_parameters()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.u(x), self.v(x)


# The exceptions: which parts of the contract do not hold, and why.
TWO_DIRECTIONS = {
    "chunks": "the second direction starts at the end of the sequence",
    "step": "as for chunks",
}
ONE_LAYER = {
    "packed": "a layer takes (T, B, E) alone; its stack unpacks",
    "single": "two axes are one step of a batch, as in sru",
    "batch_first": "as for packed",
}
LOOKS_BACK = {"chunks": "a layer attends to what its stack keeps", "step": "as for chunks"}
NORMS = {"half": "a norm that divides by a small number amplifies the rounding of half precision"}
# Over many steps, and where the state is small after a reset, a norm also amplifies float32 rounding.
LEARNED_NORMS = {"normalization": "layer", "nonlinearity": "tanh", "recurrent_elementwise_affine": True}
RECTIFIES = {"half": "the slope of a rectifier jumps where rounding changes a sign"}
COUNTS_PADDING = {"padding": "the context counts positions, padded or not", "packed": "as for padding"}


@dataclass(frozen=True)
class Row:
    """A module under the contract.

    Attributes:
        make: Builds the module, for E input features.
        batch_axis: The batch axis of each tensor of its state.
        stream: The method that continues a sequence, if that is not the call itself.
        carry: Converts the state that the call takes to the state of `stream`.
        pads_with_zero: Whether the output at padding is zero.
        magnifies: How much larger rounding errors are than in other stacks.
        main: Whether slow tests, which hardly depend on the options, take this row.
        backends: Whether no other row has its recurrence, so that tests run it on every backend.
        input_size: E, if not the default.
        exceptions: The tests that leave this row out, each with the reason.
    """

    make: Callable[[], nn.Module]
    batch_axis: int = 1
    stream: str | None = None
    carry: Callable[[Tensor], Any] | None = None
    pads_with_zero: bool = True
    magnifies: float = 1.0
    main: bool = False
    backends: bool = False
    input_size: int = E
    exceptions: Mapping[str, str] = field(default_factory=dict)

    def build(self, dtype: torch.dtype = torch.float64) -> nn.Module:
        """Build the module, with biases, norms and vectors away from their initial zeros and ones."""
        module = self.make()
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and (parameter.dim() < 2 or name.endswith(("bias", "initial_state"))):
                # A norm whose weight is near zero would make everything ill-conditioned.
                nn.init.normal_(parameter, mean=float(name.endswith("norm.weight")), std=0.3)
        return module.to(dtype)

    def inputs(self, length: int, batch: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """Draw `(T, B, E)`."""
        return torch.randn(length, batch, self.input_size, dtype=torch.float64).to(dtype)

    def state(self, module: nn.Module, batch: int) -> Any:
        """Draw an initial state."""
        with torch.no_grad():
            _, like = call(module, self.inputs(2, batch, next(module.parameters()).dtype))
        return tree_map(torch.randn_like, like)

    def beginning(self, module: nn.Module, batch: int) -> Any:
        """Return the state that a sequence starts from if none is given: zeros, or the learned state."""
        zeros = tree_map(torch.zeros_like, self.state(module, batch))
        learned = [
            parameter for name, parameter in module.named_parameters() if name.endswith("initial_state")
        ]
        if not learned:
            return zeros
        layers = learned[0] if self.batch_axis == 0 else torch.stack(learned)
        if isinstance(module, LSTM):
            return zeros[0], layers.unsqueeze(1).expand_as(zeros[1])
        return layers.unsqueeze(self.batch_axis).expand_as(zeros)

    def joined(self, module: nn.Module, first: Any, second: Any) -> Any:
        """Return a state with the first direction of one state and the second direction of another."""
        if not module.bidirectional:
            return first
        in_rows = isinstance(module, (LSTM, GRU)) or getattr(module, "nn_rnn_compatible_return", False)

        def join(one: Tensor, other: Tensor) -> Tensor:
            if in_rows:  # the directions alternate
                return torch.where(torch.arange(len(one))[:, None, None] % 2 == 0, one, other)
            return torch.cat([one.chunk(2, dim=-1)[0], other.chunk(2, dim=-1)[1]], dim=-1)

        return tree_map(join, first, second)

    def of_one(self, state: Any, b: int) -> Any:
        """Return the state of one sequence, as a batch of one."""
        return tree_map(lambda part: part.narrow(self.batch_axis, b, 1), state)

    def proceed(
        self,
        module: nn.Module,
        x: Tensor,
        carried: Any,
        mask_pad: Tensor | None = None,
        reset: Tensor | None = None,
    ) -> Any:
        """Run the next positions of a sequence."""
        if self.stream is None:
            return call(module, x, carried, mask_pad, reset=reset)
        return getattr(module, self.stream)(x, carried, mask_pad=mask_pad, reset=reset)

    def begin(self, state: Any) -> Any:
        """Return what to carry into the first chunk."""
        return state if self.carry is None or state is None else self.carry(state)

    def end(self, carried: Any) -> Any:
        """Return the state from what the last chunk returned."""
        return carried if self.carry is None else carried.c


def call(
    module: nn.Module, x: Any, state: Any = None, mask_pad: Tensor | None = None, **options: Any
) -> tuple[Any, Any]:
    """Return the outputs and the state; `SRUpp` returns its memory too."""
    h, state, *_ = module(x, state, mask_pad=mask_pad, **options)
    return h, state


def tensors(*results: Any) -> list[Tensor]:
    """List all tensors in nested results."""
    return [leaf for leaf in tree_leaves(results) if isinstance(leaf, Tensor)]


ROWS = {
    "SRU": Row(lambda: SRU(E, D, L), main=True, backends=True),
    "SRU, both directions, norm, tanh": Row(
        lambda: SRU(E, D, L, bidirectional=True, layer_norm=True, use_tanh=True),
        main=True,
        backends=True,
        exceptions=TWO_DIRECTIONS,
    ),
    "SRU, narrow projections, rescaled": Row(
        lambda: SRU(E, D, L, projection_size=2, rescale=True, highway_bias=-1.0),
        magnifies=4,  # half precision rounds between the two products, and the rescaled highway amplifies it
    ),
    "SRU, norm after, relu": Row(
        lambda: SRU(E, D, L, layer_norm=True, normalize_after=True, use_relu=True),
        pads_with_zero=False,
        exceptions=NORMS,
    ),
    "SRU, no highway, v1": Row(lambda: SRU(E, D, L, has_skip_term=False, v1=True)),
    "SRU, input projected, states of nn.LSTM": Row(
        lambda: SRU(
            E, D, L, bidirectional=True, proj_input_to_hidden_first=True, nn_rnn_compatible_return=True
        ),
        exceptions=TWO_DIRECTIONS,
    ),
    "SRU, vectors of each position": Row(
        lambda: SRU(E, D, L, proj_input_to_hidden_first=True, custom_m=Vectors())
    ),
    "SRU, learned state": Row(
        lambda: SRU(E, D, L, bidirectional=True, learn_initial_state=True), exceptions=TWO_DIRECTIONS
    ),
    "SRUCell": Row(lambda: SRUCell(E, D), batch_axis=0, main=True, exceptions=ONE_LAYER),
    "SRUCell, both directions": Row(
        lambda: SRUCell(E, D, bidirectional=True, n_proj=2, layer_norm=True),
        batch_axis=0,
        exceptions=ONE_LAYER | TWO_DIRECTIONS,
    ),
    "SRUpp": Row(
        lambda: SRUpp(E, D, 4, L, num_heads=2, causal=True),
        stream="stream",
        carry=SRUppState,
        main=True,
        exceptions=NORMS,
    ),
    "SRUpp, both directions, norm": Row(
        lambda: SRUpp(E, D, 4, L, num_heads=2, bidirectional=True, layer_norm=True),
        exceptions=NORMS | TWO_DIRECTIONS,
    ),
    "SRUpp, short context, norm after": Row(
        lambda: SRUpp(
            E,
            D,
            4,
            3,
            causal=True,
            context=2,
            layer_norm=True,
            normalize_after=True,
            attention_every_n_layers=2,
            proj_input_to_hidden_first=True,
        ),
        stream="stream",
        carry=SRUppState,
        pads_with_zero=False,
        exceptions=NORMS | COUNTS_PADDING,
    ),
    "SRUpp, learned state": Row(
        lambda: SRUpp(E, D, 4, L, causal=True, learn_initial_state=True),
        stream="stream",
        carry=SRUppState,
        exceptions=NORMS,
    ),
    "SRUppCell": Row(
        lambda: SRUppCell(E, D, transform_module=SRUppAttention(E, 4 * D, 4, causal=True)),
        batch_axis=0,
        exceptions=ONE_LAYER | LOOKS_BACK,
    ),
    "GatedLinearRNN": Row(
        lambda: GatedLinearRNN(E, 2 * D, L, num_heads=2, key_size=3),
        main=True,
        backends=True,
        magnifies=10,
        exceptions=NORMS,
    ),
    "GatedLinearRNN, output gate": Row(
        lambda: GatedLinearRNN(D, D, L, output_gate=True), input_size=D, magnifies=2, exceptions=NORMS
    ),
    "GatedLinearRNN, learned state": Row(
        lambda: GatedLinearRNN(E, 2 * D, 1, num_heads=2, key_size=3, learn_initial_state=True),
        magnifies=10,
        exceptions=NORMS,
    ),
    "MinGRU": Row(lambda: MinGRU(E, D, L), main=True, backends=True, exceptions=NORMS),
    "MinGRU, learned state": Row(lambda: MinGRU(E, D, L, learn_initial_state=True), exceptions=NORMS),
    # In evaluation: in training batch norm mixes the sequences of a batch.
    "LiGRU": Row(lambda: LiGRU(E, D, L).eval(), main=True, backends=True, exceptions=RECTIFIES),
    "SLiGRU, both directions, learned state": Row(
        lambda: SLiGRU(E, D, bidirectional=True, learn_initial_state=True, **LEARNED_NORMS),
        exceptions=NORMS | TWO_DIRECTIONS,
    ),
    "LSTM": Row(lambda: LSTM(E, D, L), main=True),
    "LSTM, both directions, projected": Row(
        lambda: LSTM(E, D, L, bidirectional=True, proj_size=2), exceptions=TWO_DIRECTIONS
    ),
    "LSTM, no bias": Row(lambda: LSTM(E, D, L, bias=False)),
    "LSTM, learned state": Row(lambda: LSTM(E, D, L, learn_initial_state=True)),
    "GRU": Row(lambda: GRU(E, D, L), main=True),
    "GRU, both directions": Row(lambda: GRU(E, D, L, bidirectional=True), exceptions=TWO_DIRECTIONS),
}


def rows(test: str | None = None, *, main: bool = False, also: Sequence[str] = ()) -> pytest.MarkDecorator:
    """Parametrize a test over the rows, except those that list it as an exception."""
    chosen = {
        name: row
        for name, row in ROWS.items()
        if test not in row.exceptions and (row.main or not main or name in also)
    }
    return pytest.mark.parametrize("row", chosen.values(), ids=chosen)


def learned(*names: str) -> pytest.MarkDecorator:
    """Parametrize a test over the rows with a learned state, or only those that start with one of `names`."""
    chosen = {name: row for name, row in ROWS.items() if "learned" in name and name.startswith(names or "")}
    return pytest.mark.parametrize("row", chosen.values(), ids=chosen)
