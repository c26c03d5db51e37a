"""What a state dict says about the module it was saved by, and where that differs from another module."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn

from sru_nn.checkpoints.layouts import is_builtin


class CellState(NamedTuple):
    """What the entries of one cell say; None where they say nothing."""

    saved_by: str | None
    """`"sru 2"`, `"sru 3"` or `"sru_nn"`, by the names of the projection; None for a custom transform."""
    output_size: int
    """N·D; the shapes do not tell how many directions share it."""
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
    """Whether any recurrent vector differs from zero."""
    has_bias: bool | None
    """Whether any bias differs from zero."""
    transform: tuple[str, ...]
    """The names of the entries of a custom transform."""

    @property
    def highway_bias(self) -> float | None:
        """The initial bias from which `rescale` took this factor; None if the highway was not scaled."""
        if self.scale_x is None or self.scale_x <= 1.0:
            return None
        return round(math.log((self.scale_x**2 - 1) / 2), 4) + 0.0

    @property
    def is_narrow(self) -> bool:
        """Whether two matrices save anything here; where they do not, this package makes one of them."""
        width, inputs = self.projection_size or 0, self.input_size or 0
        return 0 < width < min(inputs, self.output_size)


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
        has_vectors=_any(vectors),
        has_bias=_any(bias),
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


def _any(tensor: Tensor | None) -> bool | None:
    return bool(tensor.any()) if tensor is not None and _has_values(tensor) else None


def _matrix(own: Mapping[str, Any], name: str, dim: int = 2) -> Tensor | None:
    tensor = own.get(name)
    return tensor if isinstance(tensor, Tensor) and tensor.dim() == dim else None


def _has_values(tensor: Tensor) -> bool:
    """Return whether a tensor is an ordinary one: neither on the meta device nor fake nor distributed."""
    return type(tensor) in (Tensor, nn.Parameter) and not tensor.is_meta


def told(saved: CellState, input_size: int | None = None) -> dict[str, Any]:
    """Return the arguments that the entries of a cell tell, with their values, in the order to compare them.

    Args:
        saved: The entries.
        input_size: E, where they do not tell it.
    """
    arguments: dict[str, Any] = {}
    output_size = saved.output_size
    if saved.num_matrices is not None:
        input_size = arguments["input_size"] = saved.input_size
        if saved.num_matrices == 4 or (saved.num_matrices == 3 and input_size != output_size):
            arguments["has_skip_term"] = saved.num_matrices == 4
        arguments["projection_size"] = saved.projection_size if saved.is_narrow else 0
    if saved.saved_by is not None or saved.transform:
        arguments["layer_norm"] = saved.layer_norm is not None
    if saved.layer_norm in (input_size, output_size) and input_size not in (None, output_size):
        arguments["normalize_after"] = saved.layer_norm == output_size
    if saved.has_vectors:
        arguments["v1"] = False
    if saved.has_bias:
        arguments["bias"] = True
    return arguments


def check_version(name: str, own: int, metadata: Mapping[str, Any], prefix: str) -> None:
    """Raise if a newer version of a module than this one saved its entries."""
    saved = metadata.get("version") or 1
    if saved > own:
        raise RuntimeError(
            f"{prefix or name}: the state dict is of version {saved} of {name}, this package knows none "
            f"after {own}; install a newer sru-nn"
        )


def check_stack(stack: Mapping[str, Any], state_dict: Mapping[str, Any], prefix: str) -> None:
    """Raise if a state dict holds a stack with another number of layers or another first map.

    Args:
        stack: The arguments of this stack by their names.
        state_dict: The entries.
        prefix: What the names of this stack begin with.
    """
    pattern = re.compile(re.escape(prefix) + r"rnn_lst\.(\d+)\.")
    layers = {int(match[1]) for name in state_dict if (match := pattern.match(name))}
    if not layers:
        return
    if max(layers) + 1 != stack["num_layers"]:
        _refuse(prefix, "num_layers", stack["num_layers"], max(layers) + 1)
    first = describe_cell(state_dict, f"{prefix}rnn_lst.0.")
    if first is not None:
        _check_hidden_size(stack, first.output_size, prefix)
    weight, name = state_dict.get(f"{prefix}input_to_hidden.weight"), "proj_input_to_hidden_first"
    if first is None or (weight is not None) == stack[name]:
        if weight is not None and weight.dim() == 2 and weight.shape[1] != stack["input_size"]:
            _refuse(prefix, "input_size", stack["input_size"], weight.shape[1])
    elif weight is not None:
        _refuse(prefix, name, False, True, f"{name}=True and input_size={weight.shape[1]}")
    elif first.input_size not in (first.output_size, None):
        _refuse(prefix, name, True, False)


def check_cell(cell: Mapping[str, Any], state_dict: Mapping[str, Any], prefix: str) -> None:
    """Raise if a state dict holds a cell built with other arguments than this one.

    Args:
        cell: The arguments of this cell by their names, `custom_m` by the name of its class.
        state_dict: The entries.
        prefix: What the names of this cell begin with.

    Raises:
        RuntimeError: Names the first argument that differs, and both values.
    """
    saved = describe_cell(state_dict, prefix)
    if saved is None:
        return
    _check_hidden_size(cell, saved.output_size, prefix)
    if cell["custom_m"] is None and saved.transform:
        entries = ", ".join(saved.transform[:3])
        _refuse(prefix, "custom_m", None, f"a module with {entries}", "custom_m=<that module>")
    if cell["custom_m"] is not None and saved.saved_by in ("sru 2", "sru_nn"):
        _refuse(prefix, "custom_m", cell["custom_m"], None)
    for name, value in told(saved, cell["input_size"]).items():
        if cell[name] != value and (cell["custom_m"] is None or name not in _PROJECTION):
            alias = "n_proj" if name == "projection_size" and "rnn_lst." not in prefix else name
            _refuse(prefix, alias, cell[name], value)
    # Only a highway of the input itself is scaled.
    if saved.scale_x is not None and cell["has_skip_term"] and cell["num_matrices"] == 3:
        eps = torch.finfo(state_dict[f"{prefix}scale_x"].dtype).eps
        tolerance = max(1e-5, 4 * eps)  # a module in half precision rounds it
        if not math.isclose(saved.scale_x, cell["scale_x"], rel_tol=tolerance):
            _refuse_scale(cell, saved.highway_bias, prefix)


_PROJECTION = ("input_size", "has_skip_term", "projection_size")


def check_srupp_transform(cell: Mapping[str, Any], state_dict: Mapping[str, Any], prefix: str) -> None:
    """Raise if the entries of an SRU++ cell, named as in `SRUppCell`, are those of one built otherwise."""
    own = {name[len(prefix) :]: value for name, value in state_dict.items() if name.startswith(prefix)}
    first, attention = _matrix(own, "transform.linear1.weight"), _matrix(own, "transform.linear3.weight")
    last = attention if attention is not None else _matrix(own, "transform.linear2.weight")
    saved = describe_cell(state_dict, prefix)
    if first is None or last is None or saved is None:
        return
    _check_hidden_size(cell, saved.output_size, prefix)
    same_gates = last.shape[0] == cell["num_matrices"] * saved.output_size
    remedy = "the attention_every_n_layers or attention_last_n_layers that the saved one had"
    theirs = {
        "attention": attention is not None,
        "input_size": first.shape[1],
        "proj_size": first.shape[0],
        "attn_layer_norm": "transform.layer_norm.weight" in own,
        "has_skip_term": cell["has_skip_term"] == same_gates,
        "layer_norm": saved.layer_norm is not None,
    }
    for name, value in theirs.items():
        if cell[name] != value:
            _refuse(prefix, name, cell[name], value, remedy if name == "attention" else None)


def _check_hidden_size(module: Mapping[str, Any], saved: int, prefix: str) -> None:
    size, directions = module["hidden_size"], module["num_directions"]
    if saved == directions * size:
        return
    if directions == 1 and saved == 2 * size:
        remedy = f"bidirectional=True, or in one direction hidden_size={saved}"
        _refuse(prefix, "bidirectional", False, True, remedy)
    if directions == 2 and saved == size:
        remedy = f"bidirectional=False, or in two directions hidden_size={saved // 2}"
        _refuse(prefix, "bidirectional", True, False, remedy if saved % 2 == 0 else None)
    if saved % directions:
        _refuse(prefix, "hidden_size", size, saved, f"hidden_size={saved} and bidirectional=False")
    _refuse(prefix, "hidden_size", size, saved // directions)


def _refuse_scale(cell: Mapping[str, Any], bias: float | None, prefix: str) -> NoReturn:
    if bias is None:
        _refuse(prefix, "rescale", True, False)
    if not cell["rescale"]:
        _refuse(prefix, "rescale", False, True, f"rescale=True and highway_bias={bias:g}")
    _refuse(prefix, "highway_bias", f"{cell['highway_bias']:g}", f"{bias:g}")


def _refuse(prefix: str, field: str, ours: object, theirs: object, remedy: str | None = None) -> NoReturn:
    where = f"{prefix[:-1]}: " if prefix else ""
    raise RuntimeError(
        f"{where}{field}: this module has {ours}, the state dict {theirs}; "
        f"build it with {remedy or f'{field}={theirs}'}"
    )
