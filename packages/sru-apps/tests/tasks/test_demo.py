"""The demo on a short text."""

from __future__ import annotations

import re

import pytest

from sru_apps.cli import main
from sru_apps.tasks.demo import commands as demo
from sru_apps.train.errors import UserError
from sru_apps.train.module import count_parameters


def test_hidden_sizes_give_equal_parameter_counts():
    sizes = demo.equal_hidden_sizes(100)
    sru, lstm = (count_parameters(demo.make_module(100, name, sizes[name])) for name in ("sru", "lstm"))
    assert abs(sru - lstm) / sru < 0.02


def test_the_text_is_python_help():
    text = demo.python_help_text()
    assert len(text) > 300_000
    assert 'The "for" statement' in text


@pytest.mark.usefixtures("pictures")
def test_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        demo, "python_help_text", lambda: "The quick brown fox jumps over the lazy dog. " * 200
    )
    monkeypatch.setattr(demo, "SRU_HIDDEN_SIZE", 16)
    assert main(["demo", "--epochs", "1", "--runs-dir", str(tmp_path), "--name", "try"]) == 0
    printed = capsys.readouterr()
    assert re.search(r"SRU +[\d,]+ +\d+\.\d +\d+\.\d +\d+\.\d{3}\nLSTM ", printed.out)
    assert "The SRU continues 'The ':\n\nThe " in printed.out
    assert "100%" in printed.out, "the progress bar is missing"
    folder = tmp_path / "demo" / "try"
    assert (
        f"Picture:    {folder}/learning_curve.png\nCheckpoint: {folder}/sru/checkpoints/best.ckpt"
        in printed.out
    )
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "sru/checkpoints/best.ckpt").is_file()
    assert main(["demo", "--runs-dir", str(tmp_path), "--name", "try"]) == 1
    assert "try exists and is not empty; choose another --name\n" in capsys.readouterr().err


def test_two_demos_do_not_share_a_folder(tmp_path, capsys, monkeypatch):
    options = ["demo", "--runs-dir", str(tmp_path), "--name", "try"]

    def start_another(*_, **__):
        assert main(options) == 2
        raise UserError("enough")

    monkeypatch.setattr(demo, "train", start_another)
    assert main(options) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "try is in use by another process; wait until it ends, or choose another --name" in first
    assert second == "sru demo: error: enough"
    assert main(options) == 1, "the folder of a demo that has ended must be free"


def test_a_folder_that_cannot_be_created(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "train", lambda *_, **__: pytest.fail("trained before the folder was made"))
    (tmp_path / "file").touch()
    assert main(["demo", "--runs-dir", str(tmp_path / "file" / "runs")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("sru demo: error: ")
    assert "Not a directory" in error


@pytest.mark.parametrize("option", [f"--seed={2**32}", f"--seed={10**30}", f"--epochs={10**30}"])
def test_numbers_out_of_range(option, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["demo", option, "--runs-dir", str(tmp_path)])
    assert "expected a number" in capsys.readouterr().err


@pytest.mark.parametrize("epochs", ["0", "-1", "1.5"])
def test_wrong_number_of_epochs(epochs, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["demo", f"--epochs={epochs}", "--runs-dir", str(tmp_path)])
    wanted = "whole number, got 1.5" if epochs == "1.5" else "number >= 1"
    assert f"error: epochs: expected a {wanted}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_unknown_option(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["demo", "--epoch", "1"])
    assert "Did you mean '--epochs'?" in capsys.readouterr().err
