"""Continuing prompts: text out, as it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple

from sru_apps.decoding.continuation import Continuation, Network
from sru_apps.decoding.sampling import Sampling
from sru_apps.decoding.stopping import StopStrings
from sru_apps.train.errors import UserError
from sru_data.tokenizers import CharTokenizer, SubwordTokenizer, Tokenizer
from sru_data.tokenizers.streaming import StreamingDecoder

LINE_END = "\n"
_SHOWN = 10
_CONTEXT = 16


class Piece(NamedTuple):
    """More text of one of several texts."""

    text_index: int
    """Which prompt it continues."""
    text: str
    """The new text; it may be empty."""
    finish: Literal["stop", "length"] | None = None
    """Why the text ends: a stop string, or enough symbols; None while it continues."""


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
        prompts: What `encode_prompt` returned for each.
        sampling: How symbols are chosen; padding never is.
        seeds: One per text.
        max_tokens: Symbols to add to each.
        stop: A text ends before the first of these strings.

    Yields:
        Pieces of the texts as they come; the last one of each says why it ends.
    """
    if max_tokens == 0:
        yield from (Piece(index, "", "length") for index in range(len(prompts)))
        return
    sampling = sampling.without(tokenizer.pad_id)
    texts = Continuation(network, prompts, sampling=sampling, seeds=seeds)
    decoders = [StreamingDecoder(tokenizer) for _ in prompts]
    for decoder, prompt in zip(decoders, prompts, strict=True):
        # The end of the prompt decides whether a space follows.
        for token in prompt[-_CONTEXT:]:
            decoder.feed(token)
    stops = [StopStrings(stop) for _ in prompts]
    # A text that has ended is computed along with the others, but not returned.
    active = list(range(len(prompts)))
    for count, tokens in enumerate(islice(texts, max_tokens), 1):
        for index in tuple(active):
            text = stops[index].feed(decoders[index].feed(tokens[index]))
            if count == max_tokens:
                text += stops[index].feed(decoders[index].finish()) + stops[index].finish()
            if stops[index].found or count == max_tokens:
                active.remove(index)
                yield Piece(index, text, "stop" if stops[index].found else "length")
            else:
                yield Piece(index, text)
        if not active:
            return


def encode_prompt(tokenizer: Tokenizer, prompt: str, *, allow_unknown: bool = False) -> list[int]:
    """Return the symbols of a prompt; an empty one is a line end.

    Args:
        tokenizer: The tokenizer.
        prompt: Any text.
        allow_unknown: Replace what is not in the vocabulary with the unknown symbol.

    Raises:
        UserError: Part of the prompt is not in the vocabulary, or the prompt is empty and the vocabulary has
            no line end.
    """
    if not prompt:
        start = line_end(tokenizer)
        if start is None:
            raise UserError(
                "the prompt is empty and the model's vocabulary has no line end to start from; give a prompt"
            )
        return [start]
    ids = tokenizer.encode(prompt)
    if tokenizer.unk_id in ids and not allow_unknown and (unknown := _unknown_parts(tokenizer, prompt)):
        kind = "characters" if isinstance(tokenizer, (CharTokenizer, SubwordTokenizer)) else "words"
        shown = ", ".join(map(repr, unknown[:_SHOWN])) + (", ..." if len(unknown) > _SHOWN else "")
        raise UserError(
            f"the prompt has {kind} that are not in the model's vocabulary: {shown}; leave them out, or "
            "replace them with the unknown symbol by --allow-unknown"
        )
    return ids


def line_end(tokenizer: Tokenizer) -> int | None:
    """Return the symbol that ends a line, or None if the tokenizer has none."""
    ids = tokenizer.encode(LINE_END)
    return ids[-1] if ids[-1] != tokenizer.unk_id else None


def _unknown_parts(tokenizer: Tokenizer, prompt: str) -> list[str]:
    """Return the unknown parts of a prompt, except the unknown token written out, as in PTB."""
    whole = isinstance(tokenizer, (CharTokenizer, SubwordTokenizer))
    parts = dict.fromkeys(prompt if whole else prompt.split())
    written = tokenizer.tokens[tokenizer.unk_id]
    return [part for part in parts if part != written and tokenizer.unk_id in tokenizer.encode(part)]
