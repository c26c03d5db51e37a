"""Command lines: parsers whose errors name the valid options, recipes, and former names of options."""

from __future__ import annotations

import inspect
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import MISSING, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import pytorch_lightning as lightning
import yaml  # type: ignore[import-untyped,unused-ignore]
from jsonargparse import SUPPRESS, ArgumentParser, Namespace, set_parsing_settings
from jsonargparse.typing import NonNegativeInt

from sru_apps.task import Task, closest
from sru_apps.train.errors import UserError, reading
from sru_apps.train.optimizers import OptimizerConfig

# The help of an option is the docstring under its field.
set_parsing_settings(docstring_parse_attribute_docstrings=True)


class OptionParser(ArgumentParser):
    """Adds the closest valid option and a list of all to the error about an unknown one.

    Args:
        missing: Message for a missing required option.
    """

    def __init__(self, *args: Any, missing: str = "", **kwargs: Any) -> None:
        # An abbreviation would change its meaning with the next option that begins alike.
        super().__init__(*args, allow_abbrev=False, **kwargs)
        self._missing = missing

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Report a wrong command line and exit with status 2."""
        if self._missing and "required" in message:
            message = self._missing
        unknown = re.search(r"(?<!\S)(--?[\w.+-]+)", message) if "nrecognized" in message else None
        if unknown:
            options = _all_options(self)
            message = f"unknown option {unknown[1]}.{_near(unknown[1], options)} {_list(options)}"
        message = _plain(" ".join(message.split()))
        print(f"{self.prog}: error: {message}\n`{self.prog} --help` lists the options.", file=sys.stderr)
        raise SystemExit(2)


_VALUE = (
    r"Does not validate against any of the Union subtypes Subtypes: .*? Errors: - (?P<errors>.*) "
    r"Given value type: .*? Given value: (?P<value>.*)",
    r"(?P<errors>Not of type \w+: (?P<value>.*) does not conform to restriction v.+)",
    r"(?P<errors>Not of type \w+: .*: '(?P<value>.*)')",
    r"(?P<errors>.*)\. Got value: (?P<value>.*)",
)
"""What jsonargparse says of a wrong value, in terms of Python's types."""
_KINDS = {
    r"^Not of type \w+: (?:.* )?does not conform to restriction v(\W+)(.+)$": r"a number \1 \2",
    r"^Not of type \w+: .* int\(\) .*$": "a whole number",
    r"^Not of type \w+: could not convert .*$": "a number",
    r"^Expected a typing\.Literal\[(.*)\]$": r"one of \1",
    r"^Expected a <class '(.*)'>$": r"a value of type \1",
    r"^Expected ": "",
}
"""What it expects, and the same in plain words."""


def _plain(message: str) -> str:
    """Put in plain words what jsonargparse says of a value."""
    for form in _VALUE:
        if found := re.fullmatch(rf'Parser key "(?P<key>[^"]+)": {form}', message):
            wanted = [_kind(error) for error in found["errors"].split(" - ") if "NoneType" not in error]
            return f"{found['key']}: expected {' or '.join(wanted)}, got {found['value']}"
    return message


def _kind(error: str) -> str:
    for pattern, words in _KINDS.items():
        error = re.sub(pattern, words, error)
    return error


def _all_options(parser: ArgumentParser) -> list[str]:
    # jsonargparse lists links between options and the help of types among the options.
    shown = [action.option_strings for action in parser._actions if action.help != SUPPRESS]
    return [name for names in shown for name in names if name[0] == "-" and not name.endswith(".help")]


def _near(unknown: str, options: Sequence[str]) -> str:
    """Suggest an option of the same group: where `--model.x` is unknown, one that begins with `--model.`."""
    group, _, last = unknown.rpartition(".")
    same = {name.rpartition(".")[2]: name for name in options if name.rpartition(".")[0] == group}
    # The group left out, or misspelt.
    moved = [name for name in options if "." in name and name.endswith(f".{last.lstrip('-')}")]
    found = [*moved, *(same[name] for name in get_close_matches(last, same, n=1))]
    return f" Did you mean {found[0]!r}?" if found else ""


