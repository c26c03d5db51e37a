"""`sru lm generate`."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jsonargparse.typing import NonNegativeInt, PositiveInt

from sru_apps.language_modelling.completion import Piece, complete, encode_prompt
from sru_apps.language_modelling.load import TrainedLanguageModel, load_language_model
from sru_apps.language_modelling.sampling import Sampling
from sru_apps.language_modelling.stopping import StopStrings
from sru_apps.training.errors import UserError, building, shows_errors
from sru_apps.training.parser import OptionParser, add_options

# Texts that go on side by side.
_BATCH_SIZE = 32


class _Text(NamedTuple):
    """A text to go on with."""

    prompt: str
    ids: list[int]
    seed: int


@shows_errors("sru lm generate")
def main(args: Sequence[str]) -> int:
    """Print what a model goes on with, as it comes."""
    options = _parser().parse_args(list(args))
    _use_utf8()
    with building():
        sampling = Sampling(
            temperature=0.0 if options.greedy else options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            repetition_penalty=options.repetition_penalty,
        )
        StopStrings(stop := options.stop or [])
    # Before the model is read: a wrong path should not have to wait for it.
    prompts = _prompts(options.prompt, options.prompt_file)
    model = load_language_model(Path(options.model))
    if options.forbid_unknown:
        sampling = sampling.without(model.tokenizer.unk_id)
    texts = [
        _Text(prompt, ids, options.seed + sample)
        for prompt in prompts
        for ids in [encode_prompt(model.tokenizer, prompt, allow_unknown=options.allow_unknown)]
        for sample in range(options.samples)
    ]
    show = _print_json if options.json else _print_text
    for start in range(0, len(texts), _BATCH_SIZE):
        part = texts[start : start + _BATCH_SIZE]
        show(model, part, sampling, options.max_tokens, stop, first=start == 0)
    return 0


def _print_text(
    model: TrainedLanguageModel,
    texts: Sequence[_Text],
    sampling: Sampling,
    max_tokens: int,
    stop: Sequence[str],
    *,
    first: bool,
) -> None:
    """Print the texts in their order, each with its prompt: the first unfinished one as it comes."""
    waiting = [text.prompt for text in texts]
    finished = [False] * len(texts)
    shown = 0
    if not first:
        _write("\n")
    for piece in _pieces(model, texts, sampling, max_tokens, stop):
        waiting[piece.text_index] += piece.text
        finished[piece.text_index] = piece.finish is not None
        while shown < len(texts):
            _write(waiting[shown])
            waiting[shown] = ""
            if not finished[shown]:
                break
            shown += 1
            _write("\n" if shown == len(texts) else "\n\n")


def _print_json(
    model: TrainedLanguageModel,
    texts: Sequence[_Text],
    sampling: Sampling,
    max_tokens: int,
    stop: Sequence[str],
    *,
    first: bool,
) -> None:
    """Print one JSON object a text, in their order."""
    written = [""] * len(texts)
    reasons = [""] * len(texts)
    for piece in _pieces(model, texts, sampling, max_tokens, stop):
        written[piece.text_index] += piece.text
        reasons[piece.text_index] = piece.finish or ""
    for text, continuation, reason in zip(texts, written, reasons, strict=True):
        row = {"prompt": text.prompt, "text": continuation, "seed": text.seed, "finish": reason}
        _write(json.dumps(row, ensure_ascii=False) + "\n")


def _pieces(
    model: TrainedLanguageModel,
    texts: Sequence[_Text],
    sampling: Sampling,
    max_tokens: int,
    stop: Sequence[str],
) -> Iterator[Piece]:
    return complete(
        model,
        [text.ids for text in texts],
        sampling=sampling,
        seeds=[text.seed for text in texts],
        max_tokens=max_tokens,
        stop=stop,
    )


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _use_utf8() -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What comes in is UTF-8, whatever the locale.
        sys.stdout.reconfigure(encoding="utf-8")


def _prompts(given: Sequence[str] | None, file: str | None) -> list[str]:
    if given and file is not None:
        raise UserError("give prompts either with --prompt or in --prompt-file, not both")
    if given:
        return list(given)
    if file is not None:
        if not Path(file).is_file():
            raise UserError(f"no file at {file}; give one that holds a prompt")
        return [_decode(Path(file).read_bytes(), file)]
    if sys.stdin is None or sys.stdin.isatty():
        return [""]
    buffer = getattr(sys.stdin, "buffer", None)
    return [sys.stdin.read() if buffer is None else _decode(buffer.read(), "standard input")]


def _decode(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 at byte {error.start}; convert it first") from error


def _parser() -> OptionParser:
    parser = OptionParser(
        prog="sru lm generate",
        description="Go on with a text. The prompt is standard input, or empty, unless it is given; an empty "
        "one starts a new line. A prompt is read once, each token after it costs one step.",
    )
    parser.add_argument(
        "--model", type=str, required=True, help="A run folder, the `model` folder in it, or a .ckpt file."
    )
    parser.add_argument("--prompt", type=str, action="append", help="A text to go on with; may be repeated.")
    parser.add_argument("--stop", type=str, action="append", help="End before this text; may be repeated.")
    add_options(
        parser,
        [
            ("--prompt-file", str | None, None, "A file in UTF-8 that holds the prompt."),
            ("--max-tokens", NonNegativeInt, 200, "Tokens to add."),
            ("--temperature", float, 1.0, "Below 1 prefers likely tokens; 0 is greedy."),
            ("--top-k", PositiveInt | None, None, "Choose among so many of the likeliest tokens."),
            ("--top-p", float | None, None, "Choose among the likeliest tokens that have this probability."),
            ("--repetition-penalty", float, 1.0, "Above 1 makes tokens that came before less likely."),
            ("--seed", NonNegativeInt, 0, "Seed of each text; it does not depend on the other prompts."),
            ("--samples", PositiveInt, 1, "Texts for each prompt, with the seeds SEED, SEED + 1, ..."),
        ],
    )
    flags = {
        "--greedy": "Take the likeliest token each time.",
        "--allow-unknown": "Let what the model does not know stand for the unknown token.",
        "--forbid-unknown": "Never choose the unknown token.",
        "--json": "Print one JSON object a text.",
    }
    for flag, text in flags.items():
        parser.add_argument(flag, action="store_true", help=text)
    return parser
