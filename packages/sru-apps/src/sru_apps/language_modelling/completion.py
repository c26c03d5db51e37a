"""Going on with texts: prompts in, text out, as it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from sru_apps.language_modelling.generate import Continuation
from sru_apps.language_modelling.load import TrainedLanguageModel
from sru_apps.language_modelling.sampling import Sampling
from sru_apps.language_modelling.stopping import StopStrings
from sru_apps.training.errors import UserError
from sru_data.tokenizers import CharTokenizer, SubwordTokenizer, Tokenizer
from sru_data.tokenizers.streaming import StreamingDecoder

LINE_END = "\n"
_SHOWN = 10


class Piece(NamedTuple):
    """More text of one of several texts."""

    text_index: int
    """Which prompt it goes on from."""
    text: str
    """What is new; it may be empty."""
    finish: Literal["stop", "length"] | None = None
    """Why nothing more comes: a stop string, or enough symbols; None while more comes."""


def complete(
    model: TrainedLanguageModel,
    prompts: Sequence[Sequence[int]],
    *,
    sampling: Sampling,
    seeds: Sequence[int],
    max_tokens: int,
    stop: Sequence[str] = (),
) -> Iterator[Piece]:
    """Go on with several texts at once.

    Args:
        model: The trained model.
        prompts: What `encode_prompt` returned for each.
        sampling: How symbols are chosen; padding never is.
        seeds: One for each text.
        max_tokens: Symbols to choose for each.
        stop: A text ends before the first of these strings.

    Yields:
        Pieces of the texts as they come; the last one of each text says why it ends.
    """
    tokenizer = model.tokenizer
    if max_tokens == 0:
        yield from (Piece(index, "", "length") for index in range(len(prompts)))
        return
    sampling = sampling.without(tokenizer.pad_id)
    texts = Continuation(model.network, prompts, sampling=sampling, seeds=seeds)
    decoders = [_primed(tokenizer, prompt) for prompt in prompts]
    stops = [StopStrings(stop) for _ in prompts]
    active = list(range(len(prompts)))
    for count in range(1, max_tokens + 1):
        going = []
        for row, (index, token) in enumerate(zip(active, next(texts), strict=True)):
            text = stops[index].feed(decoders[index].feed(token))
            if stops[index].found:
                yield Piece(index, text, "stop")
            elif count == max_tokens:
                text += stops[index].feed(decoders[index].finish())
                yield Piece(index, text + stops[index].finish(), "stop" if stops[index].found else "length")
            else:
                yield Piece(index, text)
                going.append(row)
        if not going:
            return
        if len(going) < len(active):
            texts.keep(going)
            active = [active[row] for row in going]


def encode_prompt(tokenizer: Tokenizer, prompt: str, *, allow_unknown: bool = False) -> list[int]:
    """Return the symbols of a prompt; an empty one is a line end.

    Args:
        tokenizer: The tokenizer.
        prompt: Any text.
        allow_unknown: Whether what the model does not know may stand for the unknown symbol.

    Raises:
        UserError: When there is something that the model does not know, or the prompt is empty and the model
            knows no line end.
    """
    if not prompt:
        start = line_end(tokenizer)
        if start is None:
            raise UserError(
                "the prompt is empty and the model knows no line end to start from; give a prompt"
            )
        return [start]
    ids = tokenizer.encode(prompt)
    if tokenizer.unk_id in ids and not allow_unknown:
        unknown = _unknown_parts(tokenizer, prompt)
        if unknown:
            kind = "characters" if isinstance(tokenizer, (CharTokenizer, SubwordTokenizer)) else "words"
            shown = ", ".join(map(repr, unknown[:_SHOWN])) + (", ..." if len(unknown) > _SHOWN else "")
            raise UserError(
                f"the prompt holds {kind} that the model does not know: {shown}; leave them out, or let them "
                "stand for the unknown symbol with --allow-unknown"
            )
    return ids


def line_end(tokenizer: Tokenizer) -> int | None:
    """Return the symbol that ends a line, or None if the tokenizer has none."""
    ids = tokenizer.encode(LINE_END)
    return ids[-1] if ids[-1] != tokenizer.unk_id else None


def _unknown_parts(tokenizer: Tokenizer, prompt: str) -> list[str]:
    """Return what of the prompt is unknown, but not the unknown token written out, as in PTB."""
    whole = isinstance(tokenizer, (CharTokenizer, SubwordTokenizer))
    parts = dict.fromkeys(prompt if whole else prompt.split())
    written = tokenizer.tokens[tokenizer.unk_id]
    return [part for part in parts if part != written and tokenizer.unk_id in tokenizer.encode(part)]


def _primed(tokenizer: Tokenizer, prompt: Sequence[int]) -> StreamingDecoder:
    """Return a decoder that has seen the end of the prompt, which decides about a space after it."""
    decoder = StreamingDecoder(tokenizer)
    for token in prompt[-16:]:
        decoder.feed(token)
    return decoder