def _list(options: Sequence[str]) -> str:
    groups: dict[str, list[str]] = {}
    for name in options:
        group, _, last = name.rpartition(".")
        groups.setdefault(group, []).append(last)
    # `--model` itself, which reads a file, is understood where `--model.{...}` is listed.
    shown = [name for name in groups.pop("", []) if name not in groups]
    shown += [f"{group}.{{{','.join(names)}}}" for group, names in groups.items()]
    return f"Valid options: {', '.join(shown)}"


Option = tuple[str, Any, Any, str]
"""A row of a table of options: name, type, default and help. The type `bool` makes a flag, `list` an option
that may be repeated, or the rest of the command line; the default `...` makes an option required."""


def add_options(parser: Any, options: Sequence[Option]) -> None:
    """Add a table of options to a parser."""
    for name, kind, default, text in options:
        settings: dict[str, Any] = {"type": str if kind is list else kind}
        if kind is bool:
            settings = {"action": "store_true"}
        elif not name.startswith("-"):
            settings["nargs"] = ("+" if default is ... else "*") if kind is list else None
        elif default is ...:
            settings["required"] = True
        else:
            settings |= {"default": default, **({"action": "append"} if kind is list else {})}
        parser.add_argument(name, help=text, **settings)


def parse_options(prog: str, description: str, options: Sequence[Option], args: Sequence[str]) -> Namespace:
    """Parse the command line of a command.

    Args:
        prog: The command as the user types it.
        description: What it does.
        options: Its options.
        args: The command line after it.
    """
    parser = OptionParser(prog=prog, description=description)
    add_options(parser, options)
    return parser.parse_args(list(args))


SHORT = {
    "--encoder": "--model.encoder",
    "--data-dir": "--data.data_dir",
    "--embeddings": "--data.embeddings",
}
"""Short forms of options, on the command line only."""
RENAMED = {
    "optimizer.learning_rate": "optimizer.lr",
    "encoder": "model.encoder",
    "data_dir": "data.data_dir",
    "embeddings": "data.embeddings",
}
"""Former names of options, which files may still use."""
_GONE = ("amsgrad", "maximize", "capturable", "differentiable", "foreach", "fused")
"""Former options of the optimizer."""


def recipe_names(task: Task) -> list[str]:
    """Name the recipes of a task in alphabetical order."""
    return sorted(path.stem for path in task.recipes.glob("*.yaml"))


def recipe_path(task: Task, name: str) -> Path:
    """Find a recipe by its name, without `.yaml`.

    Raises:
        UserError: There is no such recipe; lists the ones there are.
    """
    names = recipe_names(task)
    if name not in names:
        raise UserError(f"unknown recipe {name!r}.{closest(name, names)} Valid recipes: {', '.join(names)}")
    return task.recipes / f"{name}.yaml"


