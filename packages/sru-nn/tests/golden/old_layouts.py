"""State dicts of this package in the layouts of the old ones, for the tests to read back."""

from __future__ import annotations

import re

import torch
from torch import Tensor


def as_sru_2(state_dict: dict[str, Tensor], scale_x: Tensor | None = None) -> dict[str, Tensor]:
    """Return a state dict as `sru` 2.x would have saved it, with `scale_x` in each layer if it is given."""
    names = {
        "transform.weight": "weight",
        "transform.up.weight": "weight",
        "transform.down.weight": "weight_proj",
    }
    old = _renamed(state_dict, names)
    for name in list(old):
        if re.search(r"(^|\.)(weight|weight_proj)$", name) and "layer_norm" not in name and "_m." not in name:
            old[name] = old[name] if "input_to_hidden" in name else old[name].t()
        if scale_x is not None and re.search(r"(^|\.)bias$", name) and "layer_norm" not in name:
            old[name.removesuffix("bias") + "scale_x"] = scale_x
    return old


def as_sru_3(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict as `sru` 3.0.0.dev6 would have saved it, without `scale_x`."""
    names = {
        "transform.weight": "transform_module.weight",
        "transform.down.weight": "transform_module.0.weight",
        "transform.up.weight": "transform_module.1.weight",
    }
    return {
        name.replace("custom_m.", "transform_module."): value
        for name, value in _renamed(state_dict, names).items()
    }


def _renamed(state_dict: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    """Rename the entries of the projections, their gates brought innermost."""
    found = {}
    for name, value in state_dict.items():
        match = re.fullmatch(r"(.*?)(transform\..*)", name)
        if match is None:
            found[name] = value
        elif match[2] == "transform.down.weight":
            found[match[1] + names[match[2]]] = value
        else:
            size = state_dict[f"{match[1]}bias"].numel() // 2
            gates = value.shape[0] // size
            innermost = torch.stack([value[k * size : (k + 1) * size] for k in range(gates)], dim=1)
            found[match[1] + names[match[2]]] = innermost.reshape(value.shape)
    return found
