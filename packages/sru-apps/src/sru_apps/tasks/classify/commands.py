"""`sru classify predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch

from sru_apps.decoding.batches import side_by_side
from sru_apps.decoding.unknown import UnknownParts
from sru_apps.task import Task
from sru_apps.train.console import input_lines, use_utf8
from sru_apps.train.errors import UserError
from sru_apps.train.evaluate import Trained, load_trained
from sru_apps.train.options import parse_options
from sru_apps.train.strict_json import dump_json
from sru_data.loaders.buckets import pad_sequences
from sru_data.reading import MAX_SENTENCE_BYTES

# Words read at once, padding included; this bounds the memory.
_AT_ONCE = 8192


class Prediction(NamedTuple):
    """The label of a sentence."""

    text: str
    """The sentence."""
    label: str | None
    """Name of the most probable class; None for a sentence without words."""
    probability: float | None
    """Its probability."""


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
            for prediction in classify(classifier, map(str.strip, lines), unknown):
                count += 1
                print(dump_json(prediction._asdict()) if options.json else _row(prediction))
            sys.stdout.flush()
    if not count:
        raise UserError("no sentences: give some as arguments, in --file, or one per line on standard input")
    return 0


def _row(prediction: Prediction) -> str:
    text = prediction.text.replace("\n", " ")
    if prediction.label is None:
        return f"\t\t{text}"
    return f"{prediction.label}\t{prediction.probability:.4f}\t{text}"


@torch.inference_mode()
def classify(
    classifier: Trained, sentences: Iterable[str], unknown: UnknownParts | None = None
) -> Iterator[Prediction]:
    """Classify sentences, in their order.

    Args:
        classifier: The trained model.
        sentences: The sentences.
        unknown: Told of words that the model does not know.

    Yields:
        One prediction per sentence.
    """
    texts = list(sentences)
    ids = [classifier.tokenizer.encode(text) for text in texts]
    if unknown is not None:
        unknown.report(zip(texts, ids, strict=True))
    rest = iter(texts)
    for part in side_by_side(ids, _AT_ONCE):
        batch = pad_sequences(part, batch_first=False)
        best, labels = classifier.network(batch.ids, batch.mask).softmax(-1).max(-1)
        found = zip(islice(rest, len(part)), best.tolist(), labels.tolist(), strict=True)
        for text, probability, label in found:
            if text.strip():
                yield Prediction(text, classifier.module.label_names[label], probability)
            else:
                yield Prediction(text, None, None)
