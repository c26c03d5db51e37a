from __future__ import annotations

from sru_data.classification_sources import SOURCES


def test_the_sets_have_their_published_sizes() -> None:
    lines = {
        name: sum(file.lines for file in (source.train, source.validation, source.test) if file)
        for name, source in SOURCES.items()
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
    classes = {name: len(source.label_names) for name, source in SOURCES.items()}
    assert classes == {"mr": 2, "cr": 2, "subj": 2, "mpqa": 2, "trec": 6, "sst1": 5, "sst2": 2}
