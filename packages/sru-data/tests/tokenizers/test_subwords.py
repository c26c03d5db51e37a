from __future__ import annotations

import functools
import io

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.tokenizers import SubwordTokenizer, Tokenizer, load_tokenizer

TEXTS = ["the lowest of the low", "newer and wider than the newest", "lower and slower", "wide widest"] * 5
SIZE = 24


@functools.cache
def unigram() -> SubwordTokenizer:
    return SubwordTokenizer.train(TEXTS, vocab_size=SIZE)


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request: pytest.FixtureRequest) -> SubwordTokenizer:
    return SubwordTokenizer.train(TEXTS, vocab_size=SIZE, model_type=request.param)


def test_the_vocabulary_starts_with_padding_and_unknown(tokenizer) -> None:
    assert len(tokenizer) == len(tokenizer.tokens) == SIZE
    assert tokenizer.tokens[:2] == ["<pad>", "<unk>"]
    assert (tokenizer.pad_id, tokenizer.unk_id) == (0, 1)
    assert isinstance(tokenizer, Tokenizer)


def test_words_are_cut_into_pieces_and_put_together_again(tokenizer) -> None:
    ids = tokenizer.encode("the slowest")
    assert 2 < len(ids) < len("the slowest")
    assert tokenizer.decode([*ids, 0, 0]) == "the slowest"


@given(st.lists(st.text("thelowsnrandi", min_size=1), min_size=1))
def test_text_of_known_characters_comes_back(words) -> None:
    tokenizer = unigram()
    assert tokenizer.decode(tokenizer.encode(" ".join(words))) == " ".join(words)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_has_a_token_and_no_padding(text) -> None:
    ids = unigram().encode(text)
    assert ids
    assert all(0 < index < SIZE for index in ids)


def test_a_text_without_words_is_one_unknown(tokenizer) -> None:
    assert tokenizer.encode("") == tokenizer.encode(" \n") == [1]


def test_training_twice_gives_the_same_vocabulary(tokenizer) -> None:
    again = [SubwordTokenizer.train(iter(TEXTS), vocab_size=SIZE).tokens for _ in range(2)]
    assert again[0] == again[1]


def test_a_long_text_is_learned_from_like_many_short_ones() -> None:
    tokenizer = SubwordTokenizer.train([" ".join(TEXTS * 20)], vocab_size=SIZE)
    assert "w" in tokenizer.tokens


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
@pytest.mark.parametrize("lossless", [False, True])
def test_a_short_text_gives_fewer_pieces(model_type, lossless) -> None:
    tokenizer = SubwordTokenizer.train(TEXTS, vocab_size=10_000, model_type=model_type, lossless=lossless)
    assert len(set(TEXTS[0])) < len(tokenizer) == len(tokenizer.tokens) < 10_000
    assert tokenizer.decode(tokenizer.encode(TEXTS[0])) == TEXTS[0]


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (
            TEXTS,
            {"vocab_size": SIZE, "model_type": "word"},
            r"model_type must be 'unigram' or 'bpe', got 'word'",
        ),
        (TEXTS, {"vocab_size": 3}, r"cannot learn vocab_size=3 pieces from this text"),
        (["", " "], {"vocab_size": SIZE}, rf"cannot learn vocab_size={SIZE} pieces from this text"),
    ],
)
def test_wrong_options_are_errors(texts, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        SubwordTokenizer.train(texts, **options)


def trained(**options: object) -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(TEXTS), model_writer=written, vocab_size=SIZE, minloglevel=2, **options
    )
    return written.getvalue()


