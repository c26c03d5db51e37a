from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from sru_apps.cli import main
from sru_apps.train.checkpoints import SeedEveryStep
from sru_apps.train.weights import read_checkpoint
from sru_data.datasets.classification import SOURCES

POSITIVE = ["a warm and funny film", "moving", "great acting and a clever plot", "simply wonderful fun ."]
NEGATIVE = ["a cold and dull film", "tedious", "poor acting and a silly plot", "simply awful noise ."]

# The real sets have a known number of lines, the tiny ones here do not. STOP_AT is when to send which signal.
TINY_PROGRAM = """
import os
import signal
import sys
from dataclasses import replace
from sru_data.datasets.classification import SOURCES

source = SOURCES["sst2"]
files = {part: replace(getattr(source, part), lines=None) for part in ("train", "validation", "test")}
SOURCES["sst2"] = replace(source, **files)

from sru_apps.train.checkpoints import SeedEveryStep

name, step = os.environ["STOP_AT"].split(":")
seed = SeedEveryStep.on_train_batch_start


def stop_and_seed(self, trainer, *args):
    if trainer.global_step == int(step):
        os.kill(os.getpid(), getattr(signal, name))
    seed(self, trainer, *args)


SeedEveryStep.on_train_batch_start = stop_and_seed

from sru_apps.cli import main
sys.exit(main())
"""


@pytest.fixture(scope="session", autouse=True)
def _denormals_stay() -> Iterator[None]:
    # The setting outlives its test in torch's threads, and other packages' tests look at denormal numbers.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "set_flush_denormal", lambda mode: False)
        yield


SAVE_FIGURE = Figure.savefig


@pytest.fixture(scope="session", autouse=True)
def _empty_pictures() -> Iterator[None]:
    # Rendering takes more than half of the time of a tiny training.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda self, file, **options: file.write(b"left out"))
        yield


@pytest.fixture(scope="session", autouse=True)
def _nobody_pulls_the_plug() -> Iterator[None]:
    # Dozens of times per training, for milliseconds each; only a loss of power would show the difference.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pictures rendered, as they are outside the tests."""
    monkeypatch.setattr(Figure, "savefig", SAVE_FIGURE)


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SRU_DATA", raising=False)


@pytest.fixture(autouse=True)
def _default_signals() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Results that are to be equal bit for bit need the same number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def stop_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, signal.Signals], None]:
    """Have this process send itself a signal, once, before a training step."""

    def stop(step: int, number: signal.Signals) -> None:
        seed = SeedEveryStep.on_train_batch_start
        sent: list[int] = []

        def stop_and_seed(self: SeedEveryStep, trainer: Any, *args: Any) -> None:
            if trainer.global_step == step and not sent:
                sent.append(step)
                os.kill(os.getpid(), number)
            seed(self, trainer, *args)

        monkeypatch.setattr(SeedEveryStep, "on_train_batch_start", stop_and_seed)

    return stop


@pytest.fixture
def assert_same_checkpoints() -> Callable[[Path, Path], None]:
    """Compare the checkpoints of two run folders: steps, weights and optimizer, bit for bit."""

    def compare(run: Path, other: Path) -> None:
        for name in ("last.ckpt", "best.ckpt"):
            ours, theirs = (read_checkpoint(folder / "checkpoints" / name) for folder in (run, other))
            assert ours["global_step"] == theirs["global_step"]
            for part in ("state_dict", "optimizer_states"):
                torch.testing.assert_close(ours[part], theirs[part], rtol=0, atol=0)

    return compare


@pytest.fixture(scope="session")
def _tiny_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "classification").mkdir()
    for part, copies in (("train", 6), ("dev", 2), ("test", 3)):
        lines = [f"1 {text} {i} times" for i in range(copies) for text in POSITIVE]
        lines += [f"0 {text} {i} times" for i in range(copies) for text in NEGATIVE]
        (folder / "classification" / f"stsa.binary.{part}").write_text("\n".join(lines) + "\n")
    return folder


@contextmanager
def _sst2_of_any_size() -> Iterator[None]:
    source = SOURCES["sst2"]
    files = {part: replace(getattr(source, part), lines=None) for part in ("train", "validation", "test")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "sst2", replace(source, **files))
        yield


@pytest.fixture(scope="module")
def tiny_data(_tiny_files: Path) -> Iterator[Path]:
    """A data folder with an SST-2 of a few sentences, which the reader takes for the real one."""
    with _sst2_of_any_size():
        yield _tiny_files


@pytest.fixture
def tiny_sst2(tiny_data: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data, to spoil."""
    return Path(shutil.copytree(tiny_data, tmp_path / "data"))


def _small_options(data: Path, runs: Path) -> list[str]:
    return [
        "--recipe=sst2",
        f"--data-dir={data}",
        f"--runs-dir={runs}",
        "--data.embedding_size=8",
        "--data.batch_size=4",
        "--model.hidden_size=6",
        "--model.num_maps=5",
        "--optimizer.lr=0.01",
        "--trainer.max_epochs=3",
        "--trainer.accelerator=cpu",
    ]


@pytest.fixture
def small_options(tiny_sst2: Path, tmp_path: Path) -> list[str]:
    """Options that make `sru classify fit` a matter of a second: 3 epochs of 12 steps."""
    return _small_options(tiny_sst2, tmp_path / "runs")


@pytest.fixture(scope="session")
def _trained_run(_tiny_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with _sst2_of_any_size(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", SAVE_FIGURE)
        assert main(["classify", "fit", *_small_options(_tiny_files, runs), "--name=trained"]) == 0
    torch.set_num_threads(threads)
    return runs / "classify" / "sst2" / "trained"


@pytest.fixture(scope="module")
def trained_run(_trained_run: Path, tiny_data: Path) -> Path:
    """The run folder of an SRU trained with `small_options`, to read only."""
    return _trained_run


@pytest.fixture
def run_and_stop() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `sru` in a process of its own, SST-2 being tiny, and send it a signal before a training step."""

    def run(stop_at: str, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", TINY_PROGRAM, *args],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "STOP_AT": stop_at},
        )

    return run


TEXT = "the quick brown fox jumps over the lazy dog while a small bird sings of rain and wind"
WORDS = TEXT.split(" ")


def tiny_text(lines: int) -> str:
    """Lines of words in an order that a model can learn a little of."""
    rows = []
    for line in range(lines):
        first = line * 5 % len(WORDS)
        rows.append(" ".join(WORDS[(first + word * (1 + line % 3)) % len(WORDS)] for word in range(6)))
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def tiny_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `train.txt` (722 words and line ends), `valid.txt` and `test.txt`; to read only."""
    folder = tmp_path_factory.mktemp("text")
    for name, lines in (("train", 103), ("valid", 17), ("test", 13)):
        (folder / f"{name}.txt").write_text(tiny_text(lines))
    return folder
