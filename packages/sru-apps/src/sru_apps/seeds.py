"""Seeds computed from a position, so that no generator state need be saved."""

from __future__ import annotations

import hashlib


def place_seed(*place: int) -> int:
    """Hash the numbers of a position into a seed of 63 bits, unrelated to those of neighbouring positions."""
    digest = hashlib.blake2b(repr(place).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
