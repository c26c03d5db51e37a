from __future__ import annotations

import subprocess
import sys

# Two numbers, one for each thread, whose product is denormal.
PROGRAM = """
import torch
from sru_apps.train.console import flush_denormals

flush_denormals()
torch.set_num_threads(2)
print((torch.full((2**20,), 1e-20) * 1e-20).count_nonzero().item())
"""


def test_every_thread_takes_denormals_for_zero() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]
