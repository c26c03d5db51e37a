"""The tools of a target: a folder, values drawn by hypothesis, and mutations of files."""

from __future__ import annotations

import copy
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

NUMBERS = (-1, 0, 1, 2**31, 2**63 - 1, 2**64, -(2**63), 0.5, 1e308, float("nan"), float("inf"))
TEXTS = ("", " ", "a", "\0", "\ufeff", "\ud800", "../../x", "/etc/passwd", "é" * 50, "x" * 100_000)
BYTES = (b"\0", b"\xff", b"\xef\xbb\xbf", b"\n", b"\r\n", b" ", b'"', b"{", b"]", b"-1", b"1e999", b"nan")


class Refused(Exception):  # noqa: N818
    """A command refused its input correctly."""


class Case:
    """One call of a target.

    Args:
        data: The source of drawn values.
        folder: An empty folder for the case's files, kept if the target fails.
        samples: Files created by the module's `prepare` for all cases; copy them, do not change them.
    """

    def __init__(self, data: Any, folder: Path, samples: Path) -> None:
        self._data, self.folder, self.samples = data, folder, samples
        self._log = folder.with_suffix(".txt")
        self._log.write_text("")

    def draw(self, strategy: st.SearchStrategy[Any], label: str = "") -> Any:
        """Draw a value and add it to the report."""
        value = self._data.draw(strategy)
        self.note(f"{label} = {value!r}" if label else repr(value))
        return value

    def note(self, text: str) -> None:
        """Add a line to the report of this case."""
        with self._log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text[:2000] + "\n")

    def random(self) -> random.Random:
        """Return a random generator, for cases that need thousands of random numbers."""
        return random.Random(self.draw(st.integers(0, 2**32 - 1), "seed"))

    def copy(self, name: str) -> Path:
        """Copy a file or folder from the samples into the case's folder."""
        source, target = self.samples / name, self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            return Path(shutil.copytree(source, target))
        return Path(shutil.copy(source, target))

    def write(self, name: str, content: bytes) -> Path:
        """Write a file into the case's folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def damage(self, folder: Path) -> None:
        """Mutate a file in a folder: its bytes or, for JSON, possibly one of its values."""
        names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != ".lock")
        path = folder / self.draw(st.sampled_from(names), "file")
        content, chance = path.read_bytes(), self.random()
        if path.suffix == ".json" and self.draw(st.booleans(), "as JSON"):
            path.write_bytes(dump_json(mutated_tree(json.loads(content), chance, hostile_value)))
        else:
            path.write_bytes(mutated_bytes(content, chance))


def mutated_bytes(content: bytes, chance: random.Random) -> bytes:
    """Return bytes after one to four random edits: bit flips, cuts, repeats, insertions or truncations."""
    result = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(result) + 1)
        end = min(len(result), start + chance.choice((1, 1, 2, 8, 300)))
        kind = chance.randrange(6)
        if kind == 0 and start < len(result):
            result[start] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del result[start:end]
        elif kind == 2:
            result[start:start] = result[start:end] * chance.choice((1, 2, 1000))
        elif kind == 3:
            result[start:start] = chance.choice(BYTES)
        elif kind == 4:
            result[start:end] = chance.randbytes(end - start)
        else:
            del result[start + (len(result) - start) // 2 :]
    return bytes(result)


def mutated_tree(tree: Any, chance: random.Random, hostile: Callable[[random.Random, Any], Any]) -> Any:
    """Return nested dictionaries and lists with one entry removed, renamed or replaced by a hostile value."""
    tree = copy.deepcopy(tree)
    parent, key, value = None, None, tree
    while isinstance(value, (dict, list)) and value and (parent is None or chance.random() < 0.8):
        key = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
        parent, value = value, value[key]
    if parent is None:
        return hostile(chance, tree)
    if chance.random() < 0.2:
        del parent[key]
    elif isinstance(parent, dict) and chance.random() < 0.1:
        parent[chance.choice(TEXTS)] = parent.pop(key)
    else:
        parent[key] = hostile(chance, value)
    return tree


def hostile_value(chance: random.Random, value: Any = None) -> Any:
    """Return a value that a reader is unlikely to expect in place of `value`."""
    kinds = [
        lambda: chance.choice(NUMBERS),
        lambda: chance.choice(TEXTS),
        lambda: chance.choice((None, True, [], {}, [[]], {"a": None}, [value], {"x": value})),
        lambda: str(value),
        lambda: value * 2 if isinstance(value, (int, float, str, list)) else None,
        lambda: nested(chance.choice((50, 500, 20_000))),
    ]
    return chance.choice(kinds)()


def nested(depth: int) -> Any:
    """Return a list nested to a depth."""
    result: list[Any] = []
    for _ in range(depth):
        result = [result]
    return result


def dump_json(value: Any) -> bytes:
    """Encode as JSON; if the value is nested too deeply for `json`, return deeply nested lists instead."""
    try:
        return json.dumps(value).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b"[" * 20_000 + b"]" * 20_000
