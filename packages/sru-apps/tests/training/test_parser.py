from __future__ import annotations

import pytest

from sru_apps.training.parser import OptionParser, peek


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
    assert (
        "sru x: error: unknown option --learning-rat. Did you mean '--learning-rate'?"
        in capsys.readouterr().err
    )


def test_unknown_option_without_a_close_one_is_answered_with_all(
    parser: OptionParser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(["--zzz", "1"])
    assert "unknown option --zzz. Valid options: --help, --learning-rate, -h\n" in capsys.readouterr().err


def test_wrong_value_names_the_option(parser: OptionParser, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser.parse_args(["--learning-rate=fast"])
    error = capsys.readouterr().err
    assert "learning_rate" in error
    assert "`sru x --help` lists the options." in error


@pytest.mark.parametrize(
    ("args", "value"),
    [
        (["--a", "1"], "1"),
        (["--a=1"], "1"),
        (["--a", "1", "--a=2"], "2"),
        (["--ab", "1"], None),
        (["--a"], None),
    ],
)
def test_peek(args: list[str], value: str | None) -> None:
    assert peek(args, "--a") == value
