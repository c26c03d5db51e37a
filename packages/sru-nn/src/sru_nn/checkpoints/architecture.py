"""What a state dict says about the module it was saved by, and where that differs from another module."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from sru_nn.checkpoints.layouts import is_builtin

if TYPE_CHECKING:
    from sru_nn.cells.sru.layer import SRUCell
    from sru_nn.cells.srupp.layer import SRUppCell
    from sru_nn.stack import Stack


class CellState(NamedTuple):
    """What the entries of one cell say; None where they say nothing."""

    saved_by: str | None
    """`"sru 2"`, `"sru 3"` or `"sru_nn"`, by the names of the projection; None for a custom transform."""
    output_size: int
    """N·D: how many directions share it, the shapes do not say."""
    input_size: int | None
    """E."""
    num_matrices: int | None
    """K."""
    projection_size: int | None
    """The inner width of the projection, 0 for one matrix."""
    layer_norm: int | None
    """The width of the layer norm, None without one."""
    scale_x: float | None
    """The factor of the highway, which `sru` saves."""
    has_vectors: bool | None
    """Whether the recurrent vectors are other than zero."""
    transform: tuple[str, ...]
    """The names of the entries of a custom transform."""

    @property
    def highway_bias(self) -> float | None:
        """The value at which `rescale` chose this factor; None if the highway was not scaled."""
        if self.scale_x is None or self.scale_x <= 1.0:
            return None
        return round(math.log((self.scale_x**2 - 1) / 2), 4) + 0.0


def describe_cell(state_dict: Mapping[str, Any], prefix: str) -> CellState | None:
    """Read what the entries of one cell say, in any of the layouts; None if they are not those of a cell."""
    own = {name[len(prefix) :]: value for name, value in state_dict.items() if name.startswith(prefix)}
    bias, vectors = _matrix(own, "bias", 1), _matrix(own, "weight_c", 1)
    sizes = {tensor.numel() for tensor in (bias, vectors) if tensor is not None}
    if len(sizes) != 1 or (double := sizes.pop()) % 2 or not double:
        return None
    output_size = double // 2
    saved_by, down, up, transform = _projection(own)
    norm, scale = _matrix(own, "layer_norm.weight", 1), own.get("scale_x")
    return CellState(
        saved_by,
        output_size,
        input_size=None if up is None else up.shape[1] if down is None else down.shape[1],
        num_matrices=None if up is None or up.shape[0] % output_size else up.shape[0] // output_size,
        projection_size=None if up is None else 0 if down is None else down.shape[0],
        layer_norm=None if norm is None else norm.numel(),
        scale_x=float(scale) if isinstance(scale, Tensor) and _has_values(scale) else None,
        has_vectors=bool(vectors.any()) if vectors is not None and _has_values(vectors) else None,
        transform=transform,
    )


def _projection(own: Mapping[str, Any]) -> tuple[str | None, Tensor | None, Tensor | None, tuple[str, ...]]:
    """Find who saved a cell, its two matrices as `(outputs, inputs)`, and the names of a custom transform."""
    if (weight := _matrix(own, "weight")) is not None:
        down = _matrix(own, "weight_proj")
        return "sru 2", None if down is None else down.t(), weight.t(), ()
    for name in ("transform", "transform.up"):
        if (weight := _matrix(own, f"{name}.weight")) is not None:
            return "sru_nn", _matrix(own, "transform.down.weight"), weight, ()
    old = "transform_module."
    names = {name[len(old) :] for name in own if name.startswith(old)}
    if is_builtin(names):
        last = "weight" if "weight" in names else "1.weight"
        return "sru 3", _matrix(own, f"{old}0.weight"), _matrix(own, old + last), ()
    custom = [name.removeprefix("custom_m.") for name in own if name.startswith("custom_m.")]
    return ("sru 3" if names else None), None, None, tuple(sorted(names or custom))


def _matrix(own: Mapping[str, Any], name: str, dim: int = 2) -> Tensor | None:
    tensor = own.get(name)
    return tensor if isinstance(tensor, Tensor) and tensor.dim() == dim else None


def _has_values(tensor: Tensor) -> bool:
    """Return whether a tensor is an ordinary one: neither on the meta device nor fake nor distributed."""
    return type(tensor) in (Tensor, nn.Parameter) and not tensor.is_meta


def check_version(module: nn.Module, metadata: Mapping[str, Any], prefix: str) -> None:
    """Raise if the entries were saved by a version of the module that is newer than this one."""
    saved, own = metadata.get("version") or 1, module._version
    if saved > own:
        name = type(module).__name__
        raise RuntimeError(
            f"{prefix or name}: the state dict is of version {saved} of {name}, this package knows none "
            f"after {own}; install a newer sru-nn"
        )


def check_stack(stack: Stack, state_dict: Mapping[str, Any], prefix: str) -> None:
    """Raise if the entries of a stack are those of one with another number of layers or another first map."""
    pattern = re.compile(re.escape(prefix) + r"rnn_lst\.(\d+)\.")
    layers = {int(match[1]) for name in state_dict if (match := pattern.match(name))}
    if not layers:
        return
    if max(layers) + 1 != stack.num_layers:
        _refuse(prefix, "num_layers", stack.num_layers, max(layers) + 1)
    first = describe_cell(state_dict, f"{prefix}rnn_lst.0.")
    if first is not None:
        _check_hidden_size(stack, first.output_size, prefix)
    weight = state_dict.get(f"{prefix}input_to_hidden.weight")
    if first is None or (weight is None) == (stack.input_to_hidden is None):
        if weight is not None and weight.dim() == 2 and weight.shape[1] != stack.input_size:
            _refuse(prefix, "input_size", stack.input_size, weight.shape[1])
        return
    if weight is None and first.input_size not in (stack.output_size, None):
        _refuse(prefix, "proj_input_to_hidden_first", True, False)
    if weight is not None:
        remedy = f"proj_input_to_hidden_first=True and input_size={weight.shape[1]}"
        _refuse(prefix, "proj_input_to_hidden_first", False, True, remedy)


def check_cell(cell: SRUCell, state_dict: Mapping[str, Any], prefix: str) -> CellState | None:
    """Raise if the entries of a cell are those of one built with other arguments.

    Returns:
        What the entries say, None if they are not those of a cell.

    Raises:
        RuntimeError: Names the first argument that differs, and both values.
    """
    saved = describe_cell(state_dict, prefix)
    if saved is None:
        return None
    _check_hidden_size(cell, saved.output_size, prefix)
    if cell.custom_m is None and saved.transform:
        entries = ", ".join(saved.transform[:3])
        _refuse(prefix, "custom_m", None, f"a module with {entries}", "custom_m=<that module>")
    if cell.custom_m is not None and saved.saved_by in ("sru 2", "sru_nn"):
        _refuse(prefix, "custom_m", type(cell.custom_m).__name__, None)
    if cell.custom_m is None and saved.num_matrices is not None:
        assert saved.input_size is not None
        _check_projection(cell, saved, prefix)
    _check_norm(cell, saved, prefix)
    if cell.v1 and saved.has_vectors:
        _refuse(prefix, "v1", True, False)
    _check_scale(cell, saved, state_dict.get(f"{prefix}scale_x"), prefix)
    return saved


def check_srupp_transform(cell: SRUppCell, state_dict: Mapping[str, Any], prefix: str) -> None:
    """Raise if the entries of the transform of an SRU++ cell are those of one built with other arguments.

    The names are those of `SRUppCell`.
    """
    own = {name[len(prefix) :]: value for name, value in state_dict.items() if name.startswith(prefix)}
    first, attention = _matrix(own, "transform.linear1.weight"), _matrix(own, "transform.linear3.weight")
    last = attention if attention is not None else _matrix(own, "transform.linear2.weight")
    transform, saved = cell.transform, describe_cell(state_dict, prefix)
    if first is None or last is None or saved is None:
        return
    _check_hidden_size(cell, saved.output_size, prefix)
    has_attention = hasattr(transform, "alpha")
    if has_attention != (attention is not None):
        remedy = "the attention_every_n_layers or attention_last_n_layers that the saved one had"
        _refuse(prefix, "attention", has_attention, not has_attention, remedy)
    if first.shape[1] != cell.input_size:
        _refuse(prefix, "input_size", cell.input_size, first.shape[1])
    if first.shape[0] != transform.proj_features:  # type: ignore[union-attr]
        _refuse(prefix, "proj_size", transform.proj_features, first.shape[0])  # type: ignore[union-attr]
    norm, saved_norm = transform.layer_norm is not None, "transform.layer_norm.weight" in own  # type: ignore[union-attr]
    if norm != saved_norm:
        _refuse(prefix, "attn_layer_norm", norm, saved_norm)
    if last.shape[0] != cell.num_matrices * cell.output_size:
        _refuse(prefix, "has_skip_term", cell.has_skip_term, not cell.has_skip_term)
    if (cell.layer_norm is not None) != (saved.layer_norm is not None):
        _refuse(prefix, "layer_norm", cell.layer_norm is not None, saved.layer_norm is not None)


def _check_hidden_size(module: Stack | SRUCell, saved: int, prefix: str) -> None:
    if saved == module.output_size:
        return
    directions, size = module.num_directions, module.hidden_size
    if saved == 2 * module.output_size and directions == 1:
        remedy = f"bidirectional=True, or in one direction hidden_size={saved}"
        _refuse(prefix, "bidirectional", False, True, remedy)
    if 2 * saved == module.output_size and directions == 2:
        remedy = f"bidirectional=False, or in two directions hidden_size={saved // 2}"
        _refuse(prefix, "bidirectional", True, False, remedy if saved % 2 == 0 else None)
    if saved % directions:
        _refuse(prefix, "hidden_size", size, saved, f"hidden_size={saved} and bidirectional=False")
    _refuse(prefix, "hidden_size", size, saved // directions)


def _check_projection(cell: SRUCell, saved: CellState, prefix: str) -> None:
    if saved.input_size != cell.input_size:
        _refuse(prefix, "input_size", cell.input_size, saved.input_size)
    if saved.num_matrices != cell.num_matrices and {saved.num_matrices, cell.num_matrices} == {3, 4}:
        _refuse(prefix, "has_skip_term", cell.has_skip_term, not cell.has_skip_term)
    if saved.projection_size != cell.projection_size and not is_redundant(cell, saved):
        name = "projection_size" if "rnn_lst." in prefix else "n_proj"
        _refuse(prefix, name, cell.projection_size, saved.projection_size)


def is_redundant(cell: SRUCell, saved: CellState) -> bool:
    """Return whether a projection of that width is none in a cell of these sizes."""
    width = saved.projection_size or 0
    return cell.projection_size == 0 and width >= min(cell.input_size, cell.output_size)


def _check_norm(cell: SRUCell, saved: CellState, prefix: str) -> None:
    if (cell.layer_norm is None) != (saved.layer_norm is None):
        if saved.saved_by is not None or cell.custom_m is not None:
            _refuse(prefix, "layer_norm", cell.layer_norm is not None, saved.layer_norm is not None)
    elif cell.layer_norm is not None:
        own = cell.output_size if cell.normalize_after else cell.input_size
        other = cell.input_size if cell.normalize_after else cell.output_size
        if saved.layer_norm != own and saved.layer_norm == other:
            _refuse(prefix, "normalize_after", cell.normalize_after, not cell.normalize_after)


def _check_scale(cell: SRUCell, saved: CellState, buffer: Any, prefix: str) -> None:
    """Compare the factor of the highway, where there is a highway to scale."""
    if saved.scale_x is None or not cell.has_skip_term or cell.num_matrices == 4:
        return
    tolerance = max(1e-5, 4 * torch.finfo(buffer.dtype).eps)  # a module in half precision rounds it
    if math.isclose(saved.scale_x, cell.scale_x, rel_tol=tolerance):
        return
    bias = saved.highway_bias
    if bias is None:
        _refuse(prefix, "rescale", True, False)
    if not cell.rescale:
        _refuse(prefix, "rescale", False, True, f"rescale=True and highway_bias={bias:g}")
    _refuse(prefix, "highway_bias", f"{cell.highway_bias:g}", f"{bias:g}")


def _refuse(prefix: str, field: str, ours: object, theirs: object, remedy: str | None = None) -> NoReturn:
    where = f"{prefix[:-1]}: " if prefix else ""
    raise RuntimeError(
        f"{where}{field}: this module has {ours}, the state dict {theirs}; "
        f"build it with {remedy or f'{field}={theirs}'}"
    )