def read_settings(path: Path) -> dict[str, Any]:
    """Read a YAML file of options and rename what has had another name, with one warning.

    Raises:
        UserError: The file is missing or damaged.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file; give --config a YAML file of options")
    with reading(path, kind="a file of options"):
        settings: dict[str, Any] = dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    for group in ("data", "model", "optimizer", "trainer"):
        if not isinstance(settings.get(group) or {}, dict):
            raise UserError(f"{path}: {group} must hold options as NAME: VALUE, got {settings[group]!r}")
    seed = settings.pop("seed_everything", None)
    if seed is not None and not isinstance(seed, bool):
        settings.setdefault("seed", seed)
    renamed = []
    for old, new in RENAMED.items():
        group, _, name = old.rpartition(".")
        value = (settings.get(group) or {} if group else settings).pop(name, None)
        if value is not None:
            new_group, _, new_name = new.partition(".")
            settings[new_group] = {new_name: value} | (settings.get(new_group) or {})
            renamed.append(f"{old} is now {new}")
    if renamed:
        warnings.warn(f"{path} has former names of options: {', '.join(renamed)}", stacklevel=2)
    for name in _GONE:
        # How the optimizer computes is no option any more; what it computes would change without the others.
        value = (settings.get("optimizer") or {}).pop(name, None)
        if value and name not in ("foreach", "fused"):
            raise UserError(f"{path}: optimizer.{name} is no longer an option, got {value}; leave it out")
    return settings


def with_settings(args: Sequence[str], settings: Path | None) -> list[str]:
    """Return a command line with short forms written out and files read, the given one before all others."""
    found = [] if settings is None else ["--config", yaml.safe_dump(read_settings(settings))]
    rest = iter(args)
    for arg in rest:
        option, equals, value = arg.partition("=")
        option = SHORT.get(option, option)
        if option in ("-c", "--config"):
            value = value if equals else next(rest, "")
            found += ["--config", yaml.safe_dump(read_settings(Path(value)))]
        elif option.removeprefix("--") in RENAMED:
            new = f"--{RENAMED[option.removeprefix('--')]}"
            warnings.warn(f"{option} is now {new}", stacklevel=2)
            found.append(new + equals + value)
        else:
            found.append(option + equals + value)
    return found


def peek(args: Sequence[str], option: str) -> str | None:
    """Read one option before the parser exists, since it decides about the settings that come first.

    Args:
        args: The command line.
        option: The option, such as `--recipe`.

    Returns:
        Its last value, or None.
    """
    pairs = zip(args, [*args[1:], None], strict=False)
    values = [arg[len(option) + 1 :] or after for arg, after in pairs if arg.partition("=")[0] == option]
    return values[-1] if values else None


TRAINER_OPTIONS = frozenset(
    {"accelerator", "devices", "num_nodes", "strategy", "precision", "max_epochs", "max_steps"}
    | {"accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"}
    | {"deterministic", "benchmark", "profiler", "detect_anomaly"}
)
"""The free options of Lightning's Trainer; others would break the promise that a continued run equals an
undisturbed one."""


def fit_parser(task: Task, data_class: type, config_class: type) -> OptionParser:
    """Make the parser of `sru TASK fit`.

    Args:
        task: The task.
        data_class: Its constructor's arguments are the options `--data.*`.
        config_class: Its fields with a default are the options `--model.*`; the data tell the others.
    """
    recipes = ", ".join(recipe_names(task))
    parser = OptionParser(
        prog=f"sru {task.name} fit",
        missing=task.missing.format(recipes=recipes),
    )
    parser.add_argument("-c", "--config", action="config", help="A YAML file of options.")
    add_options(
        parser,
        [
            ("--recipe", str | None, None, f"Packaged settings: {recipes}."),
            ("--seed", int, 0, "Seed of everything random."),
            ("--runs-dir", str, "runs", f"Where run folders go: RUNS_DIR/{task.name}/RECIPE/NAME."),
            ("--name", str | None, None, "Name of the run folder; default: the time."),
            ("--resume", str | None, None, "Run folder, or a checkpoint in one, to continue."),
            (
                "--checkpoint-steps",
                NonNegativeInt,
                0,
                "Steps between saves of last.ckpt within an epoch; 0: save after each epoch only.",
            ),
        ],
    )
    parser.add_class_arguments(data_class, "data", skip={"seed"}, instantiate=False)
    told = {item.name for item in fields(config_class) if item.default is MISSING}
    parser.add_class_arguments(config_class, "model", skip=told, instantiate=False)
    parser.add_class_arguments(OptimizerConfig, "optimizer", instantiate=False)
    others = set(inspect.signature(lightning.Trainer).parameters) - TRAINER_OPTIONS
    parser.add_class_arguments(
        lightning.Trainer, "trainer", skip=others, instantiate=False, fail_untyped=False
    )
    short = (f"{name} is short for {full}" for name, full in SHORT.items() if full in _all_options(parser))
    parser.description = f"Train, test the best checkpoint and export it. {'; '.join(short)}."
    parser.set_defaults({"trainer.accelerator": "auto", "trainer.devices": 1, **task.defaults})
    return parser
