"""Record what the Li-GRU and SLi-GRU of SpeechBrain and `fast_sligru` compute, for the tests to compare with.

Run it in an environment with SpeechBrain, beside the source of `fast_sligru`. That is read as it is: its CUDA
extension, which is not built, has a part on GPUs only::

    python -m venv scratch && scratch/bin/pip install torch==2.11.0 torchaudio==2.11.0 speechbrain==1.1.2
    git clone https://github.com/Adel-Moumen/fast_sligru
    git -C fast_sligru checkout cbfea9ea
    PYTHONPATH=fast_sligru scratch/bin/python packages/sru-nn/tests/golden/make_ligru.py

It writes `ligru.pt` beside itself: for each case the class, its arguments, the state dict, the input, the
initial state, the dropout masks that were drawn, the upstream gradient, the outputs and every gradient, in
float64 on the CPU, and the running statistics afterwards.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import torch

sys.modules["fast_sligru_cpp"] = types.ModuleType("fast_sligru_cpp")

from fast_sligru import fast_ligru, fast_sligru, slow_sligru  # noqa: E402
from speechbrain.nnet import RNN  # noqa: E402

BATCH, LENGTH, INPUT, HIDDEN = 2, 4, 3, 2
CLASSES = {
    "speechbrain LiGRU": RNN.LiGRU,
    "speechbrain SLiGRU": RNN.SLiGRU,
    "fast_ligru LiGRU": fast_ligru.LiGRU,
    "fast_sligru SLiGRU": fast_sligru.SLiGRU,
    "slow_sligru SLiGRU": slow_sligru.SLiGRU,
}
# The class, whether it is in training, whether it is given a state, and the arguments.
CASES: list[tuple[str, bool, bool, dict[str, Any]]] = [
    ("speechbrain LiGRU", False, True, {"num_layers": 2}),
    ("speechbrain LiGRU", True, False, {"num_layers": 2, "bidirectional": True, "dropout": 0.4}),
    (
        "speechbrain LiGRU",
        False,
        True,
        {"normalization": "layernorm", "nonlinearity": "tanh", "bidirectional": True, "bias": False},
    ),
    ("speechbrain LiGRU", True, True, {"normalization": "none", "nonlinearity": "sin", "dropout": 0.4}),
    ("speechbrain SLiGRU", True, False, {"num_layers": 2}),
    (
        "speechbrain SLiGRU",
        False,
        True,
        {
            "ff_normalization": "layernorm",
            "nonlinearity": "leaky_relu",
            "recurrent_elementwise_affine": True,
            "bidirectional": True,
            "num_layers": 2,
        },
    ),
    ("fast_ligru LiGRU", True, False, {"dropout": 0.4}),
    ("fast_sligru SLiGRU", False, False, {"bidirectional": True}),
    ("slow_sligru SLiGRU", False, True, {"normalization": "layernorm", "nonlinearity": "tanh"}),
]


def record(kind: str, training: bool, with_state: bool, arguments: dict[str, Any]) -> dict[str, Any]:
    """Build a module, with norms away from ones and zeros, and run it."""
    x = torch.randn(BATCH, LENGTH, INPUT)
    module = CLASSES[kind](hidden_size=HIDDEN, input_shape=x.shape, **arguments)
    for name, parameter in module.named_parameters():
        if "norm" in name and parameter.requires_grad:
            torch.nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.3)
    module(torch.randn(BATCH, 9, INPUT))  # which moves the running statistics
    module = module.double().train(training)
    state_dict = {name: value.clone() for name, value in module.state_dict().items()}
    short = {name: value[:1].clone() for name, value in state_dict.items() if name.endswith("drop_masks")}
    state_dict.update(short)
    drawn = []
    for layer in module.rnn:
        take = layer._sample_drop_mask
        layer._sample_drop_mask = lambda w, take=take: drawn.append(take(w)) or drawn[-1]
    x = x.double().requires_grad_()
    rows = BATCH * (2 if arguments.get("bidirectional") else 1)
    layers = arguments.get("num_layers", 1)
    hx = torch.randn(layers, rows, HIDDEN).double() if with_state else None
    h, _ = module(x, hx)
    upstream = torch.randn_like(h)
    h.backward(upstream)
    gradients = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in module.named_parameters()
    }
    return {
        "kind": kind,
        "training": training,
        "arguments": arguments,
        "state_dict": state_dict,
        "x": x.detach(),
        "hx": hx,
        "masks": [mask.double().clone() for mask in drawn] if training else [],
        "upstream": upstream,
        "h": h.detach(),
        "grad_x": x.grad,
        "gradients": {**state_dict, **gradients},
        "statistics": {name: x for name, x in module.state_dict().items() if "running" in name},
    }


if __name__ == "__main__":
    torch.manual_seed(19)
    torch.save({"cases": [record(*case) for case in CASES]}, Path(__file__).with_name("ligru.pt"))
