"""`sru chat reply`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt

from sru_apps.decoding.limits import PositiveCount
from sru_apps.decoding.sampling import Sampling
from sru_apps.decoding.unknown import UnknownParts
from sru_apps.inference.loading import load_trained
from sru_apps.task import Task
from sru_apps.tasks.chat.model import Conversation
from sru_apps.train.errors import building
from sru_apps.train.options import parse_options
from sru_apps.train.strict_json import dump_json
from sru_apps.utf8 import input_lines, use_utf8


def reply(task: Task, args: Sequence[str]) -> int:
    """Answer messages from the arguments or, line by line, from standard input."""
    options = parse_options(
        "sru chat reply",
        "Answer each --message or, without any, each line of standard input. An empty line lets the bot "
        "speak unprompted. The whole conversation stays in the model's state; nothing is processed twice.",
        [
            ("--model", str, ..., "A run folder, the `model` folder in it, or a .ckpt file."),
            ("--message", list, None, "A message to answer; may be repeated."),
            ("--max-tokens", PositiveCount, 256, "Maximum number of tokens in an answer."),
            (
                "--temperature",
                NonNegativeFloat,
                0.0,
                "0 takes the most likely token; 1 samples from the trained distribution.",
            ),
            ("--top-k", PositiveInt | None, None, "Sample from this many of the most likely tokens."),
            (
                "--top-p",
                PositiveFloat | None,
                None,
                "Sample from the most likely tokens of this total probability.",
            ),
            ("--repetition-penalty", PositiveFloat, 1.0, "Above 1 makes earlier tokens less likely."),
            ("--seed", int, 0, "Seed of the sampling."),
            ("--json", bool, False, "Print one JSON object per answer."),
        ],
        args,
    )
    use_utf8()
    # Before the model is read, so that a wrong value is reported at once.
    with building():
        sampling = Sampling(
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            repetition_penalty=options.repetition_penalty,
        )
    model = load_trained(task, Path(options.model))
    talk = Conversation(model, sampling=sampling, max_tokens=options.max_tokens, seed=options.seed)
    unknown = UnknownParts(model.tokenizer.text)
    ask = "> " if sys.stdin is not None and sys.stdin.isatty() and not options.json else ""
    for line in options.message or _asked(ask):
        message = line.rstrip("\r\n")
        unknown.report([(message, model.tokenizer.encode(message))])
        pieces = talk.reply(message if message.strip() else None)
        if options.json:
            print(dump_json({"user": message, "bot": "".join(pieces)}), flush=True)
        else:
            for piece in chain(pieces, "\n"):
                print(piece, end="", flush=True)
    return 0


def _asked(ask: str) -> Iterator[str]:
    """Yield the lines of standard input, printing a prompt before each."""
    print(ask, end="", flush=True)
    with input_lines() as groups:
        for lines in groups:
            for line in lines:
                yield line
                print(ask, end="", flush=True)
    print(end="\n" if ask else "")  # Puts the shell's prompt on its own line after Ctrl-D.
