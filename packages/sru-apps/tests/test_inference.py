"""Use of trained models waits for no trainer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SLOW = "pytorch_lightning", "lightning_fabric", "torchmetrics", "matplotlib", "tensorboard", "torch._dynamo"

PROGRAM = f"""
import sys
import sru_apps
assert "torch" not in sys.modules, "import sru_apps imports torch"
from sru_apps.cli import main
assert main(["classify", "predict", "--model", sys.argv[1], "a warm film"]) == 0
import sru_apps.tasks.lm.commands, sru_apps.tasks.lm.predict, sru_apps.tasks.chat.commands
print([name for name in {SLOW} if name in sys.modules])
"""


def test_predicting_imports_no_trainer(trained_run: Path) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(trained_run)], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
