"""Seeds that follow from a place, so that nothing need be remembered."""

from __future__ import annotations

import hashlib


def place_seed(*place: int) -> int:
    """Mix numbers into a seed: 63 bits that share nothing with those of a neighbouring place."""
    digest = hashlib.blake2b(repr(place).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
