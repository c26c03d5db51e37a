"""Numbers too small to matter, which a CPU takes a hundred times as long to multiply."""

from __future__ import annotations

import torch


def flush_denormals() -> None:
    """Let this process take denormal numbers for zero, where its processor can.

    Adam's moments of a word vector that hardly ever has a gradient decay until they are denormal (below
    1.2e-38 in float32), and stay so: 0.9 times the smallest of them rounds to itself. In a vocabulary most
    words are rare, and every step visits them all, so that each epoch would be slower than the one before.

    The setting belongs to a thread, and a new thread inherits it: call this before torch starts its own, at
    the very beginning of a command. It stays for the rest of the process.
    """
    torch.set_flush_denormal(True)
