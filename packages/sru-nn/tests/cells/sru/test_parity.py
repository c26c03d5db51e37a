"""Outputs, states and gradients of old `sru` versions, recorded in float64 by `golden/make_sru*.py`."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

GOLDEN = runpy.run_path(str(Path(__file__).parents[2] / "golden" / "replay.py"))
CASES = {
    f"{version}-{index}": case
    for version in GOLDEN["VERSIONS"]
    for index, case in enumerate(GOLDEN["load_cases"](version))
}
replay = GOLDEN["replay"]
pytestmark = pytest.mark.usefixtures("implementation")


@pytest.mark.parametrize("name", CASES)
def test_parity(name):
    case = CASES[name]
    # The old package keeps the highway scale in float32, even in a float64 module.
    tolerance = 1e-6 if case["options"]["rescale"] else 1e-11
    for result, actual, expected in replay(case):
        torch.testing.assert_close(
            actual, expected, rtol=tolerance, atol=tolerance, msg=lambda m, r=result: f"{r}: {m}"
        )


@pytest.mark.parametrize("option", GOLDEN["OPTIONS"])
def test_the_cases_cover(option):
    assert any(GOLDEN["OPTIONS"][option](case) for case in CASES.values())
