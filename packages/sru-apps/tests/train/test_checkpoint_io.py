from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from sru_apps.train.checkpoints import AtomicCheckpointIO
from sru_apps.train.errors import UserError, reading
from sru_apps.train.weights import read_checkpoint

OLD = {"state_dict": {"weight": torch.arange(3.0)}, "epoch": 1}
NEW = {"state_dict": {"weight": torch.zeros(3)}, "epoch": 2}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(OLD, path)
    return path


def _assert_old_and_alone(path: Path) -> None:
    torch.testing.assert_close(read_checkpoint(path)["state_dict"]["weight"], OLD["state_dict"]["weight"])
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_save_replaces(saved: Path) -> None:
    AtomicCheckpointIO().save_checkpoint(NEW, saved)
    assert AtomicCheckpointIO().load_checkpoint(saved)["epoch"] == 2
    assert [file.name for file in saved.parent.iterdir()] == ["last.ckpt"]


def test_full_disk_leaves_the_old_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(
        UserError, match=r"cannot write the checkpoint .*No space left on device; .* intact\. Buy a disk$"
    ):
        AtomicCheckpointIO(remedy="Buy a disk").save_checkpoint(NEW, saved)
    _assert_old_and_alone(saved)


@contextmanager
def files_of_50_kb() -> Iterator[None]:
    """Limit the size of files; not a fixture, because pytest writes results while fixtures are active."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_disk_that_fills_in_the_middle_leaves_the_old_checkpoint(saved: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write the checkpoint .*File too large"), files_of_50_kb():
        AtomicCheckpointIO().save_checkpoint({"state_dict": {"weight": torch.zeros(100_000)}}, saved)
    _assert_old_and_alone(saved)


def test_interruption_leaves_the_old_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*paths: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpointIO().save_checkpoint(NEW, saved)
    _assert_old_and_alone(saved)


def test_remove(saved: Path) -> None:
    for _ in range(2):
        AtomicCheckpointIO().remove_checkpoint(saved)
        assert not saved.exists()


def test_missing_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no checkpoint at .*none.ckpt"):
        read_checkpoint(tmp_path / "none.ckpt")


def test_changed_byte_of_a_weight_is_noticed(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    place = content.index(torch.arange(3.0).numpy().tobytes())
    content[place] ^= 1
    saved.write_bytes(content)
    with pytest.raises(
        UserError, match=r"last.ckpt is damaged or is not a checkpoint: .*the checksum of \S*data/0 is wrong"
    ):
        read_checkpoint(saved)


@pytest.mark.parametrize(
    "error", [KeyError("x"), IndexError("x"), TypeError("x"), ValueError("x"), RuntimeError("x\n y")]
)
def test_reading_names_the_file(error: Exception) -> None:
    reason = f"{type(error).__name__}: .*x"
    message = rf"^some/folder is damaged or is not a model: {reason}"
    with pytest.raises(UserError, match=message) as raised, reading(Path("some/folder"), kind="a model"):
        raise error
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("damage", ["empty", "cut short", "overwritten", "text"])
def test_damaged_checkpoint(saved: Path, damage: str) -> None:
    content = saved.read_bytes()
    half = len(content) // 2
    saved.write_bytes(
        {
            "empty": b"",
            "cut short": content[:half],
            "overwritten": bytes(half) + content[half:],
            "text": b"not a checkpoint\n",
        }[damage]
    )
    with pytest.raises(UserError, match=r"last.ckpt is damaged( or is not a checkpoint)?: \w+"):
        read_checkpoint(saved)


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo executed",)


def test_code_in_a_checkpoint_is_not_run(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": _Code()}, saved)
    with pytest.raises(UserError, match="is damaged or is not a checkpoint"):
        read_checkpoint(saved)
    assert "executed" not in capfd.readouterr().out


@pytest.mark.parametrize("content", [{"epoch": 1}, [1, 2]])
def test_file_of_torch_that_is_no_checkpoint(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="is not a training checkpoint: it holds no `state_dict`"):
        read_checkpoint(tmp_path / "x.ckpt")
