from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from sru_data import DataError, download, token_files
from sru_data.annotation import Annotated
from sru_data.annotation.plain import annotate
from sru_data.datasets import language_modelling
from sru_data.question_files import (
    PartReport,
    Progress,
    open_prepared,
    preparation,
    prepare,
    prepared_folder,
)
from sru_data.tokenizers import ByteTokenizer


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_examples_words_and_texts(sources, tmp_path: Path) -> None:
    prepared = prepare(sources, tmp_path / "q", name="weather")
    words = ["", "The", "rain", "falls", ".", "What", "?", "what", "Snow", "does", "not", "And", "snow"]
    assert prepared.words == [*words, "the", "and"]
    assert [prepared.words[number] for number in prepared.lower] == [word.lower() for word in prepared.words]
    assert (prepared.lemmas, prepared.tags, prepared.entities) == ([], [], [])
    assert (prepared.name, prepared.description) == ("weather", {"features": "none"})
    train = prepared.parts["train"]
    first, second, snow = train
    assert [first.context.words.tolist(), first.question.words.tolist()] == [[1, 2, 3, 4], [5, 3, 6]]
    assert (first.index, first.start, first.end, first.context.tags) == (0, 1, 1, None)
    assert (second.start, second.end, train[-1].index, snow.start, snow.end) == (0, 1, 2, -1, -1)
    assert train.context_lengths.tolist() == [4, 4, 4]
    assert train.question_lengths.tolist() == [3, 3, 3]
    assert prepared.question_words.tolist() == [0, 1, 0, 1, 0, 1, 3, 1, 0, 0, 0, 1, 1, 0, 0]
    # The context of the first two counts once.
    assert prepared.training_words.tolist()[:5] == [0, 2, 1, 2, 2]
    text = train.text(1)
    assert (text.id, text.question, text.title) == ("train 1", "The what?", "Weather")
    assert (text.answers, text.is_impossible) == (("The rain", "rain"), False)
    assert [text.context[a:b] for a, b in zip(text.starts, text.ends, strict=True)] == [
        "The",
        "rain",
        "falls",
        ".",
    ]
    assert train.text(2).is_impossible
    with pytest.raises(IndexError):
        train[3]


def test_questions_left_out_are_counted_with_the_first_one(sources, write, tmp_path: Path) -> None:
    one = [("Which?", [("a", 0)])]
    paragraphs = [
        ("a b c", [("Which?", [("a", 1)]), ("Which?", [("a", 2)]), (" \n", [("a", 0)]), ("Which?", [])]),
        ("ab", [*one, ("Which?", [("a", 0), ("ab", 0)]), ("Which?", [(" ", 0)]), ("Impossible?", None)]),
        (" ", one),
        ("a b c d", one),
    ]
    sources["train"], sources["test"] = write("train", *paragraphs), write("test", *paragraphs)
    prepared = prepare(sources, tmp_path / "q", name="weather", max_context_tokens=3)
    place = f"{tmp_path}/train.json: article 1 ('Weather'), paragraph"
    assert prepared.report["train"] == PartReport(
        read=10,
        kept=2,
        impossible=1,
        dropped={
            "answer not at its offset": 2,
            "empty question": 1,
            "no answer": 2,
            "answer not on token borders": 1,
            "empty context": 1,
            "context longer than the limit": 1,
        },
        examples={
            "answer not at its offset": f"{place} 1, question 'train 0'",
            "empty question": f"{place} 1, question 'train 2'",
            "no answer": f"{place} 1, question 'train 3'",
            "answer not on token borders": f"{place} 2, question 'train 4'",
            "empty context": f"{place} 3, question 'train 8'",
            "context longer than the limit": f"{place} 4, question 'train 9'",
        },
        cut=0,
        without_span=0,
    )
    assert [(example.start, example.end) for example in prepared.parts["train"]] == [(0, 0), (-1, -1)]
    report, test = prepared.report["test"], prepared.parts["test"]
    assert (report.kept, report.dropped) == (8, {"empty question": 1, "empty context": 1})
    assert (report.cut, report.without_span) == (1, 4)
    assert test.context_lengths.tolist() == [3, 3, 3, 1, 1, 1, 1, 3]
    assert (test[7].start, len(test[7].context.words), test.text(7).context) == (0, 3, "a b c d")
    assert (test.text(7).starts, test.text(7).ends) == ([0, 2, 4], [1, 3, 5])


