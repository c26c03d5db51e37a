"""`sru TASK table`; tests/tasks/classify/test_commands.py tests its rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sru_apps.cli import main

SUMMARY = {
    "dataset": "sst2",
    "encoder": "sru",
    "parameters": 5_000,
    "validation": {"loss": 4.0, "perplexity": 55.0, "accuracy": 0.5},
    "test": {"loss": 4.1, "perplexity": 60.0, "accuracy": 0.4},
}


def run(folder: Path, config: str = "", **changes: Any) -> str:
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps({**SUMMARY, **changes}))
    if config:
        (folder / "config.yaml").write_text(config)
    return str(folder)


def test_language_models_have_their_own_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        run(tmp_path / "a"),
        run(tmp_path / "b", test={"perplexity": 62.0}),
        run(tmp_path / "c", encoder="lstm", test=None),
        run(tmp_path / "d", test={"bits_per_byte": 1.5}, validation={"bits_per_byte": 1.25}),
    ]
    assert main(["lm", "table", *runs]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "| set | encoder | parameters | runs | test perplexity | validation perplexity |",
        "| --- | --- | --- | --- | --- | --- |",
        "| sst2 | lstm | 5,000 | 1 | – | 55.00 |",
        "| sst2 | sru | 5,000 | 2 | 61.00 ± 1.41 | 55.00 ± 0.00 |",
        "",
        "| set | encoder | parameters | runs | test bits per byte | validation bits per byte |",
        "| --- | --- | --- | --- | --- | --- |",
        "| sst2 | sru | 5,000 | 1 | 1.500 | 1.250 |",
    ]


def test_macro_f1_has_a_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = {"accuracy": 0.8, "macro_f1": 0.75}
    assert main(["classify", "table", run(tmp_path / "a", test=test, validation={"accuracy": 0.7})]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("| runs | test accuracy, % | validation accuracy, % | test macro F1, % |")
    assert lines[2] == "| sst2 | sru | 5,000 | 1 | 80.00 | 70.00 | 75.00 |"


def test_no_run_counts_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run(tmp_path / "a", "seed: 0\nname: a\ndata: {name: cr, data_dir: x}\n")
    copy = str(shutil.copytree(first, tmp_path / "copy"))
    moved = run(tmp_path / "moved", "seed: 0\nname: m\ndata: {name: cr, data_dir: y}\n")
    other = run(tmp_path / "b", "seed: 1\nname: a\ndata: {name: cr, data_dir: x}\n")
    elsewhere = run(tmp_path / "c", "seed: 1\nname: a\ndata: {name: cr, embeddings: other/x.txt}\n")
    here = run(tmp_path / "d", "seed: 1\nname: a\ndata: {name: cr, embeddings: ./x.txt}\n")
    again = run(tmp_path / "e", "seed: 1\nname: a\ndata: {name: cr, embeddings: x.txt}\n")
    (tmp_path / "link").symlink_to(first)
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished/config.yaml").write_text("seed: 2\n")
    more = [str(tmp_path / name) for name in ("link", "unfinished")]
    assert main(["classify", "table", first, copy, moved, other, elsewhere, here, again, *more]) == 0
    output = capsys.readouterr()
    assert "| sst2 | sru | 5,000 | 4 |" in output.out
    same = f"is left out: it duplicates {first}, with the same settings and seed"
    assert output.err.splitlines() == [
        f"sru classify table: {copy} {same}",
        f"sru classify table: {moved} {same}",
        f"sru classify table: {again} is left out: it duplicates {here}, with the same settings and seed",
        f"sru classify table: {tmp_path / 'link'} is left out: it is given twice",
        f"sru classify table: {tmp_path / 'unfinished'} is left out: its training has not finished",
    ]


def test_runs_that_start_from_a_model_stand_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    starts = ("null", "null", "runs/one", "runs/one", "runs/two")
    runs = [
        run(tmp_path / str(seed), f"seed: {seed}\ninit_from: {start}\n") for seed, start in enumerate(starts)
    ]
    assert main(["classify", "table", *runs]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[1:4:2] for row in rows] == [
        ["sru", "2"],
        ["sru from runs/one", "2"],
        ["sru from runs/two", "1"],
    ]


def test_a_folder_of_folds_means_all_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for fold in range(3):
        run(tmp_path / f"group/fold-{fold}", f"data: {{fold: {fold}}}\n")
    (tmp_path / "x-seeds.json").write_text("{}")
    assert main(["lm", "table", str(tmp_path / "group"), str(tmp_path / "x-seeds.json")]) == 0
    output = capsys.readouterr()
    assert "| sst2 | sru | 5,000 | 3 |" in output.out
    assert not output.err


def test_a_path_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lm", "table", run(tmp_path / "a"), str(tmp_path / "typo")]) == 1
    assert f"no run at {tmp_path / 'typo'}" in capsys.readouterr().err
