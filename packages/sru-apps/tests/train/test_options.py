from __future__ import annotations

import datetime
from typing import Literal

import pytest
from jsonargparse.typing import NonNegativeFloat, PositiveInt, restricted_number_type

from sru_apps.train.options import OptionParser, add_options


@pytest.fixture
def parser() -> OptionParser:
    parser = OptionParser(prog="sru x")
    parser.add_argument("--learning-rate", type=float, default=1.0)
    return parser


def test_unknown_option_is_answered_with_the_closest(
    parser: OptionParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parser.parse_args(["--learning-rat=2"])
    assert exit_.value.code == 2
    assert capsys.readouterr().err == (
        "sru x: error: unknown option --learning-rat. Did you mean '--learning-rate'?\n"
        "`sru x --help` lists the options.\n"
    )


def test_unknown_option_without_a_close_one(parser: OptionParser, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--zzz", "-z"):
        with pytest.raises(SystemExit):
            parser.parse_args([option])
        error = capsys.readouterr().err
        assert error == f"sru x: error: unknown option {option}.\n`sru x --help` lists the options.\n"


class _Model:
    def __init__(self, dropout: float = 0.0, width: int = 1, source: str = "") -> None:
        pass


@pytest.mark.parametrize(
    ("option", "suggestion"),
    [
        ("--model.foo", ""),
        ("--model.heigth", ""),
        ("--model.drop", " Did you mean '--model.dropout'?"),
        ("--widht", " Did you mean '--width'?"),
        ("--modle.width", " Did you mean '--model.width'?"),
        ("--model.learning_rate", " Did you mean '--learning-rate'?"),
        ("--sourc", " Did you mean '--source'?"),
        ("--whenn", " Did you mean '--when'?"),
    ],
)
def test_suggestions_name_real_options_only(
    parser: OptionParser, capsys: pytest.CaptureFixture[str], option: str, suggestion: str
) -> None:
    parser.add_argument("--source", type=str, default="")
    parser.add_argument("--when", type=datetime.timedelta | None, default=None)
    parser.add_class_arguments(_Model, "model")
    parser.link_arguments("source", "model.source")
    with pytest.raises(SystemExit):
        parser.parse_args([f"{option}=1"])
    assert capsys.readouterr().err == (
        f"sru x: error: unknown option {option}.{suggestion}\n`sru x --help-all` lists the options.\n"
    )


def test_wrong_value_names_the_option(parser: OptionParser, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(["--learning-rate=fast"])
    first, second = capsys.readouterr().err.splitlines()
    assert "learning_rate" in first
    assert "fast" in first
    assert second == "`sru x --help` lists the options."


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--size=0"], "size: expected a number > 0, got 0"),
        (["--size=1.5"], "size: expected a whole number, got 1.5"),
        (["--more=x"], "more: expected a number, got x"),
        (["--more=-1"], "more: expected a number >= 0, got -1"),
        (["--few=9"], "few: expected a number >= 0 and <= 7, got 9"),
        (["--kind=c"], "kind: expected one of 'a', 'b', got c"),
        (["--both=c"], "both: expected one of 'a', 'b' or a whole number, got c"),
        (["--pair=[1]"], "pair: expected 2 values, got [1]"),
        (["--many", "1", "x"], "many: expected a whole number, got [1, 'x']"),
        (["--yes=x"], "yes: expected true or false, got x"),
    ],
)
def test_values_of_a_wrong_kind(args: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = OptionParser(prog="sru x")
    add_options(
        parser,
        [
            ("--size", PositiveInt | None, None, "A size."),
            ("--more", NonNegativeFloat, 0.0, "More than nothing."),
            ("--few", restricted_number_type("Few", int, [(">=", 0), ("<=", 7)]), 0, "A few."),
            ("--kind", Literal["a", "b"], "a", "A kind."),
            ("--both", Literal["a", "b"] | int | None, None, "A kind or a number."),
            ("--pair", tuple[int, int], (1, 2), "Two numbers."),
            ("--many", list[int] | None, None, "Numbers."),
            ("--yes", bool | None, None, "Whether."),
        ],
    )
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(args)
    assert capsys.readouterr().err.splitlines()[0] == f"sru x: error: {message}"
