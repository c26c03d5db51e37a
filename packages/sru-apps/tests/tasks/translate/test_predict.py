"""Trained translators: searches do not depend on the batch, and their scores are exact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from sru_apps.decoding.sampling import Sampling
from sru_apps.tasks.translate import predict
from sru_apps.tasks.translate.config import TranslationConfig
from sru_apps.tasks.translate.decoding import Search, search
from sru_apps.tasks.translate.predict import CUT_OFF, NO_END, NO_SCORE, NOTHING_KNOWN, Translator
from sru_apps.tasks.translate.systems import build
from sru_apps.tasks.translate.vocabularies import TokenizerPair
from sru_apps.train.errors import UserError
from sru_data.tokenizers import (
    CharTokenizer,
    SentenceTokenizer,
    SubwordTokenizer,
    TextForm,
    Tokenizer,
    WordTokenizer,
)

ENGLISH = "a dog runs in the snow . two men"
GERMAN = "ein hund rennt im schnee . zwei"
TEXTS = ["a dog runs .", "two men", "the snow in the dog runs a snow .", "two dog"]
SYSTEMS = ["sru", "srupp", "lstm", "gru", "transformer-sru"]


def translator(
    system: str = "sru", source: Tokenizer | None = None, target: Tokenizer | None = None, seed: int = 0
) -> Translator:
    """Return a translator with random weights in float64, whose scores differ enough to rank."""
    texts = (source or WordTokenizer.train([ENGLISH]), target or WordTokenizer.train([GERMAN]))
    tokenizer = TokenizerPair(*map(SentenceTokenizer, texts))
    is_transformer = system == "transformer-sru"
    config = TranslationConfig(
        source_vocab_size=len(tokenizer.source),
        target_vocab_size=len(tokenizer.target),
        system=system if is_transformer else "encoder-decoder",
        decoder="sru" if is_transformer else system,
        embedding_size=8,
        hidden_size=8,
        num_layers=2,
        beam=3,
        **({"attention_heads": 2} if is_transformer else {}),
    )
    torch.manual_seed(seed)
    network = build(config).double()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.35 if "embedding" in name else 0.5)
    return Translator(network, tokenizer, {})


def test_raw_text_is_read_as_its_tokenized_form_and_translations_are_readable() -> None:
    pytest.importorskip("sacremoses", reason="it implements Moses' tokenization")
    sides = (WordTokenizer.train(["a dog &apos;s ball , two men ."]), WordTokenizer.train(["o &apos;s , !"]))
    forms = [TextForm(moses="en", lowercase=True)] * 2
    plain, model = translator(source=sides[0], target=sides[1]), translator(source=sides[0], target=sides[1])
    model.tokenizer = TokenizerPair(*map(SentenceTokenizer, sides, forms))
    raw, tokens = ["A dog's ball, two men.", "Men"], ["a dog &apos;s ball , two men .", "men"]
    how = Search(max_length=6, n_best=3)
    found, expected = list(model.stream(raw, how)), list(plain.stream(tokens, how))
    assert [best.score for rows in found for best in rows] == [
        best.score for rows in expected for best in rows
    ]
    assert list(model.stream(tokens, how)) == found
    written = [best.text for rows in expected for best in rows]
    assert any(" ," in text or "&apos;" in text for text in written)
    assert [best.text for rows in found for best in rows] == list(map(forms[1].undo, written))
    # Prefixes and scored pairs are rewritten too.
    options = Search(max_length=8, n_best=1)
    assert model.translate(raw[0], options, prefix="O's!")[0].text.startswith("o's!")
    pair = model.score([(raw[0], "O's, o!")])
    assert pair == plain.score([(tokens[0], "o &apos;s , o !")])
    seen: list[str] = []
    list(model.stream(["A Cat."], options, report=lambda pairs: seen.extend(text for text, _ in pairs)))
    assert seen == ["a cat ."]
    copied = model.translate("Two, two", options, replace_unknown=True)[0]
    assert copied.alignment is not None
    assert copied.alignment.source == ["two", ",", "two"]


def favour(model: Translator, symbol: int, by: float) -> None:
    """Add a constant to the logit of a symbol at every step."""
    step = model.network.step

    def favouring(*args: Any) -> Any:
        logits, *rest = step(*args)
        logits[:, symbol] += by
        return (logits, *rest)

    model.network.step = favouring


def ids_of(model: Translator, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    ids = [model.tokenizer.encode(text) for text in texts]
    rows = torch.zeros(max(map(len, ids)), len(ids), dtype=torch.int64)
    mask = torch.ones(rows.shape, dtype=torch.bool)
    for column, symbols in enumerate(ids):
        rows[: len(symbols), column] = torch.tensor(symbols)
        mask[: len(symbols), column] = False
    return rows, mask


def test_alpha_needs_a_length_penalty() -> None:
    config = translator(SYSTEMS[0]).network.config
    without = replace(config, length_penalty="none")
    with pytest.raises(ValueError, match=r"^alpha is the exponent of .* got 1 with none; leave it out"):
        Search(alpha=1.0).beam_of(without)
    assert Search(alpha=0.5, length_penalty="gnmt").beam_of(without).alpha == 0.5
    assert Search(length_penalty="none").beam_of(replace(config, alpha=0.5)).length_penalty == "none"


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_search_depends_only_on_its_sentence(system: str) -> None:
    model = translator(system)
    options: Any = {"prefixes": [[3], [], [2, 4], []], "keep_attention": True}
    how = Search(n_best=3, max_length=9, min_length=2, length_penalty="none")
    favour(model, model.tokenizer.eos_id, 2)
    together = search(model.network, *ids_of(model, TEXTS), how, **options)
    assert len({len(hypothesis.ids) for hypotheses in together for hypothesis in hypotheses}) > 1
    for text, prefix, found in zip(TEXTS, options["prefixes"], together, strict=True):
        rows, _ = ids_of(model, [text])
        (alone,) = search(model.network, rows, None, how, prefixes=[prefix], keep_attention=True)
        assert [hypothesis.ids for hypothesis in found] == [hypothesis.ids for hypothesis in alone]
        for ours, other in zip(found, alone, strict=True):
            assert ours.ids[: len(prefix)] == prefix
            assert len(ours.ids) >= 2
            assert ours.score == pytest.approx(other.score, abs=1e-12)
            weights = ours.attention[:, : len(rows)]
            torch.testing.assert_close(weights, other.attention, rtol=0, atol=1e-12)
            torch.testing.assert_close(weights.sum(1), torch.ones_like(weights[:, 0]))


@pytest.mark.parametrize("how", [Search(n_best=3), Search(n_best=3, sampling=Sampling(), max_length=5)])
def test_scores_equal_those_of_the_whole_translation(how: Search) -> None:
    model = translator()
    for text in TEXTS:
        found = model.translate(text, how)
        scored = model.score([(text, translation.text) for translation in found])
        for translation, score in zip(found, scored, strict=True):
            assert translation.log_prob == pytest.approx(score.log_prob, abs=1e-10)
            assert score.tokens == [*translation.text.split(), "</s>"]
            assert score.log_prob == pytest.approx(sum(score.log_probs))
            expected = score.log_prob if how.sampling else score.log_prob / len(score.tokens)
            assert translation.score == pytest.approx(expected, abs=1e-10)


def test_streams_keep_the_order_and_the_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    model = translator()
    texts = [*TEXTS, "", "  ", *reversed(TEXTS)]
    best = model.predict(texts)
    assert [translation.text for translation in best[:4]] == [model.translate(text)[0].text for text in TEXTS]
    assert best[4] == best[5] == ("", None, None, None, None)
    assert [a.text for a in best[6:]] == [b.text for b in reversed(best[:4])]
    how = Search(sampling=Sampling(), n_best=2)
    drawn = [[t.text for t in row] for row in model.stream(texts, how, seed=5)]
    monkeypatch.setattr("sru_apps.tasks.translate.scoring._WINDOW", 3)
    monkeypatch.setattr("sru_apps.tasks.translate.scoring._AT_ONCE", 12)
    assert [[t.text for t in row] for row in model.stream(texts, how, seed=5)] == drawn
    assert drawn[:4] == drawn[:5:-1]
    assert [[t.text for t in row] for row in model.stream(texts, how, seed=6)] != drawn


def test_unknown_words_are_copied() -> None:
    model = translator()
    text, unknown = "the zebra runs .", model.tokenizer.unk_id
    favour(model, unknown, 50)
    how = Search(max_length=3)
    (plain,), (copied,) = (model.translate(text, how, replace_unknown=on) for on in (False, True))
    assert plain.text == "[UNK] [UNK] [UNK]"
    weights = copied.alignment.weights
    assert weights.shape == (4, 4)
    places = weights[:3].argmax(1).tolist()
    assert copied.text.split() == [text.split()[place] for place in places]
    assert copied.alignment.source == text.split()
    assert copied.alignment.target == [*copied.text.split(), "</s>"]
    assert model.translate(text, Search(forbid_unknown=True, max_length=3))[0].text.count("[UNK]") == 0
    letters = CharTokenizer.train(["abc"])
    model = translator(source=letters, target=letters)
    favour(model, unknown, 50)
    assert set(model.translate("xyz", how, replace_unknown=True)[0].text) <= set("xyz")
    pieces = SubwordTokenizer.train([ENGLISH], vocab_size=24)
    with pytest.raises(UserError, match="has subwords, which spell almost every word; leave out"):
        translator(source=pieces, target=pieces).translate("a", replace_unknown=True)


def test_prefixes_and_lengths() -> None:
    model = translator()
    found = model.translate("a dog", Search(n_best=3, min_length=4, max_length=5), prefix="zwei hund")
    assert all(translation.text.startswith("zwei hund ") for translation in found)
    assert all(4 <= len(translation.text.split()) <= 5 for translation in found)
    # A long prefix raises the limit.
    assert len(model.translate("a", prefix="zwei " * 30)[0].text.split()) >= 30


def test_doubtful_translations_have_notes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = translator()
    monkeypatch.setattr(predict, "LONGEST", 3)
    favour(model, model.tokenizer.eos_id, -100)
    how = Search(max_length=2)
    notes = [translations[0].note for translations in model.stream(["a dog runs .", "zebra"], how)]
    assert notes == [f"{CUT_OFF}; {NO_END}", f"{NOTHING_KNOWN}; {NO_END}"]
    favour(model, model.tokenizer.eos_id, float("nan"))
    assert model.translate("a dog", how) == [("", None, None, NO_SCORE, None)]


def test_errors() -> None:
    model = translator()
    with pytest.raises(
        ValueError, match=r"predict: texts must be a list of texts, got one text: \['a dog'\]"
    ):
        model.predict("a dog")
    with pytest.raises(ValueError, match="n_best must be at most the size of the beam, 3, got 4"):
        model.translate("a", Search(n_best=4))
    with pytest.raises(ValueError, match=r"max_length must be at least min_length \(3\), got 2"):
        Search(min_length=3, max_length=2)
    with pytest.raises(ValueError, match="max_length must be at least 2, the symbols of the prefix, got 1"):
        model.translate("a", Search(max_length=1), prefix="zwei hund")
    with pytest.raises(ValueError, match="each side must have at most 1,024 symbols, got 1,025: 'a'"):
        model.score([("a", "zwei " * 1025)])
    other = TokenizerPair(SentenceTokenizer(WordTokenizer.train(["a"])), model.tokenizer.target)
    with pytest.raises(UserError, match="the model reads 13 tokens and its tokenizer has 5"):
        Translator(model.network, other, {})
