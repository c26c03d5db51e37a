"""The learning curve as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sru_data.atomic import atomic_write


def draw_learning_curve(rows: Sequence[Mapping[str, float]], path: Path, *, metric: str) -> None:
    """Draw training loss and a validation figure against the epoch, as PNG.

    Args:
        rows: One mapping an epoch, with `epoch`, `train_loss` and the metric.
        path: The file to write or replace.
        metric: The key of the validation figure.
    """
    # Figure, not pyplot: no display is looked for, and nothing outlives the call.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    left = figure.add_subplot()
    right = left.twinx()
    epochs = [row["epoch"] for row in rows]
    (loss,) = left.plot(
        epochs, [row["train_loss"] for row in rows], color="tab:blue", marker=".", label="train loss"
    )
    label = metric.replace("_", " ")
    (score,) = right.plot(epochs, [row[metric] for row in rows], color="tab:orange", marker=".", label=label)
    left.set_xlabel("epoch")
    left.set_ylabel("train loss")
    right.set_ylabel(label)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.grid(alpha=0.3)
    left.legend(handles=[loss, score], loc="best")
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)
