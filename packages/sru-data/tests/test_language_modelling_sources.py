from __future__ import annotations

from sru_data.language_modelling_sources import SOURCES


def test_every_download_lies_where_it_is_looked_for() -> None:
    for source in SOURCES.values():
        for text in filter(None, (source.train, source.validation, source.test)):
            assert text.download.path in [name.path for name in text.names]
            assert text.download.sha256 or text.download.md5


def test_a_corpus_has_its_own_splits_or_is_cut() -> None:
    for source in SOURCES.values():
        assert (source.cut is None) == (source.validation is not None) == (source.test is not None)


def test_the_units_are_the_usual_ones() -> None:
    assert {name: source.unit for name, source in SOURCES.items()} == {
        "ptb": "words",
        "wikitext-2": "words",
        "wikitext-103": "words",
        "enwik8": "bytes",
        "text8": "characters",
        "one-billion-words": "words",
        "tiny-shakespeare": "characters",
    }
