"""`sru lm fit`, `validate`, `test` and `prepare`: their results and their errors."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sru_apps.cli import main
from sru_apps.inference.loading import load_trained
from sru_apps.tasks.lm import TASK
from sru_apps.train.weights import read_checkpoint

QUICK = "--trainer.max_epochs=1"


def rows(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


def test_fit_leaves_everything_in_the_run_folder(
    fit: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit("one", "--trainer.max_epochs=2", "--model.dropout=0")
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert {
        "config.yaml",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "model/config.json",
        "model/model.safetensors",
        "model/tokenizer.json",
        "metrics.csv",
        "learning_curve.png",
        "summary.json",
    } < files
    output = capsys.readouterr()
    assert output.err == ""
    summary = json.loads((run / "summary.json").read_text())
    first, second = rows(run)
    assert float(first["validation_perplexity"]) > float(second["validation_perplexity"])
    assert summary["validation"]["perplexity"] == pytest.approx(float(second["validation_perplexity"]))
    assert summary["test"]["perplexity"] == pytest.approx(math.exp(summary["test"]["loss"]))
    assert (summary["epochs"], summary["steps"], summary["unit"]) == (2, 40, "words")
    assert float(first["tokens_per_second"]) > 0
    line = output.out.splitlines()[-1]
    assert line.startswith(f"train sru: test perplexity {summary['test']['perplexity']:.2f}, loss ")
    assert f"{summary['parameters']:,} parameters, " in line
    assert "tokens per second" in line
    network = load_trained(TASK, run).network
    state = read_checkpoint(run / "checkpoints/best.ckpt")["state_dict"]
    torch.testing.assert_close(network.state_dict()["output.bias"], state["network.output.bias"])

    # Evaluation gives the same figures, as does a window as long as the text.
    assert main(["lm", "test", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["perplexity"] == pytest.approx(summary["test"]["perplexity"])
    assert found["set"] == "test"
    assert main(["lm", "validate", str(run), "--batch-size=1", "--json"]) == 0
    one_stream = json.loads(capsys.readouterr().out)["loss"]
    with pytest.warns(
        UserWarning, match=r"64 splits .* of the validation text into streams of 1, .* the 9 steps"
    ):
        assert main(["lm", "validate", str(run), "--batch-size=64"]) == 0
    capsys.readouterr()
    assert main(["lm", "validate", str(run), "--window=1000", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == pytest.approx(one_stream, rel=1e-5)
    assert main(["lm", "validate", str(run), "--window=4", "--stride=1"]) == 0
    assert capsys.readouterr().out.startswith("train sru: validation perplexity ")
    assert main(["lm", "validate", str(run), "--memory-length=9"]) == 1
    assert "the encoder 'sru' has no option memory_length, which belongs to srupp" in capsys.readouterr().err


def test_evaluation_with_a_longer_memory(
    fit: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit("one", QUICK, "--model.encoder=srupp", "--model.memory_length=2")
    capsys.readouterr()
    best = run / "checkpoints/best.ckpt"
    checkpoint = read_checkpoint(best)
    for name, weight in checkpoint["state_dict"].items():
        if name.endswith("alpha"):
            weight.fill_(1.0)  # After so little training, attention would have almost no effect.
    torch.save(checkpoint, best)

    def loss(*options: str) -> float:
        assert main(["lm", "validate", str(run), "--batch-size=1", *options, "--json"]) == 0
        return float(json.loads(capsys.readouterr().out)["loss"])

    whole = loss("--memory-length=500", "--length=500")
    assert loss("--memory-length=500", "--length=7") == pytest.approx(whole, rel=1e-5)
    assert loss("--memory-length=500", "--window=500") == pytest.approx(whole, rel=1e-5)
    assert loss("--length=7") == pytest.approx(loss(), rel=1e-5)
    assert loss("--memory-length=2") == loss() != pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize(
    ("unit", "figure"),
    [
        (["--data.unit=bytes", "--data.document_separator=\n"], "bits_per_byte"),
        (["--data.unit=characters", "--data.min_count=2"], "bits_per_character"),
        (["--data.unit=subwords", "--data.vocab_size=300"], "word_perplexity"),
    ],
)
def test_other_units(unit: list[str], figure: str, fit: Callable[..., Path], tmp_path: Path) -> None:
    more = [QUICK, "--trainer.max_steps=3", f"--data.prepared_dir={tmp_path / 'prepared'}"]
    run = fit("one", *unit, *more)
    summary = json.loads((run / "summary.json").read_text())
    assert 0 < summary["test"][figure] < math.inf
    assert summary["steps"] == 3
    for path in (run, run / "checkpoints/best.ckpt"):
        model = load_trained(TASK, path)
        assert model.separator == (model.tokenizer.encode("\n")[0] if "bytes" in unit[0] else None)


def test_prepared_folder_alone(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], fit: Callable[..., Path]
) -> None:
    texts = [option for option in options if "_file=" in option or "unit" in option]
    folder = tmp_path / "prepared"
    assert main(["lm", "prepare", *texts, f"--data.prepared_dir={folder}"]) == 0
    shown = capsys.readouterr().out
    assert f"Token files: {folder}" in shown
    assert "train                 721 tokens            618 words          103 lines" in shown
    others = [option for option in options if option not in texts and "prepared_dir" not in option]
    assert main(["lm", "fit", *others, f"--data.prepared_dir={folder}", QUICK, "--name=one"]) == 0
    assert (tmp_path / "runs/lm/prepared/one/summary.json").is_file()
    (folder / "train.tokens").write_bytes((folder / "train.tokens").read_bytes()[:-5])
    assert main(["lm", "fit", *others, f"--data.prepared_dir={folder}", "--name=two"]) == 1
    error = capsys.readouterr().err
    assert "expected 721 ids in 1,442 bytes, got 1,437 bytes; the file is truncated" in error


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--data.batch_size=800"],
            "the train split of train: StreamLoader: expected a text of at least 801",
        ),
        (["--data.batch_size=0"], "batch_size must be at least 1, got 0"),
        (["--data.stride=3"], "stride needs a window, got only a stride of 3; give the window too"),
        (
            ["--data.stride=3", "--data.window=2"],
            "stride must be at most window, got a stride of 3, a window of 2",
        ),
        (["--data.name=ptb"], "both --data.name and --data.train_file are given"),
        (["--model.memory_length=3"], "the encoder 'sru' has no option memory_length"),
        (["--optimizer.lr=-1"], "lr must be at least 0, got -1"),
        (["--optimizer.schedule=noam"], "the noam schedule needs warmup_steps of at least 1"),
        (["--trainer.max_epochs=0"], "--trainer.max_epochs must be at least 1, got 0"),
        (
            ["--data.document_separator=<doc>"],
            "document_separator must be one token of the vocabulary, got '<doc>', which is not in it;",
        ),
        (["--data.min_count=3"], "got one prepared from min_count = 1 (now 3)"),
    ],
)
def test_errors_are_one_line_and_leave_no_run(
    more: list[str], message: str, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lm", "prepare", *(option for option in options if option.startswith("--data."))]) == 0
    capsys.readouterr()
    assert main(["lm", "fit", *options, *more]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sru lm fit: error: ")
    assert message in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty"),
        (b"some words\n" * 40 + b"\xff\n", "got the byte 0xff at byte 440"),
    ],
)
def test_invalid_texts(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    texts = [f"--data.{split}_file={path}" for split in ("train", "validation", "test")]
    prepared = f"--data.prepared_dir={tmp_path / 'prepared'}"
    assert main(["lm", "fit", *texts, prepared, "--data.unit=words", f"--runs-dir={tmp_path / 'runs'}"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "text.txt" in error
    assert not (tmp_path / "runs").exists()


def test_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lm", "fit"]) == 1
    assert "no text chosen; give --recipe, --data.train_file, or --data.name (ptb" in capsys.readouterr().err


def test_resuming_with_other_settings(
    fit: Callable[..., Path], options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit("one", QUICK, "--trainer.max_steps=3", "--data.random_lengths=true")
    for more, message in [
        (["--recipe=quick"], "--resume continues with the settings of the run; leave --recipe out"),
        (["--model.hidden_size=9"], "was trained with hidden_size=8, not 9; continue with the run's own"),
        (["--optimizer.schedule=cosine"], "was trained with schedule='constant', not 'cosine'"),
        (["--data.length=8"], "was trained with "),
        (["--trainer.accumulate_grad_batches=2"], "was trained with accumulate_grad_batches=1, not 2"),
    ]:
        assert main(["lm", "fit", f"--resume={run}", *more]) == 1
        assert message in capsys.readouterr().err

    # The same files with other words, so that the ids would mean other words.
    texts = tmp_path / "texts"
    texts.mkdir()
    moved = []
    other = " ".join(f"word{number}" for number in range(18))
    for split in ("train", "validation", "test"):
        path = texts / f"{split}.txt"
        path.write_text((other + "\n") * 60)
        moved.append(f"--data.{split}_file={path}")
    moved.append(f"--data.prepared_dir={tmp_path / 'prepared'}")
    assert main(["lm", "fit", f"--resume={run}", *moved, "--trainer.max_steps=5"]) == 1
    error = capsys.readouterr().err
    assert "(21 words) does not match the checkpoint's (20 words)" in error
    assert "damaged" not in error

    checkpoint = read_checkpoint(run / "checkpoints/last.ckpt")
    torch.save({**checkpoint, "task": "classify"}, run / "checkpoints/last.ckpt")
    assert main(["lm", "fit", f"--resume={run}"]) == 1
    assert "was made by `sru classify`; expected one made by `sru lm`" in capsys.readouterr().err


def test_test_without_a_test_text(
    fit: Callable[..., Path], options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = [option for option in options if "test_file" not in option and "prepared_dir" not in option]
    prepared = f"--data.prepared_dir={tmp_path / 'prepared'}"
    assert main(["lm", "fit", *kept, prepared, QUICK, "--name=one", "--trainer.max_steps=2"]) == 0
    run = tmp_path / "runs/lm/train/one"
    assert json.loads((run / "summary.json").read_text())["test"] is None
    capsys.readouterr()
    assert main(["lm", "test", str(run)]) == 1
    assert "train has no test split; give --data.test_file" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "prepared")
    assert main(["lm", "validate", str(run)]) == 0, "missing token files must be prepared again"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["fit", "--data.batchsize=3"], "Did you mean '--data.batch_size'?"),
        (["prepare", "--data.names=3"], "Did you mean '--data.name'?"),
        (["test", "x", "--windows=3"], "Did you mean '--window'?"),
        (["fit", "--optimizer.name=lion"], "lion"),
    ],
)
def test_misspelled_options_suggest_the_right_ones(
    args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["lm", *args])
    assert message in capsys.readouterr().err
