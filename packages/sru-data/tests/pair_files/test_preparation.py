from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from sru_data import DataError, download, token_files
from sru_data.datasets import language_modelling, translation
from sru_data.datasets.translation import Pair, PairFiles
from sru_data.pair_files import (
    PartReport,
    PreparedPairs,
    Progress,
    Vocabularies,
    VocabularyConfig,
    open_prepared,
    prepare,
    prepared_folder,
)
from sru_data.tokenizers import ByteTokenizer, SentenceTokenizer

WORDS = VocabularyConfig("words")
HOW = {"name": "weather", "vocabulary": WORDS}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def texts(prepared: PreparedPairs, part: str) -> list[tuple[str, str]]:
    """The sentences of a part, decoded from their ids."""
    return [
        (
            prepared.source_tokenizer.decode(example.source.tolist()),
            prepared.target_tokenizer.decode(example.target.tolist()),
        )
        for example in prepared.parts[part]
    ]


def test_ids_texts_and_vocabularies(sources, tmp_path: Path) -> None:
    prepared = prepare(sources, tmp_path / "p", **HOW)
    source, target = prepared.source_tokenizer, prepared.target_tokenizer
    assert (prepared.name, prepared.max_length, list(prepared.parts)) == (
        "weather",
        256,
        ["train", "validation"],
    )
    assert VocabularyConfig(**prepared.vocabulary) == WORDS
    assert texts(prepared, "train") == [
        ("the rain falls", "der Regen fällt"),
        ("rain and rain", "Regen und Regen"),
        ("snow", "der Schnee"),
    ]
    train, validation = prepared.parts["train"], prepared.parts["validation"]
    index, first, second = train[-1]
    assert (index, first.tolist(), second.tolist()) == (2, source.encode("snow"), target.encode("der Schnee"))
    assert (first.dtype, train.lengths.tolist()) == (torch.int64, [[3, 3], [3, 3], [1, 2]])
    assert validation.text(0) == Pair("the snow falls", ("der Schnee fällt", "es schneit"))
    assert texts(prepared, "validation") == [("the snow falls", "der Schnee fällt")]
    assert prepared.report["train"] == PartReport(read=3, kept=3, dropped={}, examples={})
    with pytest.raises(IndexError):
        train[3]


def test_a_joint_vocabulary_is_one_object(sources, tmp_path: Path) -> None:
    prepared = prepare(sources, tmp_path / "p", name="x", vocabulary=replace(WORDS, joint=True))
    assert prepared.source_tokenizer.text is prepared.target_tokenizer.text
    assert texts(prepared, "train")[0] == ("the rain falls", "der Regen fällt")


def test_raw_and_tokenized_files_give_the_same_ids(write, tmp_path: Path) -> None:
    pytest.importorskip("sacremoses", reason="it implements Moses' tokenization")
    how = {"pretokenizer": "moses", "source_language": "en", "target_language": "de", "lowercase": True}
    raw = write("raw", "It's the dog's ball.\n", 'Der "Ball" des Hundes.\n')
    tokens = write("tok", "it &apos;s the dog &apos;s ball .\n", "der &quot; ball &quot; des hundes .\n")
    config = VocabularyConfig("words", **how)
    made = [
        prepare({"train": files}, tmp_path / name, name=name, vocabulary=config)
        for name, files in (("raw", raw), ("tok", tokens))
    ]
    assert (
        texts(made[0], "train")
        == texts(made[1], "train")
        == [tuple(path.read_text().strip() for path in tokens.paths)]
    )
    again = open_prepared(tmp_path / "raw")
    assert again.source_tokenizer.form == made[0].source_tokenizer.form == config.form("source")
    assert again.target_tokenizer.encode('Der "Ball"') == made[1].target_tokenizer.encode(
        "der &quot; ball &quot;"
    )
    assert again.parts["train"].text(0) == Pair("It's the dog's ball.", ('Der "Ball" des Hundes.',))
    # The vocabularies of a model include their text forms.
    given = Vocabularies(again.source_tokenizer, again.target_tokenizer)
    adopted = prepare({"test": raw}, tmp_path / "given", name="x", vocabulary=given)
    assert adopted.parts["test"][0].source.tolist() == made[0].parts["train"][0].source.tolist()
    bare = Vocabularies(*(SentenceTokenizer(tokenizer.text) for tokenizer in given))
    with pytest.raises(
        DataError, match=r"prepared with source form = TextForm\(moses='en', lowercase=True\)"
    ):
        prepare({"test": raw}, tmp_path / "given", name="x", vocabulary=bare)


