"""SRU++ of `sru` 3.0.0.dev6, recorded in float64 by `golden/make_sru_3_0_0_dev6.py`."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

GOLDEN = runpy.run_path(str(Path(__file__).parents[2] / "golden" / "replay_srupp.py"))
CASES = GOLDEN["load_cases"]()
STACKS = [case for case in CASES if case["module"] == "SRUpp"]
build, replay = GOLDEN["build"], GOLDEN["replay"]
pytestmark = pytest.mark.usefixtures("implementation")


@pytest.mark.parametrize("index", range(len(CASES)))
def test_parity(index):
    # sru 3.0.0.dev6 keeps the highway scale in float32, even in a float64 module.
    tolerance = 1e-6 if CASES[index]["arguments"].get("rescale") else 1e-11
    for name, actual, expected in replay(CASES[index]):
        torch.testing.assert_close(
            actual, expected, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("index", range(0, len(CASES), 3))
def test_outputs_in_float32(index):
    for name, actual, expected in replay(CASES[index], torch.float32):
        if name in ("h", "c"):
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("option", GOLDEN["OPTIONS"])
def test_the_cases_cover(option):
    assert any(GOLDEN["OPTIONS"][option](case) for case in CASES)


OTHERS = [
    ("hidden_size", {"hidden_size": 17}, r"hidden_size: this module has 17, the state dict \d"),
    ("num_layers", {"num_layers": 4}, r"num_layers: this module has 4, the state dict \d"),
    ("proj_size", {"proj_size": 8}, r"proj_size: this module has 8, the state dict [24]"),
    (
        "attn_layer_norm",
        {"attn_layer_norm": False},
        "attn_layer_norm: this module has False, the state dict True",
    ),
    (
        "attention",
        {"attention_every_n_layers": 5},
        "attention: this module has False, the state dict True; build it with the attention_every_n_layers",
    ),
]


@pytest.mark.parametrize(("field", "changed", "message"), OTHERS, ids=[field for field, *_ in OTHERS])
def test_state_dict_of_another_architecture(field, changed, message):
    case = next(
        case
        for case in STACKS
        if case["arguments"]["attn_layer_norm"]
        and not any(name.startswith("attention_") for name in case["arguments"])
    )
    with pytest.raises(RuntimeError, match=message):
        build(case | {"arguments": case["arguments"] | changed})


@pytest.mark.parametrize("saved", [False, True])
def test_state_dict_with_another_layer_norm(saved):
    case = next(case for case in STACKS if case["arguments"]["layer_norm"] == saved)
    with pytest.raises(
        RuntimeError, match=f"layer_norm: this module has {not saved}, the state dict {saved}"
    ):
        build(case | {"arguments": case["arguments"] | {"layer_norm": not saved}})


def test_state_dict_of_another_scale():
    case = next(
        case for case in STACKS if case["arguments"]["rescale"] and case["arguments"]["input_size"] == 4
    )
    with pytest.raises(RuntimeError, match=r"highway_bias: this module has 1, the state dict -2"):
        build(case | {"arguments": case["arguments"] | {"highway_bias": 1.0}})


def test_a_state_dict_that_was_converted_loads_again():
    model = build(STACKS[0])
    twin = build(STACKS[0] | {"state_dict": model.state_dict()})
    for name, value in model.state_dict().items():
        assert torch.equal(twin.state_dict()[name], value)
    wrapped = {f"module.{name}": value for name, value in STACKS[0]["state_dict"].items()}
    model.load_state_dict(wrapped)
