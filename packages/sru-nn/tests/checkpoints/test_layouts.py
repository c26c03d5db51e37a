"""The layouts that `load_state_dict` of `SRU` and `SRUCell` reads, and its errors."""

from __future__ import annotations

import copy
import runpy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sru_nn import SRU, SRUCell, SRUpp

from ..conftest import examples

GOLDEN = runpy.run_path(str(Path(__file__).parents[1] / "golden" / "old_layouts.py"))
as_sru_2, as_sru_3 = GOLDEN["as_sru_2"], GOLDEN["as_sru_3"]


def assert_same(module, state_dict, other):
    """Load into a module; it must then compute what the other one does."""
    result = module.load_state_dict(state_dict)
    assert not result.missing_keys
    assert not result.unexpected_keys
    x = torch.randn(4, 3, module.input_size)
    torch.testing.assert_close(module.eval()(x), other.eval()(x), rtol=1e-6, atol=1e-6)


arguments = st.fixed_dictionaries(
    {
        "input_size": st.sampled_from([3, 4, 8]),
        "hidden_size": st.sampled_from([3, 4]),
        "num_layers": st.integers(1, 3),
        "bidirectional": st.booleans(),
        "projection_size": st.sampled_from([0, 2, 16]),
        "layer_norm": st.booleans(),
        "normalize_after": st.booleans(),
        "has_skip_term": st.booleans(),
        "rescale": st.booleans(),
        "highway_bias": st.sampled_from([0.0, -2.0]),
        "v1": st.booleans(),
    }
)


@settings(examples, max_examples=40)
@given(
    arguments,
    st.sampled_from([dict, as_sru_2, as_sru_3]),
    st.sampled_from(["", "module.", "_orig_mod.module."]),
)
def test_every_layout_loads(arguments, layout, wrapper):
    saved = SRU(**arguments)
    state_dict = {f"{wrapper}{name}": value for name, value in layout(saved.state_dict()).items()}
    before = copy.deepcopy(state_dict)
    assert_same(SRU(**arguments), state_dict, saved)
    assert state_dict.keys() == before.keys(), "the caller's state dict was changed"


@pytest.mark.parametrize("layout", [dict, as_sru_2, as_sru_3])
def test_a_stack_inside_a_model(layout):
    saved, model = (nn.ModuleDict({"encoder": nn.Sequential(nn.Linear(3, 4), SRU(4, 5))}) for _ in range(2))
    state_dict = {
        name: value for name, value in saved.state_dict().items() if not name.startswith("encoder.1.")
    }
    state_dict |= {f"encoder.1.{name}": v for name, v in layout(saved["encoder"][1].state_dict()).items()}
    assert "encoder.0.weight" in state_dict
    model.load_state_dict(state_dict)
    for name, value in saved.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    saved = SRU(4, 4, rescale=True, highway_bias=-1.3).to(dtype)
    state_dict = as_sru_2(saved.state_dict(), scale_x=torch.tensor([saved.rnn_lst[0].scale_x]).to(dtype))
    module = SRU(4, 4, rescale=True, highway_bias=-1.3).to(dtype)
    module.load_state_dict(state_dict)
    for actual, expected in zip(module.parameters(), saved.parameters(), strict=True):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_the_buffer_may_be_missing():
    saved = SRU(4, 4, rescale=True)
    state_dict = as_sru_2(saved.state_dict())
    assert not any(name.endswith("scale_x") for name in state_dict)
    assert_same(SRU(4, 4, rescale=True), state_dict, saved)


def test_assigned_parameters():
    saved = SRU(4, 5)
    with torch.device("meta"):
        module = SRU(4, 5)
    module.load_state_dict(as_sru_2(saved.state_dict()), assign=True)
    assert_same(module, saved.state_dict(), saved)


