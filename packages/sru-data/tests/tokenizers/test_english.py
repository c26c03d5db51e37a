"""English tokenized as in the Penn Treebank."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sru_data.datasets import classification
from sru_data.tokenizers import HuggingFaceTokenizer, WordTokenizer, english, load_tokenizer

TEXTS = ["It's a terrible, terrible film (really).", 'Don\'t "see" it!']
LIBRARY = {case: (english.normalizer(lowercase=case), english.pre_tokenizer()) for case in (True, False)}


def cut_by_library(text: str, *, lowercase: bool = True) -> list[str]:
    normalizer, pre_tokenizer = LIBRARY[lowercase]
    return [word for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("terrible! Terrible, TERRIBLE...", "terrible ! terrible , terrible ..."),
        ("It's the characters' film.", "it 's the characters ' film ."),
        ("I can't, don't, won't; shan't", "i ca n't , do n't , wo n't ; sha n't"),
        ("Shouldn't've cannot CANNOT cannots", "should n't 've can not can not cannots"),
        ("does n 't can 't would 't", "does n't ca n't would 't"),
        ('"So-so," he said. ("Why?")', "`` so-so , '' he said . -lrb- `` why ? '' -rrb-"),
        ('say " so " and " so', "say `` so '' and `` so"),
        ("'So it goes,' 'tis the '70s", "` so it goes , ' 'tis the '70s"),
        ("rock 'n' roll, beat 'em, ol' man", "rock 'n' roll , beat 'em , ol' man"),
        ("“Don’t” ‘so’ café", "`` do n't '' ` so ' café"),
        ("good—bad–so--so 1939–45 wait…", "good -- bad -- so -- so 1939-45 wait ..."),
        ("so­-so​ x y", "so-so x y"),
        ("U.S. GDP, e.g. J. Doe", "u.s. gdp , e.g. j. doe"),
        ("u.s.-based Mr. Doe, etc.", "u.s.-based mr. doe , etc."),
        ("mr . Doe, Mrs.Doe, no. 1 and No.2; oh no. .", "mr. doe , mrs. doe , no. 1 and no. 2 ; oh no. ."),
        ("Say no. I do. So do I.", "say no . i do . so do i ."),
        ("1,000.50% of $3 at 3:30, 9/11 #1", "1,000.50 % of $ 3 at 3:30 , 9/11 # 1"),
        (r"writer/director writer\/director \*\*", r"writer / director writer\/director \*\*"),
        ("O'Neill's AT&T k-19 anti- 3-d", "o'neill 's at&t k-19 anti- 3-d"),
        ("See http://a.b/c?d=e. Or www.x.org!", "see http://a.b/c?d=e . or www.x.org !"),
        ("a@b.co.uk, answers.com. great.The", "a@b.co.uk , answers.com . great . the"),
        ("What?! wow!!! ?!? [a] {b}", "what ?! wow ! ! ! ?!? [ a ] { b }"),
        ("*** ~~ ___ <b> a_b e=mc2 ½", "*** ~~ ___ < b > a_b e = mc2 ½"),
        ("good👍🏽", "good 👍 🏽"),
        ("-lrb- so -RRB- (so)", "-lrb- so -rrb- -lrb- so -rrb-"),
    ],
)
def test_words(text, words) -> None:
    assert english.pieces(text, lowercase=True) == words.split() == cut_by_library(text)
    assert english.pieces(words, lowercase=True) == words.split()


def test_capitals_can_be_kept() -> None:
    text = "CAN'T Mr. O'Neill's No. 1 Cannot"
    words = ["CA", "N'T", "Mr.", "O'Neill", "'s", "No.", "1", "Can", "not"]
    assert english.pieces(text, lowercase=False) == words == cut_by_library(text, lowercase=False)


MARKS = ".,'\"`-()/\\*:&@_!?[]\u2019\u201c\u2013\u2026"
FRAGMENTS = ["no", "mr", "can", "not", "n't", "'s", "'t", "u.s", "etc", "-lrb-", "http://", "a@b.co", "'70s"]
ANY = (
    st.text(f"aAnNtTsSoOlLmMrR109 {MARKS}\u00e9\u0301\u00a0\n", max_size=24)
    | st.lists(st.sampled_from([*FRAGMENTS, *MARKS, " ", "1"]), max_size=12).map("".join)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=24)
)


@given(ANY, st.booleans())
@example("\u0130'S \u03c2 \u4e2d", True)
def test_the_library_cuts_all_text_in_the_same_way(text, lowercase) -> None:
    pieces = english.pieces(text, lowercase=lowercase)
    if pieces is not None:
        assert pieces == cut_by_library(text, lowercase=lowercase)


@given(ANY, st.booleans())
@example("0N'TN'T CANNOTN'T", False)
@example(".MR. (mr\n.x", False)
@example("'N'TN'T 'S'0N'T 0N'TN'TX", False)
def test_text_that_is_cut_stays_as_it_is(text, lowercase) -> None:
    once = cut_by_library(text, lowercase=lowercase)
    assert cut_by_library(" ".join(once), lowercase=lowercase) == once


@pytest.mark.parametrize("text", ["\u03a3\u03c2", "\u4e2d\u6587 it's", "a\x1cb", "\u1c89"])
def test_what_python_may_know_otherwise_is_left_to_the_library(text) -> None:
    assert english.pieces(text, lowercase=True) is None
    assert WordTokenizer.train([text], rules="english").pieces(text) == cut_by_library(text)


@pytest.mark.parametrize(
    "text", ["a", "'", '"', '" ', "-", ".", "a.", "a. ", "a'", "n 't", "@", "a@", "(", "www.", "\u201c", " "]
)
def test_anything_repeated_is_cut_in_linear_time(text) -> None:
    # Quadratic time would take minutes. The library is slower and gets less text.
    hostile = text * (48_000 // len(text))
    assert len(english.pieces(hostile, lowercase=True)) <= 48_000
    assert len(cut_by_library(hostile[:12_000])) <= 12_000


@pytest.mark.parametrize("lowercase", [False, True])
def test_the_rules_are_saved_with_the_vocabulary(tmp_path, lowercase) -> None:
    made = WordTokenizer.train(TEXTS, rules="english", lowercase=lowercase)
    made.save(tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    assert isinstance(loaded, WordTokenizer)
    assert loaded.tokens == made.tokens
    for text in [*TEXTS, "[PAD] terrible [UNK]", "\u4e2d it's", ""]:
        ids = made.encode(text)
        assert loaded.encode(text) == ids == HuggingFaceTokenizer.encode(made, text)
        assert loaded.pieces(text) == made.pieces(text)
    assert made.decode(made.encode("Don't see it!")) == (
        "do n't see it !" if lowercase else "Do n't see it !"
    )


def test_words_keep_their_meaning_in_any_context() -> None:
    tokenizer = WordTokenizer.train(["a terrible film"], rules="english")
    word = tokenizer.tokens.index("terrible")
    for text in (
        "terrible!",
        "Terrible",
        "TERRIBLE...",
        "(terrible)",
        '"terrible"',
        "terrible's",
        "so\u2014terrible",
    ):
        assert word in tokenizer.encode(text)


@pytest.mark.parametrize("rules", ["spaces", "english"])
def test_half_a_character_is_unknown(rules) -> None:
    assert WordTokenizer.train(["so"], rules=rules).encode("so \ud83d so") == [2, 1, 2]


def test_wrong_rules_are_refused() -> None:
    with pytest.raises(ValueError, match=r"WordTokenizer: rules must be 'spaces' or 'english', got 'german'"):
        WordTokenizer.train(TEXTS, rules="german")
    with pytest.raises(ValueError, match=r"WordTokenizer: line_ends=True needs the rules 'spaces', got 'eng"):
        WordTokenizer.train(TEXTS, rules="english", line_ends=True)


@pytest.mark.parametrize("rules", ["spaces", "english"])
def test_further_words_follow_in_their_order(tmp_path, rules) -> None:
    words = ["zebra", "The", "film", "a b", "", "zebra", "apple"]
    trained = WordTokenizer.train(["the film"], rules=rules)
    extended = trained.extended(words)
    assert extended.tokens == [*trained.tokens, "zebra", "apple"]
    assert extended.tokens == WordTokenizer.train(["the film"], rules=rules, extra=words).tokens
    assert extended.encode("The zebra") == [trained.tokens.index("the"), len(trained)]
    extended.save(tmp_path / "x")
    assert load_tokenizer(tmp_path / "x").encode("apple [PAD]")[0] == len(trained) + 1
    assert trained.extended(["film"]) is trained


def test_further_words_are_kept_as_they_are_looked_up() -> None:
    extended = WordTokenizer.train(["so"], rules="english").extended(
        ["(", "U.S.", "don't", "\u2026", "Caf\u00e9"]
    )
    assert extended.tokens[3:] == ["-lrb-", "u.s.", "...", "caf\u00e9"]
    cased = WordTokenizer.train(["so"], lowercase=False, rules="english").extended(["The", "the"])
    assert cased.tokens[3:] == ["The", "the"]


@pytest.mark.parametrize("name", ["sst1", "sst2"])
def test_the_real_treebank_stays_as_it_is(real_data, name) -> None:
    splits = classification.load(name, data_dir=real_data)
    for one in [*splits.train, *splits.validation, *splits.test]:
        assert english.pieces(one.text, lowercase=True) == one.text.lower().split()


@pytest.mark.parametrize(("name", "lines"), [("trec", 72), ("cr", 1000), ("mr", 4705)])
def test_few_real_lines_are_cut_otherwise_than_published(real_data, name, lines) -> None:
    # CR has `n 't` and plain brackets, MR plain contractions and brackets, TREC `can 't`.
    splits = classification.load(name, data_dir=real_data)
    texts = [one.text for one in [*splits.train, *splits.validation, *splits.test]]
    changed = sum(english.pieces(text, lowercase=True) != text.lower().split() for text in texts)
    assert changed <= lines