@pytest.mark.parametrize(
    ("options", "special"),
    [
        ({}, ["<pad>", "<unk>", "<s>", "</s>"]),
        ({"pad_id": 3}, ["<pad>", "<unk>", "<s>", "</s>"]),
        ({"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}, ["<pad>", "<unk>", "</s>"]),
        ({"unk_id": 5, "bos_id": -1, "eos_id": -1, "pad_id": 0, "pad_piece": "[P]"}, ["[P]", "<unk>"]),
    ],
)
def test_a_model_with_other_special_ids_is_renumbered(tmp_path, options, special) -> None:
    model = trained(**options)
    own = sentencepiece.SentencePieceProcessor(model_proto=model)
    tokenizer = SubwordTokenizer(model)
    assert tokenizer.tokens[: len(special)] == special
    assert sorted(tokenizer.tokens) == sorted({*special, *own.IdToPiece(list(range(own.GetPieceSize())))})
    assert len(tokenizer) == len(tokenizer.tokens)
    ids = tokenizer.encode("the lowest of ☃")
    assert [tokenizer.tokens[index] for index in ids[:-1]] == own.EncodeAsPieces("the lowest of ☃")[:-1]
    assert ids[-1] == 1
    assert tokenizer.decode([0, *ids[:-1], 0]).strip() == "the lowest of"
    tokenizer.save(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == model
    assert load_tokenizer(tmp_path / "x").encode("the lowest") == tokenizer.encode("the lowest")


def test_a_model_with_a_piece_that_is_not_utf8_is_an_error(tmp_path) -> None:
    model = trained()
    place = model.index("\u2581".encode(), model.index(b"</s>"))
    (tmp_path / "x").write_bytes(model[:place] + b"\xe2\x96\xff" + model[place + 3 :])
    with pytest.raises(DataError, match=r"x: expected a .*sentencepiece model, got .*'utf-8' codec"):
        load_tokenizer(tmp_path / "x")


def test_something_else_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"expected a sentencepiece model, got something else"):
        SubwordTokenizer(b"no model")


@functools.cache
def lossless(model_type: str) -> SubwordTokenizer:
    texts = [*TEXTS, "    def f(x):", "        return x"] * 5
    return SubwordTokenizer.train(texts, vocab_size=290, model_type=model_type, lossless=True)


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
@given(text=st.text("the low\n\t \r▁☃") | st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back_exactly(model_type, text) -> None:
    tokenizer = lossless(model_type)
    ids = tokenizer.encode(text)
    assert all(0 < index < len(tokenizer) for index in ids)
    assert ids == [1] if not text else tokenizer.decode([0, *ids, 0]) == text


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
@given(lines=st.lists(st.text("the lowrnd ☃"), min_size=1))
def test_lines_are_encoded_the_same_alone_and_together(model_type, lines) -> None:
    tokenizer = lossless(model_type)
    texts = [line + "\n" for line in lines]
    assert tokenizer.encode("".join(texts)) == [index for text in texts for index in tokenizer.encode(text)]


def test_a_line_end_is_a_token_and_indentation_is_learned() -> None:
    texts = ["        return x", "        return y"] * 5
    tokenizer = SubwordTokenizer.train(texts, vocab_size=275, model_type="bpe", lossless=True)
    assert tokenizer.encode("\n\n") == [tokenizer.tokens.index("\n")] * 2
    assert len(tokenizer.encode("        return x\n")) < 8


def test_a_lossless_one_stays_so_when_loaded(tmp_path) -> None:
    lossless("bpe").save(tmp_path / "x")
    loaded = load_tokenizer(tmp_path / "x")
    assert loaded.decode(loaded.encode(" a ▁\n☃ ")) == " a ▁\n☃ "


def test_a_lossless_one_needs_room_for_all_bytes() -> None:
    with pytest.raises(ValueError, match=r"cannot learn vocab_size=200 pieces from this text"):
        SubwordTokenizer.train(TEXTS, vocab_size=200, lossless=True)


def test_a_vocabulary_no_model_can_have_is_refused() -> None:
    with pytest.raises(ValueError, match="vocab_size must be at most 2,147,483,647, got 2147483648"):
        SubwordTokenizer.train(["some text"], vocab_size=2**31)
