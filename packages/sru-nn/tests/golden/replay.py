"""Run the recorded cases of `SRU` and `SRUCell` of the old `sru` versions through this package.

Run as a program it prints the table of `docs/guides/parity-with-sru.md`::

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


VERSIONS = ("2.3.5", "2.6.0", "3.0.0.dev6")
# Where 3.0.0.dev6 chose defaults that are not those of 2.6.0 and change a result.
DEFAULTS = {"3.0.0.dev6": {"SRUCell": {"rescale": False, "normalize_after": True}}}
# What the arguments of a case need not say.
UNSAID = dict.fromkeys(("projection_size", "rescale", "normalize_after", "nn_rnn_compatible_return"), False)
UNSAID |= {"num_layers": 1, "proj_input_to_hidden_first": False}


def load_cases(version: str) -> list[Case]:
    """Read what `make_sru.py` or `make_sru_3_0_0_dev6.py` wrote, of `SRU` and `SRUCell`."""
    cases = torch.load(FOLDER / f"sru_{version.replace('.', '_')}.pt", weights_only=True)["cases"]
    changed = DEFAULTS.get(version, {})
    found = []
    for case in cases:
        kind = case.get("module", "SRU")
        if kind in ("SRU", "SRUCell"):
            arguments = changed.get(kind, {}) | case["arguments"]
            found.append(
                case
                | {"module": kind, "version": version, "arguments": arguments, "options": UNSAID | arguments}
            )
    return found


def replay(case: Case) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the name of each result, what this package computes, and what the old one computed."""
    model = build(case)
    x = case["x"].clone().requires_grad_()
    c0 = None if case["c0"] is None else case["c0"].clone().requires_grad_()
    given = x
    if case["form"] == "packed":
        given = pack_padded_sequence(x, case["lengths"], enforce_sorted=False)
    masks = iter(case["dropout_masks"])
    with patch.object(SRUCell, "_variational_mask", lambda *_: next(masks)):
        h, c = model(given, c0, mask_pad=case["mask"])
    assert next(masks, None) is None, "fewer dropout masks were drawn than by the old package"
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


def build(case: Case) -> SRU | SRUCell:
    """Build the case's module with the weights that the old package had."""
    kind = {"SRU": SRU, "SRUCell": SRUCell}[case["module"]]
    plain = kind(**case["arguments"])
    cells = [plain] if kind is SRUCell else plain.rnn_lst
    custom = make_custom_m(case["custom"], [(c.input_size, c.output_size, c.num_matrices) for c in cells])
    if custom is not None and kind is SRUCell:
        custom = custom[0]
    model = kind(**case["arguments"], custom_m=custom).double()
    model.load_state_dict(case["state_dict"])
    return model


OPTIONS: dict[str, Callable[[Case], bool]] = {
    "all": lambda case: True,
    "`sru` 2.3.5": lambda case: case["version"] == "2.3.5",
    "`sru` 2.6.0": lambda case: case["version"] == "2.6.0",
    "`sru` 3.0.0.dev6": lambda case: case["version"] == "3.0.0.dev6",
    "`SRUCell`": lambda case: case["module"] == "SRUCell",
    "one direction": lambda case: not case["options"]["bidirectional"],
    "two directions": lambda case: case["options"]["bidirectional"],
    "one layer": lambda case: case["options"]["num_layers"] == 1,
    "two or three layers": lambda case: case["options"]["num_layers"] > 1,
    "`projection_size`": lambda case: case["options"]["projection_size"] > 0,
    "`dropout`": lambda case: case["options"]["dropout"] > 0,
    "`rnn_dropout`": lambda case: case["options"]["rnn_dropout"] > 0,
    "`layer_norm` before": lambda case: (
        case["options"]["layer_norm"] and not case["options"]["normalize_after"]
    ),
    "`layer_norm` after": lambda case: case["options"]["layer_norm"] and case["options"]["normalize_after"],
    "`use_tanh`": lambda case: case["options"]["use_tanh"],
    "`highway_bias`": lambda case: case["options"]["highway_bias"] != 0,
    "no skip term": lambda case: not case["options"]["has_skip_term"],
    "`rescale`": lambda case: case["options"]["rescale"],
    "no `rescale`": lambda case: not case["options"]["rescale"],
    "`v1`": lambda case: case["options"]["v1"],
    "`proj_input_to_hidden_first`": lambda case: case["options"]["proj_input_to_hidden_first"],
    "`nn_rnn_compatible_return`": lambda case: case["options"]["nn_rnn_compatible_return"],
    "`custom_m` returning u": lambda case: case["custom"] == "u",
    "`custom_m` returning u and v": lambda case: case["custom"] == "uv",
    "`mask_pad`": lambda case: case["form"] == "mask",
    "`PackedSequence`": lambda case: case["form"] == "packed",
    "initial state": lambda case: case["c0"] is not None,
}


def main() -> None:
    """Print the largest differences by option."""
    rows = []
    for case in [case for version in VERSIONS for case in load_cases(version)]:
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
