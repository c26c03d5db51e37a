"""`--init-from`: a run that starts from a trained model and can be continued without it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from sru_apps.cli import main
from sru_apps.train.checkpoints import read_checkpoint

from ..tasks.chat.conftest import TALK
from ..tasks.chat.conftest import small_options as chat_options
from ..tasks.lm.conftest import small_options as lm_options

pytestmark = pytest.mark.usefixtures("one_thread")
OUTPUT = "network.output.weight"


@pytest.fixture
def model(trained_run: Path, tmp_path: Path) -> Path:
    """The run of a small classifier, which a test may modify or remove."""
    return Path(shutil.copytree(trained_run, tmp_path / "model"))


@pytest.fixture
def options(small_options: list[str]) -> list[str]:
    """Options without those of the model: the recipe has different sizes."""
    named = ("--model.", "--data.embedding_size")
    return [option for option in small_options if not option.startswith(named)]


def started(run: Path) -> dict[str, torch.Tensor]:
    """The weights that a run began with; its learning rate is zero."""
    return read_checkpoint(run / "checkpoints/last.ckpt")["state_dict"]


FROZEN = ["--optimizer.lr=0", "--trainer.max_epochs=1"]


@pytest.mark.parametrize("place", ["", "model", "checkpoints/best.ckpt"])
def test_all_comes_from_the_model(
    model: Path, options: list[str], tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = model / place
    assert main(["classify", "fit", *options, *FROZEN, "--name=x", f"--init-from={source}"]) == 0
    assert f"starts from {source}: 9 of 9 weights\n" in capsys.readouterr().out
    run = tmp_path / "runs/classify/sst2/x"
    best = read_checkpoint(model / "checkpoints/best.ckpt")
    torch.testing.assert_close(started(run), best["state_dict"], rtol=0, atol=0)
    assert (run / "model/tokenizer.json").read_bytes() == (model / "model/tokenizer.json").read_bytes()
    assert json.loads((run / "summary.json").read_text())["init_from"] == str(source)
    assert yaml.safe_load((run / "config.yaml").read_text())["init_from"] == str(source)


def test_words_of_the_model_are_kept_for_other_texts_and_labels(
    model: Path, options: list[str], tiny_sst2: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model / "checkpoints/best.ckpt"
    checkpoint = read_checkpoint(path)
    checkpoint["hyper_parameters"]["label_names"] = ["good", "bad"]
    checkpoint["SentenceData"]["labels"] = ["good", "bad"]
    torch.save(checkpoint, path)
    train = tiny_sst2 / "classification/stsa.binary.train"
    train.write_text(train.read_text().replace("film", "picture"))
    assert main(["classify", "fit", *options, *FROZEN, "--name=x", f"--init-from={path}"]) == 0
    shown = capsys.readouterr().out
    assert "7 of 9 weights; new: output.weight, output.bias (the labels differ)\n" in shown
    weights = started(tmp_path / "runs/classify/sst2/x")
    assert not torch.equal(weights[OUTPUT], checkpoint["state_dict"][OUTPUT])
    embedding = "network.embedding.weight"
    assert torch.equal(weights[embedding], checkpoint["state_dict"][embedding])


def test_options_of_the_vocabulary_in_a_file_are_named(
    model: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.yaml").write_text("data: {unit: characters, min_count: 2}\n")
    more = [*FROZEN, "--name=x", f"--init-from={model}", f"--config={tmp_path / 'x.yaml'}"]
    assert main(["classify", "fit", *options, *more]) == 0
    line = (
        f"starts from {model}: 9 of 9 weights, and its vocabulary instead of --data.unit, --data.min_count\n"
    )
    assert line in capsys.readouterr().out


def test_options_on_the_command_line_come_first(
    model: Path, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [*FROZEN, "--name=x", f"--init-from={model}", "--model.num_layers=3"]
    assert main(["classify", "fit", *options, *more]) == 0
    shown = capsys.readouterr().out
    assert f"starts from {model}: 9 of 12 weights; new: encoder.rnn.rnn_lst.2.weight_c, " in shown
    config = yaml.safe_load((tmp_path / "runs/classify/sst2/x/config.yaml").read_text())
    assert (config["model"]["num_layers"], config["model"]["hidden_size"]) == (3, 6)


def test_a_killed_run_continues_without_the_model(
    model: Path,
    options: list[str],
    tmp_path: Path,
    run_and_stop: Callable[..., subprocess.CompletedProcess[str]],
    assert_same_checkpoints: Callable[[Path, Path], None],
) -> None:
    more = ["--trainer.max_epochs=2", f"--init-from={model}"]
    runs = tmp_path / "runs/classify/sst2"
    assert main(["classify", "fit", *options, *more, "--name=undisturbed"]) == 0
    done = run_and_stop(3, "SIGKILL", "classify", "fit", *options, *more, "--name=killed")
    assert done.returncode == -signal.SIGKILL, done.stderr
    shutil.rmtree(model)
    assert main(["classify", "fit", f"--resume={runs / 'killed'}"]) == 0
    assert_same_checkpoints(runs / "killed", runs / "undisturbed")


def spoil(model: Path) -> None:
    path = model / "model/model.safetensors"
    weights = load_file(path)
    weights["output.bias"][0] = float("nan")
    save_file(weights, path)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--init-from=nowhere"], "no model at nowhere; give a run folder"),
        (
            ["--data.embeddings=x"],
            "--init-from takes the word vectors of its model, got --data.embeddings x too",
        ),
        (
            ["--unit=characters"],
            "--init-from takes the vocabulary of its model, got --data.unit too; leave it out",
        ),
        (
            ["--data.min_count", "2"],
            "--init-from takes the vocabulary of its model, got --data.min_count too",
        ),
        (
            ["--model.encoder=cnn", "--data.embedding_size=9"],
            "no matrix has a name and shape of this model, cnn",
        ),
        (["spoiled"], "output.bias holds values that are not finite"),
    ],
    ids=["nowhere", "embeddings", "unit", "min_count", "another network", "spoiled"],
)
def test_misfits_are_one_line_and_leave_nothing(
    more: list[str],
    message: str,
    model: Path,
    options: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if more == ["spoiled"]:
        spoil(model)
        more = []
    assert main(["classify", "fit", *options, f"--init-from={model}", *more]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (tmp_path / "runs").exists()


def test_other_commands_and_runs_are_refused(
    model: Path, tiny_texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lm", "fit", *lm_options(tiny_texts, tmp_path), f"--init-from={model}"]) == 1
    assert "was made by `sru classify`; expected one made by `sru lm`" in capsys.readouterr().err
    assert main(["classify", "fit", f"--resume={model}", f"--init-from={model}"]) == 1
    assert "--resume continues with the weights of the run; leave --init-from out" in capsys.readouterr().err


def test_a_language_model_reads_other_texts_with_its_own_words(
    tiny_texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for file in tiny_texts.glob("*.txt"):
        (texts / file.name).write_text(file.read_text().replace("fox", "vixen"))
    runs = tmp_path / "runs/lm/train"
    first = lm_options(tiny_texts, tmp_path / "runs")
    second = [option for option in lm_options(texts, tmp_path / "runs") if "unit" not in option]
    assert main(["lm", "fit", *first, "--name=one", "--trainer.max_epochs=1"]) == 0
    more = [*FROZEN, "--name=two", f"--init-from={runs / 'one'}"]
    assert main(["lm", "fit", *second, *more]) == 0
    assert "of 9 weights" not in capsys.readouterr().out.replace("9 of 9 weights", "")
    one, two = ((runs / name / "model/tokenizer.json").read_bytes() for name in ("one", "two"))
    assert one == two
    assert main(["lm", "test", str(runs / "two")]) == 0
    assert main(["lm", "fit", f"--resume={runs / 'two'}", "--trainer.max_epochs=2"]) == 0


def test_a_chat_model_learns_more_dialogues(talk_and_run: tuple[Path, Path], tmp_path: Path) -> None:
    talk, run = talk_and_run
    more = ["--trainer.max_epochs=1", "--name=two", f"--init-from={run}"]
    options = [option for option in chat_options(talk, tmp_path / "runs") if "unit" not in option]
    assert main(["chat", "fit", *options, *more]) == 0
    rows = (tmp_path / "runs/chat/talk/two/metrics.csv").read_text().splitlines()
    before = (run / "metrics.csv").read_text().splitlines()
    loss = [float(text.split(",")[2]) for text in (rows[-1], before[-1])]
    assert loss[0] < loss[1]


@pytest.fixture
def talk_and_run(tmp_path: Path) -> tuple[Path, Path]:
    talk = tmp_path / "talk.jsonl"
    talk.write_text("".join(json.dumps(line) + "\n" for line in TALK))
    options = chat_options(talk, tmp_path / "runs")
    assert main(["chat", "fit", *options, "--trainer.max_epochs=1", "--name=one"]) == 0
    return talk, tmp_path / "runs/chat/talk/one"
