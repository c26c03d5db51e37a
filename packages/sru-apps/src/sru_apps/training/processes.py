"""One process among several."""

from __future__ import annotations

from pytorch_lightning.utilities import rank_zero_only


def is_main_process() -> bool:
    """Whether this process is the one that prints, writes, and sums up; known before training starts."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0
