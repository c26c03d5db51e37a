"""Trained sentence classifiers in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sru_apps.decoding.unknown import UnknownParts
from sru_apps.inference.trained import Trained
from sru_apps.tasks.classify.model import ClassifierConfig, SentenceClassifier
from sru_data.loaders.buckets import pad_sequences

# Words read at once, padding included, and sentences sorted by length together; these bound the memory.
_AT_ONCE = 8192
_WINDOW = 8192
_DECIDED = 0.5
"""With any number of labels per sentence, those that are at least so probable are its labels."""
NOTHING_KNOWN = "nothing of it is in the model's vocabulary"
"""The note on a sentence of unknown words only, whose label tells nothing."""


class Prediction(NamedTuple):
    """The label of a sentence."""

    text: str
    """The sentence."""
    label: str | None
    """Name of the most probable class; of several labels, their names joined by the separator. None for a
    sentence without words."""
    probability: float | None
    """Its probability; of several labels, that of the least certain decision for or against a class."""
    probabilities: dict[str, float] | None = None
    """The probability of every class, if it was asked for."""
    note: str | None = None
    """What makes the label doubtful: `NOTHING_KNOWN`, or nothing."""
    pair: str | None = None
    """The second sentence of a pair."""


class Classifier(Trained):
    """A trained sentence classifier.

        model = sru_apps.load("runs/classify/sst2/first")
        for text, label, probability, *_ in model.predict(["A warm and funny film.", "Dull!"]):
            print(label, probability, text)

    Attributes:
        labels: The names of the classes.
        temperature: What divides the logits, so that the probabilities are calibrated.
        separator: What joins the names of several labels.
    """

    config_class = ClassifierConfig
    network_class = SentenceClassifier

    def __init__(self, network: Any, tokenizer: Any, entries: Mapping[str, Any]) -> None:
        super().__init__(network, tokenizer)
        self.labels: list[str] = list(entries["labels"])
        self.temperature = float(entries.get("temperature") or 1.0)
        self.separator: str = entries.get("label_separator") or ","
        self.is_pair = bool(getattr(network.config, "pairs", False))
        self.is_multi_label = bool(getattr(network.config, "multi_label", False))

    @classmethod
    def entries(cls, hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Turn the hyper-parameters of a checkpoint into the entries of an exported `config.json`."""
        settings = modern(hyper_parameters)
        return {**settings, "model": settings["config"], "labels": settings["label_names"]}

    @classmethod
    def check(cls, config: ClassifierConfig, entries: Mapping[str, Any]) -> None:
        """Refuse names that are no labels of the classes, and a temperature that is none.

        Raises:
            ValueError: They are not.
        """
        names = entries["labels"]
        check_labels([names] if isinstance(names, str) else list(names), config.num_classes)
        temperature = entries.get("temperature")
        if temperature is not None and not 0 < temperature < float("inf"):
            raise ValueError(f"temperature must be above 0, got {temperature!r}")

    def predict(
        self, texts: Iterable[str], pairs: Iterable[str] | None = None, *, probabilities: bool = False
    ) -> list[Prediction]:
        """Classify sentences, as `sru classify predict` does.

        Args:
            texts: The sentences.
            pairs: The second sentence of each, where the model is for pairs.
            probabilities: Also return the probability of every class.

        Returns:
            One prediction per sentence, in their order.

        Raises:
            ValueError: The model is for pairs and gets none, or the reverse, or their numbers differ.
        """
        if isinstance(texts, str):
            raise ValueError(f"predict: texts must be a list of texts, got one text: [{texts[:40]!r}]")
        if (pairs is not None) != self.is_pair:
            wanted, got = ("pairs of sentences", "single ones") if self.is_pair else ("sentences", "pairs")
            raise ValueError(f"predict: this model classifies {wanted}, got {got}")
        rows = ((text,) for text in texts) if pairs is None else zip(texts, pairs, strict=True)
        return list(self.answer(rows, probabilities=probabilities))

    def answer(
        self,
        rows: Iterable[Sequence[str]],
        *,
        probabilities: bool = False,
        unknown: UnknownParts | None = None,
    ) -> Iterator[Prediction]:
        """Classify sentences that come one after the other, many at a time.

        Args:
            rows: The sentences, each as a sequence of one, or pairs of them.
            probabilities: Also return the probability of every class.
            unknown: Told of words that the model does not know.

        Yields:
            One prediction per row, in their order.
        """
        rows = iter(rows)
        while window := list(islice(rows, _WINDOW)):
            ids = [[self.tokenizer.encode(text) for text in row] for row in window]
            if unknown is not None:
                texts, numbers = chain.from_iterable(window), chain.from_iterable(ids)
                unknown.report(zip(texts, numbers, strict=True))
            unk = self.tokenizer.unk_id
            found = zip(window, ids, self._probabilities(ids).tolist(), strict=True)
            for row, numbers_of_row, row_probabilities in found:
                if not any(text.strip() for text in row):
                    yield Prediction(row[0], None, None, pair=row[1] if self.is_pair else None)
                    continue
                label, probability = self._decide(row_probabilities)
                yield Prediction(
                    row[0],
                    label,
                    probability,
                    dict(zip(self.labels, row_probabilities, strict=True)) if probabilities else None,
                    NOTHING_KNOWN if all(one == unk for part in numbers_of_row for one in part) else None,
                    row[1] if self.is_pair else None,
                )

    def _decide(self, probabilities: Sequence[float]) -> tuple[str, float]:
        if not self.is_multi_label:
            best = max(probabilities)
            return self.labels[probabilities.index(best)], best
        chosen = [name for name, value in zip(self.labels, probabilities, strict=True) if value >= _DECIDED]
        return self.separator.join(chosen), min(max(value, 1 - value) for value in probabilities)

    @torch.inference_mode()
    def _probabilities(self, ids: Sequence[Sequence[Sequence[int]]]) -> Tensor:
        """Return (B, classes) for rows of one sentence or two, read in the order of their lengths."""
        order = sorted(range(len(ids)), key=lambda row: [len(part) for part in ids[row]])
        results = []
        for rows in _batches(ids, order):
            inputs: list[Tensor | None] = []
            for part in zip(*(ids[row] for row in rows), strict=True):
                padded = pad_sequences(part, batch_first=False)
                mask = padded.mask.to(self.device) if padded.mask.any() else None
                inputs += [padded.ids.to(self.device), mask]
            logits = self.network(*inputs) / self.temperature
            results.append(logits.sigmoid() if self.is_multi_label else logits.softmax(-1))
        return torch.cat(results).cpu()[torch.tensor(order).argsort()]


def _batches(ids: Sequence[Sequence[Sequence[int]]], order: Sequence[int]) -> Iterator[list[int]]:
    """Cut rows in an order of their own into batches that fit into memory."""
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
    """Refuse what are no names of classes.

    Raises:
        ValueError: There are more or fewer than classes, or they are no texts that can be told apart.
    """
    if len(names) != num_classes:
        raise ValueError(f"expected {num_classes} labels, got {len(names)}")
    texts = {name for name in names if isinstance(name, str) and name.isprintable()}
    if len(texts) < len(names):
        raise ValueError(f"labels must be printable texts that differ from each other, got {names!r}")


def modern(hyper_parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyper-parameters of a checkpoint; former ones have those of the network side by side."""
    settings = dict(hyper_parameters)
    if "config" in settings:
        return settings
    names = settings.pop("label_names")
    return {"config": {**settings, "num_classes": len(names)}, "label_names": names}
