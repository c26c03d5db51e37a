"""`sru classify validate`, `test`, `predict` and `table`, and the files they read."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sru_apps.cli import main
from sru_apps.tasks.classify import TASK
from sru_apps.tasks.classify.commands import classify
from sru_apps.train.checkpoints import read_checkpoint
from sru_apps.train.errors import UserError
from sru_apps.train.evaluate import load_module, load_trained
from sru_apps.train.run_folder import RunFolder
from sru_data.tokenizers import WordTokenizer


@pytest.mark.parametrize(("command", "stage"), [("validate", "validation"), ("test", "test")])
def test_accuracy_is_that_of_the_best_checkpoint(
    trained_run: Path, command: str, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = json.loads((trained_run / "summary.json").read_text())
    assert main(["classify", command, str(trained_run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["accuracy"] == pytest.approx(summary[f"{stage}_accuracy"])
    assert result["checkpoint"].endswith("best.ckpt")
    assert result["set"] == stage


def test_accuracy_is_that_of_the_predictions(
    trained_run: Path, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (tiny_data / "classification/stsa.binary.test").read_text().splitlines()
    predictions = classify(load_trained(TASK, trained_run), [line[2:] for line in lines])
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


def test_checkpoint_of_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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


SENTENCES = ["a warm and funny film", "tedious", "simply awful noise ."]


def _predict(run: Path, *args: str) -> int:
    return main(["classify", "predict", f"--model={run}", *args])


@pytest.fixture
def expected(trained_run: Path) -> list[str]:
    classifier = load_trained(TASK, trained_run)
    lines = []
    for text in SENTENCES:
        ids = torch.tensor([classifier.tokenizer.encode(text)]).t()
        with torch.no_grad():
            (probabilities,) = classifier.network(ids, ids == 0).softmax(-1)
        label = classifier.module.label_names[int(probabilities.argmax())]
        lines.append(f"{label}\t{float(probabilities.max()):.4f}\t{text}")
    return lines


def test_sentences_as_arguments(
    trained_run: Path, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _predict(trained_run, *SENTENCES) == 0
    assert capsys.readouterr().out.splitlines() == expected


def test_sentences_in_a_file(
    trained_run: Path, expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "sentences.txt"
    path.write_text("\n\n".join(SENTENCES))
    assert _predict(trained_run, f"--file={path}") == 0
    assert capsys.readouterr().out.splitlines() == expected


def test_sentences_on_standard_input(
    trained_run: Path,
    expected: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(SENTENCES) + "\n"))
    assert _predict(trained_run) == 0
    assert capsys.readouterr().out.splitlines() == expected


def test_standard_input_is_utf8_whatever_the_locale(trained_run: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sru_apps", "classify", "predict", f"--model={trained_run}"],
        input="a café\n".encode(),
        capture_output=True,
        env={**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1:strict", "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout.decode("utf-8").endswith("\ta café\n"), done.stderr


def test_standard_input_that_is_not_utf8(
    trained_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"moving\ncaf\xe9\n"), encoding="latin-1")
    monkeypatch.setattr("sys.stdin", stdin)
    assert _predict(trained_run) == 1
    expected = (
        "sru classify predict: error: line 2 of standard input is not UTF-8 at byte 3; convert it first\n"
    )
    assert capsys.readouterr().err == expected


def test_json(trained_run: Path, expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _predict(trained_run, "--json", *SENTENCES) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [f"{row['label']}\t{row['probability']:.4f}\t{row['text']}" for row in rows] == expected


@pytest.mark.parametrize("part", ["model", "checkpoints/best.ckpt"])
def test_model_folder_and_checkpoint_agree_with_the_run(
    trained_run: Path, expected: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _predict(trained_run / part, *SENTENCES) == 0
    assert capsys.readouterr().out.splitlines() == expected


def test_many_sentences_keep_their_order(trained_run: Path) -> None:
    texts = [f"film {'and ' * (i % 7)}{i}" for i in range(150)]
    assert [prediction.text for prediction in classify(load_trained(TASK, trained_run), texts)] == texts


def test_model_folder_alone_is_enough(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained_run / "model", tmp_path / "shipped")
    assert sorted(path.name for path in (tmp_path / "shipped").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert _predict(tmp_path / "shipped", "moving") == 0
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize("args", [[], [""], ["--file=empty.txt"]])
def test_empty_input(
    trained_run: Path,
    args: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "empty.txt").write_text("\n  \n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert _predict(trained_run, *args) == 1
    output = capsys.readouterr()
    assert "sru classify predict: error: no sentences: give some as arguments" in output.err
    assert output.out == ""


def test_missing_file(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _predict(trained_run, "--file=none.txt") == 1
    assert "error: cannot read none.txt: No such file or directory" in capsys.readouterr().err


def test_file_that_is_not_utf8(trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    assert _predict(trained_run, f"--file={tmp_path / 'latin.txt'}") == 1
    assert "latin.txt is not UTF-8 at byte 3; convert it first" in capsys.readouterr().err


def test_arguments_and_file(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _predict(trained_run, "--file=none.txt", "moving") == 1
    assert "either as arguments or in --file, not both" in capsys.readouterr().err


def test_missing_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _predict(tmp_path / "none", "moving") == 1
    assert "no model at" in capsys.readouterr().err


def test_run_without_an_exported_model_stands_for_its_best_checkpoint(
    trained_run: Path, tmp_path: Path, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    shutil.rmtree(run / "model")
    assert _predict(run, *SENTENCES) == 0
    assert capsys.readouterr().out.splitlines() == expected
    (run / "checkpoints/best.ckpt").unlink()
    assert _predict(run, "moving") == 1
    assert "is not an exported model: config.json is missing" in capsys.readouterr().err


def test_weights_that_do_not_fit(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(trained_run / "model", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["model"]["hidden_size"] += 1
    (folder / "config.json").write_text(json.dumps(config))
    assert _predict(folder, "moving") == 1
    error = capsys.readouterr().err
    assert "model is damaged or is not an exported model: RuntimeError: encoder.rnn: hidden_size:" in error


def test_checkpoint_of_another_task(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = read_checkpoint(trained_run / "checkpoints/best.ckpt")
    torch.save({**checkpoint, "task": "translate"}, tmp_path / "other.ckpt")
    assert _predict(tmp_path / "other.ckpt", "moving") == 1
    assert "was made by `sru translate`; expected one made by `sru classify`" in capsys.readouterr().err


def test_damaged_checkpoint(trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = (trained_run / "checkpoints/best.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: len(content) // 2])
    assert _predict(tmp_path / "cut.ckpt", "moving") == 1
    error = capsys.readouterr().err
    assert "cut.ckpt is damaged or is not a checkpoint" in error
    assert error.count("\n") == 1


def test_export_and_checkpoint_hold_the_same_model(trained_run: Path) -> None:
    module, _ = load_module(TASK, trained_run / "checkpoints/best.ckpt")
    loaded = load_trained(TASK, trained_run / "model")
    assert loaded.module.label_names == module.label_names == ["negative", "positive"]
    assert not loaded.network.training
    torch.testing.assert_close(loaded.network.state_dict(), module.network.state_dict(), rtol=0, atol=0)


def test_a_checkpoint_of_a_former_version(trained_run: Path, tmp_path: Path) -> None:
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
    (key,) = change
    (config if key in config else config["model"]).update(change)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=rf"model is damaged or is not an exported model: .*{reason}"):
        load_trained(TASK, folder)


def test_tokenizer_of_another_model(trained_run: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained_run / "model", tmp_path / "model")
    WordTokenizer.train(["two words"]).save(folder / "tokenizer.json")
    with pytest.raises(
        UserError, match=r"the model has \d+ symbols and its tokenizer 4; they do not belong together"
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
