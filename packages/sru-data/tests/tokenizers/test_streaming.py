from __future__ import annotations

import functools

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers, trainers

from sru_data.tokenizers import (
    ByteTokenizer,
    CharTokenizer,
    HuggingFaceTokenizer,
    SubwordTokenizer,
    Tokenizer,
    WordTokenizer,
)
from sru_data.tokenizers.streaming import StreamingDecoder

TEXTS = ["the lowest of the  low\n", "newer and wider ☃ than the newest\n", "lower\n\nand slower 😀é"] * 5


def word_pieces() -> HuggingFaceTokenizer:
    pieces = ["[PAD]", "[UNK]", "the", "low", "##er", "##est", "and", ".", "n't", "do"]
    backend = tokenizers.Tokenizer(models.WordPiece({t: i for i, t in enumerate(pieces)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.decoder = decoders.WordPiece()
    return HuggingFaceTokenizer(backend)


def byte_pairs() -> HuggingFaceTokenizer:
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=290, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(TEXTS, trainer)
    return HuggingFaceTokenizer(backend)


MAKE = {
    "words": lambda: WordTokenizer.train(TEXTS),
    "words and lines": lambda: WordTokenizer.train(TEXTS, line_ends=True),
    "characters": lambda: CharTokenizer.train(TEXTS),
    "bytes": ByteTokenizer,
    "subwords": lambda: SubwordTokenizer.train(TEXTS, vocab_size=26),
    "lossless subwords": lambda: SubwordTokenizer.train(TEXTS, vocab_size=282, lossless=True),
    "lossless byte pairs": lambda: SubwordTokenizer.train(
        TEXTS, vocab_size=310, model_type="bpe", lossless=True
    ),
    "word pieces": word_pieces,
    "byte pairs": byte_pairs,
}


@functools.cache
def made(kind: str) -> Tokenizer:
    return MAKE[kind]()


@pytest.mark.parametrize("kind", MAKE)
@given(data=st.data())
def test_the_pieces_together_are_what_decode_gives(kind, data) -> None:
    tokenizer = made(kind)
    text = st.text("thelowrnd é☃😀\n", max_size=30).map(tokenizer.encode)
    # Drawn as the characters of a string, which is faster than drawing a list of numbers.
    anything = st.text(st.characters(max_codepoint=len(tokenizer) - 1), max_size=40)
    ids = data.draw(text | anything.map(lambda drawn: [*map(ord, drawn)]))
    decoder = StreamingDecoder(tokenizer)
    pieces = [decoder.feed(index) for index in ids] + [decoder.finish()]
    assert "".join(pieces) == tokenizer.decode(ids)


@pytest.mark.parametrize("kind", MAKE)
def test_it_restarts_after_the_end(kind) -> None:
    decoder = StreamingDecoder(made(kind))
    ids = made(kind).encode("the low")
    for _ in range(2):
        assert "".join([*map(decoder.feed, ids), decoder.finish()]) == made(kind).decode(ids)


def test_a_word_comes_with_its_space_at_once() -> None:
    decoder = StreamingDecoder(made("words and lines"))
    ids = made("words and lines").encode("the low\n\nand low")
    assert [decoder.feed(index) for index in ids] == ["the", " low", "\n", "\n", "and", " low"]
    assert decoder.finish() == ""


@pytest.mark.parametrize("kind", ["bytes", "lossless subwords", "byte pairs"])
def test_a_character_comes_when_it_is_complete(kind) -> None:
    decoder = StreamingDecoder(made(kind))
    pieces = [decoder.feed(index) for index in made(kind).encode("€w")]
    assert pieces == ["", "", "€", "w"]


@pytest.mark.parametrize("kind", ["bytes", "lossless subwords", "byte pairs"])
def test_a_character_that_stays_incomplete_is_given_at_the_end(kind) -> None:
    decoder = StreamingDecoder(made(kind))
    first, *_ = made(kind).encode("€")
    assert decoder.feed(first) == ""
    assert decoder.finish() == "\ufffd"


@pytest.mark.parametrize("kind", ["bytes", "lossless subwords", "byte pairs"])
def test_bytes_that_are_no_text_do_not_hold_back_all_that_follows(kind) -> None:
    tokenizer = made(kind)
    first, *_ = tokenizer.encode("€")
    decoder = StreamingDecoder(tokenizer)
    given_back = sum(len(decoder.feed(first)) for _ in range(100))
    assert given_back >= 97


@pytest.mark.parametrize("kind", MAKE)
def test_only_recent_tokens_are_decoded_again(kind, monkeypatch) -> None:
    tokenizer = made(kind)
    lengths = []
    decode = type(tokenizer).decode
    monkeypatch.setattr(
        type(tokenizer), "decode", lambda self, ids: lengths.append(len(ids)) or decode(self, ids)
    )
    decoder = StreamingDecoder(tokenizer)
    for index in tokenizer.encode("the low and newer " * 30):
        decoder.feed(index)
    assert max(lengths, default=0) <= 4
