"""The pictures of a report: confusion matrix and reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Figure, not pyplot: needs no display and leaves no global state.
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from sru_apps.tasks.classify.calibration import BINS, Reliability
from sru_apps.train.pictures import save_figure

_LONGEST_LABEL = 22
_MOST_NUMBERS = 50
_MOST_TICKS = 60


def shorten(label: str, most: int = _LONGEST_LABEL) -> str:
    """Cut the middle out of a long label, because either end may distinguish it from others."""
    if len(label) <= most:
        return label
    tail = (most - 1) // 3
    return f"{label[: most - 1 - tail].rstrip()}…{label[-tail:].lstrip()}"


def draw_confusion(path: Path, counts: Tensor, labels: Sequence[str], title: str) -> None:
    """Draw a confusion matrix, each row normalised by its class, with the counts if there is room.

    Args:
        path: The PNG to write or replace.
        counts: (C, C) int64; the true class in rows, the predicted one in columns.
        labels: The names of the C classes.
        title: The title above it.
    """
    size = len(labels)
    shares = counts.double() / counts.sum(1, keepdim=True).clamp(min=1)
    side = min(1.6 + 0.62 * min(size, 12) + 0.3 * max(0, size - 12), 16.0)
    margin = 0.075 * max(len(shorten(label)) for label in labels)
    figure = Figure(figsize=(side + margin + 1.2, side + (margin if size > 3 else 0.4)), layout="constrained")
    axes = figure.add_subplot()
    font = min(10 + 0.4 * side, 16)
    axes.set_title(title, parse_math=False, fontsize=font, wrap=True)
    axes.set_xlabel("predicted label", fontsize=font - 1)
    axes.set_ylabel("true label", fontsize=font - 1)
    image = axes.imshow(shares.tolist(), cmap="Blues", vmin=0, vmax=1)
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02, shrink=0.7, aspect=25)
    bar.set_label("share of the true label", fontsize=font - 2)
    _name_axes(axes, labels)
    if size <= _MOST_NUMBERS:
        _write_numbers(axes, counts, shares)
    save_figure(figure, path)


def _name_axes(axes: Axes, labels: Sequence[str]) -> None:
    size = len(labels)
    step = -(-size // _MOST_TICKS)
    ticks = range(0, size, step)
    names = [shorten(labels[tick]) for tick in ticks]
    turned = size > 3 or max(map(len, names)) > 10
    font = 10 if size <= 20 else 8
    axes.set_yticks(ticks, names, fontsize=font, parse_math=False)
    axes.set_xticks(
        ticks,
        names,
        fontsize=font,
        parse_math=False,
        rotation=60 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor" if turned else "default",
    )
    if size > _MOST_NUMBERS:
        return
    axes.set_xticks([place - 0.5 for place in range(1, size)], minor=True)
    axes.set_yticks([place - 0.5 for place in range(1, size)], minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5 if size <= 20 else 0.5)
    axes.tick_params(which="minor", length=0)


def _write_numbers(axes: Axes, counts: Tensor, shares: Tensor) -> None:
    size = len(counts)
    with_share = size <= 12
    font = 10.0 if size <= 6 else 8.5 if size <= 20 else 7.0
    for row, (numbers, parts) in enumerate(zip(counts.tolist(), shares.tolist(), strict=True)):
        for column, (number, part) in enumerate(zip(numbers, parts, strict=True)):
            if not number and size > 12:
                continue  # Empty cells are just as clear, and make the others easier to find.
            percent = "<1" if part < 0.005 else f"{100 * part:.0f}"
            text = f"{number}\n{percent} %" if with_share and number else str(number)
            axes.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=font if with_share else max(4.0, font - max(0, len(text) - 3)),
                color="white" if part > 0.55 else "#222222" if number else "#8899aa",
            )


def draw_reliability(path: Path, found: Mapping[str, Reliability], title: str, y_label: str) -> None:
    """Draw how often predictions of each probability came true, and how many predictions there were.

    Args:
        path: The PNG to write or replace.
        found: The counts by name; one or two.
        title: The title above it.
        y_label: The label of the vertical axis.
    """
    figure = Figure(figsize=(5.6, 6.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.set_title(title, parse_math=False)
    upper.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1, label="perfect")
    for number, (name, reliability) in enumerate(found.items()):
        bins = reliability.as_dict()["bins"]
        label = f"{name}: ECE {100 * reliability.ece:.1f} %"
        color, xy = f"C{number}", zip(*((row["confidence"], row["accuracy"]) for row in bins), strict=True)
        upper.plot(*xy, color=color, marker="os"[number], markersize=5, label=label)
        edges = [place / BINS for place in range(BINS + 1)]
        # The second is drawn over the first, as an outline.
        style: dict[str, Any] = {"linewidth": 1.5} if number else {"fill": True, "alpha": 0.6}
        lower.stairs(reliability.count.tolist(), edges, color=color, **style)
    upper.set_ylabel(y_label)
    upper.set_ylim(-0.02, 1.02)
    upper.legend(loc="best")
    lower.set_xlabel("predicted probability")
    lower.set_ylabel("predictions")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    save_figure(figure, path)