def test_onto_the_meta_device():
    with torch.device("meta"):
        saved, module = SRU(4, 4, rescale=True, v1=True), SRU(4, 4, rescale=True, v1=True)
    old = as_sru_2(saved.state_dict(), scale_x=torch.ones(1, device="meta"))
    assert module.load_state_dict(old) == ([], [])
    assert all(parameter.is_meta for parameter in module.parameters())


@pytest.mark.parametrize("layout", [as_sru_2, as_sru_3])
def test_a_redundant_projection_of_sru_3_becomes_one_matrix(layout):
    """`sru` 3.0.0.dev builds two matrices for any projection size; here one is built if two save nothing."""
    saved, module = SRU(4, 5, num_layers=1), SRU(4, 5, num_layers=1, projection_size=7)
    state_dict = saved.state_dict()
    weight = state_dict.pop("rnn_lst.0.transform.weight")
    down, up = torch.randn(7, 4), torch.randn(weight.shape[0], 7)
    state_dict["rnn_lst.0.transform.down.weight"] = down
    state_dict["rnn_lst.0.transform.up.weight"] = up
    saved.rnn_lst[0].transform.weight.data = up @ down
    assert_same(module, layout(state_dict), saved)


def test_a_custom_transform_of_sru_3():
    saved = SRUCell(4, 5, custom_m=nn.Linear(4, 20))
    state_dict = {n.replace("custom_m.", "transform_module."): v for n, v in saved.state_dict().items()}
    assert "transform_module.bias" in state_dict
    assert_same(SRUCell(4, 5, transform_module=nn.Linear(4, 20)), state_dict, saved)


def test_a_state_dict_that_is_newer():
    state_dict = SRU(4, 4).state_dict()
    state_dict._metadata["rnn_lst.0"]["version"] = 99
    with pytest.raises(
        RuntimeError,
        match=r"of version 99 of SRUCell, newer than this package supports: 2; install a newer sru-nn",
    ):
        SRU(4, 4).load_state_dict(state_dict)


def test_our_layout_is_marked():
    assert SRU(4, 4).state_dict()._metadata["rnn_lst.0"]["version"] == 2


