from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import trainers

from sru_data.tokenizers import HuggingFaceTokenizer, Tokenizer, WordTokenizer, load_tokenizer, words

TEXTS = ["The cat sat .", "the dog sat", "a cat"]


def test_the_most_frequent_words_come_first_and_equal_ones_by_alphabet() -> None:
    tokenizer = WordTokenizer.train(TEXTS)
    assert tokenizer.tokens == ["[PAD]", "[UNK]", "cat", "sat", "the", ".", "a", "dog"]
    assert len(tokenizer) == 8
    assert (tokenizer.pad_id, tokenizer.unk_id) == (0, 1)
    assert isinstance(tokenizer, Tokenizer)


def test_encode_and_decode() -> None:
    tokenizer = WordTokenizer.train(TEXTS)
    assert tokenizer.encode("THE  mouse\nsat") == [4, 1, 3]
    assert tokenizer.decode([4, 1, 3, 0, 0]) == "the [UNK] sat"


def test_case_can_be_kept() -> None:
    tokenizer = WordTokenizer.train(TEXTS, lowercase=False)
    assert {"The", "the"} < set(tokenizer.tokens)
    assert tokenizer.encode("THE") == [tokenizer.unk_id]


def test_rare_words_and_words_beyond_the_size_are_unknown() -> None:
    assert WordTokenizer.train(TEXTS, min_count=2).tokens == ["[PAD]", "[UNK]", "cat", "sat", "the"]
    assert WordTokenizer.train(TEXTS, max_size=4).tokens == ["[PAD]", "[UNK]", "cat", "sat"]


@given(st.lists(st.text("aB cΣς\x1c\x85\n", min_size=1), min_size=1), st.booleans(), st.integers(3, 9))
def test_the_file_is_the_one_that_the_librarys_trainer_makes(texts, lowercase, size) -> None:
    library = words._untrained("[UNK]", lowercase=lowercase, line_ends=False)
    trainer = trainers.WordLevelTrainer(
        vocab_size=size, special_tokens=["[PAD]", "[UNK]"], show_progress=False
    )
    library.train_from_iterator([*texts, "something"], trainer)
    trained = WordTokenizer.train([*texts, "something"], lowercase=lowercase, max_size=size)
    assert trained._saved.to_str() == library.to_str()


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_text_without_words_is_one_unknown(text) -> None:
    assert WordTokenizer.train(TEXTS).encode(text) == [1]


@pytest.mark.parametrize("lowercase", [False, True])
def test_text_that_spells_out_padding_is_not_padding(lowercase) -> None:
    tokenizer = WordTokenizer.train(["[PAD] a"], lowercase=lowercase)
    assert 0 not in tokenizer.encode("[PAD] a [PAD]")


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_text_has_a_token_and_no_padding(texts, text) -> None:
    tokenizer = WordTokenizer.train([*texts, "something"])
    for line in [*texts, text]:
        ids = tokenizer.encode(line)
        assert ids
        assert all(0 < index < len(tokenizer) for index in ids)


@given(st.lists(st.sampled_from(["cat", "sat", "the", ".", "a", "dog"]), min_size=1))
def test_known_words_come_back(words) -> None:
    tokenizer = WordTokenizer.train(TEXTS)
    assert tokenizer.decode(tokenizer.encode(" ".join(words))) == " ".join(words)


def test_the_real_empty_sentences_have_one_token(real_data) -> None:
    from sru_data.datasets import classification

    splits = classification.load("cr", data_dir=real_data)
    texts = [example.text for example in splits.train + splits.validation + splits.test]
    tokenizer = WordTokenizer.train(texts)
    assert [tokenizer.encode(text) for text in texts if not text] == [[1]] * 4


LINES = ["The <unk> sat\n the cat <unk> ran \n", "\n the\tend\r\n"]
LINE_TEXT = st.text("aB <unk>eos\n\t\x1c\x85Σςéİ", max_size=40) | st.text(
    st.characters(exclude_categories=["Cs"])
)


def test_line_ends_are_tokens_and_come_back() -> None:
    tokenizer = WordTokenizer.train(LINES, line_ends=True, lowercase=False, unk_token="<unk>")
    assert tokenizer.tokens == ["[PAD]", "<unk>", "<eos>", "the", "The", "cat", "end", "ran", "sat"]
    ids = tokenizer.encode(" the <unk> dog \n\nsat [PAD]")
    assert ids == [3, 1, 1, 2, 2, 8, 1]
    assert tokenizer.decode([0, *ids]) == "the <unk> <unk>\n\nsat <unk>"
    assert tokenizer.encode("\n") == [2]
    assert tokenizer.decode([2, 3, 2]) == "\nthe\n"
    assert tokenizer.encode("") == tokenizer.encode(" ") == [1]


