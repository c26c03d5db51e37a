"""`sru lm score`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from jsonargparse.typing import PositiveInt

from sru_apps.language_modelling.load import load_language_model
from sru_apps.language_modelling.scoring import Score, score_lines
from sru_apps.training.errors import UserError, shows_errors
from sru_apps.training.parser import OptionParser
from sru_data.text import TextSource


@shows_errors("sru lm score")
def main(args: Sequence[str]) -> int:
    """Print what each line of a file costs, and all of them together."""
    options = _parser().parse_args(list(args))
    path = Path(options.file)
    # Before the model is read: a wrong path should not have to wait for it.
    if not path.is_file():
        raise UserError(f"no file at {path}; give a text, one line of it a line of the result")
    model = load_language_model(Path(options.model), memory_length=options.memory_length)
    total = Score()
    source = TextSource.from_files([path])
    for number, score in enumerate(score_lines(model, source, independent=options.independent_lines), 1):
        if number == 1 and not options.json:
            print("line\ttokens\tnats\tperplexity\tbits/character")
        _print(str(number), score, {"line": number}, as_json=options.json)
        total.add(score)
    _print("total", total, {"total": True}, as_json=options.json)
    return 0


def _print(name: str, score: Score, head: dict[str, object], *, as_json: bool) -> None:
    if not as_json:
        figures = f"{score.nll:.3f}\t{score.perplexity:.3f}\t{score.bits_per_character:.4f}"
        print(f"{name}\t{score.tokens}\t{figures}", flush=name == "total")
        return
    row = {
        **head,
        "tokens": score.tokens,
        "unknown": score.unknown,
        "characters": score.characters,
        "bytes": score.bytes,
        "nll": score.nll,
        "perplexity": score.perplexity,
        "bits_per_character": score.bits_per_character,
        "bits_per_byte": score.bits_per_byte,
    }
    # JSON knows neither NaN nor infinity.
    strict = {key: None if isinstance(x, float) and not math.isfinite(x) else x for key, x in row.items()}
    print(json.dumps(strict), flush=name == "total")


def _parser() -> OptionParser:
    parser = OptionParser(
        prog="sru lm score",
        description="Tokens, negative log-likelihood, perplexity and bits per character of each line of a "
        "file, and of all together. The state is carried from line to line, and the first token is predicted "
        "from a line end. Line ends are scored with their lines where the model knows them.",
    )
    parser.add_argument("file", type=str, help="A text in UTF-8, plain or compressed, or JSON lines.")
    parser.add_argument(
        "--model", type=str, required=True, help="A run folder, the `model` folder in it, or a .ckpt file."
    )
    parser.add_argument(
        "--independent-lines", action="store_true", help="Read each line as if nothing stood before it."
    )
    parser.add_argument(
        "--memory-length",
        type=PositiveInt | None,
        default=None,
        help="srupp: positions before itself that a position attends to; default: as in training.",
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object a line.")
    return parser
