from __future__ import annotations

import re

import pytest

from sru_data.datasets import classification, language_modelling
from sru_data.datasets.sources import Source, SourceFile

FAMILIES = {"classification": classification.SOURCES, "lm": language_modelling.SOURCES}


def files_of(source: Source) -> list[SourceFile]:
    return [file for file in (source.train, source.validation, source.test) if file]


def test_the_sets_have_their_published_sizes() -> None:
    lines = {
        name: sum(file.lines for file in files_of(source)) for name, source in classification.SOURCES.items()
    }
    assert lines == {
        "mr": 10662,
        "cr": 3775,
        "subj": 10000,
        "mpqa": 10606,
        "trec": 5952,
        "sst1": 11855,
        "sst2": 9613,
    }


def test_the_sets_have_their_published_numbers_of_classes() -> None:
    classes = {name: len(label_names) for name, label_names in classification.LABEL_NAMES.items()}
    assert classes == {"mr": 2, "cr": 2, "subj": 2, "mpqa": 2, "trec": 6, "sst1": 5, "sst2": 2}


@pytest.mark.parametrize("name", ["cr", "sst1", "sst2"])
def test_sets_that_circulate_in_utf8_alone_must_be_in_it(name) -> None:
    assert {file.encoding for file in files_of(classification.SOURCES[name])} == {"utf-8"}


@pytest.mark.parametrize("folder", FAMILIES)
def test_a_download_is_looked_for_where_it_is_to_be_put(folder) -> None:
    for source in FAMILIES[folder].values():
        for file in files_of(source):
            assert file.path.startswith(f"{folder}/")
            assert file.path in [place.rpartition("::")[2] for place in file.places or (file.path,)]


@pytest.mark.parametrize("name", language_modelling.SOURCES)
def test_a_corpus_has_either_all_splits_or_one(name) -> None:
    assert len(files_of(language_modelling.SOURCES[name])) in (1, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_download_has_a_checksum(family) -> None:
    for source in FAMILIES[family].values():
        assert all(re.fullmatch("[0-9a-f]{64}", file.sha256 or "") for file in files_of(source))


def test_the_units_are_the_usual_ones() -> None:
    assert language_modelling.UNITS == {
        "ptb": "words",
        "wikitext-2": "words",
        "wikitext-103": "words",
        "enwik8": "bytes",
        "text8": "characters",
        "one-billion-words": "words",
        "tiny-shakespeare": "characters",
        "python-help": "characters",
    }
