from __future__ import annotations

import struct
from pathlib import Path

from sru_apps.train.history import draw_curves

LOSSES = {"train loss": ([1, 2], [0.7, 0.4])}
ACCURACIES = {"accuracy": ([1, 2], [0.5, 0.8])}


def test_is_a_png_that_shows_the_figures(tmp_path: Path) -> None:
    pictures = []
    for number, right in enumerate([None, ACCURACIES, {"accuracy": ([1, 2], [0.5, 0.6])}]):
        path = tmp_path / f"{number}.png"
        draw_curves(path, "epoch", "loss", LOSSES, right)
        pictures.append(path.read_bytes())
        assert pictures[-1].startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", pictures[-1][16:24])
        assert width > height > 300
    assert len(set(pictures)) == 3