MISMATCHES = {
    "num_layers: this module has 2, the state dict 4; build it with num_layers=4": ({}, {"num_layers": 4}),
    "num_layers: this module has 3, the state dict 2": ({"num_layers": 3}, {}),
    "hidden_size: this module has 4, the state dict 6; build it with hidden_size=6": ({}, {"hidden_size": 6}),
    "bidirectional: this module has False, the state dict True; build it with bidirectional=True, or in one "
    "direction hidden_size=8": ({}, {"bidirectional": True}),
    "bidirectional: this module has True, the state dict False; build it with bidirectional=False, or in two "
    "directions hidden_size=2": ({"bidirectional": True}, {}),
    "hidden_size: this module has 4, the state dict 3": (
        {"bidirectional": True},
        {"hidden_size": 3, "bidirectional": True},
    ),
    "hidden_size: this module has 4, the state dict 7; build it with hidden_size=7 and bidirectional=False": (
        {"bidirectional": True},
        {"hidden_size": 7},
    ),
    "rnn_lst.0: input_size: this module has 5, the state dict 3": ({}, {"input_size": 3}),
    "rnn_lst.1: projection_size: this module has 0, the state dict 2; build it with projection_size=2": (
        {"input_size": 2},
        {"input_size": 2, "projection_size": 2},
    ),
    "rnn_lst.0: projection_size: this module has 2, the state dict 0": ({"projection_size": 2}, {}),
    "rnn_lst.0: projection_size: this module has 2, the state dict 3": (
        {"projection_size": 2},
        {"projection_size": 3},
    ),
    "rnn_lst.0: has_skip_term: this module has True, the state dict False": ({}, {"has_skip_term": False}),
    "rnn_lst.0: has_skip_term: this module has False, the state dict True": ({"has_skip_term": False}, {}),
    "rnn_lst.0: layer_norm: this module has False, the state dict True": ({}, {"layer_norm": True}),
    "rnn_lst.0: layer_norm: this module has True, the state dict False": ({"layer_norm": True}, {}),
    "rnn_lst.0: normalize_after: this module has False, the state dict True": (
        {"layer_norm": True},
        {"layer_norm": True, "normalize_after": True},
    ),
    "rnn_lst.0: normalize_after: this module has True, the state dict False": (
        {"layer_norm": True, "normalize_after": True},
        {"layer_norm": True},
    ),
    "rnn_lst.0: v1: this module has True, the state dict False": ({"v1": True}, {}),
    "rnn_lst.0: learn_initial_state: this module has False, the state dict True": (
        {},
        {"learn_initial_state": True},
    ),
    "proj_input_to_hidden_first: this module has False, the state dict True": (
        {},
        {"proj_input_to_hidden_first": True},
    ),
    "proj_input_to_hidden_first: this module has True, the state dict False": (
        {"proj_input_to_hidden_first": True},
        {},
    ),
    "input_size: this module has 5, the state dict 3; build it with input_size=3": (
        {"proj_input_to_hidden_first": True},
        {"proj_input_to_hidden_first": True, "input_size": 3},
    ),
    "rnn_lst.0: custom_m: this module has Linear, the state dict None": ({"custom_m": nn.Linear(5, 16)}, {}),
    "rnn_lst.0: custom_m: this module has None, the state dict a module with bias, weight": (
        {},
        {"custom_m": nn.Linear(5, 16)},
    ),
}
SCALES = {
    "rnn_lst.1: rescale: this module has False, the state dict True; "
    "build it with rescale=True and highway_bias=-2": (
        {},
        {"rescale": True, "highway_bias": -2.0},
    ),
    "rnn_lst.1: rescale: this module has True, the state dict False": ({"rescale": True}, {}),
    "rnn_lst.1: highway_bias: this module has -7, the state dict 0": (
        {"rescale": True, "highway_bias": -7.0},
        {"rescale": True},
    ),
}
USUAL = {"input_size": 5, "hidden_size": 4}


# sru 3 uses one name for its own transform and for any other, so they cannot be told apart there.
REFUSED = [
    (message, layout)
    for message, (ours, _) in MISMATCHES.items()
    for layout in (dict, as_sru_2, as_sru_3)
    if layout is not as_sru_3 or "custom_m" not in ours
]


@pytest.mark.parametrize("prefix", ["", "encoder.rnn."])
@pytest.mark.parametrize(("message", "layout"), REFUSED)
def test_another_architecture(message, layout, prefix):
    ours, theirs = MISMATCHES[message]
    module, saved = SRU(**(USUAL | ours)), SRU(**(USUAL | theirs))
    assert_refused(module, layout(saved.state_dict()), prefix, message)


@pytest.mark.parametrize("message", SCALES)
def test_another_scale_of_the_highway(message):
    ours, theirs = SCALES[message]
    module, saved = SRU(**(USUAL | ours)), SRU(**(USUAL | theirs))
    scale = torch.tensor([saved.rnn_lst[0].scale_x])
    assert_refused(module, as_sru_2(saved.state_dict(), scale_x=scale), "", message)


def assert_refused(module, state_dict, prefix, message):
    """Load below a prefix, which the message must then name."""
    for part in reversed([part for part in prefix.split(".") if part]):
        module = nn.ModuleDict({part: module})
    where = prefix if message.startswith("rnn_lst") else prefix[:-1] + ": " if prefix else ""
    with pytest.raises(RuntimeError) as caught:
        module.load_state_dict({prefix + name: value for name, value in state_dict.items()}, strict=False)
    assert str(caught.value).startswith(where + message)


def test_the_scale_counts_only_where_there_is_a_highway_to_scale():
    module, saved = (SRUCell(3, 4, rescale=rescale) for rescale in (True, False))
    assert_same(module, as_sru_2(saved.state_dict(), scale_x=torch.ones(1)), saved)


