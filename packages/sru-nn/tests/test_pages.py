"""The Python of the introductory pages of the documentation runs, block after block, assertions included."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [
    "docs/index.md",
    "docs/quickstart.md",
    "docs/tutorial.md",
    "docs/concepts/padding.md",
    "docs/concepts/sequences.md",
    "docs/concepts/state-and-streaming.md",
    "docs/guides/from-fast-sligru.md",
    "docs/guides/long-sequences.md",
    "docs/guides/sequences.md",
]
pytestmark = pytest.mark.skipif(
    not (ROOT / "docs").is_dir(), reason="these tests were taken without the documentation"
)


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_run(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert blocks
    namespace: dict = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{page}, block {number}", "exec"), namespace)
    if page == "docs/quickstart.md":
        assert namespace["error"] < 0.1 * namespace["y"].var()
    if page == "docs/tutorial.md":
        assert namespace["right"] > 0.99


def table_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.skipif(not (ROOT / "ci").is_dir(), reason="these tests were taken without the sources")
def test_what_the_packages_work_with_is_tested_and_in_that_version():
    rows = table_rows((ROOT / "docs/guides/works-with.md").read_text(encoding="utf-8"))
    named = [re.fullmatch(r"`(.*\.py)`<br>`(\w+)`", row[-1]) for row in rows]
    assert len([test for test in named if test]) > 30
    for file, test in (match.groups() for match in named if match):
        assert f"def {test}(" in (ROOT / "packages" / file).read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "ci/constraints.txt").read_text(), re.MULTILINE))
    pairs = [zip(row[0].split(", "), row[1].split(", "), strict=False) for row in rows]
    versions = {name: version for pair in pairs for name, version in pair if name in pins}
    assert versions == {name: pins[name] for name in versions}
    assert versions.keys() >= {"onnx", "onnxruntime", "torchao", "safetensors"}
