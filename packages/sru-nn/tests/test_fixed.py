"""Attributes assigned after construction take effect at the next call, or are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from sru_nn import SRU, GatedLinearRNN, LiGRU, MinGRU, SLiGRU, SRUCell, SRUpp, compat

T, B, E, D, L = 5, 3, 4, 6, 2
BOTH = {"bidirectional": True}
STACKS = {
    "SRU": lambda **given: SRU(E, D, L, **BOTH, **given),
    "SRUpp": lambda **given: SRUpp(E, D, 4, L, num_heads=2, **BOTH, **given),
    "LiGRU": lambda **given: LiGRU(E, D, L, **BOTH, **given),
    "SLiGRU": lambda **given: SLiGRU(E, D, L, **BOTH, **given),
    "MinGRU": lambda **given: MinGRU(E, D, L, **given),
    "GatedLinearRNN": lambda **given: GatedLinearRNN(E, D, L, num_heads=2, **given),
    "LSTM": lambda **given: compat.LSTM(E, D, L, **BOTH, **given),
    "GRU": lambda **given: compat.GRU(E, D, L, **BOTH, **given),
}
CELLS = {"LSTMCell": compat.LSTMCell, "GRUCell": compat.GRUCell}


def others(value: Any) -> list[Any]:
    """Return values that differ from an attribute's; none if the attribute is not an option."""
    if isinstance(value, bool) or value is None:
        return [not value]
    if isinstance(value, str):
        return ["layer", "tanh"]
    if isinstance(value, float):
        return [0.5]
    return [value + 1, value - 1] if isinstance(value, int) else []


def shapes_and_values(module: nn.Module, x: Tensor) -> list[Any]:
    torch.manual_seed(0)  # for dropout
    return [(part.shape, part.tolist()) for part in tree_leaves(module(x))]


@pytest.mark.parametrize("kind", [*STACKS, *CELLS])
def test_no_assigned_attribute_is_ignored(kind):
    make = STACKS.get(kind) or (lambda: CELLS[kind](E, D))
    x, tried = torch.randn(*((T, B, E) if kind in STACKS else (B, E))), 0
    for name in [*vars(make()), "dropout"]:
        if name == "training" or name.startswith("_") or not hasattr(make(), name):
            continue
        for value in others(getattr(make(), name)):
            module = make()
            before, tried = shapes_and_values(module, x), tried + 1
            try:
                setattr(module, name, value)
                after = shapes_and_values(module, x)
            except (AttributeError, ValueError):
                continue  # refused on assignment or at the next call
            assert after != before, f"{name} = {value!r} changed nothing"
    assert tried >= 3


REFUSED = [
    *[(kind, "bidirectional", True, False) for kind in ("SRU", "SRUpp", "LiGRU", "SLiGRU", "LSTM", "GRU")],
    *[(kind, "bidirectional", False, True) for kind in ("MinGRU", "GatedLinearRNN")],
    *[(kind, "num_layers", L, 3) for kind in STACKS],
    *[(kind, "hidden_size", D, 7) for kind in [*STACKS, *CELLS]],
    ("SRUpp", "causal", False, True),
    ("LiGRU", "normalization", "batch", "layer"),
    ("GatedLinearRNN", "num_heads", 2, 3),
    ("LSTM", "proj_size", 0, 3),
    *[(kind, "bias", True, False) for kind in ("LSTM", "GRU", "LSTMCell", "GRUCell")],
    *[(kind, "mode", kind, "RNN_TANH") for kind in ("LSTM", "GRU")],
]


@pytest.mark.parametrize(("kind", "name", "before", "value"), REFUSED)
def test_options_of_built_layers_cannot_change(kind, name, before, value):
    module = STACKS[kind]() if kind in STACKS else CELLS[kind](E, D)
    message = (
        f"^{kind}: {name} is {before!r} and cannot become {value!r}, as the layers are made; "
        f"construct another {kind}$"
    )
    with pytest.raises(AttributeError, match=message):
        setattr(module, name, value)
    setattr(module, name, before)
    assert getattr(module, name) == before


def test_a_layer_keeps_what_it_was_made_with():
    with pytest.raises(AttributeError, match=r"^SRUCell: bidirectional is False and cannot become True"):
        SRUCell(E, D).bidirectional = True


@pytest.mark.parametrize("kind", STACKS)
def test_batch_first_counts_at_the_next_call(kind):
    module = STACKS[kind]().eval()
    x = torch.randn(T, B, E)
    expected, *_ = module(x)
    module.batch_first = True
    h, *_ = module(x.transpose(0, 1))
    torch.testing.assert_close(h.transpose(0, 1), expected)


@pytest.mark.parametrize("kind", ["SRU", "LSTM", "LiGRU", "MinGRU"])
def test_a_stack_whose_layers_are_dropped(kind):
    """After shortening the list of layers and setting `num_layers`, states have as many layers."""
    module = STACKS[kind]().eval()
    layers = "rnn_lst" if hasattr(module, "rnn_lst") else "layers"
    setattr(module, layers, getattr(module, layers)[:1])
    module.num_layers = 1
    x = torch.randn(T, B, E)
    h, state = module(x)
    torch.testing.assert_close(module(x, state)[0].shape, h.shape)


def test_a_subclass_may_keep_a_module_under_such_a_name():
    class Scaled(GatedLinearRNN):
        def __init__(self) -> None:
            super().__init__(E, D)
            self.memory = nn.Linear(D, D)

    assert isinstance(Scaled().memory, nn.Linear)
