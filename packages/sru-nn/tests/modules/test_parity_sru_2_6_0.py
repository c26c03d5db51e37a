"""Outputs, states and gradients of `sru` 2.6.0, recorded in float64 by `golden/make_sru_2_6_0.py`."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from sru_nn import SRU

GOLDEN = runpy.run_path(str(Path(__file__).parents[1] / "golden" / "replay.py"))
CASES = GOLDEN["load_cases"]()
replay = GOLDEN["replay"]


@pytest.mark.parametrize("index", range(len(CASES)))
def test_parity(index):
    # sru 2.6.0 keeps the highway scale in float32, even in a float64 module.
    tolerance = 1e-6 if CASES[index]["arguments"]["rescale"] else 1e-11
    for name, actual, expected in replay(CASES[index]):
        torch.testing.assert_close(
            actual, expected, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("option", GOLDEN["OPTIONS"])
def test_the_cases_cover(option):
    assert any(GOLDEN["OPTIONS"][option](case) for case in CASES)


def test_state_dict_of_another_highway_bias():
    case = next(c for c in CASES if c["arguments"]["rescale"] and c["arguments"]["has_skip_term"])
    arguments = case["arguments"] | {"highway_bias": -7.0}
    with pytest.raises(RuntimeError, match=r"rnn_lst.0.scale_x: .*build the module with the highway_bias"):
        SRU(**arguments).load_state_dict(case["state_dict"])


def test_state_dict_of_another_size():
    case = next(c for c in CASES if c["custom"] == "none" and not c["arguments"]["projection_size"])
    arguments = case["arguments"] | {"hidden_size": 17}
    with pytest.raises(RuntimeError, match=r"rnn_lst.0.weight: expected \(inputs, N·D·K\)"):
        SRU(**arguments).load_state_dict(case["state_dict"])
