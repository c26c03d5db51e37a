from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import pytest
from lightning_fabric.utilities.exceptions import MisconfigurationException

from sru_apps.cli import run_command
from sru_apps.task import Command
from sru_apps.train.errors import UserError, building
from sru_data import DataError


def run(monkeypatch: pytest.MonkeyPatch, command: Callable[[Sequence[str]], int]) -> int:
    monkeypatch.setattr(Command, "load", lambda self: command)
    return run_command("sru", "", {"x": Command("", "")}, ["x"])


@pytest.mark.parametrize("error", [UserError("what"), DataError("what"), OSError("what")])
def test_errors_for_users_are_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(args: object) -> int:
        raise error

    assert run(monkeypatch, command) == 1
    assert capsys.readouterr().err == "sru x: error: what\n"


def test_warnings_for_users_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(args: object) -> int:
        print(warnings.formatwarning("what", UserWarning, "x.py", 1), end="")
        print(warnings.formatwarning("what", DeprecationWarning, "x.py", 1, ""), end="")
        return 0

    before = warnings.formatwarning
    assert run(monkeypatch, command) == 0
    assert capsys.readouterr().out == "sru x: warning: what\nx.py:1: DeprecationWarning: what\n"
    assert warnings.formatwarning is before


def test_defects_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(args: object) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(monkeypatch, command)


@pytest.mark.parametrize("kind", [ValueError, ModuleNotFoundError, MisconfigurationException])
def test_refused_values_are_errors_for_users(kind: type[Exception]) -> None:
    with pytest.raises(UserError, match=r"^two lines$"), building():
        raise kind("two\n  lines")


def test_defects_while_building_stay_what_they_are() -> None:
    with pytest.raises(AttributeError, match="what"), building():
        raise AttributeError("what")
