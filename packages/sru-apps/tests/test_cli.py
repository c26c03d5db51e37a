from __future__ import annotations

import importlib
import os
import subprocess
import sys
from types import ModuleType

import pytest

from sru_apps import __version__
from sru_apps.cli import main, run_command
from sru_apps.task import Command, Task
from sru_apps.tasks import TASKS
from sru_apps.train.errors import UserError


@pytest.mark.parametrize(
    "args", [["--help"], ["classify", "--help"], ["classify"], ["nonsense"], ["--version"]]
)
def test_help_and_errors_import_nothing_slow(args: list[str]) -> None:
    program = (
        "import sys\nfrom sru_apps.cli import main\nmain()\n"
        "print([m for m in ('torch', 'pytorch_lightning', 'jsonargparse', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_lists_every_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name}" in shown and task.help in shown for name, task in TASKS.items())


def test_classify_help_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {command}" in shown for command in ("fit", "validate", "test", "predict"))


def test_unknown_task_is_answered_with_the_valid_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clasify"]) == 2
    error = capsys.readouterr().err
    assert "unknown command 'clasify'. Did you mean 'classify'? " in error
    assert "Valid commands: classify, lm, squad, translate, chat, speech, demo" in error


def test_a_command_without_its_task(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--recipe", "sst2"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(
        "sru: unknown command 'fit'. Name the task first: sru classify fit. Valid commands: "
    )


def test_missing_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify"]) == 2
    error = capsys.readouterr().err
    assert "a command is missing. Valid commands: fit, validate, test, table, predict" in error


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sru-apps {__version__}\n"


def test_module_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "sru_apps", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"sru-apps {__version__}\n")


def test_command_gets_the_rest_of_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    recorder = ModuleType("recorder")
    recorder.record = lambda args: given.append(args) or 7
    monkeypatch.setitem(sys.modules, "recorder", recorder)
    commands = {"record": Command("record", "recorder:record")}
    assert run_command("x", "", commands, ["record", "a", "--b"]) == 7
    assert given == [["a", "--b"]]


def test_every_task_of_the_table_is_there() -> None:
    for name, row in TASKS.items():
        task = row.load()
        assert task.name == name if isinstance(task, Task) else callable(task)


def test_interrupted_before_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: Command) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Command, "load", interrupt)
    assert main(["classify"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args",
    [["x\udcff"], ["classify", "predict", "--model=a\udcff"], ["classify", "fit", "--name", "a\0b"]],
)
def test_arguments_that_are_not_utf_8(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sru: argument {len(args)} is not UTF-8, or holds a NUL: '")


@pytest.mark.parametrize("args", [["--help"], ["nothing"]])
def test_nobody_reads_the_output(args: list[str]) -> None:
    """As in `sru ... | head -1`, once head has exited."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        stderr = gone if "nothing" in args else subprocess.PIPE
        done = subprocess.run([sys.executable, "-m", "sru_apps", *args], stdout=gone, stderr=stderr)
    assert done.returncode == 141
    assert not done.stderr


def test_a_broken_pipe_is_no_error_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(args: object) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(Command, "load", lambda self: fail)
    with pytest.raises(BrokenPipeError):
        run_command("x", "", {"fail": Command("", "")}, ["fail"])


def test_a_message_of_any_length_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(args: object) -> int:
        raise UserError("x" * 10**6)

    monkeypatch.setattr(Command, "load", lambda self: fail)
    assert main(["classify"]) == 1
    assert len(capsys.readouterr().err) < 3000


@pytest.mark.parametrize(
    ("former", "name"),
    [
        ("encoders", "RecurrentEncoder"),
        ("classification.model", "SentenceClassifier"),
        ("language_modelling.config", "LanguageModelConfig"),
        ("training.optimizers", "OptimizerConfig"),
        ("language_modelling.model", "LanguageModel"),
        ("language_modelling.generate", "generate"),
        ("chat.load", "TrainedChatModel"),
        ("chat.reply", "Conversation"),
    ],
)
def test_former_modules_are_the_present_ones(former: str, name: str) -> None:
    module = importlib.import_module(f"sru_apps.{former}")
    assert module is sys.modules[module.__name__]
    assert hasattr(module, name)
