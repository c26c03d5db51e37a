"""Option files are data: any content is read at once or refused in one sentence."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from sru_apps.cli import main
from sru_apps.train.errors import UserError
from sru_apps.train.yaml_files import read_yaml

BOMB = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
)


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "options.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB, r"it holds more than 10,000 values with its aliases written out"),
        ("a: &a [*a]", r"an anchor holds itself"),
        ("a: &a {b: *a}", r"an anchor holds itself"),
        ("model: {hidden_size: 3, hidden_size: 4}", r"line 1: hidden_size is given twice"),
        ("seed: 1\nname: x\nseed: 1", r"line 3: seed is given twice"),
        ("3: x", r"line 1: expected the name of an option, got '3'"),
        ("? [a, b]\n: x", r"line 1: expected the name of an option"),
        (
            "lr_scheduler:\n  class_path: evil.X",
            r"line 2: class_path names code to import, which no option does",
        ),
        ("optimizer: {init_args: {lr: 3}}", r"line 1: init_args names code to import"),
        ("trainer: {profiler: [{class_path: evil.X}]}", r"line 1: class_path names code to import"),
        ('name: "a\\0b"', r"line 1 holds a character that no option may hold"),
        ('name: "\\ud800"', r"line 1 holds a character that no option may hold"),
        ("a: !!python/object/apply:os.system [echo]", r"ConstructorError"),
        ("a: 1\n---\nb: 2", r"ComposerError"),
        ("[" * 10_000, r"RecursionError"),
        ("a: " + "[" * 300 + "]" * 300, r"line 1 is nested deeper than 20 levels"),
        ("a: [", r"ParserError"),
        ("[a, b]", r"expected options as NAME: VALUE"),
        ("x" * 200_000, r"it is larger than 30,000 bytes"),
    ],
)
def test_refused_files(tmp_path: Path, content: str, reason: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(
        UserError, match=rf"^{path} is damaged or is not a file of options: .*{reason}"
    ) as raised:
        read_yaml(path)
    assert len(str(raised.value)) < 500


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    path = write(tmp_path, "name: ü".encode("latin-1"))
    with pytest.raises(UserError, match=rf"{path} is not UTF-8 at byte 6; convert it first"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ("\ufeffseed: 3", {"seed": 3}),
        ("a: &a {b: 1}\nc: *a\nd: [*a, *a]", {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}, {"b": 1}]}),
        ("name: ü\nlr: 1.0e-3", {"name": "ü", "lr": 0.001}),
    ],
)
def test_files_that_are_read(tmp_path: Path, content: str, options: dict[str, object]) -> None:
    assert read_yaml(write(tmp_path, content)) == options


@pytest.mark.parametrize("content", ["model: 3", "model: []", "data: text", "optimizer: false"])
def test_a_group_that_is_none(tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "fit", f"--config={write(tmp_path, content)}", "--data.name=sst2"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{content.partition(':')[0]} must hold options as NAME: VALUE, got " in line


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("seed: null", "seed"),
        ("runs_dir: ~", "runs_dir"),
        ("optimizer: {lr: null}", "optimizer.lr"),
        ("trainer: {devices: null}", "trainer.devices"),
        ("data: {batch_size: null}", "data.batch_size"),
    ],
)
def test_null_is_no_default(
    tmp_path: Path, content: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["classify", "fit", f"--config={write(tmp_path, content)}", "--data.name=sst2"])
    assert f"error: {name} must have a value, got null\n" in capsys.readouterr().err


@pytest.fixture
def copy(trained_run: Path, tmp_path: Path) -> Path:
    """A run folder with only the options and the last checkpoint."""
    run = tmp_path / "copy"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "checkpoints/last.ckpt"):
        (run / name).write_bytes((trained_run / name).read_bytes())
    return run


def test_an_empty_group_is_none(copy: Path) -> None:
    config = copy / "config.yaml"
    config.write_text(config.read_text().partition("trainer:")[0] + "trainer: null\n")
    assert main(["classify", "fit", f"--resume={copy}"]) == 0


def test_a_file_of_one_group_is_read_as_safely(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, BOMB)
    for group in ("model", "data", "optimizer"):
        assert main(["classify", "fit", f"--{group}={path}", "--data.name=sst2"]) == 1
        assert "values with its aliases written out" in capsys.readouterr().err


EVIL = {
    "another key": "lr_scheduler: {class_path: evil.X}\n",
    "a key of the trainer": "trainer: {profiler: evil.X}\n",
    "the accelerator": "trainer: {accelerator: evil.X}\n",
    "the strategy": "trainer: {strategy: evil.X}\n",
    "the optimizer": "optimizer: {class_path: evil.X}\n",
    "an unknown option": "model: {network: evil.X}\n",
    "the data": "data: {name: evil.X}\n",
}


@pytest.mark.parametrize("place", EVIL)
def test_nothing_in_a_run_folder_names_code_to_import(
    copy: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "evil.py").write_text("")
    with (copy / "config.yaml").open("a") as file:
        file.write(EVIL[place])
    (copy / "config.yaml").write_text(_merged((copy / "config.yaml").read_text()))
    monkeypatch.syspath_prepend(copy)
    try:
        status = main(["classify", "fit", f"--resume={copy}"])
    except SystemExit as exit_:
        status = exit_.code
    assert "evil" not in sys.modules
    assert status in (1, 2)


def _merged(text: str) -> str:
    """Add the last group, of one line, to the group of its name."""
    *lines, last = text.splitlines()
    group, _, options = last.partition(": ")
    if f"{group}:" not in lines:
        return text
    name, value = options.strip("{}").split(": ")
    kept = [line for line in lines if not line.startswith(f"  {name}:")]
    kept.insert(kept.index(f"{group}:") + 1, textwrap.indent(f"{name}: {value}", "  "))
    return "\n".join(kept) + "\n"
