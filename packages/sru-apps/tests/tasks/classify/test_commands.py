"""`sru classify validate`, `test` and `table`, and their input files."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from sru_apps.cli import main
from sru_apps.inference.loading import load_trained
from sru_apps.tasks.classify import TASK
from sru_apps.tasks.classify.data import Batch, SentenceData
from sru_apps.tasks.classify.examples import Item
from sru_apps.train.errors import UserError
from sru_apps.train.evaluate import load_module
from sru_apps.train.run_folder import RunFolder
from sru_apps.train.weights import read_checkpoint
from sru_data.tokenizers import WordTokenizer


@pytest.mark.parametrize(("command", "stage"), [("validate", "validation"), ("test", "test")])
def test_the_best_checkpoint_is_evaluated(
    trained_run: Path, command: str, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = json.loads((trained_run / "summary.json").read_text())
    assert main(["classify", command, str(trained_run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["accuracy"] == pytest.approx(summary[f"{stage}_accuracy"])
    assert result["checkpoint"].endswith("best.ckpt")
    assert result["set"] == stage


@pytest.mark.parametrize(("option", "size"), [([], 16), (["--batch-size=3"], 3)])
def test_batch_size(trained_run: Path, option: list[str], size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    collate = SentenceData.collate

    def counted(items: Sequence[Item]) -> Batch:
        sizes.append(len(items))
        return collate(items)

    monkeypatch.setattr(SentenceData, "collate", staticmethod(counted))
    assert main(["classify", "test", str(trained_run), *option]) == 0
    assert max(sizes) == size


def test_accuracy_equals_that_of_the_predictions(
    trained_run: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (tiny_data / "classification/stsa.binary.test").read_text().splitlines()
    predictions = load_trained(TASK, trained_run).predict([line[2:] for line in lines])
    right = [
        ("negative", "positive")[int(line[0])] == p.label for line, p in zip(lines, predictions, strict=True)
    ]
    assert main(["classify", "test", str(trained_run)]) == 0
    output = capsys.readouterr()
    assert f"sst2 sru: test accuracy {100 * sum(right) / len(right):.2f} %, loss " in output.out
    assert output.err == ""


def test_last_checkpoint_and_other_data(
    trained_run: Path, tiny_sst2: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny_sst2 / "classification/stsa.binary.test"
    path.write_text(path.read_text().replace("1 ", "2 "))
    last = trained_run / "checkpoints/last.ckpt"
    assert main(["classify", "test", str(last), f"--data-dir={tiny_sst2}"]) == 1
    assert f"{path}:1: expected a label from 0 to 1" in capsys.readouterr().err


def test_missing_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "test", str(tmp_path)]) == 1
    assert "sru classify test: error: no checkpoint at" in capsys.readouterr().err


def test_a_checkpoint_without_a_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    assert main(["classify", "validate", str(tmp_path / "x.ckpt")]) == 1
    assert (
        "was made by no task of this program; expected one made by `sru classify`" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "part", ["datamodule_hyper_parameters", "SentenceData", "hyper_parameters", "state_dict"]
)
@pytest.mark.parametrize("wrong", [{}, {"fold": []}, 3])
def test_checkpoint_with_a_wrong_part(
    trained_run: Path, tmp_path: Path, part: str, wrong: object, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = read_checkpoint(trained_run / "checkpoints/best.ckpt")
    path = tmp_path / "x.ckpt"
    torch.save({**checkpoint, part: wrong}, path)
    assert main(["classify", "test", str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"error: {path} is damaged or is not a checkpoint: " in line


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
@pytest.mark.parametrize(
    ("part", "path"),
    [
        ("hyper_parameters", ["config", "bidirectional"]),
        ("hyper_parameters", ["label_names"]),
        ("datamodule_hyper_parameters", ["fold"]),
    ],
)
def test_a_tensor_in_place_of_an_option(
    trained_run: Path,
    tmp_path: Path,
    command: str,
    part: str,
    path: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = read_checkpoint(trained_run / "checkpoints/best.ckpt")
    place = checkpoint[part]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = torch.ones(1, dtype=torch.bool)
    torch.save(checkpoint, tmp_path / "x.ckpt")
    model = (
        ["--model", str(tmp_path / "x.ckpt"), "fun"] if command == "predict" else [str(tmp_path / "x.ckpt")]
    )
    assert main(["classify", command, *model]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    where = "".join(f"[{name!r}]" for name in path)
    assert line.endswith(f"its {part}{where} is not a plain value but a Tensor")


def test_unknown_accelerator(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "test", str(trained_run), "--accelerator=gpuu"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "invalid accelerator name: `accelerator='gpuu'`" in line


def test_checkpoint_of_the_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}, "task": "demo"}, tmp_path / "x.ckpt")
    assert main(["classify", "test", str(tmp_path / "x.ckpt")]) == 1
    assert "was made by `sru demo`; expected one made by `sru classify`" in capsys.readouterr().err


def test_unknown_option(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["classify", "test", str(trained_run), "--data-dirr=x"])
    assert exit_.value.code == 2
    assert "unknown option --data-dirr. Did you mean '--data-dir'?" in capsys.readouterr().err


def test_export_and_checkpoint_contain_the_same_model(trained_run: Path) -> None:
    module, _ = load_module(TASK, trained_run / "checkpoints/best.ckpt")
    loaded = load_trained(TASK, trained_run / "model")
    assert loaded.labels == module.label_names == ["negative", "positive"]
    assert not loaded.network.training
    torch.testing.assert_close(loaded.network.state_dict(), module.network.state_dict(), rtol=0, atol=0)


def test_a_checkpoint_of_an_older_version(trained_run: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(trained_run / "checkpoints/best.ckpt")
    settings = checkpoint["hyper_parameters"]
    flat = {**settings["config"], "label_names": settings["label_names"]}
    del flat["num_classes"]
    torch.save({**checkpoint, "hyper_parameters": flat}, tmp_path / "x.ckpt")
    former = load_trained(TASK, tmp_path / "x.ckpt").network
    assert former.config == load_trained(TASK, trained_run).network.config


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": ["one"]}, "expected 2 labels, got 1"),
        ({"labels": None}, "TypeError"),
        ({"labels": "ab"}, "expected 2 labels, got 1"),
        ({"labels": ["a", "a"]}, "labels must be printable texts that differ from each other"),
        ({"labels": [1, None]}, "labels must be printable texts that differ from each other"),
        ({"labels": ["a\n", "b\tc"]}, "labels must be printable texts that differ from each other"),
        ({"num_classes": 0, "labels": []}, "num_classes must be at least 1, got 0"),
        ({"model": {}}, "TypeError"),
        ({"encoder": "mamba"}, "unknown recurrent encoder 'mamba'"),
        ({"dropout": 2}, "dropout must be at least 0 and less than 1, got 2"),
        ({"hidden_size": "6"}, "TypeError"),
        ({"hidden_size": 7}, "hidden_size: this module has 7, the state dict 6"),
    ],
)
def test_config_that_does_not_fit(
    trained_run: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    folder = shutil.copytree(trained_run / "model", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    for key, value in change.items():
        (config if key in config else config["model"])[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=rf"model is damaged or is not an exported model: .*{reason}"):
        load_trained(TASK, folder)


def test_tokenizer_of_another_model(trained_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained_run / "model", tmp_path / "model")
    WordTokenizer.train(["two words"]).save(folder / "tokenizer.json")
    with pytest.raises(
        UserError, match=r"the model has \d+ tokens and its tokenizer 4; they do not belong together"
    ):
        load_trained(TASK, folder)


RUN = {
    "dataset": "sst2",
    "encoder": "sru",
    "test_accuracy": 0.80,
    "validation_accuracy": 0.79,
    "parameters_without_embedding": 4_567,
}


def save(folder: Path, **changes: object) -> str:
    folder.mkdir(exist_ok=True)
    RunFolder(folder).summary.write_text(json.dumps({**RUN, **changes}))
    return str(folder)


def test_runs_that_differ_only_in_the_seed_share_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_an_unfinished_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "table", str(tmp_path)]) == 1
    assert re.search(
        r"no summary at .*; give run folders whose training has finished", capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "{}",
        "[1]",
        '{"dataset": "sst2"}',
        json.dumps({**RUN, "test_accuracy": None}),
        json.dumps({**RUN, "dataset": ["sst2"], "parameters_without_embedding": "many"}),
    ],
)
def test_a_damaged_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    RunFolder(tmp_path).summary.write_text(content)
    assert main(["classify", "table", str(tmp_path)]) == 1
    assert "is damaged or is not a summary" in capsys.readouterr().err
