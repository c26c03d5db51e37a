"""The contenders of the Li-GRU: PyTorch's units, SpeechBrain's layer, the slow layer of `fast_sligru`.

All Li-GRUs have the same weights. SpeechBrain is included if it is installed; only its module of recurrent
networks is loaded, because the whole package needs torchaudio.
"""

from __future__ import annotations

import copy
import importlib.util
import sys
import warnings
from pathlib import Path
from types import ModuleType
from unittest import mock

import torch
from contenders import GRU, LSTM, Call, best_linear
from torch import Tensor, nn

from sru_nn import LiGRU, SLiGRU
from sru_nn.quantization import quantize_weights_

OURS, STABLE, SLOW = "LiGRU", "SLiGRU", "slow layer of fast_sligru"
THEIRS, SCRIPTED, COMPILED = "SpeechBrain", "SpeechBrain, torch.jit", "SpeechBrain, torch.compile"
PRODUCTS = "products alone"
BATCH, INPUTS, SIZE = 16, 1024, 512
SAME = (SLOW, THEIRS, SCRIPTED, COMPILED)
"""Contenders that compute the same as `LiGRU`, from `(B, T, E)`, and return the outputs first."""


class SlowLayer(nn.Module):
    """One layer with the arithmetic of `fast_sligru.slow_sligru`, which needs a CUDA extension to install.

    It runs step by step in plain operations and indexes the time axis. The gradient of each index operation
    has the size of the whole tensor, so the backward pass takes time quadratic in the length.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.w = nn.Linear(input_size, 2 * hidden_size, bias=False)
        self.u = nn.Linear(hidden_size, 2 * hidden_size, bias=False)
        self.norm = nn.BatchNorm1d(2 * hidden_size, momentum=0.05)
        nn.init.orthogonal_(self.u.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map `(B, T, E)` to the outputs `(B, T, D)` and the last output."""
        w = self.w(x)
        w = self.norm(w.flatten(0, 1)).view_as(w)
        h = w.new_zeros(w.shape[0], w.shape[2] // 2)
        mask, states = torch.ones_like(h), []
        for t in range(w.shape[1]):
            a, z = (w[:, t] + self.u(h)).chunk(2, 1)
            z = torch.sigmoid(z)
            h = z * h + (1 - z) * (torch.relu(a) * mask)
            states.append(h)
        return torch.stack(states, 1), h


def speechbrain() -> ModuleType | None:
    """Load SpeechBrain's recurrent networks; None if it is not installed."""
    package = importlib.util.find_spec("speechbrain")
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0], "nnet", "RNN.py")
    spec = importlib.util.spec_from_file_location("speechbrain_rnn", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # What the module imports from its package is used by other classes only.
    others = ("speechbrain", "speechbrain.nnet.attention", "speechbrain.utils.logger")
    sys.modules[spec.name] = module  # torch.jit looks it up here
    with mock.patch.dict(sys.modules, dict.fromkeys(others, mock.MagicMock())):
        spec.loader.exec_module(module)
    return module


def modules(dtype: torch.dtype = torch.float32, *, scripted: bool = True) -> dict[str, nn.Module]:
    """Create one layer of each contender; those that compute the same function have the same weights."""
    kinds = {OURS: LiGRU, STABLE: SLiGRU, GRU: nn.GRU, LSTM: nn.LSTM}
    made: dict[str, nn.Module] = {name: kind(INPUTS, SIZE) for name, kind in kinds.items()}
    if dtype == torch.float32:
        slow = made[SLOW] = SlowLayer(INPUTS, SIZE)
        weights = {f"rnn.0.{name}": value for name, value in slow.state_dict().items()}
        made[OURS].load_state_dict(weights)
        library = speechbrain()
        if library is not None:
            for name in (THEIRS, SCRIPTED, COMPILED):
                made[name] = library.LiGRU(SIZE, (BATCH, 1, INPUTS))
                made[name].load_state_dict(weights, strict=False)  # not strict: the masks are missing
            if scripted:
                made[SCRIPTED] = script(made[SCRIPTED])
                # The layer counts the masks it has drawn; do not recompile for each count.
                torch._dynamo.config.allow_unspec_int_on_nn_module = True
                made[COMPILED] = torch.compile(made[COMPILED])  # type: ignore[assignment]
    return {name: module.to(dtype) for name, module in made.items()}


def script(module: nn.Module) -> nn.Module:
    """Compile a module with `torch.jit`, which PyTorch deprecates and SpeechBrain recommends."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(module)  # type: ignore[no-any-return]


def sequences(length: int, dtype: torch.dtype) -> Tensor:
    """Return a random input `(T, B, E)`."""
    return torch.randn(length, BATCH, INPUTS).to(dtype)


def forward_calls(made: dict[str, nn.Module], x: Tensor) -> dict[str, Call]:
    """Return calls for inference over whole sequences, which return the outputs `(T, B, D)`."""

    def call(name: str, module: nn.Module) -> Call:
        given = x.transpose(0, 1).contiguous() if name in SAME else x

        def run() -> Tensor:
            with torch.inference_mode():
                h: Tensor = module.eval()(given)[0]
            return h.transpose(0, 1) if name in SAME else h

        return run

    return {name: call(name, module) for name, module in made.items()}


def training_calls(made: dict[str, nn.Module], x: Tensor) -> dict[str, Call]:
    """Return calls for forward and backward, which return the gradient of the input `(T, B, E)`."""
    gradient = torch.randn(*x.shape[:2], SIZE).to(x.dtype)

    def call(name: str, module: nn.Module) -> Call:
        given, upstream = x.clone(), gradient
        if name in SAME:
            given, upstream = (part.transpose(0, 1).contiguous() for part in (given, upstream))
        given.requires_grad_()

        def run() -> Tensor:
            module.train().zero_grad(set_to_none=True)
            given.grad = None
            module(given)[0].backward(upstream)
            assert given.grad is not None
            return given.grad.transpose(0, 1) if name in SAME else given.grad

        return run

    return {name: call(name, module) for name, module in made.items()}


def products(x: Tensor, *, training: bool) -> Call:
    """Return a call for the matrix products of one layer, all steps at once, each with the faster GEMM."""
    rows = x.flatten(0, 1)
    h, grad = (torch.randn(len(rows), size).to(x.dtype) for size in (SIZE, 2 * SIZE))
    pairs = []
    for inputs in (rows, h):
        weight = torch.randn(2 * SIZE, inputs.shape[1]).to(x.dtype)
        pairs.append((inputs, weight))
        if training:  # the gradients of the input and of the weight
            pairs += [(grad, weight.t().contiguous()), (grad.t().contiguous(), inputs.t().contiguous())]
    chosen = [(best_linear(*pair), *pair) for pair in pairs]

    def run() -> None:
        with torch.inference_mode():
            for linear, a, b in chosen:
                linear(a, b)

    return run


@torch.inference_mode()
def step_calls() -> dict[str, Call]:
    """Return calls for decoding: one step with batch size 1, given a state."""
    made = modules(scripted=False)
    chosen = {name: made[name].eval() for name in (OURS, STABLE, GRU, LSTM)}
    for name in (OURS, STABLE):
        quantized = chosen[f"{name}, int8 weights"] = copy.deepcopy(made[name])
        quantize_weights_(quantized)
    x = torch.randn(1, 1, INPUTS)

    def call(module: nn.Module) -> Call:
        state = module(x)[1]

        def run() -> object:
            with torch.inference_mode():
                return module.step(x[0], state) if hasattr(module, "step") else module(x, state)

        return run

    return {name: call(module) for name, module in chosen.items()}