def test_pairs_left_out_of_training_are_counted_and_kept_elsewhere(write, tmp_path: Path) -> None:
    sides = ("a b\n\na\na b c\na b\n", "x\ny\n \nx\nx y z\n")
    files = {"train": write("train", *sides), "test": write("test", *sides)}
    prepared = prepare(files, tmp_path / "p", name="x", vocabulary=WORDS, max_length=2)
    assert prepared.report["train"] == PartReport(
        read=5,
        kept=1,
        dropped={"empty sentence": 2, "sentence longer than the limit": 2},
        examples={
            "empty sentence": f"{tmp_path}/train.0:2",
            "sentence longer than the limit": f"{tmp_path}/train.0:4",
        },
    )
    assert prepared.report["test"] == PartReport(read=5, kept=5, dropped={}, examples={})
    test = prepared.parts["test"]
    assert (test[1].source.tolist(), test.text(1)) == ([1], Pair("", ("y",)))
    assert test.lengths.tolist() == [[2, 1], [1, 1], [1, 1], [3, 1], [2, 3]]


def test_the_vocabularies_of_a_model_on_other_files(sources, write, tmp_path: Path) -> None:
    first = prepare(sources, tmp_path / "p", **HOW)
    given = Vocabularies(first.source_tokenizer, first.target_tokenizer)
    test = {"test": write("test", "the fog falls\n", "der Nebel fällt\n")}
    again = prepare(test, tmp_path / "q", name="fog", vocabulary=given)
    assert again.source_tokenizer.tokens == first.source_tokenizer.tokens
    assert texts(again, "test") == [("the <unk> falls", "der <unk> fällt")]
    prepare(test, tmp_path / "q", name="fog", vocabulary=given)
    message = r"got one prepared with target vocabulary = \w+ \(now \w+\); delete it or name another folder"
    with pytest.raises(DataError, match=message):
        prepare(test, tmp_path / "q", name="fog", vocabulary=Vocabularies(given.source, given.source))
    with pytest.raises(DataError, match=r"got one prepared with source vocabulary = \w+ \(now None\)"):
        prepare({**sources, **test}, tmp_path / "q", name="fog", vocabulary=WORDS)


def test_progress_and_a_second_call_that_only_opens(sources, tmp_path: Path) -> None:
    seen: list[Progress] = []
    prepare(sources, tmp_path / "p", **HOW, progress=seen.append)
    assert seen == [
        Progress("checking"),
        Progress("vocabulary"),
        *(Progress("train", done, 3) for done in (0, 3)),
        *(Progress("validation", done, 1) for done in (0, 1)),
    ]
    before = contents(tmp_path / "p")
    found = prepare(sources, tmp_path / "p", **HOW, progress=lambda _: pytest.fail("it is there"))
    assert found.report == open_prepared(tmp_path / "p").report
    assert contents(tmp_path / "p") == before


@pytest.mark.parametrize("stage", ["vocabulary", "train", "validation"])
def test_an_interrupted_preparation_leaves_nothing_that_counts(sources, tmp_path: Path, stage: str) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.stage == stage and progress.pairs == (progress.total or 0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(sources, tmp_path / "p", **HOW, progress=interrupt)
    assert not any(
        name.endswith((".json", ".partial")) or name.startswith(stage) for name in contents(tmp_path / "p")
    )
    # What a killed run leaves behind.
    for name in (".train.rows.partial", ".pairs.json.partial", "test.rows", "joint.tokenizer"):
        (tmp_path / "p" / name).touch()
    prepare(sources, tmp_path / "p", **HOW)
    prepare(sources, tmp_path / "undisturbed", **HOW)
    assert contents(tmp_path / "p") == contents(tmp_path / "undisturbed")


def test_all_files_are_checked_before_the_first_is_written(sources, write, tmp_path: Path) -> None:
    sources["test"] = write("test", "a\nb\n", "x\n")
    with pytest.raises(DataError, match=r"test\.1: expected 2 lines, one for each line of .*test\.0, got 1"):
        prepare(sources, tmp_path / "p", **HOW)
    assert contents(tmp_path / "p") == {}


@pytest.mark.parametrize(
    ("part", "sides", "message"),
    [
        (
            "train",
            ("a b c\n\n", "x\ny\n"),
            r"train: expected usable pairs, got 2, none of them usable: sentence longer .*:1; empty",
        ),
        ("validation", ("", ""), r"validation\.0: expected pairs of sentences, got none"),
        (
            "train",
            ("\n \n", "x\ny\n"),
            r"train\.0: expected .* to train on, got only pairs with an empty source",
        ),
        ("train", ("a\nb\n", "\n\n"), r"train\.1: expected .*, got only pairs with an empty translation"),
        ("train", ("a\n\n", "\ny\n"), r"train\.0: expected .*, got only pairs with an empty side"),
    ],
)
def test_a_part_without_a_pair_that_can_be_used(sources, write, tmp_path: Path, part, sides, message) -> None:
    sources[part] = write(part, *sides)
    with pytest.raises(DataError, match=message):
        prepare(sources, tmp_path / "p", **HOW, max_length=2)
    assert not [name for name in contents(tmp_path / "p") if name.startswith((part, "pairs", "."))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "sky"}, r"for sky with these options, got one prepared with name = weather \(now sky\);"),
        ({"max_length": 9}, r"max_length = 256 \(now 9\); delete it or name another folder"),
        ({"vocabulary": replace(WORDS, min_count=2)}, r"prepared with min_count = 1 \(now 2\);"),
    ],
)
def test_a_folder_with_other_options_is_refused(sources, tmp_path: Path, change, message) -> None:
    prepare(sources, tmp_path / "p", **HOW)
    with pytest.raises(DataError, match=rf"p: expected .*{message}"):
        prepare(sources, tmp_path / "p", **{**HOW, **change})
    assert prepared_folder(sources, **HOW) != prepared_folder(sources, **{**HOW, **change})


