from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

import sru_apps
from sru_apps.cli import main
from sru_apps.tasks.chat import TASK
from sru_apps.train.fit import Fit
from sru_apps.train.options import recipe_names
from sru_apps.train.weights import read_checkpoint

from .conftest import small_options


def test_a_run_writes_a_model_and_a_summary(trained_run: Path) -> None:
    summary = json.loads((trained_run / "summary.json").read_text())
    assert summary["encoder"] == "gated-linear"
    assert summary["validation"]["perplexity"] < 1.1
    assert summary["epochs"] == 16
    exported, best = sru_apps.load(trained_run), sru_apps.load(trained_run / "checkpoints/best.ckpt")
    assert exported.tokenizer.tokens == best.tokenizer.tokens
    weights = best.network.state_dict()
    for name, weight in exported.network.state_dict().items():
        assert torch.equal(weight, weights[name])


@pytest.mark.usefixtures("one_thread")
def test_a_stopped_run_resumes_exactly(
    talk: Path, trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*small_options(talk, tmp_path), "--name=two"]
    assert main(["chat", "fit", *options, "--trainer.max_epochs=9"]) == 0
    run = tmp_path / "chat" / "talk" / "two"
    assert main(["chat", "fit", f"--resume={run}", "--trainer.max_epochs=16"]) == 0
    resumed = read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    straight = read_checkpoint(trained_run / "checkpoints" / "last.ckpt")["state_dict"]
    for name, weight in straight.items():
        assert torch.equal(weight, resumed[name]), name
    capsys.readouterr()


@pytest.mark.parametrize("name", recipe_names(TASK))
def test_every_recipe_builds(name: str, talk: Path, tmp_path: Path) -> None:
    job = Fit(TASK, [f"--recipe={name}", f"--data.train_file={talk}", f"--runs-dir={tmp_path}"])
    assert job.module.config.encoder == "gated-linear"
    assert job.run.path.parent == tmp_path / "chat" / name


def test_settings_are_saved(trained_run: Path) -> None:
    settings = yaml.safe_load((trained_run / "config.yaml").read_text())
    assert settings["model"]["encoder"] == "gated-linear"


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ([], 2, "no dialogues chosen; give --data.train_file, JSON lines with a field 'bot'"),
        (["--data.train_file=none.jsonl"], 1, "none.jsonl: cannot read the dialogues"),
        (["--data.unit=words", "--data.vocab_size=2"], 1, "max_size must be at least 4"),
        (["--model.memory_length=4"], 1, "the encoder 'gated-linear' has no option memory_length"),
        (["--trainer.max_epochs=0"], 1, "--trainer.max_epochs must be at least 1, got 0"),
    ],
)
def test_wrong_options(
    options: list[str],
    status: int,
    message: str,
    talk: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [f"--data.train_file={talk}", *options] if options else []
    try:
        found = main(["chat", "fit", *given, f"--runs-dir={tmp_path}"])
    except SystemExit as error:
        found = error.code  # type: ignore[assignment]
    assert found == status
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_the_run_of_another_task_is_refused(trained_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lm", "test", str(trained_run)]) == 1
    assert "was made by `sru chat`; expected one made by `sru lm`" in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "--help"]) == 0
    output = capsys.readouterr().out
    assert "fit" in output
    assert "reply" in output
