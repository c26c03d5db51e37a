"""The CPU kernels in a child of a process that has run them on several threads."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "support/forks.py"


@pytest.mark.parametrize("callers", [0, 1, 8])
def test_a_child_computes_the_same(callers):
    # A team that waited for threads that do not exist in the child would wait forever.
    subprocess.run([sys.executable, PROGRAM, str(callers)], check=True, timeout=60)
