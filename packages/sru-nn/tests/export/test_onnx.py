"""ONNX files, run by ONNX Runtime."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn
from torch.export import Dim

from sru_nn import SRU, GatedLinearRNN, LiGRU, SLiGRU
from sru_nn.compat import LSTM
from sru_nn.export import to_onnx
from sru_nn.quantization import quantize_weights_

from .conftest import LENGTHS, D, E, L, needs_scan

onnx = pytest.importorskip("onnx", reason="writing ONNX needs onnx")
pytest.importorskip("onnxscript", reason="writing ONNX needs onnxscript")
onnxruntime = pytest.importorskip("onnxruntime", reason="checking an ONNX file needs a runtime")


def runner(path):
    """Check a file and return a function that runs it on tensors, and the kinds of its operators."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(path)

    def run(*args: torch.Tensor) -> list[torch.Tensor]:
        names = [given.name for given in session.get_inputs()]
        feed = {name: arg.numpy() for name, arg in zip(names, args, strict=True)}
        return [torch.from_numpy(output) for output in session.run(None, feed)]

    return (
        run,
        [node.op_type for node in model.graph.node],
        {(s.domain, s.version) for s in model.opset_import},
    )


def check(run, model, *args) -> None:
    for ours, expected in zip(run(*args), model(*args), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


@needs_scan
@torch.no_grad()
def test_whole_sequences_of_any_length(tmp_path, everything, inputs, shapes):
    path = tmp_path / "rnn.onnx"
    to_onnx(everything, inputs(4, 3), path, dynamic_shapes=shapes)
    run, kinds, opsets = runner(path)
    assert kinds.count("Scan") == L
    assert opsets == {("", 20)}
    for length, batch in [*LENGTHS, (300, 2)]:
        check(run, everything, *inputs(length, batch))
    # The state survives padding of any length, although the file computes sigmoid differently from PyTorch.
    x, c0, mask = inputs(2000, 1)
    check(run, everything, x, 100 * c0, mask.fill_(True))


class Everything(nn.Module):
    """All operators, one after the other: PyTorch takes seconds to export a model."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = LSTM(E, D, bidirectional=True, proj_size=2)
        self.light, self.gated = LiGRU(4, D), GatedLinearRNN(D, D, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        h, (h_n, c_n) = self.lstm(x)
        return self.gated(self.light(h)[0])[0], h_n, c_n


@needs_scan
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_exporter_of_pytorch_by_itself(tmp_path):
    """None of our export functions is called, and gradients are enabled."""
    model, path = Everything().eval(), tmp_path / "model.onnx"
    shapes = ({0: Dim("time"), 1: Dim("batch")},)
    torch.onnx.export(model, (torch.randn(4, 3, E),), path, dynamo=True, dynamic_shapes=shapes, verbose=False)
    run, kinds, _ = runner(path)
    assert kinds.count("Scan") == 3
    with torch.no_grad():
        for length, batch in LENGTHS:
            check(run, model, torch.randn(length, batch, E))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_the_old_exporter_of_pytorch_is_refused(tmp_path):
    with pytest.raises(RuntimeError, match=r"dynamo=True, or sru_nn\.export\.to_onnx"):
        torch.onnx.export(Everything(), (torch.randn(3, 2, E),), tmp_path / "rnn.onnx", dynamo=False)


@needs_scan
@torch.no_grad()
def test_options_of_the_layers(tmp_path):
    rnn = SRU(D, D, 1, projection_size=2, use_relu=True, batch_first=True, has_skip_term=False).eval()
    shapes = ({0: Dim("batch"), 1: Dim("time")},)
    to_onnx(rnn, (torch.randn(3, 4, D),), tmp_path / "rnn.onnx", dynamic_shapes=shapes)
    run, *_ = runner(tmp_path / "rnn.onnx")
    for length, batch in LENGTHS:
        check(run, rnn, torch.randn(batch, length, D))


@needs_scan
@torch.no_grad()
def test_a_step_that_multiplies_the_state(tmp_path, inputs, shapes):
    rnn = SLiGRU(E, D, 1, bidirectional=True, recurrent_elementwise_affine=True).eval()

    def make(length: int, batch: int) -> tuple[torch.Tensor, ...]:
        x, h0, mask = inputs(length, batch)
        return x, h0[:1], mask

    to_onnx(rnn, make(4, 3), tmp_path / "rnn.onnx", dynamic_shapes=shapes)
    run, kinds, _ = runner(tmp_path / "rnn.onnx")
    assert kinds.count("Scan") == 1
    for length, batch in LENGTHS:
        check(run, rnn, *make(length, batch))


class Policy(nn.Module):
    """A model that restarts from a learned state where an episode begins."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = SRU(E, D, 1, learn_initial_state=True), nn.Linear(D, 3)

    def forward(self, x: torch.Tensor, c: torch.Tensor, is_init: torch.Tensor) -> tuple[torch.Tensor, ...]:
        h, c = self.rnn(x, c, reset=is_init.squeeze(-1))
        return self.head(h), c


@needs_scan
@torch.no_grad()
def test_resets_and_an_explicit_state(tmp_path):
    model, time, batch = Policy().eval(), Dim("time"), Dim("batch")
    for cell in model.rnn.rnn_lst:
        nn.init.normal_(cell.initial_state)

    def make(length: int, size: int) -> tuple[torch.Tensor, ...]:
        return torch.randn(length, size, E), torch.randn(1, size, D), torch.rand(length, size, 1) < 0.3

    shapes = {0: time, 1: batch}, {1: batch}, {0: time, 1: batch}
    to_onnx(model, make(4, 3), tmp_path / "rnn.onnx", dynamic_shapes=shapes)
    run, kinds, _ = runner(tmp_path / "rnn.onnx")
    assert kinds.count("Scan") == 1
    for length, size in LENGTHS:
        check(run, model, *make(length, size))


@needs_scan
@torch.no_grad()
def test_resets_in_both_directions(tmp_path):
    time, batch = Dim("time"), Dim("batch")

    class Episodes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = SRU(E, D, 1, bidirectional=True, layer_norm=True, use_tanh=True)

        def forward(self, x: torch.Tensor, mask_pad: torch.Tensor, reset: torch.Tensor) -> tuple:
            return self.rnn(x, mask_pad=mask_pad, reset=reset)

    def make(length: int, size: int) -> tuple[torch.Tensor, ...]:
        return torch.randn(length, size, E), *(torch.rand(2, length, size) < 0.3)

    model = Episodes().eval()
    to_onnx(model, make(4, 3), tmp_path / "rnn.onnx", dynamic_shapes=({0: time, 1: batch},) * 3)
    run, *_ = runner(tmp_path / "rnn.onnx")
    for length, size in LENGTHS:
        check(run, model, *make(length, size))


class LanguageModel(nn.Module):
    """A model around the recurrence, with its state as an input and an output."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.embedding, self.rnn, self.head = nn.Embedding(11, E), kind(E, D, L), nn.Linear(D, 11)

    def forward(self, token: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict the next token."""
        h, c = self.rnn(self.embedding(token), c)
        return self.head(h), c


@torch.no_grad()
@pytest.mark.parametrize("kind", [SRU, SLiGRU])
def test_streaming_with_an_explicit_state(tmp_path, kind):
    model, tokens, c = LanguageModel(kind).eval(), torch.randint(11, (6, 2)), torch.zeros(L, 2, D)
    batch = Dim("batch")
    to_onnx(
        model,
        (tokens[:1], c),
        tmp_path / "step.onnx",
        dynamic_shapes=({1: batch}, {1: batch}),
        input_names=["token", "state"],
        output_names=["scores", "next_state"],
    )
    run, kinds, _ = runner(tmp_path / "step.onnx")
    assert "Scan" not in kinds
    expected, last = model(tokens, c)
    outputs = []
    for token in tokens.split(1):
        scores, c = run(token, c)
        outputs.append(scores)
    torch.testing.assert_close((torch.cat(outputs), c), (expected, last), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_chunks_of_a_fixed_length_with_weights_of_8_bits(tmp_path):
    rnn, x, c = SRU(E, D, L).eval(), torch.randn(12, 2, E), torch.zeros(L, 2, D)
    quantize_weights_(rnn)
    to_onnx(rnn, (x[:4], c), tmp_path / "chunk.onnx", opset_version=18)
    run, _, opsets = runner(tmp_path / "chunk.onnx")
    assert opsets == {("", 18)}
    expected, last = rnn(x)
    outputs = []
    for chunk in x.split(4):
        h, c = run(chunk, c)
        outputs.append(h)
    torch.testing.assert_close((torch.cat(outputs), c), (expected, last), rtol=1e-5, atol=1e-5)


@needs_scan
@torch.no_grad()
def test_a_matrix_of_the_state_in_8_bits(tmp_path):
    """The loop multiplies by it in floating point, for any length."""
    rnn, time, batch = LiGRU(E, D).eval(), Dim("time"), Dim("batch")
    quantize_weights_(rnn)
    to_onnx(rnn, (torch.randn(4, 3, E),), tmp_path / "rnn.onnx", dynamic_shapes=({0: time, 1: batch},))
    run, kinds, _ = runner(tmp_path / "rnn.onnx")
    assert kinds.count("Scan") == 1
    check(run, rnn, torch.randn(20, 2, E))


def test_wrong_requests(tmp_path, monkeypatch):
    rnn, x, path = SRU(E, D, 1), torch.randn(3, 2, E), tmp_path / "rnn.onnx"
    with pytest.raises(ValueError, match=r"to_onnx: the model is in training mode"):
        to_onnx(rnn, (x,), path)
    with pytest.raises(ValueError, match=r"to_onnx: opset_version must be at least 18, got 17"):
        to_onnx(rnn.eval(), (x,), path, opset_version=17)
    with pytest.raises(TypeError, match=r"weight_c is torch\.bfloat16.*\.float\(\)"):
        to_onnx(rnn.bfloat16(), (x,), path)
    wide = SRU(32, 16, 1).eval()
    quantize_weights_(wide, bits=4)
    with pytest.raises(TypeError, match=r"rnn_lst\.0\.transform has quantized weights.*bits=8"):
        to_onnx(wide, (torch.randn(3, 2, 32),), path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs onnx and onnxscript; pip install onnx onnxscript"):
        to_onnx(rnn, (x,), path)


def test_nothing_is_traced_for_gradients(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: seen.append(torch.is_grad_enabled()))
    to_onnx(SRU(E, D, 1).eval(), (torch.randn(1, 2, E),), tmp_path / "rnn.onnx")
    assert seen == [False]


@torch.no_grad()
def test_a_module_that_pytorch_unrolls_is_named(tmp_path):
    model = nn.ModuleDict({"rnn": nn.LSTM(E, D)}).eval()
    model.forward = lambda x: model["rnn"](x)
    with pytest.raises(
        ValueError, match=r"recurrent module \(in rnn\), because .*leave the time axis out of dynamic_shapes"
    ):
        to_onnx(model, (torch.randn(4, 2, E),), tmp_path / "rnn.onnx", dynamic_shapes=({0: Dim("time")},))
