"""`sru classify predict` and `sru classify table`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch

from sru_apps.task import Task
from sru_apps.train.console import input_lines, read_text, use_utf8
from sru_apps.train.errors import UserError
from sru_apps.train.evaluate import Trained, load_trained
from sru_apps.train.options import parse_options
from sru_apps.train.run_folder import RunFolder
from sru_data.loaders.buckets import pad_sequences

_BATCH_SIZE = 64


class Prediction(NamedTuple):
    """The label of a sentence."""

    text: str
    """The sentence."""
    label: str
    """Name of the most probable class."""
    probability: float
    """Its probability."""


def predict(task: Task, args: Sequence[str]) -> int:
    """Print label and probability of sentences from the arguments, a file or standard input."""
    options = parse_options(
        "sru classify predict",
        "Label and probability of your own sentences.",
        [
            ("sentences", list, [], "Sentences; default: standard input, one per line."),
            ("--model", str, ..., "A run folder, the `model` folder in it, or a .ckpt file."),
            ("--file", str | None, None, "Read sentences from this file, one per line, in UTF-8."),
            ("--json", bool, False, "Print one JSON object per line."),
        ],
        args,
    )
    use_utf8()
    # Before the model is read, so that a wrong path is reported at once.
    sentences = _sentences(options.sentences, options.file)
    classifier = load_trained(task, Path(options.model))
    found = False
    for prediction in classify(classifier, sentences):
        found = True
        if options.json:
            print(json.dumps(prediction._asdict(), ensure_ascii=False), flush=True)
        else:
            print(f"{prediction.label}\t{prediction.probability:.4f}\t{prediction.text}", flush=True)
    if not found:
        raise UserError("no sentences: give some as arguments, in --file, or one a line on standard input")
    return 0


@torch.inference_mode()
def classify(classifier: Trained, sentences: Iterable[str]) -> Iterator[Prediction]:
    """Classify sentences, in their order.

    Args:
        classifier: The trained model.
        sentences: The sentences, read as they are needed.

    Yields:
        One prediction a sentence.
    """
    rest = iter(sentences)
    while texts := list(islice(rest, _BATCH_SIZE)):
        batch = pad_sequences([classifier.tokenizer.encode(text) for text in texts], batch_first=False)
        probabilities = classifier.network(batch.ids, batch.mask).softmax(-1)
        for text, probability, label in zip(texts, *probabilities.max(-1), strict=True):
            yield Prediction(text, classifier.module.label_names[int(label)], float(probability))


def _sentences(given: Sequence[str], file: str | None) -> Iterator[str]:
    if given and file is not None:
        raise UserError("give sentences either as arguments or in --file, not both")
    lines = input_lines() if file is None else read_text(file).split("\n")
    return (line.strip() for line in given or lines if line.strip())


def table(task: Task, args: Sequence[str]) -> int:
    """Print a Markdown table of the given runs, with one row per data set, encoder and size."""
    options = parse_options(
        "sru classify table",
        "Mean and standard deviation over runs that differ in seed or fold, as Markdown.",
        [("runs", list, ..., "Run folders, such as runs/classify/sst2/*.")],
        args,
    )
    entries = ("dataset", "encoder", "parameters_without_embedding", "test_accuracy", "validation_accuracy")
    runs: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for run in options.runs:
        *kind, test, validation = RunFolder(Path(run)).read_summary(*entries)
        runs.setdefault(tuple(kind), []).append((test, validation))
    print(
        "| set | encoder | parameters but word vectors | runs | test accuracy, % | validation accuracy, % |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for (dataset, encoder, parameters), accuracies in sorted(runs.items()):
        test, validation = map(_spread, zip(*accuracies, strict=True))
        print(f"| {dataset} | {encoder} | {parameters:,} | {len(accuracies)} | {test} | {validation} |")
    return 0


def _spread(accuracies: Sequence[float]) -> str:
    mean = f"{100 * statistics.mean(accuracies):.2f}"
    return mean if len(accuracies) == 1 else f"{mean} ± {100 * statistics.stdev(accuracies):.2f}"
