"""State dicts of the `sru` package, read into the modules of this one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from sru_nn.modules.sru_cell import SRUCell


def upgrade_sru_2_state(cell: SRUCell, state_dict: dict[str, Any], prefix: str) -> None:
    """Replace, in place, the entries of an `sru` 2.x cell by those of `SRUCell`; leave others alone.

    `sru` 2.x keeps `weight` as `(inputs, N·D·K)` with the gates innermost and `weight_proj` as
    `(E, projection)`, both to be multiplied from the right; `nn.Linear` keeps `(outputs, inputs)`, here
    with the gates outermost. Its buffer `scale_x` follows from the constructor's arguments in this package.

    Raises:
        ValueError: The entries belong to a cell built with other arguments.
    """
    if f"{prefix}scale_x" in state_dict:
        saved = float(state_dict.pop(f"{prefix}scale_x"))
        if cell.rescale and not math.isclose(saved, cell.scale_x, rel_tol=1e-5):
            raise ValueError(
                f"{prefix}scale_x: this module scales the highway by {cell.scale_x:.6g} (highway_bias = "
                f"{cell.highway_bias}), the state dict by {saved:.6g}; build the module with the "
                "highway_bias that the saved one had"
            )
    if f"{prefix}weight" not in state_dict:
        return
    linear_prefix = f"{prefix}transform."
    if f"{prefix}weight_proj" in state_dict:
        state_dict[f"{linear_prefix}down.weight"] = state_dict.pop(f"{prefix}weight_proj").t().contiguous()
        linear_prefix += "up."
    weight: Tensor = state_dict.pop(f"{prefix}weight")
    if weight.dim() != 2 or weight.shape[1] != cell.num_matrices * cell.output_size:
        raise ValueError(
            f"{prefix}weight: expected (inputs, N·D·K) with N·D·K = {cell.output_size}·{cell.num_matrices}, "
            f"got {tuple(weight.shape)}; build the module with the sizes that the saved one had"
        )
    gate_major = weight.view(-1, cell.output_size, cell.num_matrices).permute(2, 1, 0)
    state_dict[f"{linear_prefix}weight"] = gate_major.reshape(cell.num_matrices * cell.output_size, -1)
