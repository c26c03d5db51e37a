"""Continuing prompts, with text streamed as it becomes final."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple

from sru_apps.decoding.continuation import Continuation, Network
from sru_apps.decoding.sampling import Sampling
from sru_apps.decoding.stopping import StopStrings
from sru_apps.decoding.unknown import encode
from sru_apps.train.errors import UserError
from sru_data.tokenizers import Tokenizer
from sru_data.tokenizers.streaming import StreamingDecoder

LINE_END = "\n"
_CONTEXT = 16


class Piece(NamedTuple):
    """The next piece of one of several texts."""

    text_index: int
    """Which prompt it continues."""
    text: str
    """The new text; it may be empty."""
    finish: Literal["stop", "length"] | None = None
    """Why the text ended: a stop string, or the maximum length; None while it continues."""


def complete(
    network: Network,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    *,
    sampling: Sampling,
    seeds: Sequence[int],
    max_tokens: int,
    stop: Sequence[str] = (),
) -> Iterator[Piece]:
    """Continue several texts at once.

    Args:
        network: The trained model.
        tokenizer: Its tokenizer.
        prompts: The result of `encode_prompt` for each text.
        sampling: How symbols are chosen; padding is never chosen.
        seeds: One per text.
        max_tokens: Symbols to add to each.
        stop: A text ends before the first of these strings.

    Yields:
        Pieces of the texts as they become final; the last piece of each text indicates why it ended.
    """
    if max_tokens == 0:
        yield from (Piece(index, "", "length") for index in range(len(prompts)))
        return
    sampling = sampling.without(tokenizer.pad_id)
    texts = Continuation(network, prompts, sampling=sampling, seeds=seeds)
    decoders = [StreamingDecoder(tokenizer) for _ in prompts]
    for decoder, prompt in zip(decoders, prompts, strict=True):
        # Whether a space follows depends on the end of the prompt.
        for token in prompt[-_CONTEXT:]:
            decoder.feed(token)
    stops = [StopStrings(stop) for _ in prompts]
    active = list(range(len(prompts)))
    for count, tokens in enumerate(islice(texts, max_tokens), 1):
        going = []
        for row, (index, token) in enumerate(zip(active, tokens, strict=True)):
            text = stops[index].feed(decoders[index].feed(token))
            if count == max_tokens:
                text += stops[index].feed(decoders[index].finish()) + stops[index].finish()
            if stops[index].found or count == max_tokens:
                yield Piece(index, text, "stop" if stops[index].found else "length")
            else:
                yield Piece(index, text)
                going.append(row)
        if not going:
            return
        if len(going) < len(active):
            texts.keep(going)
            active = [active[row] for row in going]


def encode_prompt(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """Return the symbols of a prompt; an empty prompt becomes a line end.

    Args:
        tokenizer: The tokenizer.
        prompt: Any text.

    Raises:
        UserError: The prompt is empty and the vocabulary has no line end.
    """
    if ids := encode(tokenizer, prompt):
        return ids
    start = line_end(tokenizer)
    if start is None:
        raise UserError(
            "the prompt is empty and the model's vocabulary has no line end to start from; give a prompt"
        )
    return [start]


def line_end(tokenizer: Tokenizer) -> int | None:
    """Return the symbol that ends a line, or None if the tokenizer has none."""
    ids = tokenizer.encode(LINE_END)
    return ids[-1] if ids[-1] != tokenizer.unk_id else None
