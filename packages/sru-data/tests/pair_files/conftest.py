from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sru_data.datasets.translation import PairFiles, PartName

Sources = dict[PartName, PairFiles]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., PairFiles]:
    """Write parallel files, each a text with a sentence per line."""

    def make(name: str, *sides: str) -> PairFiles:
        paths = [tmp_path / f"{name}.{number}" for number in range(len(sides))]
        for path, text in zip(paths, sides, strict=True):
            path.write_text(text)
        return PairFiles.parallel(*paths)

    return make


@pytest.fixture
def sources(write: Callable[..., PairFiles]) -> Sources:
    """Three pairs to train on, and one with two translations to validate on."""
    return {
        "train": write(
            "train",
            "the rain falls\nrain and rain\nsnow\n",
            "der Regen fällt\nRegen und Regen\nder Schnee\n",
        ),
        "validation": write("validation", "the snow falls\n", "der Schnee fällt\n", "es schneit\n"),
    }
