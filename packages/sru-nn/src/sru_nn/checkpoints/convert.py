"""Old checkpoints of `sru`, rewritten in the layout of this package."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sru_nn.checkpoints.describe import ConversionError, Found, describe, find_cells, is_srupp
from sru_nn.checkpoints.layouts import read_cell_state, read_srupp_transform


def convert(state_dict: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Found]]:
    """Rewrite every `SRU`, `SRUpp` and `SRUCell` of a state dict in the layout of this package.

    Args:
        state_dict: The entries of any model. It stays as it is; entries of other modules are returned
            unchanged.

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
            try:
                if is_srupp(state.transform):
                    read_srupp_transform(new, prefix, state.output_size)
                read_cell_state(new, prefix, state.output_size, custom=bool(state.transform))
            except RuntimeError as error:
                raise ConversionError(f"{prefix[:-1]}: {error}") from None
    if not found:
        raise ConversionError("there is no SRU in it: nothing has the entries weight_c and bias of a layer")
    return new, found
