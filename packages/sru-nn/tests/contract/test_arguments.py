"""Wrong arguments are refused before anything is computed, by a sentence that states what is valid."""

from __future__ import annotations

import re

import pytest
import torch

from sru_nn import SRU, GatedLinearRNN, LiGRU, MinGRU, SLiGRU, SRUCell, SRUpp, SRUppAttention, SRUppCell
from sru_nn.compat import GRU, LSTM

from .rows import ROWS, Row, call, rows

ATTENTION = SRUppAttention(5, 16, 4)
# Valid sizes for each class.
SIZES = {
    SRU: {"input_size": 5, "hidden_size": 4, "num_layers": 2},
    SRUCell: {"input_size": 5, "hidden_size": 4},
    SRUpp: {"input_size": 5, "hidden_size": 4, "proj_size": 4, "num_layers": 2, "num_heads": 2},
    SRUppCell: {"input_size": 5, "hidden_size": 4},
    GatedLinearRNN: {"input_size": 5, "hidden_size": 4, "num_layers": 2, "num_heads": 2, "key_size": 3},
    LiGRU: {"input_size": 5, "hidden_size": 4, "num_layers": 2},
    SLiGRU: {"input_size": 5, "hidden_size": 4, "num_layers": 2},
    MinGRU: {"input_size": 5, "hidden_size": 4, "num_layers": 2},
    LSTM: {"input_size": 5, "hidden_size": 4, "num_layers": 2, "proj_size": 2},
    GRU: {"input_size": 5, "hidden_size": 4, "num_layers": 2},
}


def build(kind: type, **sizes: object) -> torch.nn.Module:
    return kind(**sizes, **({"transform_module": ATTENTION} if kind is SRUppCell else {}))


@pytest.mark.parametrize("kind_of_number", [float, str, bool])
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, sizes in SIZES.items() for name in sizes])
def test_a_size_that_is_no_integer(kind, name, kind_of_number):
    wrong = kind_of_number(SIZES[kind][name])
    message = f"{name} must be an int, got {wrong!r} ({kind_of_number.__name__})"
    with pytest.raises(TypeError, match=re.escape(message)):
        build(kind, **SIZES[kind] | {name: wrong})


@pytest.mark.parametrize("kind", [kind for kind, sizes in SIZES.items() if "num_layers" in sizes])
@pytest.mark.parametrize("layers", [1001, 10**9, 2**62])
def test_an_absurd_number_of_layers(kind, layers):
    with pytest.raises(ValueError, match=f"^{kind.__name__}: num_layers must be at most 1000, got {layers}$"):
        build(kind, **SIZES[kind] | {"num_layers": layers})


@pytest.mark.parametrize("kind", SIZES)
def test_sizes_of_numpy_are_integers(kind):
    numpy = pytest.importorskip("numpy", reason="NumPy is not installed")
    module = build(kind, **{name: numpy.int64(size) for name, size in SIZES[kind].items()})
    assert {name: getattr(module, name) for name in SIZES[kind]} == SIZES[kind]


@rows()
def test_a_mask_with_features_is_refused(row: Row):
    x = row.inputs(3, 2)
    with pytest.raises(ValueError, match=r"mask_pad must have .*, got \(3, 2, 1\)"):
        row.build()(x, mask_pad=torch.zeros(3, 2, 1, dtype=torch.bool))


@rows()
def test_input_and_state_by_name(row: Row):
    module, x = row.build(), row.inputs(3, 2)
    state, mask = row.state(module, 2), torch.rand(3, 2) < 0.3
    expected = call(module, x, state, mask)
    usual = {"LSTM": ("input", "hx"), "GRU": ("input", "hx")}.get(type(module).__name__, ("x", "state"))
    h, last, *_ = module(**dict(zip(usual, (x, state), strict=True)), mask_pad=mask)
    torch.testing.assert_close((h, last), expected, rtol=0, atol=0)
    if isinstance(module, (SRU, SRUCell, SRUpp)):
        h, last, *_ = module(input=x, c0=state, mask_pad=mask)
        torch.testing.assert_close((h, last), expected, rtol=0, atol=0)
        with pytest.raises(ValueError, match="input and x are two names of one argument; pass one of them"):
            module(x, x=x)
        with pytest.raises(ValueError, match="c0 and state are two names of one argument; pass one of them"):
            module(x, state, state=state)


@pytest.mark.parametrize("way", ["forward", "step"])
@rows()
def test_a_pair_of_states_where_there_is_one(row: Row, way):
    """As code written for `nn.LSTM` passes it."""
    module = row.build()
    if isinstance(module, (LSTM, GRU)) or way in row.exceptions:
        pytest.skip("LSTM takes a pair, GRU has a sentence of its own, and not all have a step")
    x = row.inputs(3, 2)
    pair = (row.state(module, 2), row.state(module, 2))
    who = type(module).__name__
    with pytest.raises(TypeError, match=rf"^{who}(\.step)?: (c0|state) must be .*, got (a )?tuple"):
        module(x, pair) if way == "forward" else module.step(x[0], pair)


NO_STEP = [row for row in ROWS.values() if "step" in row.exceptions]


@pytest.mark.parametrize("row", NO_STEP, ids=lambda row: type(row.make()).__name__)
def test_a_step_that_cannot_be_taken_is_refused(row: Row):
    with pytest.raises((ValueError, TypeError), match=r"step needs one direction|needs the positions before"):
        row.build().step(row.inputs(1, 2)[0])