def test_a_cell_calls_its_projection_by_its_own_name():
    with pytest.raises(
        RuntimeError, match=r"^n_proj: this module has 2, the state dict 0; build it with n_proj=0"
    ):
        SRUCell(5, 4, n_proj=2).load_state_dict(SRUCell(5, 4).state_dict())


def test_sizes_that_fit_no_gates():
    state_dict = as_sru_2(SRUCell(5, 4).state_dict())
    state_dict["weight"] = torch.zeros(5, 15)
    with pytest.raises(RuntimeError, match=r"must have \(N·D·K, E\) entries, N·D = 4, got \(15, 5\)"):
        SRUCell(5, 4).load_state_dict(state_dict)


def test_part_of_a_state_dict():
    saved, module = SRU(5, 4), SRU(5, 4)
    name = "rnn_lst.1.bias"
    result = module.load_state_dict({name: saved.state_dict()[name] + 1}, strict=False)
    assert name not in result.missing_keys
    assert len(result.missing_keys) == 5
    torch.testing.assert_close(module.rnn_lst[1].bias, saved.rnn_lst[1].bias + 1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: SRU(4, 4, custom_m=nn.Linear(4, 12), transform_module=nn.Linear(4, 12)),
            "SRU: custom_m and transform_module are two names of one argument; pass one",
        ),
        (
            lambda: SRUCell(4, 4, n_proj=2, projection_size=2),
            "SRUCell: n_proj and projection_size are two names of one argument; pass one",
        ),
        (
            lambda: SRU(4, 4, num_layers=3, projection_size=[2, 2]),
            "SRU: projection_size must be one value or one per layer, 3, got 2",
        ),
    ],
)
def test_arguments_of_sru_3_that_contradict(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_arguments_of_sru_3():
    transforms = [nn.Linear(4, 12), nn.Linear(4, 12)]
    assert SRU(4, 4, transform_module=transforms)[1].custom_m is transforms[1]
    assert [cell.projection_size for cell in SRU(4, 4, projection_size=[2, 3]).rnn_lst] == [2, 3]
    assert SRUCell(4, 4, projection_size=2).projection_size == 2


def as_srupp_3(state_dict):
    """Rename the entries as those of `sru` 3.0.0.dev6; the order of their rows does not matter here."""
    return {name.replace("transform.", "transform_module."): value for name, value in state_dict.items()}


@pytest.mark.parametrize(
    ("make", "layout", "first"),
    [
        (lambda: SRU(4, 5, 1), as_sru_2, "weight"),
        (lambda: SRU(4, 5, 1), as_sru_3, "weight"),
        (lambda: SRUpp(4, 5, 3, 1), as_srupp_3, "linear1.weight"),
    ],
    ids=["sru 2", "sru 3", "SRU++"],
)
def test_names_that_were_filtered_lose_a_projection_with_a_warning(make, layout, first):
    model = nn.ModuleDict({"rnn": make()})
    old = {f"rnn.{name}": value for name, value in layout(make().state_dict()).items()}
    own = {name: value for name, value in old.items() if name in model.state_dict()}
    message = rf"has rnn\.rnn_lst\.0\.weight_c but not rnn\.rnn_lst\.0\.transform\.{first}, .* load all of it"
    with pytest.warns(UserWarning, match=message):
        model.load_state_dict(own, strict=False)
    with pytest.warns(UserWarning, match=message), pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict(own)
    model.load_state_dict(old, strict=False)
    model.load_state_dict({"rnn.rnn_lst.0.bias": old["rnn.rnn_lst.0.bias"]}, strict=False)  # as fine-tuned
    # An adapter adds matrices that the base weights do not have.
    model["rnn"][0].transform.adapter = nn.Linear(4, 2)
    model.load_state_dict(old, strict=False)
