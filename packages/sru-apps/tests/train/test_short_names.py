from __future__ import annotations

import pytest

from sru_apps.train.options import OptionParser, add_options, parse_options
from sru_apps.train.short_names import shortened, written_out


class _Data:
    def __init__(
        self,
        name: str | None = None,
        train_file: str | list[str] | None = None,
        lowercase: bool = False,
        batch_size: int = 3,
    ) -> None:
        pass


class _Optimizer:
    def __init__(
        self,
        name: str = "adam",
        lr: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.99),
        steps: list[int] | None = None,
    ) -> None:
        pass


@pytest.fixture
def parser() -> OptionParser:
    parser = OptionParser(prog="sru x", recipes=["sst2"])
    parser.add_class_arguments(_Data, "data")
    parser.add_class_arguments(_Optimizer, "optimizer")
    add_options(parser, [("--seed", int, 0, ""), ("--loud", bool, False, "")])
    add_options(parser, [("--trainer.max_epochs", int | None, None, ""), ("--trainer.seed", int, 0, "")])
    return parser


@pytest.mark.parametrize(
    ("args", "option", "value"),
    [
        (["--batch-size", "5"], "data.batch_size", 5),
        (["--batch_size=5"], "data.batch_size", 5),
        (["--data.batch_size=4", "--batch-size=5"], "data.batch_size", 5),
        (["--epochs", "2", "--loud"], "trainer.max_epochs", 2),
        (["--max-epochs", "2"], "trainer.max_epochs", 2),
        (["--lr", "-0.5"], "optimizer.lr", -0.5),
        (["--lr=1e-3"], "optimizer.lr", 1e-3),
        (["--seed", "4"], "seed", 4),
        (["--trainer.seed", "4"], "seed", 0),
        (["--lowercase"], "data.lowercase", True),
        (["--lowercase", "--loud"], "data.lowercase", True),
        (["--lowercase", "false"], "data.lowercase", False),
        (["--train-file", "a.csv"], "data.train_file", "a.csv"),
        (["--train-file", "7"], "data.train_file", "7"),
        (["--train-file", "a=b.csv"], "data.train_file", "a=b.csv"),
        (["--train-file=a=b.csv"], "data.train_file", "a=b.csv"),
        (["--train-file", "a b.csv", "7", "--loud"], "data.train_file", ["a b.csv", "7"]),
        (["--train-file=a", "--lr=1", "--data.train_file=b"], "data.train_file", ["a", "b"]),
        (["--train-file", '["a", "b"]'], "data.train_file", ["a", "b"]),
        (["--betas", "0.5", "0.6"], "optimizer.betas", (0.5, 0.6)),
        (["--betas=[0.5, 0.6]"], "optimizer.betas", (0.5, 0.6)),
        (["--steps", "3"], "optimizer.steps", [3]),
        (["--steps", "3", "4"], "optimizer.steps", [3, 4]),
    ],
)
def test_forms(parser: OptionParser, args: list[str], option: str, value: object) -> None:
    assert parser.parse_args(args).get(option) == value


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--name", "x"], "unknown option --name. Did you mean '--data.name' or '--optimizer.name'?"),
        (["--batchsize=4"], "unknown option --batchsize. Did you mean '--batch-size'?"),
        (["--lrr", "1", "--seeed=3", "4"], "unknown option --lrr. Did you mean '--lr'?"),
        (["--data.lr=4"], "unknown option --data.lr. Did you mean '--optimizer.lr'?"),
        (["--epoch=4"], "unknown option --epoch. Did you mean '--epochs'?"),
        (["--data.epochs=4"], "unknown option --data.epochs. Did you mean '--trainer.max_epochs'?"),
        (["--learning-rate=4"], "unknown option --learning-rate. Did you mean '--lr'?"),
        (["--lr"], "--optimizer.lr needs a value"),
        (["--seed"], "--seed needs a value"),
        (["--lr="], "optimizer.lr: expected a number, got nothing"),
        (["--batch-size", "3", "4"], "unexpected argument '4'"),
        (["mail.csv"], "unexpected argument 'mail.csv'"),
        (["sst2"], "unexpected argument 'sst2'. Did you mean '--recipe sst2'?"),
        (["--betas", "1"], "optimizer.betas"),
    ],
)
def test_wrong_forms(
    parser: OptionParser, args: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(args)
    first, second = capsys.readouterr().err.splitlines()
    assert message in first
    assert second == "`sru x --help-all` lists the options."


def test_an_option_is_shown_as_it_is_typed() -> None:
    names = ["--seed", "--data.name", "--optimizer.name", "--trainer.max_epochs", "--data.train_file"]
    assert shortened(names) == {
        "--seed": "--seed",
        "--data.name": "--data.name",
        "--optimizer.name": "--optimizer.name",
        "--trainer.max_epochs": "--epochs",
        "--data.train_file": "--train-file",
    }


def test_nothing_else_is_touched(parser: OptionParser) -> None:
    for args in (["a=b", "-c", "x", "--", "--lr", "3"], ["--unknown-thing", "--loud"]):
        assert written_out(parser, args) == args


def test_options_that_are_repeated_keep_their_texts() -> None:
    rows = [("texts", list, [], ""), ("--prompt", list, None, "")]
    options = parse_options("sru x", "", rows, ["--prompt", "[a", "--prompt", "b=c", "--", "--lr"])
    assert options.prompt == ["[a", "b=c"]
    assert options.texts == ["--lr"]
