from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

from sru_apps.cli import main
from sru_apps.train.checkpoints import SeedEveryStep
from sru_apps.train.weights import read_checkpoint
from sru_data.datasets.classification import SOURCES

from .fork_server import Forked, Request, of_any_size, stopping
from .shortcuts import DRAWING, take_shortcuts

POSITIVE = ["a warm and funny film", "moving", "great acting and a clever plot", "simply wonderful fun ."]
NEGATIVE = ["a cold and dull film", "tedious", "poor acting and a silly plot", "simply awful noise ."]

# pytest adds a handler to each logger that does not propagate. If this one has a handler, PyTorch logs
# everything its compiler does, with graphs and stacks: a tenth of the time, and pages in each report.
logging.getLogger("torch.__trace").propagate = True


@pytest.fixture(scope="session", autouse=True)
def _shortcuts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # The setting outlives its test in torch's threads, and other packages test denormal numbers.
        patch.setattr(torch, "set_flush_denormal", lambda mode: False)
        take_shortcuts(patch.setattr)
        yield


@contextmanager
def _drawn() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, function in DRAWING.items():
            patch.setattr(Figure, name, function)
        yield


@pytest.fixture
def pictures() -> Iterator[None]:
    """Draw pictures, as outside the tests."""
    with _drawn():
        yield


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SRU_DATA", raising=False)


@pytest.fixture(autouse=True)
def _default_signals() -> None:
    # A shell in the background ignores the first, and nohup the second.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Use one thread: results are only equal bit for bit with the same number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def stop_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, signal.Signals], None]:
    """Make this process send itself a signal, once, before a training step."""

    def stop(step: int, number: signal.Signals) -> None:
        monkeypatch.setattr(SeedEveryStep, "on_train_batch_start", stopping(step, number))

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
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "sst2", of_any_size(SOURCES["sst2"]))
        yield


@pytest.fixture(scope="module")
def tiny_data(_tiny_files: Path) -> Iterator[Path]:
    """A data folder with an SST-2 of a few sentences, which the reader accepts as the real one."""
    with _sst2_of_any_size():
        yield _tiny_files


@pytest.fixture
def tiny_sst2(tiny_data: Path, tmp_path: Path) -> Path:
    """A copy of the tiny data that a test may modify."""
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
    """Options for a `sru classify fit` of a second: 3 epochs of 12 steps."""
    return _small_options(tiny_sst2, tmp_path / "runs")


@pytest.fixture(scope="session")
def _trained_run(_tiny_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with _sst2_of_any_size(), _drawn():
        assert main(["classify", "fit", *_small_options(_tiny_files, runs), "--name=trained"]) == 0
    torch.set_num_threads(threads)
    return runs / "classify" / "sst2" / "trained"


@pytest.fixture(scope="module")
def trained_run(_trained_run: Path, tiny_data: Path) -> Path:
    """The read-only run folder of an SRU trained with `small_options`."""
    return _trained_run


@pytest.fixture(scope="session")
def forked() -> Iterator[Forked]:
    """Run `sru` in concurrent processes, with a tiny SST-2, and return their exit statuses."""
    program = Path(__file__).with_name("fork_server.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # the first thread of OpenMP would be lost in a fork
    with subprocess.Popen(
        [sys.executable, str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def run(requests: Sequence[Request]) -> list[int]:
            print(json.dumps(requests), file=server.stdin, flush=True)
            return json.loads(server.stdout.readline())

        yield run
        server.kill()  # an interpreter with many libraries takes a second to exit


@pytest.fixture
def run_and_stop(forked: Forked, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `sru` in its own process, which sends itself a signal before a training step."""

    def run(step: int, name: str, *args: str) -> subprocess.CompletedProcess[str]:
        output, environment = tmp_path / "output", {**os.environ, "OMP_NUM_THREADS": "1"}
        (code,) = forked(
            [Request(args=[*args], environment=environment, stop_before=(step, name), output=str(output))]
        )
        return subprocess.CompletedProcess(
            args, code, output.read_text(), output.with_suffix(".err").read_text()
        )

    return run


TEXT = "the quick brown fox jumps over the lazy dog while a small bird sings of rain and wind"
WORDS = TEXT.split(" ")


def tiny_text(lines: int) -> str:
    """Return lines of words whose order a model can partly learn."""
    rows = []
    for line in range(lines):
        first = line * 5 % len(WORDS)
        rows.append(" ".join(WORDS[(first + word * (1 + line % 3)) % len(WORDS)] for word in range(6)))
    return "\n".join(rows) + "\n"


@pytest.fixture(scope="module")
def tiny_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only folder with `train.txt` (722 words and line ends), `valid.txt` and `test.txt`."""
    folder = tmp_path_factory.mktemp("text")
    for name, lines in (("train", 103), ("valid", 17), ("test", 13)):
        (folder / f"{name}.txt").write_text(tiny_text(lines))
    return folder
