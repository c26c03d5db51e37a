"""`sru chat`: one row a command."""

from __future__ import annotations

from collections.abc import Sequence

from sru_apps.commands import Command, run_command

COMMANDS = {
    "fit": Command("learn to answer from dialogues, export the model", "sru_apps.chat.fit:main"),
    "reply": Command("answer a message, or talk line by line", "sru_apps.chat.reply_command:main"),
}

DESCRIPTION = """A small model that answers, learnt from your dialogues: JSON lines with a field "bot".
Start with: sru chat fit --recipe small --data.train_file talk.jsonl"""


def main(args: Sequence[str]) -> int:
    """Run `sru chat`, given the arguments after it."""
    return run_command("sru chat", DESCRIPTION, COMMANDS, args)
