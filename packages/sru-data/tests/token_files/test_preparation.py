from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from unittest import mock

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.token_files import (
    Progress,
    open_prepared,
    prepare,
    tokenizer_digest,
    writing,
)
from sru_data.tokenizers import CharTokenizer, SubwordTokenizer

LINES = ["block 0123456789 ü\n"]
OPTIONS = {"unit": "characters", "vocab_size": None}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def make_tokenizer() -> CharTokenizer:
    return CharTokenizer.train(LINES)


def never() -> CharTokenizer:
    raise AssertionError


def test_a_corpus_is_prepared_and_opened(corpus, tokenizer, tmp_path) -> None:
    prepared = prepare(corpus, tmp_path / "new" / "folder", tokenizer=make_tokenizer, options=OPTIONS)
    for split in ("train", "validation", "test"):
        text = b"".join(getattr(corpus, split).content).decode()
        assert getattr(prepared, split).tokens.tolist() == tokenizer.encode(text)
    assert (prepared.name, prepared.folder, prepared.options) == ("fake", tmp_path / "new/folder", OPTIONS)
    assert prepared.tokenizer.tokens == tokenizer.tokens
    assert prepared.tokenizer_digest == tokenizer_digest(tokenizer)
    assert sorted(contents(prepared.folder)) == [
        "corpus.json",
        "test.json",
        "test.tokens",
        "tokenizer.json",
        "train.json",
        "train.tokens",
        "validation.json",
        "validation.tokens",
    ]


def test_a_corpus_may_have_no_test_split(corpus, tokenizer, tmp_path) -> None:
    corpus.test = None
    assert prepare(corpus, tmp_path, tokenizer=tokenizer).test is None
    assert not (tmp_path / "test.tokens").exists()


def test_a_finished_corpus_is_opened_without_being_read(corpus, tmp_path) -> None:
    prepare(corpus, tmp_path, tokenizer=make_tokenizer, options=OPTIONS)
    corpus.train.skips.clear()
    before = contents(tmp_path)
    stages: list[Progress] = []

    # Nothing is written either, not even a lock.
    tmp_path.chmod(0o555)
    with mock.patch("filelock.FileLock", never):
        prepare(corpus, tmp_path, tokenizer=never, options=OPTIONS, progress=stages.append)
    tmp_path.chmod(0o755)
    assert contents(tmp_path) == before
    assert (corpus.train.skips, stages) == ([], [])


def test_progress_is_told_stage_by_stage(corpus, tokenizer, tmp_path) -> None:
    corpus.test = None
    told: list[Progress] = []
    prepare(corpus, tmp_path, tokenizer=tokenizer, progress=told.append)
    sizes = [len(block) for block in corpus.validation.content]
    assert told[:2] == [Progress("tokenizer"), Progress("train", 0, 0, corpus.train.size)]
    assert told[-4:] == [
        Progress("validation", sum(sizes[:done]), sum(sizes[:done]) - done, sum(sizes)) for done in range(4)
    ]
    assert len(told) == 1 + 31 + 4


def test_a_sentencepiece_model_is_the_tokenizer(corpus, tmp_path) -> None:
    tokenizer = SubwordTokenizer.train(["block one and block two"] * 3, vocab_size=15)
    prepared = prepare(corpus, tmp_path, tokenizer=tokenizer)
    assert (tmp_path / "tokenizer.model").is_file()
    assert isinstance(prepared.tokenizer, SubwordTokenizer)
    assert prepared.tokenizer_digest == tokenizer_digest(tokenizer)


class Killed(BaseException):
    """Ends a run like SIGKILL: nothing catches it."""


@contextlib.contextmanager
def fuse(steps: int):
    """Allow a number of steps that reach the disk, then raise `Killed` in place of the next one."""
    left = [steps]

    def burning(function):
        def call(*args, **options):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return function(*args, **options)

        return call

    with (
        mock.patch.object(os, "replace", burning(os.replace)),
        mock.patch.object(os, "fsync", burning(lambda _: None)),
        mock.patch.object(Path, "unlink", burning(Path.unlink)),
        mock.patch.object(writing, "_BLOCKS_PER_ENTRY", 2),
    ):
        yield burning


@settings(max_examples=25)
@given(kills=st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=6), num_blocks=st.integers(1, 9))
def test_any_sequence_of_kills_gives_the_files_of_an_undisturbed_run(make_corpus, kills, num_blocks) -> None:
    folder = Path(tempfile.mkdtemp())
    corpus = make_corpus(num_blocks, 2, 1)

    def run(name: str, report=lambda _: None, tokenizer=make_tokenizer, options=OPTIONS) -> None:
        prepare(corpus, folder / name, tokenizer=tokenizer, options=options, progress=report)

    def never_finish(at: Progress) -> None:
        if at.stage == "test":
            raise Killed

    try:
        run("undisturbed")
        with warnings.catch_warnings():
            # Some of the killed runs have other options, and restart what they find.
            warnings.filterwarnings("ignore", message=".*starting again")
            for steps, otherwise in kills:
                with fuse(steps) as burning, contextlib.suppress(Killed):
                    if otherwise and not (folder / "killed" / "test.tokens").exists():
                        run("killed", burning(never_finish), lambda: CharTokenizer.train(["other"]), {})
                    else:
                        run("killed", burning(lambda _: None))
            run("killed")
        files = contents(folder / "killed")
        # A kill right after the last renaming leaves a journal, which nothing reads.
        files.pop("test.tokens.journal", None)
        assert files == contents(folder / "undisturbed")
    finally:
        shutil.rmtree(folder)


