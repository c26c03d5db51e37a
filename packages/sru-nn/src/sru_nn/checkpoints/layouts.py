"""State dicts of the `sru` package, read into the modules of this one.

Three layouts of a layer's projection are told apart by their names. The metadata that `state_dict` keeps
beside the tensors (`SRUCell._version`) cannot do it, as it is lost on the way through other formats; it only
says when a state dict is newer than this package.

- `sru` 2.x: `weight`, and `weight_proj` if there are two matrices; inputs × outputs, gates innermost.
- `sru` 3.0.0.dev: `transform_module.weight`, or `transform_module.0.weight` and `transform_module.1.weight`;
  outputs × inputs, gates innermost.
- `sru_nn`: `transform.weight`, or `transform.down.weight` and `transform.up.weight`; outputs × inputs, gates
  outermost.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Prefixes that wrappers add to every name: nn.DataParallel and DistributedDataParallel, torch.compile.
WRAPPERS = ("module.", "_orig_mod.")


def strip_wrappers(state_dict: dict[str, Any], prefix: str = "") -> str:
    """Strip, in place, the names of wrappers from entries below a prefix that all begin with them.

    Returns:
        What was stripped, for example `"module."`; empty if there was nothing.
    """
    taken = ""
    while True:
        names = [name for name in state_dict if name.startswith(prefix)]
        common = [w for w in WRAPPERS if names and all(n.startswith(prefix + w) for n in names)]
        if not common:
            return taken
        taken += common[0]
        for name in names:
            state_dict[prefix + name[len(prefix) + len(common[0]) :]] = state_dict.pop(name)


def is_builtin(names: set[str]) -> bool:
    """Return whether the entries of these names in `transform_module` are the projection of `sru` 3."""
    return names in ({"weight"}, {"0.weight", "1.weight"})


def read_cell_state(
    state_dict: dict[str, Any], prefix: str, output_size: int, *, custom: bool = False
) -> None:
    """Replace, in place, the entries of an `sru` cell by those of `SRUCell`; leave others alone.

    Args:
        state_dict: The entries.
        prefix: What the names of this cell begin with.
        output_size: N·D.
        custom: Whether the cell has a transform of the user's own, whose entries only change their name.

    The buffer `scale_x` is dropped: in this package it follows from the constructor's arguments. A projection
    of two matrices that is not narrower than both its ends saves nothing; `sru` 3.0.0.dev makes it all the
    same, while this package and `sru` 2.x make one matrix, so that the two are multiplied.
    """
    state_dict.pop(f"{prefix}scale_x", None)
    old = f"{prefix}transform_module."
    if custom:
        _rename(state_dict, old, f"{prefix}custom_m.")
        return
    down, up = state_dict.pop(f"{old}0.weight", None), state_dict.pop(f"{old}1.weight", None)
    if up is None:
        up = state_dict.pop(f"{old}weight", None)
    if up is None and f"{prefix}weight" in state_dict:
        up = state_dict.pop(f"{prefix}weight").t()
        down = state_dict.pop(f"{prefix}weight_proj", None)
        down = None if down is None else down.t().contiguous()
    one, first, last = (f"{prefix}transform{part}.weight" for part in ("", ".down", ".up"))
    if up is not None and down is None:
        state_dict[one] = gates_outermost(up, output_size)
    elif up is not None:
        state_dict |= {first: down, last: gates_outermost(up, output_size)}
    down, up = state_dict.get(first), state_dict.get(last)
    if down is not None and up is not None and down.shape[0] >= min(down.shape[1], output_size):
        del state_dict[first], state_dict[last]
        state_dict[one] = (up.to(torch.float64) @ down.to(torch.float64)).to(up.dtype)


def read_srupp_transform(state_dict: dict[str, Any], prefix: str, output_size: int) -> None:
    """Replace, in place, the entries of the transform of an SRU++ cell of `sru` by those of `SRUppCell`."""
    if not _rename(state_dict, f"{prefix}transform_module.", f"{prefix}transform."):
        return
    last = f"{prefix}transform.linear3.weight"
    if last not in state_dict:
        last = f"{prefix}transform.linear2.weight"
    if last in state_dict:
        state_dict[last] = gates_outermost(state_dict[last], output_size)


def _rename(state_dict: dict[str, Any], old: str, new: str) -> bool:
    names = [name for name in state_dict if name.startswith(old)]
    for name in names:
        state_dict[new + name[len(old) :]] = state_dict.pop(name)
    return bool(names)


def gates_outermost(weight: Tensor, output_size: int) -> Tensor:
    """Bring the rows of a projection from gates innermost, `(N·D·K, E)`, to gates outermost, `(K·N·D, E)`.

    Raises:
        RuntimeError: The number of rows is not a multiple of N·D.
    """
    if weight.dim() != 2 or weight.shape[0] % output_size:
        raise RuntimeError(
            f"the projection of a state dict of sru must have (N·D·K, E) entries, N·D = {output_size}, "
            f"got {tuple(weight.shape)}"
        )
    return weight.reshape(output_size, -1, weight.shape[1]).transpose(0, 1).reshape(weight.shape)
