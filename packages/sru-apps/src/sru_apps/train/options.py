"""Command lines: parsers whose errors name the valid options, recipes, and former names of options."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal, NoReturn

import yaml  # type: ignore[import-untyped,unused-ignore]
from jsonargparse import SUPPRESS, ArgumentParser, Namespace, set_parsing_settings
from jsonargparse.typing import NonNegativeFloat, NonNegativeInt, PositiveInt

from sru_apps.task import Task, closest
from sru_apps.train.errors import UserError
from sru_apps.train.layout import Option, command_page
from sru_apps.train.short_names import all_options, short_names, written_out
from sru_apps.train.wrong_options import refuse
from sru_apps.train.yaml_files import GROUPS, RENAMED, read_settings, read_yaml

# The help of an option is the docstring under its field.
set_parsing_settings(docstring_parse_attribute_docstrings=True)


class OptionParser(ArgumentParser):
    """A parser that accepts short forms of options, and explains briefly why a command line is wrong.

    Args:
        missing: Message for a missing required option.
        recipes: The names that `--recipe` takes.
    """

    def __init__(self, *args: Any, missing: str = "", recipes: Sequence[str] = (), **kwargs: Any) -> None:
        # An abbreviation would change its meaning when an option with the same prefix is added.
        super().__init__(*args, allow_abbrev=False, **kwargs)
        self._missing, self._recipes = missing, recipes
        self.page = ""
        """The output of `--help`; by default, jsonargparse's."""
        self._filled: list[str] = []

    def keep_filled(self) -> None:
        """Refuse null for every option that has a default so far."""
        self._filled = [name for name, default in self.get_defaults().items() if default is not None]

    def parse_args(self, args: Sequence[str]) -> Namespace:  # type: ignore[override]
        """Parse a command line."""
        options = super().parse_args(written_out(self, args))
        for name in self._filled:
            if options.get(name) is None:
                self.error(f"{name} must have a value, got null")
        return options

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        """Return the output of `--help`."""
        return f"{self.page}\n" if self.page else super().format_help(*args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Report a wrong command line and exit with status 2."""
        if self._missing and "required" in message:
            message = self._missing
        refuse(self.prog, message, all_options(self), self._recipes)


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
    parser.keep_filled()
    parser.page = command_page(prog, description, options)
    return parser.parse_args(args)


def recipe_names(task: Task) -> list[str]:
    """Name the recipes of a task in alphabetical order."""
    return sorted(path.stem for path in task.recipes.glob("*.yaml"))


def recipe_path(task: Task, name: str) -> Path:
    """Find a recipe by its name, without `.yaml`.

    Raises:
        UserError: There is no such recipe; the message lists the valid ones.
    """
    names = recipe_names(task)
    if name not in names:
        raise UserError(f"unknown recipe {name!r}.{closest(name, names)} Valid recipes: {', '.join(names)}")
    return task.recipes / f"{name}.yaml"


def settings_for(args: Sequence[str], path: Path) -> dict[str, Any]:
    """Read a file of options; `--data.train_file` on the command line replaces the published set it names."""
    settings = read_settings(path)
    if peek(args, "--data.train_file") is not None:
        settings.get("data", {}).pop("name", None)
    return settings


def with_settings(args: Sequence[str], settings: Path | None) -> list[str]:
    """Return a command line with its files read, the given file before all others."""
    found = [] if settings is None else ["--config", yaml.safe_dump(settings_for(args, settings))]
    rest = iter(args)
    for arg in rest:
        option, equals, value = arg.partition("=")
        group = option[2:] if option.startswith("--") else ""
        if option in ("-c", "--config") or group in GROUPS:
            following = value if equals else next(rest, None)
            if following is None:
                found.append(option)
                break
            path = Path(following)
            # Not left to jsonargparse, which accepts anything in a file.
            content = {group: read_yaml(path)} if group in GROUPS else read_settings(path)
            found += ["--config", yaml.safe_dump(content)]
        elif "." in group and group in RENAMED:
            new = f"--{RENAMED[group]}"
            warnings.warn(f"{option} is now {new}", stacklevel=2)
            found.append(new + equals + value)
        else:
            found.append(option + equals + value)
    return found


def peek(args: Sequence[str], option: str) -> str | None:
    """Read one option before the parser exists, because it determines the settings that come first.

    Args:
        args: The command line.
        option: The option, such as `--recipe` or `--data.fold`; its short form is also recognised.

    Returns:
        Its last value, or None.
    """
    names = (option, *short_names([option]))
    found = None
    for arg, after in zip(args, [*args[1:], None], strict=False):
        name, _, value = arg.partition("=")
        if name in names:
            found = value or after
    return found


TRAINER: list[Option] = [
    ("--trainer.accelerator", str, "auto", "cpu, gpu, auto or any other accelerator of Lightning."),
    ("--trainer.strategy", str, "auto", "ddp, fsdp, auto or any other strategy of Lightning."),
    (
        "--trainer.devices",
        list[int] | int | str,
        1,
        "The number of devices per machine, a list of them, or auto.",
    ),
    ("--trainer.num_nodes", PositiveInt, 1, "The number of machines."),
    ("--trainer.precision", int | str | None, None, "32-true, bf16-mixed, 16-mixed, ...; default: 32-true."),
    ("--trainer.max_epochs", int | None, None, "Passes over the training data."),
    ("--trainer.max_steps", int, -1, "Stop training after this many steps; -1: no limit."),
    (
        "--trainer.max_time",
        str | None,
        None,
        "Stop after this training time, DD:HH:MM:SS, over all sessions.",
    ),
    (
        "--trainer.val_check_interval",
        int | float | None,
        None,
        "Batches between validations within an epoch, or a fraction of an epoch such as 0.25; there is "
        "always a validation at the end of an epoch.",
    ),
    (
        "--trainer.accumulate_grad_batches",
        PositiveInt,
        1,
        "Batches whose gradients are accumulated for a step.",
    ),
    ("--trainer.gradient_clip_val", NonNegativeFloat | None, None, "Clip gradients to this value."),
    ("--trainer.gradient_clip_algorithm", str | None, None, "norm (the default) or value."),
    ("--trainer.deterministic", bool | Literal["warn"] | None, None, "Use only deterministic algorithms."),
    ("--trainer.benchmark", bool | None, None, "Let cuDNN benchmark its algorithms and choose the fastest."),
    ("--trainer.profiler", str | None, None, "simple or advanced: report where the time is spent."),
    (
        "--trainer.detect_anomaly",
        Literal[True, False],
        False,
        "Find the operation that produced a NaN gradient.",
    ),
]
"""The options of Lightning's Trainer that users may set; with others a resumed run might not equal an
uninterrupted one. Their types are plain: for Lightning's types jsonargparse imports what a value names."""
TRAINER_OPTIONS = frozenset(name.removeprefix("--trainer.") for name, *_ in TRAINER)


CONFIG: Option = ("--config", str, None, "A YAML file of options, with their full names.")


def run_options(task: Task) -> list[Option]:
    """Return the options of `sru TASK fit` that belong to no group."""
    return [
        ("--recipe", str | None, None, "Packaged settings; other options override them."),
        ("--seed", int, 0, "The random seed."),
        (
            "--seeds",
            PositiveInt,
            1,
            "The number of runs to train, with --seed and the seeds after it; they are named NAME-seed-SEED.",
        ),
        ("--runs-dir", str, "runs", f"Write run folders to RUNS_DIR/{task.name}/RECIPE/NAME."),
        ("--name", str | None, None, "Name of the run folder; default: the current time."),
        ("--resume", str | None, None, "Continue the run in this folder, or from a checkpoint in it."),
        (
            "--init-from",
            str | None,
            None,
            "Start from a trained model: a run folder, the `model` folder in it, or a checkpoint. Takes "
            "over its tokenizer, the weights that fit, and its --model.* options unless given here.",
        ),
        (
            "--find-lr",
            bool,
            False,
            "Suggest a learning rate, a tenth of the highest that works, instead of training.",
        ),
        (
            "--checkpoint-steps",
            NonNegativeInt,
            0,
            "Also save last.ckpt every N steps, besides once a minute; 0: do not.",
        ),
        ("--log-steps", NonNegativeInt, 50, "Write to steps.csv and TensorBoard every N steps; 0: never."),
        (
            "--patience",
            NonNegativeInt,
            0,
            "Stop after N validations without improvement; 0: train to the end.",
        ),
        (
            "--allow-divergence",
            bool,
            False,
            "Continue when the loss is no longer finite, and export the best epoch before that.",
        ),
        *task.report_options,
    ]


def evaluation_options(task: Task) -> list[Option]:
    """Return the options of `sru TASK validate` and `test`."""
    return [
        ("checkpoint", str, ..., "A run folder (for its best checkpoint) or a .ckpt file."),
        *((option, kind | None, None, text) for option, _, kind, text in task.evaluation),
        *(
            []
            if task.report is None
            else [("--out", str | None, None, "Write tables and plots to this folder; created if missing.")]
        ),
        ("--accelerator", str, "auto", "cpu, gpu, or auto."),
        ("--json", bool, False, "Print one JSON object."),
    ]


def fit_parser(task: Task, data_class: type, config_class: type, *, command: str = "fit") -> OptionParser:
    """Build the parser of `sru TASK fit`.

    Args:
        task: The task.
        data_class: Its constructor's arguments are the options `--data.*`.
        config_class: Its fields with a default are the options `--model.*`; the data determines the others.
        command: The name of the command, if another one has the options of `fit`.
    """
    # Imported here because it imports torch.
    from sru_apps.train.optimizers import OptimizerConfig

    recipes = recipe_names(task)
    parser = OptionParser(
        prog=f"sru {task.name} {command}",
        missing=task.missing.format(recipes=", ".join(recipes)),
        recipes=recipes,
    )
    parser.add_argument("-c", "--config", action="config", help=CONFIG[-1])
    add_options(parser, [("--task", Literal[task.name], task.name, SUPPRESS), *run_options(task)])
    parser.add_class_arguments(data_class, "data", skip={"seed"}, instantiate=False)
    told = {item.name for item in fields(config_class) if item.default is MISSING}
    parser.add_class_arguments(config_class, "model", skip=told, instantiate=False)
    parser.add_class_arguments(OptimizerConfig, "optimizer", instantiate=False)
    add_options(parser, TRAINER)
    parser.keep_filled()
    parser.set_defaults(dict(task.defaults))
    return parser
