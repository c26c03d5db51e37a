"""`sru squad ask`."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain

from jsonargparse.typing import PositiveInt

from sru_apps.task import Task
from sru_apps.tasks.squad.commands import MAX_LENGTH, THRESHOLD, Answering, as_fields, as_rows, highlighted
from sru_apps.train.errors import UserError, is_text
from sru_apps.train.options import parse_options
from sru_apps.train.strict_json import dump_json
from sru_apps.utf8 import MAX_LINE, input_lines, read_text, use_utf8

_PASSAGE, _QUIT = "/passage", "/quit"
_HOW = f"ask, one question per line; {_PASSAGE} takes another passage, {_QUIT} ends."

Read = Callable[[str], str | None]
"""Returns the next line, given a prompt for interactive use; None at the end."""


def ask(task: Task, args: Sequence[str]) -> int:
    """Answer questions at a prompt, or from standard input."""
    options = parse_options(
        "sru squad ask",
        "Answer questions at a prompt, or from standard input. Enter a passage, end it with an empty line, "
        "then ask one question per line. /passage starts another passage, and /quit, Ctrl-D or Ctrl-C "
        "exits. Each answer is one row: the answer, its probability, its start and end as character offsets "
        "in the passage. In a terminal it is also highlighted in the passage.",
        [
            ("--model", str, ..., "A run folder, the `model` folder in it, or a .ckpt file."),
            (
                "--passage-file",
                str | None,
                None,
                "A text file with the first passage; it may have empty lines.",
            ),
            ("-k", PositiveInt, 1, "Answers per question, the most probable first."),
            ("--max-length", PositiveInt | None, None, MAX_LENGTH),
            ("--threshold", float | None, None, THRESHOLD),
            ("--json", bool, False, "Print one JSON object per question, with all its answers."),
        ],
        args,
    )
    use_utf8()
    passage = None if options.passage_file is None else read_text(options.passage_file)
    answers = Answering(task, options)
    how = _HOW.capitalize() if passage else f"Paste a passage and end it with an empty line. Then {_HOW}"
    with _lines(how) as read, suppress(KeyboardInterrupt):
        while (passage := passage or _read_passage(read)) is not None:
            question = read("question> ")
            if question is None or question.strip() == _QUIT:
                break
            if question.strip() == _PASSAGE:
                passage = None
            elif question.strip():
                (found,) = answers([(passage, question)])
                if options.json:
                    print(dump_json({"question": question, "answers": as_fields(found)}), flush=True)
                    continue
                for row in as_rows(found):
                    print(row)
                if found[0].note:
                    print(f"({found[0].note})")
                print(end=highlighted(passage, found[0]), flush=True)
    return 0


def _read_passage(read: Read) -> str | None:
    """Read the lines up to an empty one; None at the end of the input."""
    lines: list[str] = []
    size = 0
    while (line := read("passage> " if not lines else "")) is not None:
        if line.strip() == _QUIT:
            return None
        if line.strip():
            lines.append(line)
            size += len(line) + 1
            if size > MAX_LINE:
                raise UserError(f"the passage is longer than {MAX_LINE:,} characters; shorten it")
        elif lines:
            break
    return "\n".join(lines) if lines else None


@contextmanager
def _lines(how: str) -> Iterator[Read]:
    """Read lines from the keyboard, after printing instructions, or from a pipe."""
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        with input_lines() as groups:
            lines = chain.from_iterable(groups)
            yield lambda prompt: next(lines, None)
        return
    with suppress(ImportError):
        # With readline, `input` can edit lines and takes several pasted lines as one.
        import readline

        readline.parse_and_bind("set enable-bracketed-paste on")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    print(how)
    yield _typed


def _typed(prompt: str) -> str | None:
    try:
        line = input(prompt)
    except (EOFError, KeyboardInterrupt):
        print()
        return None
    # The line has bytes that are invalid in the locale's encoding.
    return (
        line
        if is_text(line)
        else line.encode(sys.stdin.encoding, "surrogateescape").decode("utf-8", "replace")
    )
