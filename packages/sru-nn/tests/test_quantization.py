"""Quantized weights: their error, and decoding with them."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sru_nn import SRU, backend
from sru_nn.cells.sru import run
from sru_nn.quantization import Int4Linear, Int8Linear, quantize_weights_

from .conftest import examples

E, D, L = 64, 32, 3


@examples
@given(
    inputs=st.integers(1, 40),
    outputs=st.integers(1, 20),
    scale=st.sampled_from([1e-6, 1.0, 1e4]),
    bias=st.booleans(),
)
def test_int8_weights_are_at_most_half_a_step_off(inputs, outputs, scale, bias):
    linear = nn.Linear(inputs, outputs, bias=bias)
    with torch.no_grad():
        linear.weight *= scale
    quantized = Int8Linear(linear)
    step = linear.weight.detach().abs().amax(1) / 127
    restored = quantized.weight * quantized.scale[:, None]
    assert ((restored - linear.weight).abs() <= step[:, None] * 0.5001).all()
    x = torch.randn(40, inputs)
    expected = nn.functional.linear(x, restored, linear.bias)
    torch.testing.assert_close(quantized(x), expected, rtol=1e-4, atol=1e-4 * scale)


def test_a_row_of_zeros():
    linear = nn.Linear(8, 2, bias=False)
    nn.init.zeros_(linear.weight)
    assert not Int8Linear(linear)(torch.randn(20, 8)).any()


@pytest.mark.parametrize("inputs", [E, 5, 24])
def test_few_rows_equal_many_up_to_bfloat16(inputs):
    quantized = Int8Linear(nn.Linear(inputs, 48))
    x = torch.randn(30, inputs)
    few = torch.cat([quantized(x[:1]), quantized(x[1:15]), quantized(x[15:])])
    assert few.dtype == torch.float32
    torch.testing.assert_close(few, quantized(x), rtol=2e-2, atol=2e-2)
    assert quantized(x[:0]).shape == (0, 48)


@pytest.mark.parametrize("group_size", [32, 64])
def test_int4_weights_are_at_most_half_a_step_off(group_size):
    linear = nn.Linear(128, 48)
    quantized, x = Int4Linear(linear, group_size), torch.eye(128)
    step = linear.weight.detach().unflatten(1, (-1, group_size)).aminmax(dim=-1)
    step = ((step.max - step.min) / 15).repeat_interleave(group_size, 1)
    restored = (quantized(x) - linear.bias).t()
    # Half a step plus the rounding of bfloat16.
    assert ((restored - linear.weight).abs() <= step * 0.6).all()


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [{}, {"use_tanh": True, "layer_norm": True}, {"projection_size": 16, "has_skip_term": False}],
)
def test_step_by_step_is_the_sequence(options, implementation):
    rnn, x = SRU(E, D, L, **options).eval(), torch.randn(4, 2, E)
    quantize_weights_(rnn)
    h, last = rnn(x.repeat(5, 1, 1)[:1].expand(20, -1, -1))  # many rows, so multiplied in float32
    step, _ = rnn(x[:1])
    tolerance = 1e-5 if implementation == "kernels" and not options.get("projection_size") else 3e-2
    torch.testing.assert_close(step[0], h[0], rtol=tolerance, atol=tolerance)
    assert last.isfinite().all()


@torch.no_grad()
@pytest.mark.skipif(backend.active() != "kernels", reason="the kernels are not installed")
def test_a_step_is_one_call_of_a_kernel_for_each_layer(monkeypatch):
    taken = []
    monkeypatch.setattr(run, "step", lambda *given, step=run.step: taken.append(1) or step(*given))
    rnn, x = SRU(E, D, L).eval(), torch.randn(1, 2, E)
    quantize_weights_(rnn)
    with backend.using("kernels"):
        rnn(x)
        assert len(taken) == 1
        rnn.rnn_lst[1].transform.register_forward_hook(lambda module, args, output: output)
        rnn(x)
        assert len(taken) == 1  # a hook watches the projection


@torch.no_grad()
@pytest.mark.parametrize("bits", [8, 4])
def test_a_model_stays_close_and_its_state_dict_loads(bits):
    model = nn.ModuleDict({"rnn": SRU(E, D, L), "head": nn.Linear(D, 16)}).eval()
    quantized = copy.deepcopy(model)
    quantize_weights_(quantized, bits=bits)
    assert type(quantized["head"]) is type(quantized["rnn"].rnn_lst[0].transform) is not nn.Linear
    x = torch.randn(20, 2, E)
    h, expected = quantized["rnn"](x)[0], model["rnn"](x)[0]
    error = (h - expected).norm() / expected.norm()
    assert 0 < error < (0.02 if bits == 8 else 0.2)

    file = io.BytesIO()
    torch.save(quantized.state_dict(), file)
    file.seek(0)
    again = copy.deepcopy(model)
    quantize_weights_(again, bits=bits)
    again.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(again["rnn"](x)[0], h)


def test_a_filter_leaves_modules_out():
    model = nn.ModuleDict({"rnn": SRU(E, D, 1), "head": nn.Linear(D, 16)})
    quantize_weights_(model, filter_fn=lambda module, name: name.startswith("rnn."))
    assert type(model["head"]) is nn.Linear
    assert repr(model["rnn"].rnn_lst[0].transform) == "Int8Linear(64, 128, bias=False)"


def test_wrong_requests():
    with pytest.raises(ValueError, match=r"quantize_weights_: bits must be 4 or 8, got 3"):
        quantize_weights_(SRU(E, D, 1), bits=3)
    with pytest.raises(ValueError, match=r"Tanh holds no nn\.Linear to replace"):
        quantize_weights_(nn.Tanh())
    with pytest.raises(
        ValueError, match=r"SRU holds no nn\.Linear to replace, or filter_fn refuses them all"
    ):
        quantize_weights_(SRU(E, D, 1), filter_fn=lambda module, name: False)
    rnn = SRU(5, 7, 1)
    with pytest.raises(
        ValueError, match=r"multiple of group_size = 32 inputs and of 16 outputs, got 5 and 28"
    ):
        quantize_weights_(rnn, bits=4)
    assert type(rnn.rnn_lst[0].transform) is nn.Linear  # nothing is replaced on an error
    with pytest.raises(ValueError, match=r"group_size must be 32, 64, 128 or 256, got 48"):
        Int4Linear(nn.Linear(96, 16), 48)


@pytest.mark.compile
@torch.no_grad()
def test_under_the_compiler_any_number_of_rows_is_one_graph():
    rnn = SRU(E, D, 1).eval()
    quantize_weights_(rnn)
    torch._dynamo.reset()
    compiled = torch.compile(rnn, fullgraph=True, dynamic=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for length in (30, 3):
            x = torch.randn(length, 2, E)
            torch.testing.assert_close(compiled(x), rnn(x), rtol=2e-2, atol=2e-2)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore")  # torchao deprecates parts of itself as it is imported
@pytest.mark.parametrize("config", ["Int8WeightOnlyConfig", "Int8DynamicActivationInt8WeightConfig"])
def test_torchao_finds_the_projections(config):
    quantization = pytest.importorskip("torchao.quantization", reason="torchao is not installed")
    rnn, x = SRU(E, D, L).eval(), torch.randn(20, 2, E)
    expected = rnn(x)[0]
    quantization.quantize_(rnn, getattr(quantization, config)())
    for cell in rnn.rnn_lst:
        assert type(cell.transform.weight) is not nn.Parameter
    for h in (rnn(x)[0], torch.cat([rnn(x[:1])[0], rnn(x)[0][1:]])):
        assert 0 < (h - expected).norm() / expected.norm() < 0.05


@torch.no_grad()
@pytest.mark.filterwarnings("ignore")  # it is deprecated, and says so
def test_torch_ao_finds_the_projections():
    rnn, x = SRU(E, D, L).eval(), torch.randn(20, 2, E)
    quantized = torch.ao.quantization.quantize_dynamic(rnn, {nn.Linear}, torch.qint8)
    h, expected = quantized(x)[0], rnn(x)[0]
    assert 0 < (h - expected).norm() / expected.norm() < 0.1
    torch.testing.assert_close(quantized(x[:1])[0], rnn(x[:1])[0], rtol=0.1, atol=0.1)
