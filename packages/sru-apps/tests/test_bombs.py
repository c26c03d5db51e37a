"""Files far larger than they look: every command refuses them in one line, within half a GB of memory."""

from __future__ import annotations

import gzip
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sru_apps.cli import main
from sru_apps.tasks import TASKS

MODEL, RUN, SUMMARY = "x.ckpt", "run", "summary"
TEXTS, RECORDS, QUESTIONS = "x.csv.gz", "x.jsonl.gz", "x.json.gz"
COMMANDS = {
    "classify fit": ["--train-file", TEXTS],
    "classify crossval": ["--data.name", "cr", "--data-dir", "data"],
    "classify predict": ["--model", "trained", "--file", TEXTS],
    "classify validate": [MODEL],
    "classify test": [MODEL],
    "classify table": [SUMMARY],
    "lm prepare": ["--train-file", TEXTS, "--prepared-dir", "prepared"],
    "lm fit": ["--train-file", TEXTS, "--prepared-dir", "prepared"],
    "lm validate": [MODEL],
    "lm test": [MODEL],
    "lm table": [RUN],
    "lm generate": ["--model", MODEL, "--prompt", "x"],
    "lm score": [TEXTS, "--model", MODEL],
    "chat fit": ["--train-file", RECORDS],
    "chat validate": [MODEL],
    "chat table": [RUN],
    "chat reply": ["--model", MODEL, "--message", "x"],
    "squad prepare": [
        "--train-file",
        QUESTIONS,
        "--validation-file",
        QUESTIONS,
        "--prepared-dir",
        "prepared",
    ],
    "squad fit": ["--train-file", QUESTIONS, "--validation-file", QUESTIONS, "--prepared-dir", "prepared"],
    "squad validate": [MODEL],
    "squad test": [MODEL],
    "squad table": [SUMMARY],
    "squad predict": ["--model", MODEL, "--file", QUESTIONS],
    "squad ask": ["--model", MODEL],
    "speech prepare": ["--train-file", TEXTS, "--prepared-dir", "prepared"],
    "speech fit": ["--train-file", TEXTS, "--prepared-dir", "prepared"],
    "speech validate": [MODEL],
    "speech test": [MODEL],
    "speech table": [SUMMARY],
    "speech transcribe": ["--model", MODEL, "x.wav"],
    "squad score": ["predictions.json", "--file", QUESTIONS],
    "translate prepare": ["--train-file", TEXTS, "--train-target-file", TEXTS, "--prepared-dir", "prepared"],
    "translate fit": ["--train-file", TEXTS, "--train-target-file", TEXTS, "--prepared-dir", "prepared"],
    "translate validate": [MODEL],
    "translate test": [MODEL],
    "translate table": [SUMMARY],
    "translate translate": ["--model", MODEL, "x"],
    "translate score": [TEXTS, TEXTS, "--model", MODEL],
    "translate export": [MODEL, "--out", "exported"],
}


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bombs")
    # A gigabyte each, of one word.
    piece = gzip.compress(b"a" * 2**20) * 1024
    (folder / TEXTS).write_bytes(gzip.compress(b"text,label\n") + piece)
    (folder / RECORDS).write_bytes(gzip.compress(b'{"user": "') + piece)
    (folder / QUESTIONS).write_bytes(gzip.compress(b'{"data": [{"paragraphs": [{"context": "') + piece)
    sets, files = "data/classification/custrev.all", (f"{RUN}/config.yaml", f"{RUN}/summary.json")
    for name in ("predictions.json", f"{SUMMARY}/summary.json", sets, *files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with (folder / name).open("wb") as file:
            file.truncate(2**30)
    torch.save({"state_dict": {"weight": torch.zeros(3)}}, folder / MODEL)
    content = (folder / MODEL).read_bytes()
    entry = content.rindex(b"PK\x01\x02")
    sizes = (2**31).to_bytes(4, "little") * 2
    (folder / MODEL).write_bytes(content[: entry + 20] + sizes + content[entry + 28 :])
    return folder


@pytest.fixture
def half_a_gigabyte() -> Iterator[None]:
    """Limit this process to its present memory plus half a gigabyte."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line)
    limit = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(line.split()[1]) * 1024 + 500 * 2**20, limit[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, limit)


def test_every_command_that_reads_files_is_here() -> None:
    tasks = {name: row.load() for name, row in TASKS.items() if name != "demo"}
    assert set(COMMANDS) == {f"{name} {command}" for name, task in tasks.items() for command in task.table()}


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="Linux alone tells how much memory is taken"
)
@pytest.mark.usefixtures("half_a_gigabyte", "one_thread")
@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_refused(
    command: str,
    bombs: Path,
    trained_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(bombs)
    places = {"prepared": str(tmp_path), "trained": str(trained_run)}
    runs = [f"--runs-dir={tmp_path}"] if command.endswith((" fit", " crossval")) else []
    assert main([*command.split(), *(places.get(arg, arg) for arg in COMMANDS[command]), *runs]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sru {command}: error: ")
    assert "MemoryError" not in line
    assert len(line) < 600
