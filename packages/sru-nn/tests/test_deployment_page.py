"""The blocks of docs/guides/deployment.md, run one after the other in one namespace."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch

from .conftest import TORCH_2_13

PAGE = Path(__file__).parents[3] / "docs" / "guides" / "deployment.md"
pytestmark = [
    pytest.mark.compile,
    pytest.mark.skipif(not PAGE.is_file(), reason="these tests were taken without the documentation"),
    pytest.mark.skipif(not TORCH_2_13, reason="the page exports a dynamic time axis, which needs torch 2.13"),
    # PyTorch's exporters, and torchao on import, use functions that they deprecate.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
NEEDS = {"torchao": ("torchao",), "onnx": ("onnx", "onnxscript", "onnxruntime")}


def missing(block: str) -> list[str]:
    needed = [package for word, packages in NEEDS.items() if word in block for package in packages]
    return [package for package in needed if importlib.util.find_spec(package) is None]


@torch.no_grad()
def test_the_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 10
    namespace: dict = {}
    absent = set()
    for number, block in enumerate(blocks):
        if packages := missing(block):
            absent.update(packages)
        else:
            exec(compile(block, f"deployment.md, block {number}", "exec"), namespace)
    assert {file.name for file in tmp_path.iterdir()} >= {"tagger.pt2"}
    if absent:
        pytest.skip(f"the blocks that need {', '.join(sorted(absent))} did not run")
    check_the_onnx_files(namespace)


def check_the_onnx_files(namespace: dict) -> None:
    import onnxruntime

    model, tokens = namespace["model"], torch.randint(100, (6, 2))
    whole = onnxruntime.InferenceSession("tagger.onnx").run(None, {"tokens": tokens.numpy()})
    expected = model(tokens)
    torch.testing.assert_close(
        [torch.from_numpy(array) for array in whole], list(expected), rtol=1e-4, atol=1e-5
    )
    step = onnxruntime.InferenceSession("tagger_step.onnx")
    state, scores = torch.zeros(2, 2, 64).numpy(), []
    for token in tokens.split(1):
        score, state = step.run(None, {"tokens": token.numpy(), "state": state})
        scores.append(torch.from_numpy(score))
    torch.testing.assert_close(torch.cat(scores), expected[0], rtol=1e-4, atol=1e-5)
