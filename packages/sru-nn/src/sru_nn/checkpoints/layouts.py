"""The layouts of state dicts of the `sru` package, and their conversion to the layout of this one.

The names of the entries distinguish three layouts of a layer's projection. The version that `state_dict`
stores with the tensors (`SRUCell._version`) cannot be used for this, because other file formats lose it; it
only indicates a state dict that is newer than this package.

- `sru` 2.x: `weight`, and `weight_proj` if there are two matrices; inputs × outputs, gates innermost.
- `sru` 3.0.0.dev: `transform_module.weight`, or `transform_module.0.weight` and `transform_module.1.weight`;
  outputs × inputs, gates innermost.
- `sru_nn`: `transform.weight`, or `transform.down.weight` and `transform.up.weight`; outputs × inputs, gates
  outermost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from sru_nn.arguments import check_tensor

# Prefixes that wrappers add to every name: nn.DataParallel and DistributedDataParallel, torch.compile.
WRAPPERS = ("module.", "_orig_mod.")
# The names of the two matrices of a projection, in `sru` 3 and in this package.
_PARTS = {"0.weight": "down.weight", "1.weight": "up.weight"}
# The matrices among the entries of a cell, in any layout.
_MATRICES = (
    *("weight", "weight_proj", "transform_module.weight", "transform_module.0.weight"),
    *("transform_module.1.weight", "transform.weight", "transform.down.weight", "transform.up.weight"),
    *(f"{home}.linear{i}.weight" for home in ("transform_module", "transform") for i in (1, 2, 3)),
)


def is_dense(value: object) -> bool:
    """Return whether a value is a dense tensor, neither nested nor quantized."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and not (value.is_nested or value.is_quantized)
    )


def shortened(name: object, limit: int = 80) -> str:
    """Return the name of an entry in printable form, truncated if it is long."""
    text = str(name).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def strip_wrappers(state_dict: dict[str, Any], prefix: str = "") -> str:
    """Strip wrapper prefixes in place from the entries below `prefix`, if all have the same one.

    Returns:
        The stripped prefix, for example `"module."`; empty if there was none.
    """
    names = [name.removeprefix(prefix) for name in state_dict if name.startswith(prefix)]
    for wrapper in WRAPPERS:
        if names and all(name.startswith(wrapper) for name in names):
            for name in names:
                state_dict[prefix + name.removeprefix(wrapper)] = state_dict.pop(prefix + name)
            return wrapper + strip_wrappers(state_dict, prefix)
    return ""


def read_cell(
    state_dict: dict[str, Any], prefix: str, *, custom: bool = False, output_size: int | None = None
) -> str | None:
    """Convert the entries of an `sru` cell in place to the layout of this package; leave others unchanged.

    A projection of two matrices that is not narrower than both its ends saves nothing. `sru` 3.0.0.dev builds
    it anyway; this package and `sru` 2.x build one matrix, so the two are multiplied.

    Args:
        state_dict: The entries.
        prefix: The prefix of this cell's names.
        custom: Whether the cell has a custom transform, whose names may be the same as in `sru`.
        output_size: N·D, for entries without `bias` and `weight_c`.

    Returns:
        The version that saved the entries: `"sru 2"`, `"sru 3"` or `"sru_nn"`; None if undetermined.

    Raises:
        RuntimeError: An entry is not a tensor, or has a shape that no layer has.
    """
    for name, value in state_dict.items():
        if name.startswith(prefix) and not name.endswith("_extra_state"):
            _check_entry(name, value, 2 if name[len(prefix) :] in _MATRICES and not custom else None)
    for name in ("bias", "weight_c"):
        if prefix + name in state_dict:
            output_size = state_dict[prefix + name].numel() // 2
    old, new, saved_by = f"{prefix}transform_module.", f"{prefix}transform.", None
    if names := {name[len(old) :] for name in state_dict if name.startswith(old)}:
        saved_by = "sru 3"
        ours = not custom and (names in ({"weight"}, {*_PARTS}) or is_srupp(names))
        for name in names:
            home = new + _PARTS.get(name, name) if ours else f"{prefix}custom_m.{name}"
            state_dict[home] = state_dict.pop(old + name)
    elif f"{prefix}weight" in state_dict:
        saved_by, name = "sru 2", "weight"
        if f"{prefix}weight_proj" in state_dict:
            state_dict[f"{new}down.weight"] = state_dict.pop(f"{prefix}weight_proj").t().contiguous()
            name = "up.weight"
        state_dict[new + name] = state_dict.pop(f"{prefix}weight").t()
    last = last_matrix(state_dict, prefix)
    if last is not None and saved_by is not None and output_size is not None:
        state_dict[last] = gates_outermost(state_dict[last], output_size)
    down = state_dict.get(f"{new}down.weight")
    if down is not None and last is not None and down.shape[0] >= min(down.shape[1], output_size or 0) > 0:
        product = state_dict[last].to(torch.float64) @ down.to(torch.float64)
        state_dict[f"{new}weight"] = product.to(down.dtype)
        del state_dict[last], state_dict[f"{new}down.weight"]
    return "sru_nn" if last is not None and saved_by is None else saved_by


def _check_entry(name: str, value: object, axes: int | None) -> None:
    try:
        check_tensor("the state dict", shortened(name), value)
    except TypeError as error:
        raise RuntimeError(str(error)) from None
    if axes is not None and isinstance(value, Tensor) and value.dim() != axes:
        raise RuntimeError(
            f"the state dict: {shortened(name)} must have {axes} axes, got {tuple(value.shape)}"
        )


def is_srupp(names: Collection[str]) -> bool:
    """Return whether a transform with entries of these names is that of an SRU++ layer."""
    known = {"linear1.weight", "linear2.weight", "linear3.weight", "alpha"}
    known |= {"layer_norm.weight", "layer_norm.bias"}
    return {"linear1.weight", "linear2.weight"} <= set(names) <= known


def last_matrix(state_dict: Mapping[str, Any], prefix: str) -> str | None:
    """Find the name of the matrix that computes a cell's pre-activations, in the layout of this package."""
    names = (f"{prefix}transform.{part}weight" for part in ("linear3.", "linear2.", "up.", ""))
    return next((name for name in names if name in state_dict), None)


def gates_outermost(weight: Tensor, output_size: int) -> Tensor:
    """Reorder the rows of a projection from gates innermost, `(N·D·K, E)`, to gates outermost, `(K·N·D, E)`.

    Raises:
        RuntimeError: The number of rows is not a multiple of N·D.
    """
    if weight.dim() != 2 or not output_size or weight.shape[0] % output_size:
        raise RuntimeError(
            f"the projection of a state dict of sru must have (N·D·K, E) entries, N·D = {output_size}, "
            f"got {tuple(weight.shape)}"
        )
    return weight.reshape(output_size, -1, weight.shape[1]).transpose(0, 1).reshape(weight.shape)
