from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from sru_apps.cli import main
from sru_apps.training.run_folder import RunFolder
from sru_apps.training.summary import Summary

RUN = Summary(
    dataset="sst2",
    encoder="sru",
    seed=0,
    test_accuracy=0.80,
    validation_accuracy=0.79,
    best_epoch=5,
    epochs=12,
    seconds=99.94,
    parameters=1_234_567,
    parameters_without_embedding=4_567,
    run="a",
)


def save(folder: Path, **changes: object) -> str:
    replace(RUN, **changes).save(RunFolder(folder).summary)
    return str(folder)


def test_runs_of_a_kind_share_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        save(tmp_path / "a"),
        save(tmp_path / "lstm", encoder="lstm"),
        save(tmp_path / "b", seed=1, test_accuracy=0.84, validation_accuracy=0.79),
        save(tmp_path / "large", parameters_without_embedding=5_000),
    ]
    assert main(["classify", "table", *runs]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| sst2 | lstm | 4,567 | 1 | 80.00 | 79.00 |",
        "| sst2 | sru | 4,567 | 2 | 82.00 ± 2.83 | 79.00 ± 0.00 |",
        "| sst2 | sru | 5,000 | 1 | 80.00 | 79.00 |",
    ]


def test_a_run_that_has_not_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "table", str(tmp_path)]) == 1
    assert re.search(r"no summary at .*; give run folders whose training has ended", capsys.readouterr().err)


@pytest.mark.parametrize("content", ["{", "{}", "[1]", '{"dataset": "sst2"}'])
def test_a_damaged_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    RunFolder(tmp_path).summary.write_text(content)
    assert main(["classify", "table", str(tmp_path)]) == 1
    assert "is damaged or is not a summary" in capsys.readouterr().err
