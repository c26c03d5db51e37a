"""Trained sentence classifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_apps.decoding.unknown import UnknownParts
from sru_apps.inference.trained import Trained
from sru_apps.tasks.classify.model import ClassifierConfig, SentenceClassifier
from sru_data.loaders.buckets import pad_sequences
from sru_data.reading import UNPRINTABLE

# Words per batch, including padding, and sentences sorted by length together; both bound memory use.
_AT_ONCE = 8192
_WINDOW = 8192
_LONGEST = 1 << 16
NOTHING_KNOWN = "none of it is in the model's vocabulary"
"""The note on a sentence of unknown words only, whose label is meaningless."""
CUT_OFF = f"only its first {_LONGEST:,} characters were read"
"""The note on a sentence that was too long and was truncated."""


class Prediction(NamedTuple):
    """The label of a sentence."""

    text: str
    """The sentence."""
    label: str | None
    """Name of the most probable class, or the names of several labels joined by the separator. None for a
    sentence without words."""
    probability: float | None
    """Its probability; with several labels, that of the least certain decision for or against a class."""
    probabilities: dict[str, float] | None = None
    """The probability of every class, if requested."""
    note: str | None = None
    """Why the label is doubtful: `NOTHING_KNOWN`, `CUT_OFF` or None."""
    pair: str | None = None
    """The second sentence of a pair."""


class Classifier(Trained):
    """A trained sentence classifier.

        model = sru_apps.load("runs/classify/sst2/first")
        for text, label, probability, *_ in model.predict(["A warm and funny film.", "Dull!"]):
            print(label, probability, text)

    Attributes:
        labels: The names of the classes.
        temperature: The divisor of the logits that calibrates the probabilities.
        separator: The separator between the names of several labels.
        pairs: Whether it classifies pairs of sentences.
        multi_label: Whether a sentence may have any number of labels.
    """

    config_class = ClassifierConfig
    network_class = SentenceClassifier

    def __init__(self, network: Any, tokenizer: Any, entries: Mapping[str, Any]) -> None:
        super().__init__(network, tokenizer)
        self._unknown = UnknownParts(tokenizer)
        self.labels: list[str] = list(entries["labels"])
        self.temperature = float(entries.get("temperature") or 1.0)
        self.separator: str = entries.get("label_separator") or ","
        self.pairs: bool = network.config.pairs
        self.multi_label: bool = network.config.multi_label

    @classmethod
    def entries(cls, hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Turn the hyper-parameters of a checkpoint into the entries of an exported `config.json`."""
        settings = modern(hyper_parameters)
        return {**settings, "model": settings["config"], "labels": settings["label_names"]}

    @classmethod
    def check(cls, config: ClassifierConfig, entries: Mapping[str, Any]) -> None:
        """Refuse labels and other entries that do not fit the network.

        Raises:
            ValueError: An entry does not fit.
        """
        names = entries["labels"]
        check_labels([names] if isinstance(names, str) else list(names), config.num_classes)
        temperature = entries.get("temperature")
        if temperature is not None and not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be above 0, got {temperature!r}")
        expected = (
            (str, "label_separator", entries.get("label_separator", "") or ""),
            (bool, "pairs", config.pairs),
            (bool, "multi_label", config.multi_label),
        )
        for kind, name, value in expected:
            if not isinstance(value, kind):
                raise ValueError(f"{name} must be a {kind.__name__}, got {value!r}")

    def predict(
        self, texts: Iterable[str], pairs: Iterable[str] | None = None, *, probabilities: bool = False
    ) -> list[Prediction]:
        """Classify sentences, as `sru classify predict` does.

        Args:
            texts: The sentences.
            pairs: The second sentence of each, for models of pairs.
            probabilities: Also return the probability of every class.

        Returns:
            One prediction per sentence, in order.

        Raises:
            ValueError: `pairs` is missing for a model of pairs or given for another, the numbers of texts and
                pairs differ, or an item is not a string.
        """
        if isinstance(texts, str):
            raise ValueError(f"predict: texts must be a list of texts, got one text: [{texts[:40]!r}]")
        if (pairs is not None) != self.pairs:
            wanted, got = ("pairs of sentences", "single ones") if self.pairs else ("sentences", "pairs")
            raise ValueError(f"predict: this model classifies {wanted}, got {got}")
        parts = [_checked("texts", texts), *([] if pairs is None else [_checked("pairs", pairs)])]
        return list(self.answer(zip(*parts, strict=True), probabilities=probabilities))

    def answer(
        self,
        rows: Iterable[Sequence[str]],
        *,
        probabilities: bool = False,
        report: Callable[[Iterable[tuple[str, Sequence[int]]]], object] | None = None,
    ) -> Iterator[Prediction]:
        """Classify a stream of sentences, in batches.

        Args:
            rows: Sequences of one sentence, or of two if pairs are classified.
            probabilities: Also return the probability of every class.
            report: Called with the sentences and their tokens, like `UnknownParts.report` or `count`.

        Yields:
            One prediction per row, in order.
        """
        rows = iter(rows)
        while window := list(islice(rows, _WINDOW)):
            ids = [[self.tokenizer.encode(text[:_LONGEST]) for text in row] for row in window]
            if report is not None:
                texts, numbers = chain.from_iterable(window), chain.from_iterable(ids)
                report(zip(texts, numbers, strict=True))
            found = zip(window, ids, self._probabilities(ids).tolist(), strict=True)
            for row, symbols, values in found:
                pair = row[1] if self.pairs else None
                if not any(text and not text.isspace() for text in row):
                    yield Prediction(row[0], None, None, pair=pair)
                    continue
                label, probability = self._decide(values)
                every = dict(zip(self.labels, values, strict=True)) if probabilities else None
                yield Prediction(row[0], label, probability, every, self._note(row, symbols), pair)

    def _note(self, row: Sequence[str], symbols: Sequence[Sequence[int]]) -> str | None:
        if all(map(self._unknown.all_unknown, symbols)):
            return NOTHING_KNOWN
        return CUT_OFF if any(len(text) > _LONGEST for text in row) else None

    def _decide(self, probabilities: Sequence[float]) -> tuple[str, float]:
        if not self.multi_label:
            best = max(probabilities)
            return self.labels[probabilities.index(best)], best
        chosen = [name for name, value in zip(self.labels, probabilities, strict=True) if value > 0.5]
        return self.separator.join(chosen), min(max(value, 1 - value) for value in probabilities)

    @torch.inference_mode()
    def _probabilities(self, ids: Sequence[Sequence[Sequence[int]]]) -> Tensor:
        """Return (B, classes) for rows of one or two sentences, which are batched by length."""
        order = sorted(range(len(ids)), key=lambda row: [len(part) for part in ids[row]])
        results = []
        for rows in _batches(ids, order):
            inputs: list[Tensor | None] = []
            for part in zip(*(ids[row] for row in rows), strict=True):
                padded = pad_sequences(part, batch_first=False)
                mask = padded.mask.to(self.device) if padded.mask.any() else None
                inputs += [padded.ids.to(self.device), mask]
            logits = self.network(*inputs) / self.temperature
            results.append(logits.sigmoid() if self.multi_label else logits.softmax(-1))
        return torch.cat(results).cpu()[torch.tensor(order).argsort()]


