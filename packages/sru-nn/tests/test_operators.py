"""Properties shared by the operators of all cells."""

from __future__ import annotations

import contextlib
import importlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sru_nn import backend, functional
from sru_nn.operators import TORCH_2_13


class Watch(TorchDispatchMode):
    """Keeps calls from bypassing the dispatcher."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


SCHEMAS = [
    "sru_nn::sru_forward(Tensor u, Tensor v, Tensor bias, Tensor? c0, Tensor? x, Tensor? mask_c, Tensor? "
    "mask_pad, bool bidirectional, str activation, float scale_x, bool save) "
    "-> (Tensor h, Tensor c_last, Tensor c)",
    "sru_nn::sru_backward(Tensor u, Tensor v, Tensor bias, Tensor? c0, Tensor? x, Tensor? mask_c, Tensor? "
    "mask_pad, bool bidirectional, str activation, float scale_x, Tensor c, Tensor? grad_h, Tensor? "
    "grad_c_last) -> (Tensor grad_u, Tensor grad_v, Tensor grad_bias, Tensor grad_c0, Tensor grad_x)",
    "sru_nn::sru_pieces_forward(Tensor u, Tensor v, Tensor bias, Tensor? c0, Tensor? c_reset, Tensor? x, "
    "Tensor? mask_c, Tensor? marks, Tensor? cu_seqlens, bool bidirectional, str activation, float scale_x, "
    "bool save) -> (Tensor h, Tensor c_last, Tensor c)",
    "sru_nn::sru_pieces_backward(Tensor u, Tensor v, Tensor bias, Tensor? c0, Tensor? c_reset, Tensor? x, "
    "Tensor? mask_c, Tensor? marks, Tensor? cu_seqlens, bool bidirectional, str activation, float scale_x, "
    "Tensor c, Tensor? grad_h, Tensor? grad_c_last) -> (Tensor grad_u, Tensor grad_v, Tensor grad_bias, "
    "Tensor grad_c0, Tensor grad_c_reset, Tensor grad_x)",
    "sru_nn::packed_layout(Tensor batch_sizes, SymInt total, Device device, Tensor? sorted_indices) "
    "-> (Tensor cu_seqlens, Tensor to, Tensor back)",
    "sru_nn::reorder(Tensor x, Tensor index, Tensor inverse) -> Tensor",
    "sru_nn::gated_linear_forward(Tensor q, Tensor k, Tensor v, Tensor log_g, Tensor? s0, bool save) "
    "-> (Tensor o, Tensor s, Tensor starts)",
    "sru_nn::gated_linear_backward(Tensor q, Tensor k, Tensor v, Tensor log_g, Tensor starts, "
    "Tensor? grad_o, Tensor? grad_s) "
    "-> (Tensor grad_q, Tensor grad_k, Tensor grad_v, Tensor grad_log_g, Tensor grad_s0)",
    "sru_nn::gated_linear_pieces_forward(Tensor q, Tensor k, Tensor v, Tensor log_g, Tensor? s0, Tensor? "
    "s_reset, Tensor? marks, Tensor? cu_seqlens, bool save) -> (Tensor o, Tensor s, Tensor starts)",
    "sru_nn::gated_linear_pieces_backward(Tensor q, Tensor k, Tensor v, Tensor log_g, Tensor? s0, Tensor? "
    "s_reset, Tensor? marks, Tensor? cu_seqlens, Tensor starts, Tensor? grad_o, Tensor? grad_s) -> "
    "(Tensor grad_q, Tensor grad_k, Tensor grad_v, Tensor grad_log_g, Tensor grad_s0, Tensor grad_s_reset)",
    "sru_nn::ligru_forward(Tensor u, Tensor weight, Tensor? h0, Tensor? h_reset, Tensor? norm_weight, "
    "Tensor? norm_bias, Tensor? mask_h, Tensor? marks, Tensor? cu_seqlens, bool bidirectional, "
    "str activation, float? norm_eps, bool save) -> (Tensor h, Tensor h_last, Tensor states)",
    "sru_nn::ligru_backward(Tensor u, Tensor weight, Tensor? h0, Tensor? h_reset, Tensor? norm_weight, "
    "Tensor? norm_bias, Tensor? mask_h, Tensor? marks, Tensor? cu_seqlens, bool bidirectional, "
    "str activation, float? norm_eps, Tensor states, Tensor? grad_h, Tensor? grad_h_last) -> (Tensor grad_u, "
    "Tensor grad_weight, Tensor grad_h0, Tensor grad_h_reset, Tensor grad_norm_weight, "
    "Tensor grad_norm_bias)",
    "sru_nn::linear_scan(Tensor a, Tensor b, bool reverse) -> Tensor",
    "sru_nn::onednn_linear(Tensor x, Tensor weight) -> Tensor",
    "sru_nn::sru_states(Tensor u_c, Tensor u_f, Tensor v_f, Tensor c0, int chunk, float? tolerance, float "
    "max_iterations) -> Tensor",
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.partition("(")[0])
def test_programs_exported_in_the_past_find_the_same_operators(schema):
    name = schema.partition("(")[0].removeprefix("sru_nn::")
    assert str(getattr(torch.ops.sru_nn, name).default._schema) == schema


@pytest.mark.parametrize("recurrence", ["sru", "gated_linear"])
@pytest.mark.parametrize("forward", ["kernels", "reference"])
@pytest.mark.parametrize("mode", [contextlib.nullcontext, Watch])
@pytest.mark.parametrize("resets", [False, True])
def test_the_backward_pass_takes_the_backend_of_the_forward_pass(
    recurrence, forward, mode, resets, monkeypatch
):
    pytest.importorskip("sru_kernels", reason="the kernels are not installed")
    inputs = {
        "sru": [(4, 2, 3, 5), (2, 5), (2, 5)],
        "gated_linear": [(4, 2, 1, 3), (4, 2, 1, 3), (4, 2, 1, 5), (4, 2, 1, 3)],
    }[recurrence]
    module = importlib.import_module(f"sru_nn.cells.{recurrence}.pieces")
    called, run_kernel = [], module.run_kernel
    monkeypatch.setattr(
        module, "run_kernel", lambda name, *args: called.append(name) or run_kernel(name, *args)
    )
    leaves = [-torch.rand(shape, requires_grad=True) for shape in inputs]
    other = {"kernels": "reference", "reference": "kernels"}[forward]
    options = {"reset": torch.rand(4, 2) < 0.5} if resets else {}
    with backend.using(forward), mode():
        outputs, _ = getattr(functional, f"{recurrence}_recurrence")(*leaves, **options)
    with backend.using(other), ThreadPoolExecutor(1) as pool:
        pool.submit(outputs.sum().backward).result()
    assert called == ([f"{recurrence}_forward", f"{recurrence}_backward"] if forward == "kernels" else [])


def test_a_compiled_function_may_ask_for_the_backend():
    u, v, bias = torch.randn(4, 2, 3, 5), torch.randn(2, 5), torch.randn(2, 5)

    def run(u):
        scale = 1 if backend.active() == "reference" else 2
        return scale * functional.sru_recurrence(u, v, bias)[0]

    with backend.using("reference"):
        torch.testing.assert_close(torch.compile(run, fullgraph=True, backend="aot_eager")(u), run(u))


@pytest.mark.skipif(not TORCH_2_13, reason="older compilers cannot trace a generator")
def test_a_block_in_a_compiled_function_is_traced():
    u, v, bias = torch.randn(4, 2, 3, 5), torch.randn(2, 5), torch.randn(2, 5)

    def run(u):
        with backend.using("reference"):
            return functional.sru_recurrence(u, v, bias)[0]

    torch.testing.assert_close(torch.compile(run, fullgraph=True, backend="aot_eager")(u), run(u))
