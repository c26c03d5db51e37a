"""`sru chat reply`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt

from sru_apps.decoding.sampling import Sampling
from sru_apps.task import Task
from sru_apps.tasks.chat.model import Conversation, load_chat_model
from sru_apps.train.console import input_lines, use_utf8
from sru_apps.train.errors import building
from sru_apps.train.options import parse_options


def reply(task: Task, args: Sequence[str]) -> int:
    """Answer messages from the arguments or, line by line, from standard input."""
    options = parse_options(
        "sru chat reply",
        "Answer each --message or, without any, each line of standard input. The whole conversation stays in "
        "the model's state; nothing is read twice.",
        [
            ("--model", str, ..., "A run folder, the `model` folder in it, or a .ckpt file."),
            ("--message", list, None, "A message to answer; may be repeated."),
            ("--max-tokens", PositiveInt, 256, "Maximum number of tokens in an answer."),
            ("--temperature", NonNegativeFloat, 0.0, "0 takes the most likely token; 1 draws as trained."),
            ("--top-k", PositiveInt | None, None, "Draw from this many of the most likely tokens."),
            ("--top-p", PositiveFloat | None, None, "Draw from the most likely tokens of this probability."),
            ("--repetition-penalty", PositiveFloat, 1.0, "Above 1 makes earlier tokens less likely."),
            ("--seed", int, 0, "Seed of the draws."),
            ("--json", bool, False, "Print one JSON object per answer."),
        ],
        args,
    )
    use_utf8()
    model = load_chat_model(Path(options.model))
    with building():
        sampling = Sampling(
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            repetition_penalty=options.repetition_penalty,
        )
        talk = Conversation(model, sampling=sampling, max_tokens=options.max_tokens, seed=options.seed)
    for line in options.message or input_lines("> " if sys.stdin.isatty() and not options.json else ""):
        message = line.rstrip("\r\n")
        if not message.strip():
            continue
        pieces = talk.reply(message)
        if options.json:
            print(json.dumps({"user": message, "bot": "".join(pieces)}, ensure_ascii=False), flush=True)
        else:
            for piece in chain(pieces, "\n"):
                print(piece, end="", flush=True)
    return 0