def test_the_unknown_word_can_have_a_name_without_line_ends() -> None:
    tokenizer = WordTokenizer.train(LINES, unk_token="<unk>")
    assert tokenizer.tokens[:3] == ["[PAD]", "<unk>", "the"]
    assert tokenizer.encode("the <unk> dog") == [2, 1, 1]


def test_the_line_end_is_in_every_vocabulary() -> None:
    assert WordTokenizer.train(["a a b"], line_ends=True).tokens[2:] == ["a", "b", "<eos>"]
    assert WordTokenizer.train(["a a b b\n"], line_ends=True, min_count=2).tokens[2:] == ["a", "b", "<eos>"]
    assert WordTokenizer.train(["a a b\n"], line_ends=True, max_size=4).tokens[2:] == ["a", "<eos>"]
    with pytest.raises(
        ValueError, match=r"max_size must be at least 4 \(padding, unknown, <eos>, a token\), got 3"
    ):
        WordTokenizer.train(LINES, line_ends=True, max_size=3)


@given(st.lists(LINE_TEXT, min_size=1), LINE_TEXT, st.booleans())
def test_lines_are_encoded_as_the_library_does(texts, other, lowercase) -> None:
    tokenizer = WordTokenizer.train(
        [*texts, "something"], line_ends=True, lowercase=lowercase, unk_token="<unk>"
    )
    for text in [*texts, other]:
        assert tokenizer.encode(text) == HuggingFaceTokenizer.encode(tokenizer, text)


@given(st.lists(st.lists(st.sampled_from(["cat", "sat", "the", "<unk>", "x<eos>y"])), min_size=2))
def test_lines_of_known_words_come_back(lines) -> None:
    tokenizer = WordTokenizer.train(["cat sat the x<eos>y\n"], line_ends=True, unk_token="<unk>")
    text = "\n".join(map(" ".join, lines))
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("lowercase", [False, True])
def test_lines_stay_quick_after_loading(tmp_path, lowercase) -> None:
    made = WordTokenizer.train(LINES, line_ends=True, lowercase=lowercase, unk_token="<unk>")
    made.save(tmp_path / "x")
    loaded = load_tokenizer(tmp_path / "x")
    assert isinstance(loaded, WordTokenizer)
    assert loaded.tokens == made.tokens
    assert (
        loaded.encode("The cat\n")
        == made.encode("The cat\n")
        == HuggingFaceTokenizer.encode(made, "The cat\n")
    )
    assert loaded.encode("THE\n")[0] == (made.tokens.index("the") if lowercase else 1)


def test_training_on_lines_twice_gives_the_same_vocabulary() -> None:
    assert [WordTokenizer.train(iter(texts), line_ends=True).tokens for texts in (LINES, LINES[::-1])] == [
        WordTokenizer.train(["".join(LINES)], line_ends=True).tokens
    ] * 2


def test_words_that_are_cut_already_have_an_id_each() -> None:
    tokenizer = WordTokenizer.train([*TEXTS, "[PAD] \u03c3"])
    words = ["The", "mouse", "", "a cat", "[PAD]", "cat", "\u03a3", "\ud83d"]
    tokens = ["the", *["[UNK]"] * 3, "[pad]", "cat", "\u03c3", "[UNK]"]
    assert [tokenizer.tokens[number] for number in tokenizer.ids_of(words)] == tokens
    assert tokenizer.ids_of([]) == []
    assert WordTokenizer.train(TEXTS, lowercase=False).ids_of(["THE", "\u03a3", "[PAD]"]) == [1] * 3


@given(st.lists(st.text("aBcΣςİ\u2019'.-", min_size=1), min_size=1), st.booleans())
def test_words_that_are_cut_already_are_looked_up_as_in_a_text(words, lowercase) -> None:
    tokenizer = WordTokenizer.train([" ".join(words[:2])], lowercase=lowercase)
    assert tokenizer.ids_of(words) == tokenizer.encode(" ".join(words))


def test_a_vocabulary_of_given_words_keeps_their_order(tmp_path) -> None:
    tokenizer = WordTokenizer.from_words(["The", "cat", "the", "[UNK]", "two words"])
    assert tokenizer.tokens == ["[PAD]", "[UNK]", "the", "cat", "[unk]"]
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert isinstance(loaded, WordTokenizer)
    assert loaded.tokens == tokenizer.tokens
    assert loaded.encode("The CAT sat [PAD]") == loaded.ids_of(["The", "CAT", "sat", "[PAD]"]) == [2, 3, 1, 1]
    cased = WordTokenizer.from_words(["The", "the"], lowercase=False)
    assert cased.encode("the The THE") == [3, 2, 1]
