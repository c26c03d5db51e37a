"""What importing the package costs, and that its documented examples run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1]
READMES = [PACKAGE / "README.md", PACKAGE.parents[1] / "README.md"]


def test_import_brings_nothing_but_torch():
    program = """
import sys, torch
before = {name.partition(".")[0] for name in sys.modules}
import sru_nn
print(*sorted({name.partition(".")[0] for name in sys.modules} - before))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["sru_nn"]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_readme_example_prints_what_it_says(readme, capsys):
    blocks = [block for block in re.findall(r"``python\n(.*?)``", readme.read_text(), re.DOTALL)]
    assert blocks
    for block in blocks:
        exec(compile(block, str(readme), "exec"), {})
        promised = re.findall(r"print\(.*\)  # (.*)", block)
        assert capsys.readouterr().out.splitlines() == promised
