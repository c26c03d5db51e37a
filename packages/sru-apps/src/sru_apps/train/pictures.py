"""Drawing curves, and writing figures as PNG."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sru_data.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[str, Sequence[Sequence[float]]]
"""The x and y of each curve, by name."""


def draw_curves(
    path: Path, x_label: str, panels: Mapping[str, Curves], *, title: str = "", log_x: bool = False
) -> None:
    """Draw curves as PNG, in stacked panels that share their horizontal axis.

    Args:
        path: The file to write or replace.
        x_label: The label of the horizontal axis.
        panels: The curves of each panel, by the label of its vertical axis.
        title: The title above them.
        log_x: Whether the horizontal axis is logarithmic.
    """
    # Figure, not pyplot: needs no display and leaves no global state.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 1.2 + 3 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    count = 0
    for panel, (y_label, curves) in zip(axes, panels.items(), strict=True):
        panel.set_ylabel(y_label)
        for name, xy in curves.items():
            panel.plot(*xy, f"C{count}", marker=".", label=name)
            count += 1
        if len(curves) > 1 or name != y_label:
            panel.legend()
        panel.grid(alpha=0.3)
    axes[-1].set_xlabel(x_label)
    if log_x:
        axes[-1].set_xscale("log")
    else:
        axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    # A $ in the name of a run must not start a formula.
    figure.suptitle(title.replace("$", r"\$"), fontsize="medium")
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture, or replace it; its labels may be in any script.

    Args:
        figure: The picture.
        path: The PNG.
    """
    with warnings.catch_warnings(), atomic_write(path) as file:
        # If the font lacks the script, the labels show boxes.
        warnings.filterwarnings("ignore", message=r".*Glyph \d+ .* missing from")
        warnings.filterwarnings("ignore", message=r".*Matplotlib currently does not support .* natively")
        figure.savefig(file, format="png", dpi=130)