def test_an_answer_beyond_the_limit_is_none(sources, write, tmp_path: Path) -> None:
    sources["validation"] = write(
        "validation", ("a b c d", [("Which?", [("d", 6)]), ("Which?", [("c d", 4), ("c", 4)])])
    )
    prepared = prepare(sources, tmp_path / "q", name="weather", max_context_tokens=3)
    assert [(example.start, example.end) for example in prepared.parts["validation"]] == [(-1, -1), (2, 2)]
    assert prepared.report["validation"].without_span == 1


class Linguist:
    """An annotator with all features; the entity of a token may be an empty text."""

    description = {"features": "spacy", "model": "m", "version": "1"}  # noqa: RUF012

    def annotate(self, texts):
        for text in texts:
            words, starts, ends, *_ = annotate(text)
            entities = ["RAIN" if word == "rain" else "" for word in words]
            yield Annotated(words, starts, ends, [word.lower() for word in words], words, entities)


def test_lemmas_tags_and_entities(sources, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(preparation, "make_annotator", lambda features, model: Linguist())
    prepared = prepare(sources, tmp_path / "q", name="weather", features="spacy", processes=1)
    context, question = prepared.parts["train"][1][1:3]
    assert [prepared.lemmas[i] for i in context.lemmas] == ["the", "rain", "falls", "."]
    assert [prepared.tags[i] for i in question.tags] == ["The", "what", "?"]
    assert prepared.entities == ["", "", "RAIN"]
    assert context.entities.tolist() == [1, 2, 1, 1]
    assert prepared.parts["train"].text(1).ends == [3, 8, 14, 15]
    message = r"q: expected a folder for weather .* prepared with features = spacy \(now none\); delete it"
    monkeypatch.undo()
    with pytest.raises(DataError, match=message):
        prepare(sources, tmp_path / "q", name="weather")


def test_several_processes_write_the_same(sources, tmp_path: Path, monkeypatch) -> None:
    for processes in (1, 2):
        # One batch per paragraph.
        monkeypatch.setattr("sru_data.question_files.annotating._BATCH_CHARACTERS", 1)
        prepare(sources, tmp_path / f"{processes}", name="weather", processes=processes)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_progress_and_a_second_call_that_only_opens(sources, tmp_path: Path) -> None:
    seen: list[Progress] = []
    prepare(sources, tmp_path / "q", name="weather", progress=seen.append)
    assert seen == [
        Progress("checking"),
        *(Progress("train", done, 3) for done in (0, 2, 3)),
        *(Progress("validation", done, 2) for done in (0, 2)),
    ]
    before = contents(tmp_path / "q")
    found = prepare(sources, tmp_path / "q", name="weather", progress=lambda _: pytest.fail("it is there"))
    assert found.report == open_prepared(tmp_path / "q").report
    assert contents(tmp_path / "q") == before


@pytest.mark.parametrize("stage", ["checking", "train", "validation"])
def test_an_interrupted_preparation_leaves_nothing_that_counts(sources, tmp_path: Path, stage: str) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.stage == stage and progress.questions == (stage != "checking") * 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(sources, tmp_path / "q", name="weather", progress=interrupt)
    assert not any(
        name.endswith((".json", ".partial")) or name.startswith(stage) for name in contents(tmp_path / "q")
    )
    # What a killed run leaves behind.
    for name in (".train.rows.partial", ".questions.json.partial", "test.rows", "vocabulary.json"):
        (tmp_path / "q" / name).touch()
    prepare(sources, tmp_path / "q", name="weather")
    prepare(sources, tmp_path / "undisturbed", name="weather")
    assert contents(tmp_path / "q") == contents(tmp_path / "undisturbed")


def test_all_files_are_checked_before_the_first_is_written(sources, tmp_path: Path) -> None:
    sources["validation"].write_text(sources["validation"].read_text()[:-9])
    with pytest.raises(DataError, match=r"validation\.json:1: expected a JSON object that ends"):
        prepare(sources, tmp_path / "q", name="weather")
    assert contents(tmp_path / "q") == {}


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_part_without_a_question_that_can_be_used(sources, write, tmp_path: Path, part: str) -> None:
    sources[part] = write("bad", (" ", [("What?", [("x", 1)])]), (" ", [("Who?", [])]))
    message = (
        rf"{part}: expected usable questions, got 2, none of them usable: empty context, as in "
        r".*bad\.json: article 1 \('Weather'\), paragraph 1, question 'bad 0'"
    )
    with pytest.raises(DataError, match=message):
        prepare(sources, tmp_path / "q", name="weather")
    assert not [name for name in contents(tmp_path / "q") if name.startswith((part, "questions", "."))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "sky"}, r"for sky with these options, got one prepared with name = weather \(now sky\);"),
        ({"max_context_tokens": 9}, r"max_context_tokens = 1000 \(now 9\); delete it or name another folder"),
    ],
)
def test_a_folder_with_other_options_is_refused(sources, tmp_path: Path, change, message) -> None:
    prepare(sources, tmp_path / "q", name="weather")
    with pytest.raises(DataError, match=rf"q: expected .*{message}"):
        prepare(sources, tmp_path / "q", **{"name": "weather", **change})
    assert prepared_folder(sources, name="weather") != prepared_folder(
        sources, **{"name": "weather", **change}
    )


