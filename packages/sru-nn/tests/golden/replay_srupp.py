"""Run the recorded cases of SRU++ of `sru` 3.0.0.dev6 through this package."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from sru_nn import SRUCell, SRUpp, SRUppAttention

Case = dict[str, Any]


def load_cases() -> list[Case]:
    """Read what `make_sru_3_0_0_dev6.py` wrote."""
    return torch.load(Path(__file__).with_name("srupp_3_0_0_dev6.pt"), weights_only=True)["cases"]


def replay(case: Case, dtype: torch.dtype = torch.float64) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the name of each result, what this package computes, and what `sru` 3.0.0.dev6 computed."""
    case = convert(case, dtype)
    model = build(case, dtype)
    x = case["x"].clone().requires_grad_()
    masks = iter(case["dropout_masks"])

    def dropout(self: nn.Dropout, x: Tensor) -> Tensor:
        return x * next(masks) if self.training and self.p > 0 else x

    drawn = patch.object(SRUCell, "_variational_mask", lambda *_: next(masks))
    with drawn, patch.object(nn.Dropout, "forward", dropout):
        inputs, results = run(model, case, x)
    assert next(masks, None) is None, "fewer dropout masks were drawn than by sru 3.0.0.dev6"
    for name, result in results.items():
        expected = case[name] if isinstance(result, list) else [case[name]]
        for actual, recorded in zip(result if isinstance(result, list) else [result], expected, strict=True):
            # What the first layer reads at padded positions is zero here, and what was given there.
            real = slice(None) if case["mask"] is None or name == "c" else ~case["mask"]
            yield name, actual[real], recorded[real]

    upstream = [case[f"grad_{name}"] for name in results if name != "saved_inputs"]
    torch.autograd.backward([r for name, r in results.items() if name != "saved_inputs"], upstream)
    yield "gradient of x", x.grad, case["grad_x"]
    for name, tensors in inputs.items():
        for tensor, recorded in zip(tensors, case[f"grad_{name}"], strict=True):
            if recorded is not None:
                yield f"gradient of {name}", tensor.grad, recorded
    # The gradients go the way of the weights: through load_state_dict, into a twin.
    expected = copy.deepcopy(model)
    expected.load_state_dict(case["gradients"])
    for (name, parameter), gradient in zip(model.named_parameters(), expected.parameters(), strict=True):
        actual = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        yield f"gradient of {name}", actual, gradient.detach()


def build(case: Case, dtype: torch.dtype = torch.float64) -> SRUpp | SRUppAttention:
    """Build the case's module with the weights that the old package had."""
    kind = SRUpp if case["module"] == "SRUpp" else SRUppAttention
    model = kind(**case["arguments"]).to(dtype)
    model.load_state_dict(case["state_dict"])
    return model


def run(model: nn.Module, case: Case, x: Tensor) -> tuple[dict[str, list[Tensor]], dict[str, Any]]:
    """Run a case; return its inputs that take a gradient, besides x, and its results."""
    if case["module"] == "SRUppAttention":
        memory = None if case["memory"] is None else case["memory"].clone().requires_grad_()
        inputs = {} if memory is None else {"memory": [memory]}
        case["grad_memory"] = [case["grad_memory"]]
        h = model(x, case["mask"], None, memory)
        return inputs, {"h": h.masked_fill(case["mask"].unsqueeze(-1), 0.0)}
    memory = case["memory"] and [None if m is None else m.clone().requires_grad_() for m in case["memory"]]
    c0 = None if case["c0"] is None else case["c0"].clone().requires_grad_()
    h, c, bank = model(x, c0, case["mask"], case["attn_mask"], memory, case["memory_mask"])
    inputs = {} if memory is None else {"memory": memory}
    if c0 is not None:
        inputs["c0"], case["grad_c0"] = [c0], [case["grad_c0"]]
    return inputs, {"h": h, "c": c, **bank}


def convert(value: Any, dtype: torch.dtype) -> Any:
    """Return a copy of a case with its floating-point tensors in a dtype."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, list):
        return [convert(entry, dtype) for entry in value]
    if isinstance(value, dict):
        return {name: convert(entry, dtype) for name, entry in value.items()}
    return value


OPTIONS: dict[str, Callable[[Case], bool]] = {
    "two directions": lambda case: case["arguments"].get("bidirectional", False),
    "three layers": lambda case: case["arguments"].get("num_layers") == 3,
    "two heads": lambda case: case["arguments"]["num_heads"] == 2,
    "dropout": lambda case: bool(case["dropout_masks"]),
    "layer_norm before": lambda case: (
        case["arguments"].get("layer_norm", False) and not case["arguments"].get("normalize_after", False)
    ),
    "layer_norm after": lambda case: (
        case["arguments"].get("layer_norm", False) and case["arguments"].get("normalize_after", False)
    ),
    "no attn_layer_norm": lambda case: not case["arguments"].get("attn_layer_norm", True),
    "rescale": lambda case: case["arguments"].get("rescale", False),
    "nn_rnn_compatible_return": lambda case: case["arguments"].get("nn_rnn_compatible_return", False),
    "proj_input_to_hidden_first": lambda case: case["arguments"].get("proj_input_to_hidden_first", False),
    "attention_every_n_layers": lambda case: "attention_every_n_layers" in case["arguments"],
    "attention_last_n_layers": lambda case: "attention_last_n_layers" in case["arguments"],
    "mask_pad": lambda case: case["mask"] is not None,
    "causal attn_mask": lambda case: case.get("attention") == "causal",
    "random attn_mask": lambda case: case.get("attention") == "random",
    "memory": lambda case: case["memory"] is not None,
    "memory of some layers": lambda case: case["module"] == "SRUpp" and None in (case["memory"] or []),
    "memory_mask_pad": lambda case: case.get("memory_mask") is not None,
    "memory and mask_pad": lambda case: case["memory"] is not None and case["mask"] is not None,
    "initial state": lambda case: case.get("c0") is not None,
    "attention alone, norm before": lambda case: (
        case["module"] == "SRUppAttention"
        and case["arguments"]["layer_norm"]
        and not case["arguments"]["normalize_after"]
    ),
}
