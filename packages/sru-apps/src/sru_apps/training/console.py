"""A quiet console: what users can act on stays, the rest goes."""

from __future__ import annotations

import logging
import sys
import warnings

_NOISE = (
    # The CSV file is rewritten from the checkpoint when a run continues, and the folder of a new run is ours.
    r"Experiment logs directory .* exists and is not empty",
    # Lightning's own use of torch, which only its authors can change.
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    # Nothing is changed in place after the network has returned it.
    r"FSDP2-wrapped module .* returned a view tensor",
)


def quiet_lightning() -> None:
    """Silence Lightning's announcements and tips, and those of its warnings that need no action here."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)


def wants_progress_bar() -> bool:
    """Whether a bar would be drawn on a terminal; a log file gets a line an epoch."""
    return sys.stdout.isatty()