def test_a_folder_of_other_files_is_refused(sources, tmp_path: Path) -> None:
    prepare(sources, tmp_path / "q", name="weather")
    message = r"one prepared with other files for {}; delete it or name another folder"
    with pytest.raises(DataError, match=message.format("test")):
        prepare({**sources, "test": sources["validation"]}, tmp_path / "q", name="weather")
    # Change one digit, so the file keeps its size.
    content = sources["train"].read_text()
    sources["train"].write_text(content.replace('"answer_start": 4', '"answer_start": 3', 1))
    with pytest.raises(DataError, match=message.format("train")):
        prepare(sources, tmp_path / "q", name="weather")


def test_a_folder_of_a_corpus_is_refused_and_the_other_way_round(sources, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("rain\n" * 100)
    corpus = language_modelling.from_files(tmp_path / "text.txt")
    token_files.prepare(corpus, tmp_path / "corpus", tokenizer=ByteTokenizer())
    prepare(sources, tmp_path / "q", name="weather")
    before = [contents(tmp_path / name) for name in ("corpus", "q")]
    with pytest.raises(DataError, match=r"for prepared questions, got one with a prepared corpus; name"):
        prepare(sources, tmp_path / "corpus", name="weather")
    with pytest.raises(DataError, match=r"for a prepared corpus, got one with prepared questions; name"):
        token_files.prepare(corpus, tmp_path / "q", tokenizer=ByteTokenizer())
    assert [contents(tmp_path / name) for name in ("corpus", "q")] == before


def test_the_folder_in_the_cache(sources, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(download, "cache_dir", lambda: tmp_path / "cache")
    folder = prepared_folder(sources, name="weather")
    assert folder.parent == tmp_path / "cache" / "prepared"
    assert folder.name.startswith("weather-none-")
    assert folder == prepared_folder({part: [path] for part, path in sources.items()}, name="weather")
    assert prepare(sources, name="weather").folder == folder


def test_what_another_process_finished_meanwhile_is_opened(sources, tmp_path: Path, monkeypatch) -> None:
    class Lock(FileLock):
        """A lock released by another process that has just prepared the folder."""

        def acquire(self, *arguments, **options):
            monkeypatch.undo()
            prepare(sources, tmp_path / "q", name="weather")
            return super().acquire(*arguments, **options)

    monkeypatch.setattr("filelock.FileLock", Lock)
    found = prepare(sources, tmp_path / "q", name="weather", progress=lambda _: pytest.fail("it is there"))
    assert found.report == open_prepared(tmp_path / "q").report


def test_a_full_disk_is_one_sentence(sources, tmp_path: Path, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = (
        r"q: expected to prepare questions in .*q, got: No space left on device; fix that and start again"
    )
    with pytest.raises(DataError, match=message):
        prepare(sources, tmp_path / "q", name="weather")
    assert contents(tmp_path / "q") == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_context_tokens": 0}, r"prepare: max_context_tokens must be at least 1, got 0"),
        ({"processes": 0}, r"prepare: processes must be at least 1, got 0"),
        ({"features": "all"}, r"features must be 'none' or 'spacy', got 'all'"),
        (
            {"files": {"validation": "x"}},
            r"prepare: files must be for train and optionally validation and test, got validation",
        ),
    ],
)
def test_options_without_a_meaning(sources, tmp_path: Path, options, message) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(**{"files": sources, "folder": tmp_path / "q", "name": "weather", **options})
