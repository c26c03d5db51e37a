"""Old checkpoints of `sru`, rewritten in the layout of this package."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sru_nn.checkpoints.architecture import describe_cell
from sru_nn.checkpoints.describe import ConversionError, Found, describe, find_cells
from sru_nn.checkpoints.layouts import read_cell


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
    for stack, prefixes in find_cells(new).items():
        layers, saved_by = [], None
        for prefix in prefixes:
            try:
                saved_by = read_cell(new, prefix) or saved_by
            except RuntimeError as error:
                raise ConversionError(f"{prefix[:-1]}: {error}") from None
            layers.append(describe_cell(new, prefix) | ({"alone": True} if prefix == stack else {}))
            new.pop(f"{prefix}scale_x", None)
        first_map = None if stack in prefixes else new.get(f"{stack}input_to_hidden.weight")
        found.append(describe(stack, saved_by, layers, first_map))
    if not found:
        raise ConversionError("there is no SRU in it: nothing has the entries weight_c and bias of a layer")
    return new, found
