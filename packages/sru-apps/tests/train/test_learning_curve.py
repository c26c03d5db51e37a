from __future__ import annotations

import struct
from pathlib import Path

from sru_apps.train.history import draw_learning_curve

ROWS = [
    {"epoch": 1, "train_loss": 0.7, "validation_accuracy": 0.5},
    {"epoch": 2, "train_loss": 0.4, "validation_accuracy": 0.8},
]


def test_is_a_png_of_some_size(tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    draw_learning_curve(ROWS, path, metric="validation_accuracy")
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    assert width > height > 300


def test_shows_the_figures(tmp_path: Path) -> None:
    pictures = []
    for count in (1, 2):
        path = tmp_path / f"{count}.png"
        draw_learning_curve(ROWS[:count], path, metric="validation_accuracy")
        pictures.append(path.read_bytes())
    assert pictures[0] != pictures[1]
