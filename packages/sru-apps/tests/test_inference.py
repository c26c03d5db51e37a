"""Using trained models does not import the trainer."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

from sru_apps.inference.doubts import Doubts
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig
from sru_apps.train.export import export_model
from sru_data.tokenizers import CharTokenizer

SLOW = "pytorch_lightning", "lightning_fabric", "torchmetrics", "matplotlib", "tensorboard", "torch._dynamo"

PROGRAM = f"""
import sys
import sru_apps
assert "torch" not in sys.modules, "import sru_apps imports torch"
from sru_apps.cli import main
assert main(["classify", "predict", "--model", sys.argv[1], "a warm film"]) == 0
assert main(["lm", "generate", "--model", sys.argv[2], "--prompt=a", "--max-tokens=3"]) == 0
assert main(["chat", "reply", "--model", sys.argv[3], "--message=a", "--max-tokens=3"]) == 0
print([name for name in {SLOW} if name in sys.modules])
"""


def untrained(folder: Path, task: str, extra_symbols: int, encoder: str) -> str:
    tokenizer = CharTokenizer.train(["abc"])
    size = len(tokenizer) + extra_symbols
    settings = {"vocab_size": size, "encoder": encoder, "embedding_size": 16, "hidden_size": 16}
    network = LanguageModel(LanguageModelConfig(**settings))
    export_model(folder, network, {"task": task, "model": settings}, tokenizer)
    return str(folder)


def test_use_imports_no_trainer(trained_run: Path, tmp_path: Path) -> None:
    models = [
        str(trained_run),
        untrained(tmp_path / "lm", "lm", 0, "srupp"),
        untrained(tmp_path / "chat", "chat", 3, "gated-linear"),
    ]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *models], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stdout + done.stderr


def test_ten_doubtful_inputs_are_named_and_the_others_counted() -> None:
    doubts = Doubts("questions")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for row in range(25):
            doubts.see("it has no words" if row % 2 else None, f"row {row}")
        doubts.end()
    assert [str(warning.message) for warning in warned] == [
        *(f"row {row}: it has no words" for row in range(1, 20, 2)),
        "there are 2 more such questions",
    ]
    assert doubts.rows == 25
