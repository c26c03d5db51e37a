"""Run the recorded cases of `sru` 2.6.0 through this package.

Run as a program it prints the table of `docs/parity-with-sru-2.6.0.md`::

    python packages/sru-nn/tests/golden/replay.py
"""

from __future__ import annotations

import copy
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from sru_nn import SRU, SRUCell

FOLDER = Path(__file__).parent
make_custom_m = runpy.run_path(str(FOLDER / "transforms.py"))["make_custom_m"]

Case = dict[str, Any]


def load_cases() -> list[Case]:
    """Read what `make_sru_2_6_0.py` wrote."""
    return torch.load(FOLDER / "sru_2_6_0.pt", weights_only=True)["cases"]


def replay(case: Case) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the name of each result, what this package computes, and what `sru` 2.6.0 computed."""
    model = build(case)
    x = case["x"].clone().requires_grad_()
    c0 = None if case["c0"] is None else case["c0"].clone().requires_grad_()
    given, order = x, slice(None)
    if case["form"] == "packed":  # the cells see the batch sorted by length
        given = pack_padded_sequence(x, case["lengths"], enforce_sorted=False)
        order = given.sorted_indices
    masks = iter(case["dropout_masks"])
    with patch.object(SRUCell, "_variational_mask", lambda *_: next(masks)[order]):
        h, c = model(given, c0, mask_pad=case["mask"])
    assert next(masks, None) is None, "fewer dropout masks were drawn than by sru 2.6.0"
    if isinstance(h, PackedSequence):
        h = pad_packed_sequence(h)[0]
    yield "output", h, case["h"]
    yield "state", c, case["c"]

    torch.autograd.backward([h, c], [case["grad_h"], case["grad_c"]])
    yield "gradient of the input", x.grad, case["grad_x"]
    if c0 is not None:
        yield "gradient of the initial state", c0.grad, case["grad_c0"]
    # The gradients go the way of the weights: through load_state_dict, into a twin.
    expected = copy.deepcopy(model)
    expected.load_state_dict(case["gradients"])
    for (name, parameter), gradient in zip(model.named_parameters(), expected.parameters(), strict=True):
        actual = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        yield f"gradient of {name}", actual, gradient.detach()


def build(case: Case) -> SRU:
    """Build the case's module with the weights that the old package had."""
    plain = SRU(**case["arguments"])
    sizes = [(cell.input_size, cell.output_size, cell.num_matrices) for cell in plain.rnn_lst]
    model = SRU(**case["arguments"], custom_m=make_custom_m(case["custom"], sizes)).double()
    model.load_state_dict(case["state_dict"])
    return model


OPTIONS: dict[str, Callable[[Case], bool]] = {
    "all": lambda case: True,
    "one direction": lambda case: not case["arguments"]["bidirectional"],
    "two directions": lambda case: case["arguments"]["bidirectional"],
    "one layer": lambda case: case["arguments"]["num_layers"] == 1,
    "two or three layers": lambda case: case["arguments"]["num_layers"] > 1,
    "`projection_size`": lambda case: case["arguments"]["projection_size"] > 0,
    "`dropout`": lambda case: case["arguments"]["dropout"] > 0,
    "`rnn_dropout`": lambda case: case["arguments"]["rnn_dropout"] > 0,
    "`layer_norm` before": lambda case: (
        case["arguments"]["layer_norm"] and not case["arguments"]["normalize_after"]
    ),
    "`layer_norm` after": lambda case: (
        case["arguments"]["layer_norm"] and case["arguments"]["normalize_after"]
    ),
    "`use_tanh`": lambda case: case["arguments"]["use_tanh"],
    "`highway_bias`": lambda case: case["arguments"]["highway_bias"] != 0,
    "no skip term": lambda case: not case["arguments"]["has_skip_term"],
    "`rescale`": lambda case: case["arguments"]["rescale"],
    "no `rescale`": lambda case: not case["arguments"]["rescale"],
    "`v1`": lambda case: case["arguments"]["v1"],
    "`proj_input_to_hidden_first`": lambda case: case["arguments"]["proj_input_to_hidden_first"],
    "`nn_rnn_compatible_return`": lambda case: case["arguments"]["nn_rnn_compatible_return"],
    "`custom_m` returning u": lambda case: case["custom"] == "u",
    "`custom_m` returning u and v": lambda case: case["custom"] == "uv",
    "`mask_pad`": lambda case: case["form"] == "mask",
    "`PackedSequence`": lambda case: case["form"] == "packed",
    "initial state": lambda case: case["c0"] is not None,
}


def main() -> None:
    """Print the largest differences by option."""
    rows = []
    for case in load_cases():
        worst = {"output": 0.0, "state": 0.0, "gradient": 0.0}
        for name, actual, expected in replay(case):
            kind = name.split()[0]
            worst[kind] = max(worst[kind], float((actual - expected).detach().abs().max()))
        rows.append((case, worst))
    print("| option | cases | outputs | final states | gradients |\n| --- | --- | --- | --- | --- |")
    for option, has in OPTIONS.items():
        chosen = [worst for case, worst in rows if has(case)]
        figures = [f"{max(worst[kind] for worst in chosen):.1e}" for kind in ("output", "state", "gradient")]
        print(f"| {option} | {len(chosen)} | " + " | ".join(figures) + " |")


if __name__ == "__main__":
    main()
