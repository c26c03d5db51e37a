"""`sru lm generate` and `sru lm score`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from jsonargparse.typing import PositiveInt

from sru_apps.decoding.completion import Piece, complete, encode_prompt
from sru_apps.decoding.limits import PositiveCount, Seed, TokenCount
from sru_apps.decoding.sampling import Sampling
from sru_apps.decoding.stopping import StopStrings
from sru_apps.decoding.unknown import UnknownParts
from sru_apps.inference.loading import load_trained
from sru_apps.task import Task
from sru_apps.tasks.lm.scoring import Score, score_lines
from sru_apps.train.errors import UserError, building
from sru_apps.train.options import parse_options
from sru_apps.train.strict_json import dump_json
from sru_apps.utf8 import read_text, use_utf8
from sru_data.texts import TextSource

# Prompts that are continued in one batch.
_BATCH_SIZE = 32
_MODEL = "A run folder, the `model` folder in it, or a .ckpt file."


class _Text(NamedTuple):
    """A text to continue."""

    prompt: str
    ids: list[int]
    seed: int


def generate(task: Task, args: Sequence[str]) -> int:
    """Print continuations of prompts as they are generated."""
    options = parse_options(
        "sru lm generate",
        "Continue a prompt. Without --prompt and --prompt-file, it is read from standard input. An empty "
        "prompt starts a new line. Words and characters outside the model's vocabulary are replaced with "
        "the unknown token, with a warning.",
        [
            ("--model", str, ..., _MODEL),
            ("--prompt", list, None, "A text to continue; may be repeated."),
            ("--stop", list, None, "End before this text; may be repeated."),
            ("--prompt-file", str | None, None, "A UTF-8 file with the prompt."),
            ("--max-tokens", TokenCount, 200, "Tokens to add."),
            ("--temperature", float, 1.0, "Below 1 favours likely tokens; 0 is greedy."),
            ("--top-k", PositiveInt | None, None, "Choose among this many of the most likely tokens."),
            ("--top-p", float | None, None, "Choose among the most likely tokens of this total probability."),
            ("--repetition-penalty", float, 1.0, "Above 1 makes earlier tokens less likely."),
            ("--seed", Seed, 0, "Seed of each text; the other prompts do not affect it."),
            ("--samples", PositiveCount, 1, "Texts per prompt, with the seeds SEED, SEED + 1, ..."),
            ("--greedy", bool, False, "Take the most likely token at each step."),
            (
                "--allow-unknown",
                bool,
                False,
                "Do not warn about words and characters outside the vocabulary.",
            ),
            ("--forbid-unknown", bool, False, "Never choose the unknown token."),
            ("--json", bool, False, "Print one JSON object per text."),
        ],
        args,
    )
    use_utf8()
    drawing = {
        "temperature": options.temperature not in (0, 1),
        "top-k": options.top_k,
        "top-p": options.top_p,
    }
    if options.greedy and (name := next((name for name, given in drawing.items() if given), None)):
        raise UserError(f"--{name} is for drawing, and --greedy draws nothing; leave one of them out")
    with building():
        sampling = Sampling(
            temperature=0.0 if options.greedy else options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            repetition_penalty=options.repetition_penalty,
        )
        StopStrings(stop := options.stop or [])
    # Before the model is read, so that a wrong path is reported at once.
    prompts = _prompts(options.prompt, options.prompt_file)
    model = load_trained(task, Path(options.model))
    if options.forbid_unknown:
        sampling = sampling.without(model.tokenizer.unk_id)
    read = [(prompt, encode_prompt(model.tokenizer, prompt)) for prompt in prompts]
    if not options.allow_unknown:
        UnknownParts(model.tokenizer).report(read)
    texts = (
        _Text(prompt, ids, options.seed + sample) for prompt, ids in read for sample in range(options.samples)
    )
    first = True
    while part := list(islice(texts, _BATCH_SIZE)):
        pieces = complete(
            model.network,
            model.tokenizer,
            [text.ids for text in part],
            sampling=sampling,
            seeds=[text.seed for text in part],
            max_tokens=options.max_tokens,
            stop=stop,
        )
        (_print_json if options.json else _print_text)(part, pieces, first=first)
        first = False
    return 0


_show = partial(print, end="", flush=True)


def _print_text(texts: Sequence[_Text], pieces: Iterator[Piece], *, first: bool) -> None:
    """Print the texts in order, each with its prompt; the first unfinished one is streamed."""
    waiting = [text.prompt for text in texts]
    finished = [False] * len(texts)
    shown = 0
    _show("" if first else "\n")
    for piece in pieces:
        waiting[piece.text_index] += piece.text
        finished[piece.text_index] = piece.finish is not None
        while shown < len(texts):
            _show(waiting[shown])
            waiting[shown] = ""
            if not finished[shown]:
                break
            shown += 1
            _show("\n" if shown == len(texts) else "\n\n")


def _print_json(texts: Sequence[_Text], pieces: Iterator[Piece], *, first: bool) -> None:
    """Print one JSON object per text, in order."""
    rows: list[dict[str, Any]] = [{"prompt": text.prompt, "text": "", "seed": text.seed} for text in texts]
    for piece in pieces:
        rows[piece.text_index]["text"] += piece.text
        rows[piece.text_index]["finish"] = piece.finish
    _show("".join(dump_json(row) + "\n" for row in rows))


def _prompts(given: Sequence[str] | None, file: str | None) -> list[str]:
    if given and file is not None:
        raise UserError("give prompts either with --prompt or in --prompt-file, not both")
    if not given and file is None and (sys.stdin is None or sys.stdin.isatty()):
        return [""]
    return list(given or [read_text(file)])


def score(task: Task, args: Sequence[str]) -> int:
    """Print the perplexity of each line of a file, and of all of them together."""
    options = parse_options(
        "sru lm score",
        "Print the number of tokens, negative log-likelihood, perplexity and bits per character of each "
        "line of a file and of the whole file, and the number of unknown tokens. The state is carried from "
        "line to line, but reset after the token that ended a document in training, and the first token is "
        "predicted from a line end. If the vocabulary has line ends, they are scored with their lines.",
        [
            ("file", str, ..., "A UTF-8 text, plain or compressed, or JSON lines."),
            ("--model", str, ..., _MODEL),
            ("--independent-lines", bool, False, "Score each line without the lines before it."),
            (
                "--memory-length",
                PositiveInt | None,
                None,
                "srupp: number of earlier positions that a position attends to; default: as in training.",
            ),
            ("--json", bool, False, "Print one JSON object per line."),
        ],
        args,
    )
    path = Path(options.file)
    # Before the model is read, so that a wrong path is reported at once.
    if not path.is_file():
        raise UserError(f"no file at {path}; give a text; each of its lines becomes a line of the result")
    changes = {} if options.memory_length is None else {"memory_length": options.memory_length}
    model = load_trained(task, Path(options.model), changes)
    total = Score()
    scores = score_lines(
        model,
        TextSource.from_files([path]),
        independent=options.independent_lines,
        separator=model.separator,
    )
    for number, found in enumerate(scores, 1):
        if number == 1 and not options.json:
            print("line\ttokens\tnats\tperplexity\tbits/character\tunknown")
        _print_score({"line": number}, found, as_json=options.json)
        total += found
    _print_score({"total": True}, total, as_json=options.json)
    return 0


def _print_score(head: dict[str, Any], score: Score, *, as_json: bool) -> None:
    row = {
        **head,
        "tokens": score.tokens,
        "unknown": score.unknown,
        "characters": score.characters,
        "bytes": score.bytes,
        "nll": score.nll,
        "perplexity": score.perplexity,
        "bits_per_character": score.bits_per(score.characters),
        "bits_per_byte": score.bits_per(score.bytes),
    }
    if as_json:
        print(dump_json(row))
    else:
        figures = f"{score.nll:.3f}\t{score.perplexity:.3f}\t{row['bits_per_character']:.4f}"
        print(f"{head.get('line', 'total')}\t{score.tokens}\t{figures}\t{score.unknown}")
