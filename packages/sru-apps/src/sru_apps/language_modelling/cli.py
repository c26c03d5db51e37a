"""`sru lm`: one row a command."""

from __future__ import annotations

from collections.abc import Sequence

from sru_apps.commands import Command, run_command

_PACKAGE = "sru_apps.language_modelling"

COMMANDS = {
    "prepare": Command("turn a text into token files, once for all runs", f"{_PACKAGE}.prepare:main"),
    "fit": Command("train, keep the best checkpoint, test it, export the model", f"{_PACKAGE}.fit:main"),
    "validate": Command("figures of a checkpoint on the validation text", f"{_PACKAGE}.evaluate:validate"),
    "test": Command("figures of a checkpoint on the test text", f"{_PACKAGE}.evaluate:test"),
    "generate": Command("go on with a prompt", f"{_PACKAGE}.generate_command:main"),
    "score": Command("perplexity and bits of each line of a file", f"{_PACKAGE}.score_command:main"),
}

DESCRIPTION = """Language modelling of words, characters, bytes or subwords.
Start with: sru lm fit --recipe quick"""


def main(args: Sequence[str]) -> int:
    """Run `sru lm`, given the arguments after it."""
    return run_command("sru lm", DESCRIPTION, COMMANDS, args)
