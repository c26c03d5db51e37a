"""The figures for comparing language models."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sru_apps.nn.cross_entropy import exp
from sru_data.texts import Unit
from sru_data.token_files import TextCounts

FIGURE: Mapping[Unit, str] = {
    "words": "perplexity",
    "subwords": "perplexity",
    "characters": "bits_per_character",
    "bytes": "bits_per_byte",
}
"""The usual figure of each unit; lower is better."""


def figures(unit: Unit, nats: float, tokens: int, counts: TextCounts | None = None) -> dict[str, float]:
    """Turn the loss of a whole text into figures.

        loss                nats/tokens
        perplexity          exp(loss)                   words and subwords
        bits per character  loss/ln 2                   characters, if a token is one; likewise bytes
        word perplexity     exp(nats/(words + lines))   subwords: as if from a model of words and line ends

    Args:
        unit: What a token is.
        nats: The negative log-likelihood of the tokens.
        tokens: The number of scored tokens.
        counts: The length of the text, if it was scored whole.

    Returns:
        `loss`, the unit's figure, and `word_perplexity` for subwords with `counts`.
    """
    loss = nats / tokens if tokens else math.nan
    name = FIGURE[unit]
    result = {"loss": loss, name: exp(loss) if name == "perplexity" else loss / math.log(2)}
    if unit == "subwords" and counts is not None:
        result["word_perplexity"] = exp(nats / max(1, counts.words + counts.lines))
    return result
