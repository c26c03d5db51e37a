from __future__ import annotations

import errno
import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.prepared_folders import write_record
from sru_data.token_files import TextCounts, TokenFile, writing
from sru_data.token_files.writing import Journal, split_files, write_split


def write(corpus, folder, tokenizer, blocks: int | None = None) -> list[TextCounts]:
    """Write the training split, or only the first blocks of it."""
    writing = write_split(corpus.train, split_files(folder, "train"), tokenizer=tokenizer, digest="digest")
    done = list(itertools.islice(writing, blocks))
    writing.close()
    return done


def is_written(folder) -> bool:
    return split_files(folder, "train").are_written


def test_the_ids_are_those_of_the_text(corpus, tokenizer, tmp_path) -> None:
    text = b"".join(corpus.train.content).decode()
    done = write(corpus, tmp_path, tokenizer)
    opened = TokenFile.open(tmp_path / "train.tokens")
    assert opened.tokens.tolist() == tokenizer.encode(text)
    assert opened.description.source == corpus.train.fingerprint
    assert (opened.description.tokenizer, opened.description.vocabulary) == ("digest", len(tokenizer))
    assert opened.counts.bytes == len(text.encode())
    assert opened.counts.characters == opened.counts.tokens == len(text)
    assert (opened.counts.lines, opened.counts.words) == (30, 90)
    assert len(done) == 30
    assert done[-1] == opened.counts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.json", "train.tokens"]


@pytest.mark.parametrize(("blocks", "redone"), [(1, 1), (8, 0), (9, 1), (30, 6)])
def test_an_interrupted_run_is_continued_at_its_last_entry(
    corpus, tokenizer, tmp_path, blocks, redone
) -> None:
    write(corpus, tmp_path, tokenizer, blocks)
    assert not is_written(tmp_path)
    write(corpus, tmp_path, tokenizer)
    assert is_written(tmp_path)
    assert corpus.train.skips == [0, blocks - redone]
    text = b"".join(corpus.train.content).decode()
    assert TokenFile.open(tmp_path / "train.tokens", verify=True).tokens.tolist() == tokenizer.encode(text)


@pytest.mark.parametrize("damage", ["journal", "ids", "both"])
def test_an_unfinished_file_that_lacks_what_the_journal_says_is_begun_again(
    corpus, tokenizer, tmp_path, damage
) -> None:
    write(corpus, tmp_path, tokenizer, 20)
    _, _, partial, journal = split_files(tmp_path, "train")
    if damage != "ids":
        journal.write_bytes(journal.read_bytes()[:-5])
    if damage != "journal":
        os.truncate(partial, 10)
    write(corpus, tmp_path, tokenizer)
    assert corpus.train.skips == [0, 0]
    TokenFile.open(tmp_path / "train.tokens", verify=True)


def test_the_journal_records_only_what_is_on_the_disk(corpus, tokenizer, tmp_path, monkeypatch) -> None:
    on_disk = []
    fsync = os.fsync
    partial = split_files(tmp_path, "train")[2]

    def record(file):
        fsync(file)
        on_disk.append(partial.stat().st_size)

    def check(path, written, *, version):
        assert on_disk[-1] == 2 * written.counts.tokens
        write_record(path, written, version=version)

    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(writing, "write_record", check)
    write(corpus, tmp_path, tokenizer)
    assert on_disk[-1] == 2 * len(TokenFile.open(tmp_path / "train.tokens"))


def test_an_empty_text_is_an_error(corpus, tokenizer, tmp_path) -> None:
    corpus.train.content = []
    with pytest.raises(DataError, match=r"^fake: expected some text, got an empty one$"):
        write(corpus, tmp_path, tokenizer)
    assert not is_written(tmp_path)


def test_a_full_disk_is_an_error_after_which_one_can_continue(
    corpus, tokenizer, tmp_path, monkeypatch
) -> None:
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            DataError,
            match=r"expected to prepare fake in .*, got: No space left on device; fix that and start again",
        ):
            write(corpus, tmp_path, tokenizer)
    write(corpus, tmp_path, tokenizer)
    TokenFile.open(tmp_path / "train.tokens", verify=True)


TEXTS = st.text(st.sampled_from("ab \n\té€😀"), max_size=40)


def count(*blocks: bytes) -> TextCounts:
    journal = Journal()
    for block in blocks:
        journal = journal.add(block, tokens=3)
    return journal.counts


@given(TEXTS.filter(bool))
def test_the_counts_of_a_text(text) -> None:
    assert count(text.encode()) == TextCounts(
        tokens=3,
        bytes=len(text.encode()),
        characters=len(text),
        words=len(text.split()),
        lines=len(text.removesuffix("\n").split("\n")),
    )


@given(TEXTS, st.data())
def test_blocks_may_be_cut_anywhere_even_within_a_character(text, data) -> None:
    content = text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(content) - 1)), max_size=6)))
    blocks = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True) if content[a:b]]
    whole = count(content) if content else TextCounts()
    assert count(*blocks) == TextCounts(
        tokens=3 * len(blocks),
        bytes=whole.bytes,
        characters=whole.characters,
        words=whole.words,
        lines=whole.lines,
    )


def test_counts_by_example() -> None:
    assert count(b"two words\n", b"and th", b"ree more") == TextCounts(
        tokens=9, bytes=24, characters=24, words=5, lines=2
    )
    assert count(bytes(range(256))).characters == 192
