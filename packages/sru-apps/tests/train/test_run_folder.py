from __future__ import annotations

from pathlib import Path

import pytest

from sru_apps.train.errors import UserError
from sru_apps.train.run_folder import find_checkpoint, find_run, new_run


def test_new_run_by_name(tmp_path: Path) -> None:
    assert new_run(tmp_path / "group", "one").path == tmp_path / "group" / "one"
    assert not (tmp_path / "group").exists()


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../../escape",
        "/etc",
        "a/b",
        "a/",
        "./a",
        "a\0b",
        "\udcff",
        "x" * 201,
        "ü" * 101,
        "~/../x",
    ],
)
def test_names_that_are_not_of_a_folder(tmp_path: Path, name: str) -> None:
    message = r"^--name must be the name of a folder, without /, of at most 200 bytes, got '"
    with pytest.raises(UserError, match=message) as raised:
        new_run(tmp_path / "group", name)
    assert len(str(raised.value)) < 250
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["...", "-x", "ü ö", "a.b", "x" * 200])
def test_unusual_names(tmp_path: Path, name: str) -> None:
    assert new_run(tmp_path, name).path.parent == tmp_path


def test_new_runs_by_time_differ(tmp_path: Path) -> None:
    assert new_run(tmp_path).path != new_run(tmp_path).path


def test_folder_in_use_is_refused(tmp_path: Path) -> None:
    run = new_run(tmp_path, "one")
    run.path.mkdir()
    new_run(tmp_path, "one")
    run.config.write_text("")
    with pytest.raises(UserError, match=r"one exists and is not empty; choose another --name$"):
        new_run(tmp_path, "one")
    with pytest.raises(UserError, match=r"one exists and is not empty; go home$"):
        new_run(tmp_path, "one", remedy="go home")


def test_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("")
    with pytest.raises(UserError, match="exists and is not empty"):
        new_run(tmp_path, "one")


def test_find_run_by_folder_or_checkpoint(tmp_path: Path) -> None:
    run = new_run(tmp_path, "one")
    run.checkpoints.mkdir(parents=True)
    run.config.write_text("")
    run.last.write_text("")
    assert find_run(run.path).path == find_run(run.last).path == run.path


def test_find_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run at .*; give a run folder, or a checkpoint in one"):
        find_run(tmp_path / "none")


def test_find_run_in_another_folder(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"is not a run folder or a checkpoint in one: .*config.yaml is missing"
    ):
        find_run(tmp_path)


def test_find_checkpoint(tmp_path: Path) -> None:
    run = new_run(tmp_path, "one")
    run.checkpoints.mkdir(parents=True)
    for path in (run.best, run.last):
        path.write_text("")
    assert find_checkpoint(run.path) == run.best
    assert find_checkpoint(run.path, last=True) == run.last
    assert find_checkpoint(run.last) == run.last


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkpoint at .*best.ckpt"):
        find_checkpoint(tmp_path)
