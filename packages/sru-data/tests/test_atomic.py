from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sru_data.atomic import atomic_write, open_partial, remove_temporaries, replace


def write(path: Path, content: bytes) -> None:
    with atomic_write(path) as file:
        file.write(content)


def test_a_file_is_written_and_written_over(tmp_path) -> None:
    for content in (b"first", b""):
        write(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_former_file_and_does_not_disturb_the_next(
    tmp_path, monkeypatch, step
) -> None:
    path = tmp_path / "file"
    write(path, b"former")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write(path, b"a longer content")
    assert path.read_bytes() == b"former"
    write(path, b"latter")
    assert path.read_bytes() == b"latter"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_nothing_is_to_be_seen_before_the_end(tmp_path) -> None:
    path = tmp_path / "new" / "file"
    with atomic_write(path) as file:
        file.write(b"content")
        assert not path.exists()
    assert path.read_bytes() == b"content"


def test_a_block_that_fails_leaves_the_former_file_alone_in_the_folder(tmp_path) -> None:
    write(tmp_path / "file", b"former")
    with contextlib.suppress(KeyboardInterrupt), atomic_write(tmp_path / "file") as file:
        file.write(b"half of")
        raise KeyboardInterrupt
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"former"}


def test_the_content_reaches_the_disk_before_the_name_and_the_name_after(tmp_path, monkeypatch) -> None:
    steps = []
    for name in ("fsync", "replace"):
        function = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, n=name, f=function: (steps.append(n), f(*args)))
    write(tmp_path / "file", b"content")
    assert steps == ["fsync", "replace", "fsync"]


def test_two_writers_of_a_file_both_end_well(tmp_path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as one:
        one.write(b"the first")
        write(path, b"the second")
        assert path.read_bytes() == b"the second"
    assert path.read_bytes() == b"the first"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_many_processes_may_write_a_file(tmp_path) -> None:
    program = (
        "import sys; from pathlib import Path; from sru_data.atomic import atomic_write\n"
        "for _ in range(200):\n"
        "    with atomic_write(Path(sys.argv[1])) as file: file.write(sys.argv[2].encode() * 10_000)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path / "file", letter]) for letter in "abc"
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert (tmp_path / "file").read_text() in [letter * 10_000 for letter in "abc"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_temporary_file_is_not_written_through_a_link(tmp_path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / ".file.partial").symlink_to(tmp_path / "victim")
    write(tmp_path / "file", b"content")
    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (tmp_path / "file").is_symlink()
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"), open_partial(tmp_path / "link"):
        pass


def test_what_killed_writers_left_is_removed(tmp_path) -> None:
    for name in (".file.partial", ".file.0123.partial", "train.tokens.partial", ".lock"):
        (tmp_path / name).touch()
    remove_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "train.tokens.partial"]


def test_a_file_takes_another_name(tmp_path) -> None:
    (tmp_path / "old").write_bytes(b"content")
    replace(tmp_path / "old", tmp_path / "new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"new": b"content"}
