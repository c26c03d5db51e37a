"""Models of the tasks, exported to ONNX and run by ONNX Runtime: any length, any batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim

from sru_apps.nn import RecurrentEncoder
from sru_apps.nn.adaptive import AdaptiveEmbedding
from sru_apps.tasks.classify.model import ClassifierConfig, SentenceClassifier
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig
from sru_nn.export import to_onnx
from sru_nn.operators import TORCH_2_13

pytest.importorskip("onnx", reason="writing ONNX needs onnx")
pytest.importorskip("onnxscript", reason="writing ONNX needs onnxscript")
onnxruntime = pytest.importorskip("onnxruntime", reason="checking an ONNX file needs a runtime")

VOCABULARY, SIZE = 60, 8
LENGTHS = [(7, 3), (1, 1), (20, 2)]
pytestmark = [
    pytest.mark.skipif(not TORCH_2_13, reason="a dynamic time axis in plain operations needs torch 2.13"),
    # PyTorch's exporter calls deprecated functions.
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning"),
]


def exported(path: Path, model: nn.Module, args: tuple[Any, ...], axes: tuple[dict[int, str], ...]) -> Any:
    """Write a model with dynamic axes, and return a function that runs the file."""
    dims = {name: Dim(name) for name in ("time", "batch")}
    shapes = tuple({axis: dims[name] for axis, name in given.items()} for given in axes)
    to_onnx(model, args, path, dynamic_shapes=shapes)
    session = onnxruntime.InferenceSession(path)

    def run(*args: torch.Tensor) -> list[torch.Tensor]:
        names = [given.name for given in session.get_inputs()]
        feed = {name: arg.numpy() for name, arg in zip(names, args, strict=True)}
        return [torch.from_numpy(output) for output in session.run(None, feed)]

    return run


@torch.no_grad()
def test_a_language_model_with_adaptive_layers_and_state(tmp_path: Path) -> None:
    layers: dict[str, Any] = {
        "embedding": "adaptive",
        "output": "adaptive",
        "tie_weights": True,
        "cluster_shrink": 2,
    }
    config = LanguageModelConfig(
        vocab_size=VOCABULARY, embedding_size=SIZE, hidden_size=SIZE, num_layers=1, **layers
    )
    model = LanguageModel(config).eval()

    def inputs(length: int, batch: int) -> tuple[torch.Tensor, Any]:
        ids = torch.randint(VOCABULARY, (length, batch))
        return ids, model(ids.flip(0))[1]

    run = exported(tmp_path / "lm.onnx", model, inputs(4, 2), ({0: "time", 1: "batch"}, {1: "batch"}))
    for length, batch in LENGTHS:
        args = inputs(length, batch)
        torch.testing.assert_close(run(*args), list(model(*args)), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_classifier_with_padding(tmp_path: Path) -> None:
    config = ClassifierConfig(
        vocab_size=VOCABULARY, embedding_size=SIZE, num_classes=3, hidden_size=SIZE, num_layers=1
    )
    model = SentenceClassifier(config).eval()

    def inputs(length: int, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        mask = torch.arange(length)[:, None] >= torch.randint(1, length + 1, (batch,))
        return torch.randint(1, VOCABULARY, (length, batch)), mask

    axes = {0: "time", 1: "batch"}
    run = exported(tmp_path / "classify.onnx", model, inputs(4, 2), (axes, axes))
    for length, batch in LENGTHS:
        args = inputs(length, batch)
        torch.testing.assert_close(run(*args), [model(*args)], rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_an_exported_lstm_or_gru_equals_the_module(name: str) -> None:
    torch.manual_seed(0)
    encoder = RecurrentEncoder(name, 3, 4, num_layers=2, bidirectional=True).double().eval()

    def inputs(length: int, batch: int) -> tuple[Any, ...]:
        mask = torch.arange(length)[:, None] >= torch.randint(1, length + 1, (batch,))
        states = [torch.randn(4, batch, 4, dtype=torch.float64) for _ in range(2)]
        return torch.randn(length, batch, 3).double(), mask, tuple(states) if name == "lstm" else states[0]

    time, batch = Dim("time"), Dim("batch")
    axes = {0: time, 1: batch}
    states = ({1: batch},) * 2 if name == "lstm" else {1: batch}
    program = torch.export.export(encoder, inputs(5, 3), dynamic_shapes=(axes, axes, states), strict=False)
    for length, rows in LENGTHS:
        args = inputs(length, rows)
        torch.testing.assert_close(program.module()(*args), encoder(*args))
    # A single step from the initial state.
    one_way = RecurrentEncoder(name, 3, 4).double().eval()
    x = torch.randn(2, 3).double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.compiler.is_exporting", lambda: True)
        single = one_way.step(x)
    torch.testing.assert_close(single, one_way.step(x))


@torch.no_grad()
def test_an_exported_adaptive_embedding_handles_every_cluster() -> None:
    layer = AdaptiveEmbedding(12, SIZE, cutoffs=(3, 7), shrink=2)
    program = torch.export.export(layer, (torch.arange(12),), dynamic_shapes=({0: Dim("symbols")},))
    ids = torch.randint(12, (50,))
    torch.testing.assert_close(program.module()(ids), layer(ids))
