"""`sru lm prepare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml  # type: ignore[import-untyped]
from pytorch_lightning.cli import LightningArgumentParser

from sru_apps.language_modelling.data import LanguageModelData
from sru_apps.language_modelling.fit_cli import PACKAGE
from sru_apps.training.errors import building, shows_errors
from sru_apps.training.parser import TrainerParser, peek
from sru_apps.training.recipes import recipe_names, recipe_path


@shows_errors("sru lm prepare")
def main(args: Sequence[str]) -> int:
    """Write the token files of a text, or continue to, and say where they lie.

    Args:
        args: The command line after `sru lm prepare`.

    Returns:
        The exit status.
    """
    options = _parser(peek(args, "--recipe")).parse_args(list(args))
    with building():
        data = LanguageModelData(**options.data.as_dict())
        prepared = data.prepared
    print(f"{prepared.name}: {data.vocab_size:,} different {data.unit}")
    for split in ("train", "validation", "test"):
        file = getattr(prepared, split)
        if file is not None:
            counts = file.counts
            print(
                f"{split:<11}{counts.tokens:>14,} tokens  {counts.words:>13,} words  "
                f"{counts.lines:>11,} lines  {counts.bytes:>14,} bytes"
            )
    print(f"Token files: {prepared.folder}")
    return 0


def _parser(recipe: str | None) -> LightningArgumentParser:
    parser = TrainerParser(
        prog="sru lm prepare",
        description="Turn a text into token files, once, for all runs that read it. An interrupted "
        "preparation is continued; of two at once, one waits for the other.",
    )
    recipes = ", ".join(recipe_names(PACKAGE))
    parser.add_argument("--recipe", type=str | None, help=f"Packaged settings, for their text: {recipes}.")
    # What concerns the reading of token files, and not their making.
    others = {"batch_size", "length", "random_lengths", "seed", "window", "stride"}
    others |= {"evaluation_batch_size", "evaluation_length"}
    parser.add_class_arguments(LanguageModelData, "data", skip=others, instantiate=False)
    if recipe is not None:
        with recipe_path(PACKAGE, recipe).open(encoding="utf-8") as file:
            data: dict[str, Any] = yaml.safe_load(file).get("data", {})
        parser.set_defaults({f"data.{key}": value for key, value in data.items() if key not in others})
    return parser
