"""Vocabularies from counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


def most_frequent(
    counts: Mapping[str, int],
    *,
    special: tuple[str, ...],
    min_count: int = 1,
    max_size: int | None = None,
    always: tuple[str, ...] = (),
) -> dict[str, int]:
    """Number tokens: special ones first, then the most frequent, equal ones by alphabet.

    Args:
        counts: How often each token comes.
        special: The tokens that come first whatever their counts.
        min_count: Tokens that come less often are left out.
        max_size: The largest number of tokens, special ones included.
        always: Tokens that are kept, in their place by frequency, however rare they are.

    Returns:
        The id of each token.

    Raises:
        ValueError: `min_count` or `max_size` is too small, or no token is left.
    """
    smallest = len(special) + len(always) + 1
    if min_count < 1:
        raise ValueError(f"tokenizer training: min_count must be at least 1, got {min_count}")
    if max_size is not None and max_size < smallest:
        names = ", ".join(["padding", "unknown", *always, "a token"])
        raise ValueError(
            f"tokenizer training: max_size must be at least {smallest} ({names}), got {max_size}"
        )
    others = Counter({token: count for token, count in counts.items() if count >= min_count})
    for token in (*special, *always):
        others.pop(token, None)
    if not others:
        raise ValueError(
            f"tokenizer training: texts must hold a token that comes {min_count} times or more, got none"
        )
    order = sorted(others, key=lambda token: (-others[token], token))
    if max_size is not None:
        order = order[: max_size - len(special) - len(always)]
    kept = sorted([*order, *always], key=lambda token: (-counts.get(token, 0), token))
    return {token: index for index, token in enumerate([*special, *kept])}
