"""`sru classify predict`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from sru_apps.decoding.unknown import UnknownParts
from sru_apps.inference.loading import load_trained
from sru_apps.task import Task
from sru_apps.tasks.classify.predict import Prediction
from sru_apps.train.errors import UserError
from sru_apps.train.options import parse_options
from sru_apps.train.strict_json import dump_json
from sru_apps.utf8 import input_lines, use_utf8
from sru_data.reading import MAX_SENTENCE_BYTES


def predict(task: Task, args: Sequence[str]) -> int:
    """Print label and probability of sentences from the arguments, a file or standard input."""
    options = parse_options(
        "sru classify predict",
        "Label and probability of your own sentences, one row per sentence, in order. An empty line gives a "
        "row without label and probability.",
        [
            ("sentences", list, [], "Sentences; default: standard input, one per line."),
            ("--model", str, ..., "A run folder, the `model` folder in it, or a .ckpt file."),
            ("--file", str | None, None, "Read sentences from this file, one per line, in UTF-8."),
            ("--json", bool, False, "Print one JSON object per line."),
        ],
        args,
    )
    use_utf8()
    given = options.sentences
    if given and options.file is not None:
        raise UserError("give sentences either as arguments or in --file, not both")
    count = 0
    # Opened before the model is read, so that a wrong path is reported at once.
    with nullcontext([given]) if given else input_lines(options.file, limit=MAX_SENTENCE_BYTES) as groups:
        classifier = load_trained(task, Path(options.model))
        unknown = UnknownParts(classifier.tokenizer)
        for lines in groups:
            rows = ((line.strip(),) for line in lines)
            for prediction in classifier.answer(rows, probabilities=options.json, unknown=unknown):
                count += 1
                print(dump_json(_fields(prediction)) if options.json else _row(prediction))
            sys.stdout.flush()
    if not count:
        raise UserError("no sentences: give some as arguments, in --file, or one per line on standard input")
    return 0


def _row(prediction: Prediction) -> str:
    text = prediction.text.replace("\n", " ")
    if prediction.label is None:
        return f"\t\t{text}"
    return f"{prediction.label}\t{prediction.probability:.4f}\t{text}"


def _fields(prediction: Prediction) -> dict[str, Any]:
    fields = prediction._asdict()
    if prediction.pair is None:
        del fields["pair"]
    return fields
