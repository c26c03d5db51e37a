"""Limits on command-line values; larger ones are refused before anything is computed."""

from jsonargparse.typing import restricted_number_type

_MOST = 10_000_000

TokenCount = restricted_number_type("TokenCount", int, [(">=", 0), ("<=", _MOST)])
"""A number of texts, or of tokens to add to a text."""
PositiveCount = restricted_number_type("PositiveCount", int, [(">=", 1), ("<=", _MOST)])
"""The same, at least one."""
Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**32)])
"""The seed of a generator."""