def interrupted(corpus, folder, **options) -> None:
    def interrupt(at: Progress) -> None:
        if at.stage == "validation":
            raise Killed

    with pytest.raises(Killed):
        prepare(corpus, folder, progress=interrupt, **options)


def test_an_unfinished_corpus_is_continued_with_the_tokenizer_it_has(corpus, tmp_path) -> None:
    interrupted(corpus, tmp_path, tokenizer=make_tokenizer, options=OPTIONS)
    with pytest.raises(
        DataError,
        match=r"got one without its validation and test split; prepare its text again, which",
    ):
        open_prepared(tmp_path)

    corpus.train.skips.clear()
    prepare(corpus, tmp_path, tokenizer=never, options=OPTIONS)
    assert corpus.train.skips == []


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"corpus": (31, 3, 1)}, "another text"),
        ({"corpus": (30, 3)}, "another text"),
        ({"options": {"unit": "characters", "vocab_size": 7}}, r"vocab_size = None \(now 7\)"),
        ({"options": {}}, r"unit = characters \(now None\)"),
        ({"tokenizer": CharTokenizer.train(["other"])}, "another tokenizer"),
    ],
)
def test_a_folder_of_something_else_is_begun_again_or_refused(
    make_corpus, tmp_path, changed, difference
) -> None:
    now = {
        "corpus": make_corpus(*changed.pop("corpus", (30, 3, 1))),
        "tokenizer": make_tokenizer,
        "options": OPTIONS,
        **changed,
    }
    corpus = make_corpus(30, 3, 1)
    interrupted(corpus, tmp_path / "unfinished", tokenizer=make_tokenizer, options=OPTIONS)
    with pytest.warns(
        UserWarning, match=f"the unfinished corpus there was prepared with {difference}; starting again"
    ):
        prepare(folder=tmp_path / "unfinished", **now)
    prepare(folder=tmp_path / "fresh", **now)
    assert contents(tmp_path / "unfinished") == contents(tmp_path / "fresh")

    prepare(corpus, tmp_path / "finished", tokenizer=make_tokenizer, options=OPTIONS)
    before = contents(tmp_path / "finished")
    with pytest.raises(
        DataError,
        match=r"finished: expected a folder for fake with these options, got one prepared from "
        rf"{difference}; delete it or name another folder",
    ):
        prepare(folder=tmp_path / "finished", **now)
    assert contents(tmp_path / "finished") == before


@pytest.mark.parametrize("name", ["train.tokens", "train.json", "corpus.json"])
def test_a_damaged_file_is_an_error_and_deleting_it_the_remedy(corpus, tokenizer, tmp_path, name) -> None:
    prepare(corpus, tmp_path, tokenizer=tokenizer)
    before = contents(tmp_path)
    os.truncate(tmp_path / name, 4)
    message = rf"{name}: expected .*[;,] delete this file and prepare the text again"
    with pytest.raises(DataError, match=message):
        open_prepared(tmp_path)
    with pytest.raises(DataError, match=message):
        prepare(corpus, tmp_path, tokenizer=tokenizer)
    (tmp_path / name).unlink()
    prepare(corpus, tmp_path, tokenizer=tokenizer)
    assert contents(tmp_path) == before


def test_what_another_process_finished_meanwhile_is_opened_or_refused(
    corpus, tokenizer, tmp_path, monkeypatch
) -> None:
    class Lock(FileLock):
        """One that is taken from another process, which has just prepared the folder."""

        def acquire(self, *arguments, **options):
            monkeypatch.undo()
            prepare(corpus, tmp_path / name, tokenizer=tokenizer, options=OPTIONS)
            return super().acquire(*arguments, **options)

    prepare(corpus, tmp_path / "undisturbed", tokenizer=tokenizer, options=OPTIONS)
    name = "same"
    monkeypatch.setattr("filelock.FileLock", Lock)
    prepare(corpus, tmp_path / name, tokenizer=never, options=OPTIONS)
    name = "other"
    monkeypatch.setattr("filelock.FileLock", Lock)
    with pytest.raises(DataError, match=r"other: expected a folder for fake with these options, got one"):
        prepare(corpus, tmp_path / name, tokenizer=never, options={"unit": "words"})
    for name in ("same", "other"):
        assert contents(tmp_path / name) == contents(tmp_path / "undisturbed")


def test_a_folder_without_locks_is_an_error(corpus, tokenizer, tmp_path, monkeypatch) -> None:
    error = NotImplementedError("FileSystem does not appear to support flock")
    monkeypatch.setattr(FileLock, "acquire", mock.Mock(side_effect=error))
    with pytest.raises(DataError, match=r"expected a folder to write to, got: .*support flock; name another"):
        prepare(corpus, tmp_path, tokenizer=tokenizer)


def test_a_folder_that_cannot_be_made_is_an_error(corpus, tokenizer, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"expected a folder to write to, got: Not a directory; name another"):
        prepare(corpus, tmp_path / "file" / "folder", tokenizer=tokenizer)
