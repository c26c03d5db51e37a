"""A plot of a translation's attention."""

from __future__ import annotations

from pathlib import Path

# Figure, not pyplot: it needs no display and keeps no global state.
from matplotlib.figure import Figure

from sru_apps.tasks.translate.predict import Alignment
from sru_apps.train.pictures import save_figure

_PER_SYMBOL, _MARGIN, _LARGEST = 0.32, 1.6, 24.0


def draw_attention(path: Path, alignment: Alignment) -> None:
    """Plot what each symbol of a translation attended to.

    Args:
        path: The PNG file to write.
        alignment: The attention.
    """
    rows, columns = alignment.weights.shape
    size = [min(_MARGIN + _PER_SYMBOL * count, _LARGEST) for count in (columns, rows)]
    figure = Figure(figsize=(size[0] + 1.0, size[1]), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(alignment.weights.tolist(), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02).set_label("weight")
    axes.set_xticks(
        range(columns),
        alignment.source,
        fontsize=8,
        parse_math=False,
        rotation=60,
        ha="left",
        rotation_mode="anchor",
    )
    axes.set_yticks(range(rows), alignment.target, fontsize=8, parse_math=False)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("sentence")
    axes.set_ylabel("translation")
    save_figure(figure, path)
