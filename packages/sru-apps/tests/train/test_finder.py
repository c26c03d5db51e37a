"""`--find-lr`."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from sru_apps.cli import main
from sru_apps.train import finder

pytestmark = pytest.mark.usefixtures("pictures")


def test_the_last_rate_that_works() -> None:
    assert finder.last_good([5.0] * 11 + [4.0, 2.0, 2.15, 2.3, 9.0]) == 13
    assert finder.last_good([float(x) for x in range(30)]) is None
    assert finder.last_good([1.0] * 5) is None


def test_a_rate_is_suggested_and_nothing_trained(
    small_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finder, "STEPS", 60)
    assert main(["classify", "fit", *small_options, "--find-lr", "--name=x"]) == 0
    shown = capsys.readouterr().out
    found = re.search(r"Suggested learning rate: (\S+), .*\nTrain with: --lr (\S+)\n", shown)
    assert found is not None
    assert found[1] == found[2]
    assert 1e-6 < float(found[1]) < 1
    group = tmp_path / "runs/classify/sst2"
    assert [path.name for path in group.iterdir()] == ["learning_rates.png"]


def test_where_nothing_is_learnt(
    small_options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finder, "STEPS", 5)
    assert main(["classify", "fit", *small_options, "--find-lr"]) == 1
    assert "the loss never decreases from 1e-06 to 1; check" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    assert math.isfinite(finder.LOWEST)