def _checked(name: str, texts: Iterable[str]) -> Iterator[str]:
    """Yield texts, and refuse other values, such as NaN for a missing text in a table."""
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"predict: {name}[{place}] must be a string, got {repr(text)[:40]}")
        yield text


def _batches(ids: Sequence[Sequence[Sequence[int]]], order: Sequence[int]) -> Iterator[list[int]]:
    """Divide rows, taken in the given order, into batches that fit into memory."""
    batch: list[int] = []
    longest = 0
    for row in order:
        longest = max(longest, *(len(part) for part in ids[row]))
        if batch and longest * (len(batch) + 1) > _AT_ONCE:
            yield batch
            batch, longest = [], max(len(part) for part in ids[row])
        batch.append(row)
    yield batch


def check_labels(names: Sequence[Any], num_classes: int) -> None:
    """Refuse invalid names of classes.

    Args:
        names: The names.
        num_classes: The number of classes of the network.

    Raises:
        ValueError: Their number differs from `num_classes`, or they are not distinct printable texts.
    """
    if len(names) != num_classes:
        raise ValueError(f"expected {num_classes} labels, got {len(names)}")
    texts = {name for name in names if isinstance(name, str) and not UNPRINTABLE.search(name)}
    if len(texts) < len(names):
        raise ValueError(f"labels must be printable texts that differ from each other, got {names!r}")


def modern(hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyper-parameters of a checkpoint in the current layout, regardless of its version."""
    settings = dict(hyper_parameters)
    if "config" in settings:
        return settings
    names = settings.pop("label_names")
    return {"config": {**settings, "num_classes": len(names)}, "label_names": names}