def test_a_folder_of_other_files_is_refused(sources, tmp_path: Path) -> None:
    prepare(sources, tmp_path / "p", **HOW)
    message = r"one prepared with other files for {}; delete it or name another folder"
    with pytest.raises(DataError, match=message.format("test")):
        prepare({**sources, "test": sources["validation"]}, tmp_path / "p", **HOW)
    # Change one letter, so the file keeps its size.
    path = sources["validation"].targets[1][0]
    path.write_text(path.read_text().replace("es", "Es"))
    with pytest.raises(DataError, match=message.format("validation")):
        prepare(sources, tmp_path / "p", **HOW)


def test_a_folder_of_a_corpus_is_refused_and_the_other_way_round(sources, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("rain\n" * 100)
    corpus = language_modelling.from_files(tmp_path / "text.txt")
    token_files.prepare(corpus, tmp_path / "corpus", tokenizer=ByteTokenizer())
    prepare(sources, tmp_path / "p", **HOW)
    with pytest.raises(DataError, match=r"for prepared pairs, got one with a prepared corpus; name another"):
        prepare(sources, tmp_path / "corpus", **HOW)
    with pytest.raises(DataError, match=r"for a prepared corpus, got one with prepared pairs; name another"):
        token_files.prepare(corpus, tmp_path / "p", tokenizer=ByteTokenizer())


def test_the_folder_in_the_cache(sources, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(download, "cache_dir", lambda: tmp_path / "cache")
    folder = prepared_folder(sources, **HOW)
    assert folder.parent == tmp_path / "cache" / "prepared"
    assert prepare(dict(reversed(sources.items())), **HOW).folder == folder


def test_what_another_process_finished_meanwhile_is_opened(sources, tmp_path: Path, monkeypatch) -> None:
    class Lock(FileLock):
        """A lock released by another process that has just prepared the folder."""

        def acquire(self, *arguments, **options):
            monkeypatch.undo()
            prepare(sources, tmp_path / "p", **HOW)
            return super().acquire(*arguments, **options)

    monkeypatch.setattr("filelock.FileLock", Lock)
    prepare(sources, tmp_path / "p", **HOW, progress=lambda _: pytest.fail("it is there"))


def test_a_full_disk_is_one_sentence(sources, tmp_path: Path, monkeypatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = r"p: expected to prepare pairs in .*p, got: No space left on device; fix that and start again"
    with pytest.raises(DataError, match=message):
        prepare(sources, tmp_path / "p", **HOW)
    assert contents(tmp_path / "p") == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_length": 0}, r"prepare: max_length must be at least 1, got 0"),
        ({"files": {}}, r"prepare: files must be for train and optionally validation and test, got nothing"),
        ({"files": {"test": PairFiles.parallel("x", "y")}}, r"prepare: files must be for train .*, got test"),
        (
            {"files": {"train": PairFiles.table("x.tsv", targets=("a", "b"))}},
            r"prepare: train must have one translation, got 2",
        ),
    ],
)
def test_options_without_a_meaning(sources, tmp_path: Path, change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(**{"files": sources, "folder": tmp_path / "p", **HOW, **change})


def test_a_missing_file_is_named(sources, tmp_path: Path) -> None:
    sources["test"] = PairFiles.parallel(tmp_path / "no.en", tmp_path / "no.de")
    with pytest.raises(DataError, match=r"no\.en: expected a file of sentences, got: No such file"):
        prepare(sources, tmp_path / "p", **HOW)


def test_multi30k(real_data: Path, tmp_path: Path) -> None:
    found = translation.load("multi30k-en-de", data_dir=real_data)
    files = {"train": found["validation"], "test": found["test"]}
    prepared = prepare(files, tmp_path / "p", name="x", vocabulary=VocabularyConfig(size=2000, joint=True))
    assert prepared.report["test"].kept == 1000
    unknown = [1 in example.source or 1 in example.target for example in prepared.parts["test"]]
    # They have characters that the training texts lack.
    assert sum(unknown) < 20
    for index, (_, target) in enumerate(texts(prepared, "test")):
        assert unknown[index] or [target] == list(prepared.parts["test"].text(index).targets)
