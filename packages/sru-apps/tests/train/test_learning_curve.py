from __future__ import annotations

import struct
from pathlib import Path

import pytest

from sru_apps.train.pictures import draw_curves

LOSS = {"training": ([1, 2], [0.7, 0.4]), "validation": ([1, 2], [0.8, 0.6])}
ACCURACY = {"accuracy": ([1, 2], [0.5, 0.8])}


@pytest.mark.usefixtures("pictures")
def test_is_a_png_that_shows_the_figures(tmp_path: Path) -> None:
    pictures, sizes = [], []
    one, two = {"loss": LOSS}, {"loss": LOSS, "accuracy": ACCURACY}
    other = {"loss": LOSS, "accuracy": {"accuracy": ([1, 2], [0.5, 0.6])}}
    for number, (panels, title) in enumerate([(one, ""), (two, ""), (other, ""), (other, "$run_{1")]):
        path = tmp_path / f"{number}.png"
        draw_curves(path, "epoch", panels, title=title)
        pictures.append(path.read_bytes())
        assert pictures[-1].startswith(b"\x89PNG\r\n\x1a\n")
        sizes.append(struct.unpack(">II", pictures[-1][16:24]))
    assert len(set(pictures)) == 4
    assert sizes[0][0] == sizes[1][0] > 800
    assert sizes[1][1] > sizes[0][1] > 300
