"""Runs the cases of one target; a separate process, so that `__main__` survives crashes."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import hashlib
import importlib.util
import json
import os
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from cases import Case, Refused
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

SECONDS = 5.0
"""The default limit on the processor time of a case, in seconds."""
MEMORY = 1 << 30
"""The default limit on the memory of a case in bytes, in addition to the memory of its imported module."""
LONGEST_MESSAGE = 500
CASES_AT_A_TIME = 50


class TimeIsUp(KeyboardInterrupt):
    """Ends a run; hypothesis does not catch it."""


def load(path: Path) -> ModuleType:
    """Import a file of targets, which may import files from its folder."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def limited(module: ModuleType) -> Iterator[None]:
    """Limit the time and memory of the block; a hang ends the process and dumps all stacks to crash.txt."""
    seconds = getattr(module, "SECONDS", SECONDS)
    faulthandler.dump_traceback_later(4 * seconds + 30, exit=True, file=sys.__stderr__)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if pages:
        allowed = pages * resource.getpagesize() + getattr(module, "MEMORY", MEMORY)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, limits[1]))
    start = time.process_time()
    try:
        yield
        taken = time.process_time() - start
        assert taken < seconds, f"took {taken:.1f} s of processor time, more than {seconds} s"
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        faulthandler.cancel_dump_traceback_later()


def outcome(module: ModuleType, target: Callable[[Case], None], case: Case) -> dict[str, str]:
    """Run a target; return whether it accepted, refused or failed, the kind of failure and the message."""
    try:
        with limited(module):
            target(case)
    except BaseException as error:
        if type(error).__module__.startswith("hypothesis") or isinstance(error, KeyboardInterrupt):
            raise
        message = str(error)
        if isinstance(error, Refused) or module.refuses(error):
            if len(message) <= LONGEST_MESSAGE and "\n" not in message.strip():
                return {"outcome": "refused", "kind": "", "message": message}
            kind = "a multi-line message" if "\n" in message.strip() else "a long message"
        else:
            kind = type(error).__name__
            if isinstance(error, AssertionError):
                kind += f" ({message.partition(':')[0][:80]})"
        case.note(traceback.format_exc())
        shown = message if len(message) < LONGEST_MESSAGE else f"{message[:200]} ... {message[-200:]}"
        return {"outcome": "failed", "kind": f"{kind} at {place(error)}", "message": shown}
    return {"outcome": "accepted", "kind": "", "message": ""}


def place(error: BaseException) -> str:
    """Return the innermost file and line of our packages in an exception's traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/sru_" in frame.filename]
    ours = ours or [frame for frame in frames if "/packages/" in frame.filename] or frames
    return f"{'/'.join(Path(ours[-1].filename).parts[-2:])}:{ours[-1].lineno}"


def run(path: Path, name: str, work: Path, *, first_seed: int, seconds: float) -> None:
    """Run cases for some seconds and append each outcome to results.jsonl."""
    module = load(path)
    samples = prepared(module, work.parent / f"samples-{path.parent.parent.name}")
    target = getattr(module, name)
    end = time.monotonic() + seconds
    results = (work / "results.jsonl").open("a")
    folder = work / "case"
    number = first_seed * 1_000_000

    def one(data: Any) -> None:
        if time.monotonic() > end:
            raise TimeIsUp
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        case = Case(data, folder, samples)
        case.note(f"seed {number}, {name} of {path}")
        found = outcome(module, target, case)
        results.write(json.dumps(found) + "\n")
        results.flush()
        if found["outcome"] == "failed":
            keep(work, found["kind"])

    options = settings(
        max_examples=CASES_AT_A_TIME,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    with contextlib.suppress(TimeIsUp):
        while True:
            seed(number)(options(given(st.data())(one)))()
            number += 1


def keep(work: Path, kind: str) -> None:
    """Keep the files of a failed case if they are the smallest of this kind of failure."""
    kept = work / "failed" / hashlib.sha256(kind.encode()).hexdigest()[:8]
    if kept.exists() and size(kept) <= size(work / "case") + (work / "case.txt").stat().st_size:
        return
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(work / "case", kept, symlinks=True)
    shutil.copy(work / "case.txt", kept / "case.txt")


def size(folder: Path) -> int:
    """Return the total size of all files in a folder."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())


def prepared(module: ModuleType, samples: Path) -> Path:
    """Create the samples of a module once, for all processes."""
    samples.mkdir(exist_ok=True)
    done = samples / f".{module.__name__}"
    with samples.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if hasattr(module, "prepare") and not done.exists():
            module.prepare(samples)
            done.touch()
    return samples


if __name__ == "__main__":
    faulthandler.enable()
    _, file, function, place_of_work, first, duration = sys.argv
    os.environ.pop("SRU_DATA", None)
    run(Path(file), function, Path(place_of_work), first_seed=int(first), seconds=float(duration))
