"""The Python of the introductory pages of the documentation runs, block after block, assertions included."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [
    "docs/index.md",
    "docs/quickstart.md",
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
