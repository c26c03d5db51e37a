"""Anything but an ordinary tensor on the module's device is refused in one sentence, for every argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from sru_nn import SRU, GatedLinearRNN, SRUCell, SRUppAttention, SRUppCell, SRUppState

from .rows import ROWS, Row, rows

LENGTH, BATCH = 3, 2


def nested(tensor: Tensor) -> Tensor:
    return torch.nested.nested_tensor(list(tensor))


def jagged(tensor: Tensor) -> Tensor:
    return torch.nested.nested_tensor(list(tensor), layout=torch.jagged)


def mkldnn(tensor: Tensor) -> Tensor:
    return tensor.float().to_mkldnn()


def quantized(tensor: Tensor) -> Tensor:
    return torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.qint8)


WRONG: dict[str, Callable[[Tensor], Any]] = {
    "numpy": lambda tensor: tensor.numpy(),
    "list": Tensor.tolist,
    "str": str,
    "int": lambda tensor: 3,
    "dict": lambda tensor: {"x": tensor},
    "module": lambda tensor: nn.Identity(),
    "nested": nested,
    "jagged": jagged,
    "sparse": Tensor.to_sparse,
    "mkldnn": mkldnn,
    "quantized": quantized,
    "meta": lambda tensor: tensor.to("meta"),
    "complex": lambda tensor: tensor.to(torch.complex128),
    "int64": Tensor.long,
}
# Masks of other dtypes are valid: everything but zero is padding.
MASKS = {
    name: make for name, make in WRONG.items() if name not in ("complex", "int64", "mkldnn", "quantized")
}
pytestmark = pytest.mark.filterwarnings(
    "ignore:The PyTorch API of nested tensors:UserWarning",
    "ignore:torch.quantize_per_tensor:UserWarning",
    "ignore:Sparse .* tensor support is in beta state:UserWarning",
)


def refused(row: Row, call: Callable[[], Any]) -> None:
    """Expect a TypeError, or a ValueError for a device or a number of states, stating what must be passed."""
    kind = type(row.make()).__name__
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    message = str(caught.value)
    assert message.startswith((kind, "SRU", "sru_", "ligru_", "mingru_", "gated_linear_")), message
    assert " must " in message, message
    assert len(message) < 300


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@rows()
def test_inputs(row: Row, wrong):
    module, x = row.build(), row.inputs(LENGTH, BATCH)
    refused(row, lambda: module(wrong(x)))
    if row.stream is not None:
        refused(row, lambda: module.stream(wrong(x)))
    if "step" not in row.exceptions:
        refused(row, lambda: module.step(wrong(x[0])))


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@rows()
def test_states(row: Row, wrong):
    """Each tensor of a state in turn."""
    module, x = row.build(), row.inputs(LENGTH, BATCH)
    leaves, form = tree_flatten(row.state(module, BATCH))
    for place, leaf in enumerate(leaves):
        state = tree_unflatten([*leaves[:place], wrong(leaf), *leaves[place + 1 :]], form)
        refused(row, lambda state=state: module(x, state))
        if "step" not in row.exceptions:
            refused(row, lambda state=state: module.step(x[0], row.begin(state)))


@pytest.mark.parametrize("wrong", MASKS.values(), ids=MASKS)
@rows()
def test_masks(row: Row, wrong):
    module, x = row.build(), row.inputs(LENGTH, BATCH)
    mask = torch.zeros(LENGTH, BATCH, dtype=torch.bool)
    refused(row, lambda: module(x, mask_pad=wrong(mask)))
    if row.stream is not None:
        refused(row, lambda: module.stream(x, mask_pad=wrong(mask)))


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("name", ["attn_mask", "memory", "memory_mask_pad"])
@pytest.mark.parametrize("row_name", ["SRUpp", "SRUppCell"])
def test_what_attention_takes(row_name: str, name: str, wrong):
    row = ROWS[row_name]
    module, x = row.build(), row.inputs(LENGTH, BATCH)
    given: dict[str, Any] = {"memory": x, "attn_mask": torch.zeros(LENGTH, 2 * LENGTH)}
    given["memory_mask_pad"] = torch.zeros(LENGTH, BATCH)
    if name == "memory_mask_pad" and wrong not in MASKS.values():
        pytest.skip("a mask of any dtype will do")
    if name == "attn_mask" and wrong is WRONG["int64"]:
        pytest.skip("integers are added to the scores too")
    given[name] = wrong(given[name])
    if row_name == "SRUpp":
        given["memory"] = [given["memory"], None]
    refused(row, lambda: module(x, **given))


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("name", ["c", "keys", "values", "pad"])
def test_what_is_carried(name: str, wrong):
    row = ROWS["SRUpp"]
    module, x = row.build(), row.inputs(LENGTH, BATCH)
    with torch.no_grad():
        _, state = module.stream(x, mask_pad=torch.zeros(LENGTH, BATCH))
    if name == "pad" and wrong not in MASKS.values():
        pytest.skip("a mask of any dtype will do")
    if name in ("c", "pad"):
        state = state._replace(**{name: wrong(getattr(state, name))})
    else:
        first, *others = state.caches
        state = state._replace(caches=(first._replace(**{name: wrong(getattr(first, name))}), *others))
    refused(row, lambda: module.step(x[0], state))


@pytest.mark.parametrize(
    "state",
    [SRUppState("x"), SRUppState(None, "xy"), SRUppState(None, 3), SRUppState(None, ("x", "y")), 3, "x"],
)
def test_states_of_another_kind(state):
    row = ROWS["SRUpp"]
    refused(row, lambda: row.build().step(row.inputs(1, BATCH)[0], state))


@pytest.mark.parametrize("memory", [3, "xy", torch.zeros(2, 3, 5), {"saved_inputs": []}, [None]])
def test_memories_of_another_kind(memory):
    row = ROWS["SRUpp"]
    refused(row, lambda: row.build()(row.inputs(1, BATCH), memory=memory))


OPTIONS = [
    (SRUCell, {"custom_m": torch.ones(3)}, "custom_m must be a module, got a Tensor"),
    (SRUCell, {"custom_m": [1]}, "custom_m must be a module, got a list"),
    (SRUppCell, {"transform_module": 3}, "must be a module, got a int"),
    (SRU, {"custom_m": "x"}, "custom_m must be a module, got a str"),
    (SRU, {"highway_bias": [1.0]}, "highway_bias must be a number"),
    (SRU, {"weight_c_init": (4,)}, "weight_c_init must be a number"),
    (SRU, {"weight_c_init": -1.0}, "weight_c_init must be at least 0, got -1"),
    (SRUCell, {"highway_bias": None}, "highway_bias must be a number, got None"),
    (SRU, {"batch_first": "no"}, "batch_first must be a bool, got 'no'"),
    (GatedLinearRNN, {"batch_first": [1]}, "batch_first must be a bool"),
]


@pytest.mark.parametrize(("kind", "option", "message"), OPTIONS)
def test_options(kind, option, message):
    with pytest.raises((TypeError, ValueError), match=message):
        kind(5, 4, **option)


def test_attention_alone():
    attention = SRUppAttention(5, 16, 4, causal=True)
    with pytest.raises(TypeError, match="SRUppAttention: input must be a tensor, got a list"):
        attention([[1.0]])
    with pytest.raises(
        ValueError, match="SRUppAttention: mask_pad must be on the device of the input, cpu, got meta"
    ):
        attention(torch.ones(3, 2, 5), torch.ones(3, 2, device="meta"))
