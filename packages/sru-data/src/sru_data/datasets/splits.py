"""Labelled texts, divided for training, validation and test."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

NUM_FOLDS = 10
"""The number of folds in cross-validation."""
VALIDATION_PARTS = 10
"""One of this many parts of the training data is held out if there is no validation data."""

Label = int | tuple[int, ...]
"""A class number, or in multi-label data, the numbers of all classes of a text in ascending order."""


class Example(NamedTuple):
    """A text, or a pair of texts, and its class."""

    text: str
    label: Label
    pair: str | None = None
    """The second text, if examples are pairs."""


@dataclass(frozen=True)
class Splits:
    """One set, divided for training, validation and test; each part in file order."""

    name: str
    train: list[Example]
    validation: list[Example]
    test: list[Example]
    label_names: tuple[str, ...]
    multi_label: bool = False
    """Whether a label is a tuple of any number of classes."""
    notes: tuple[str, ...] = ()
    """Possible problems, each a sentence: texts in several parts, classes missing from a part."""

    @property
    def num_classes(self) -> int:
        """The number of classes; labels are 0 to num_classes - 1."""
        return len(self.label_names)


def divide(
    examples: Sequence[Example], parts: int, part: int, *, seed: str
) -> tuple[list[Example], list[Example]]:
    """Split off one of several equal, stratified parts.

    The sizes of the parts differ by at most one, and so do their counts of each class. The only example of a
    class is never split off.

    Args:
        examples: The examples.
        parts: The number of parts.
        part: The part to split off.
        seed: The split depends only on the labels and this seed.

    Returns:
        The remaining examples and those split off, both in their original order.
    """
    strata = _strata([example.label for example in examples], parts)
    sizes = Counter(strata)
    order = [index for index, stratum in enumerate(strata) if sizes[stratum] > 1]
    random.Random(seed).shuffle(order)
    # Sorting is stable: within a class the order stays random, and dealing out one class after another
    # keeps both the sizes of the parts and their class counts within one of each other.
    order.sort(key=strata.__getitem__)
    taken = set(order[part::parts])
    others = [example for index, example in enumerate(examples) if index not in taken]
    return others, [examples[index] for index in sorted(taken)]


def _strata(labels: Sequence[Label], parts: int) -> list[Any]:
    """Return keys to balance: the class; or all classes of a text or, if few texts share them, the rarest."""
    sets = [label for label in labels if isinstance(label, tuple)]
    if not sets:
        return list(labels)
    whole = Counter(sets)
    single = Counter(label for classes in sets for label in classes)
    return [
        classes if whole[classes] >= parts or not classes else (min(classes, key=lambda c: (single[c], c)),)
        for classes in sets
    ]
