from __future__ import annotations

import os

import pytest

from sru_data.atomic import replace, write_atomically


def test_a_file_is_written_and_written_over(tmp_path) -> None:
    for content in (b"first", b""):
        write_atomically(tmp_path / "file", content)
        assert (tmp_path / "file").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_interrupted_write_leaves_the_former_file_and_does_not_disturb_the_next(
    tmp_path, monkeypatch, step
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"former")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"a longer content")
    assert path.read_bytes() == b"former"
    write_atomically(path, b"latter")
    assert path.read_bytes() == b"latter"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_content_reaches_the_disk_before_the_name_and_the_name_after(tmp_path, monkeypatch) -> None:
    steps = []
    for name in ("fsync", "replace"):
        function = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, n=name, f=function: (steps.append(n), f(*args)))
    write_atomically(tmp_path / "file", b"content")
    assert steps == ["fsync", "replace", "fsync"]


def test_a_file_takes_another_name(tmp_path) -> None:
    (tmp_path / "old").write_bytes(b"content")
    replace(tmp_path / "old", tmp_path / "new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"new": b"content"}
