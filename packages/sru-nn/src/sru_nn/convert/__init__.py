"""Old checkpoints of `sru`, rewritten in the layout of this package.

`load_state_dict` reads old state dicts as they are; this is for keeping them, and for finding out how the
module of a checkpoint was made. `python -m sru_nn.convert OLD NEW` does it with files.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sru_nn.checkpoints.architecture import CellState
from sru_nn.checkpoints.describe import Found, describe, find_cells, is_narrow, is_srupp
from sru_nn.checkpoints.errors import ConversionError
from sru_nn.checkpoints.layouts import (
    arrange_srupp_transform,
    merge_projection,
    read_cell_state,
    rename_srupp_transform,
)

__all__ = ["ConversionError", "Found", "convert"]


def convert(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Found]]:
    """Rewrite every `SRU`, `SRUpp` and `SRUCell` of a state dict in the layout of this package.

    Args:
        state_dict: The entries of any model. It is left as it is; entries of no SRU are returned unchanged.

    Returns:
        The new entries, and what was found.

    Raises:
        ConversionError: There is no SRU, or the sizes of one contradict each other.
    """
    new = dict(state_dict)
    found = []
    for stack, cells in find_cells(new).items():
        found.append(describe(new, stack, cells))
        for prefix, state in cells.items():
            _convert_cell(new, prefix, state)
    if not found:
        raise ConversionError("there is no SRU in it: nothing has the entries weight_c and bias of a layer")
    return new, found


def _convert_cell(state_dict: dict[str, Tensor], prefix: str, state: CellState) -> None:
    try:
        if is_srupp(state.transform) and rename_srupp_transform(state_dict, prefix):
            arrange_srupp_transform(state_dict, prefix, state.output_size)
        read_cell_state(state_dict, prefix, state.output_size, custom=bool(state.transform))
    except RuntimeError as error:
        raise ConversionError(f"{prefix[:-1]}: {error}") from None
    if state.projection_size and not is_narrow(state):
        merge_projection(state_dict, prefix)
