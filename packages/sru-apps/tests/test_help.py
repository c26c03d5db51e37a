"""Help describes the parsers' options, without slow imports."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import fields
from functools import cache
from typing import Any

import pytest

from sru_apps.cli import main
from sru_apps.nn.encoders import ENCODERS, EncoderOptions
from sru_apps.task import Command, load
from sru_apps.tasks import TASKS
from sru_apps.train.help import COMMON, check_names, fit_options, own
from sru_apps.train.layout import described
from sru_apps.train.options import fit_parser, recipe_names
from sru_apps.train.short_names import all_options, short_names
from sru_data.datasets import classification

RECORDS: dict[str, Any] = {name: row.load() for name, row in TASKS.items() if name != "demo"}
GENERIC = [
    (name, command) for name, task in RECORDS.items() for command, row in task.table().items() if row.page
]
OWN = [
    (name, command) for name, task in RECORDS.items() for command, row in task.table().items() if not row.page
]


@cache
def parser(name: str) -> Any:
    task = RECORDS[name]
    return fit_parser(task, load(task.data), load(task.module).config_class)


@pytest.mark.parametrize("name", RECORDS)
def test_help_agrees_with_the_parser(name: str) -> None:
    options = parser(name)
    shown = [row for rows in fit_options(RECORDS[name]).values() for row in rows]
    files = {"-h", "--help", "-c", "--print_config", "--data", "--model", "--optimizer"}
    assert {option for option, *_ in shown} == set(all_options(options)) - files
    for option, _, default, text in shown:
        assert text, option
        if option not in ("--config", "--allow-divergence"):
            real = options.get_default(option[2:].replace("-", "_"))
            assert real == (None if default is ... else default), option


@pytest.mark.parametrize("name", RECORDS)
def test_help_shows_the_defaults_of_the_task(name: str) -> None:
    shown = dict(described(row) for rows in fit_options(RECORDS[name]).values() for row in rows)
    texts = {head.split()[0]: text for head, text in shown.items()}
    for option, value in RECORDS[name].defaults.items():
        written = str(value).lower() if isinstance(value, bool) else value
        assert texts[f"--{option}"].endswith(f"default: {written}."), option


@pytest.mark.parametrize(("name", "command"), GENERIC)
@pytest.mark.parametrize("wanted", ["--help", "--help-all"])
def test_generic_commands_have_both_kinds_of_help(
    name: str, command: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, command, "--seed", wanted]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: sru {name} {command} ")
    assert max(map(len, shown.splitlines())) <= 110
    assert "null" not in shown
    assert "None" not in shown


@pytest.mark.parametrize("name", RECORDS)
def test_short_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    task = RECORDS[name]
    main([name, "fit", "--help"])
    shown = capsys.readouterr().out
    every = {option[2:] for options in fit_options(task).values() for option, *_ in options}
    assert every >= {*COMMON, *task.common}
    listed = re.findall(r"^  (--\S+)", shown, re.MULTILINE)
    assert len(listed) == len({*COMMON, *task.common}) < 20
    assert {"--epochs", "--lr", "--encoder", "--recipe"} <= set(listed)
    assert all(re.search(rf"^  {recipe}( |$)", shown, re.MULTILINE) for recipe in recipe_names(task))
    assert f"`sru {name} fit --help-all` describes all {len(every)} options." in shown


def test_crossval_shows_the_recipes_that_have_folds(capsys: pytest.CaptureFixture[str]) -> None:
    main(["classify", "crossval", "--help"])
    shown = capsys.readouterr().out.partition("\nrecipes:\n")[2]
    folds = [name for name in classification.NAMES if classification.count_folds(name)]
    assert re.findall(r"^  (\w+) ", shown, re.MULTILINE) == sorted(folds)


@pytest.mark.parametrize("name", RECORDS)
def test_examples_are_understood(name: str) -> None:
    for example in RECORDS[name].examples:
        args = shlex.split(example)
        assert parser(name).parse_args(args)


def test_the_mark_of_an_option_names_the_encoders_that_have_it() -> None:
    marks = {
        option: text.partition(":")[0]
        for option, _, _, text in fit_options(RECORDS["lm"])["model"]
        if option[8:] in {item.name for item in fields(EncoderOptions)}
    }
    for option, mark in marks.items():
        owners = [
            name
            for name, row in ENCODERS.items()
            if option[8:] in {item.name for item in fields(row.options)}
        ]
        assert set(mark.split(", ")) <= set(owners), option
    assert all(issubclass(EncoderOptions, row.options) for row in ENCODERS.values())


def test_help_imports_nothing_slow() -> None:
    every = [["demo"], *([name, command] for name, command in [*GENERIC, *OWN])]
    program = (
        "import sys\nfrom sru_apps.cli import main\n"
        f"print([main([*args, wanted]) for args in {every} for wanted in ('-h', '--help', '--help-all')])\n"
        "print([m for m in ('torch', 'pytorch_lightning', 'numpy', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    statuses, modules = done.stdout.splitlines()[-2:]
    assert statuses == str([0] * 3 * len(every))
    assert modules == "[]"


def test_wrong_options_import_nothing_slow() -> None:
    wrong = [
        *([name, command, "--nonsense"] for name, command in [*GENERIC, *OWN] if command != "table"),
        ["demo", "--nonsense"],
    ]
    program = (
        "import sys\nfrom sru_apps.cli import main\n"
        f"for args in {wrong}:\n"
        "    try:\n        main(args)\n    except SystemExit as error:\n        assert error.code == 2\n"
        "print([m for m in ('torch', 'pytorch_lightning', 'numpy', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert done.stderr.count(": error: unknown option --nonsense.\n") == len(wrong)


@pytest.mark.parametrize("name", RECORDS)
def test_no_option_of_the_parser_is_refused(name: str) -> None:
    written = [*all_options(parser(name)), *short_names(all_options(parser(name))), "--data.train_file+"]
    check_names("x", RECORDS[name].table()["fit"], RECORDS[name], written)
    check_names("x", RECORDS[name].table()["fit"], RECORDS[name], ["--hidden_size=3", "--", "--nonsense"])
    with pytest.raises(SystemExit, match="2"):
        check_names("x", RECORDS[name].table()["fit"], RECORDS[name], ["--data.nonsense", "3"])


@pytest.mark.parametrize(("name", "command"), OWN)
def test_commands_of_a_task_are_described_as_they_describe_themselves(
    name: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = []
    for wanted in ("--help", "--help-all"):
        assert main([name, command, "x", wanted]) == 0
        pages.append(capsys.readouterr().out)
    with pytest.raises(SystemExit, match="0"):
        RECORDS[name].table()[command].load()(RECORDS[name], ["--help"])
    assert pages == [capsys.readouterr().out] * 2
    assert pages[0].startswith(f"usage: sru {name} {command} ")


def test_a_command_whose_source_does_not_tell_describes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own("sru lm", "sru_apps.tasks.lm:TASK", None) is None
    assert own("sru x", "sru_apps.cli:command_help", None) is None
    monkeypatch.setattr(Command, "load", lambda self: lambda args: args != ["--help"])
    monkeypatch.setitem(TASKS, "mine", Command("my own", "sru_apps.cli:command_help"))
    assert main(["mine", "--help-all"]) == 0
