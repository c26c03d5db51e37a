"""An argument of a wrong type is refused in one sentence that names the function and the argument."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sru_nn import backend, compat, convert, export, functional, quantization, reference

from .conftest import CHOICES

T, B, D, H, K = 3, 2, 4, 2, 3
MASK = torch.zeros(T, B, dtype=torch.bool)
LINEAR = nn.Linear(32, 16)
SRU_TENSORS = {
    "u": torch.zeros(T, B, 3, D),
    "v": torch.zeros(2, D),
    "bias": torch.zeros(2, D),
    "c0": torch.zeros(B, D),
    "x": torch.zeros(T, B, D),
    "mask_c": torch.ones(B, D),
    "mask_pad": MASK,
}
GATED_LINEAR = {name: torch.zeros(T, B, H, K) for name in ("q", "k", "v", "log_g")} | {
    "s0": torch.zeros(B, H, K, K),
    "mask_pad": MASK,
}
LIGRU = {
    "u": torch.zeros(T, B, 2, D),
    "weight": torch.zeros(2 * D, D),
    "h0": torch.zeros(B, D),
    "norm_weight": torch.ones(2 * D),
    "norm_bias": torch.zeros(2 * D),
    "mask_h": torch.ones(B, D),
    "mask_pad": MASK,
    "bidirectional": False,
    "activation": "tanh",
    "norm_eps": 1e-5,
}
MINGRU = {"u": torch.zeros(T, B, 2, D), "h0": torch.zeros(B, D), "mask_pad": MASK}
SRU_OPTIONS = {"bidirectional": False, "activation": "tanh", "scale_x": 1.0}
SIZES = {"input_size": 2, "hidden_size": 4, "num_layers": 1}
CELL = {"input_size": 2, "hidden_size": 4, "bias": True}
FLAGS = {"bias": True, "batch_first": False, "bidirectional": False}
EXPORTED = {"model": nn.Linear(2, 2).eval(), "args": (torch.zeros(1, 2),), "dynamic_shapes": None}


def using(choice: Any) -> None:
    with backend.using(choice):
        pass


# Every public function with valid arguments.
CALLS: dict[Callable[..., Any], dict[str, Any]] = {
    functional.sru_recurrence: SRU_TENSORS | SRU_OPTIONS | {"length_parallel": False},
    functional.gated_linear_recurrence: GATED_LINEAR,
    functional.ligru_recurrence: LIGRU,
    functional.mingru_recurrence: MINGRU,
    reference.sru_recurrence: SRU_TENSORS | SRU_OPTIONS,
    reference.gated_linear_recurrence: GATED_LINEAR,
    reference.ligru_recurrence: LIGRU,
    reference.mingru_recurrence: MINGRU,
    reference.sru_states: {name: torch.zeros(T, B, D) for name in ("u_c", "u_f", "v_f")}
    | {"c": torch.zeros(B, D)},
    reference.activate: {"c": torch.zeros(2), "activation": "tanh"},
    reference.reverse_second_direction: {"tensor": torch.zeros(T, B, D)},
    reference.without_padding: {"mask_pad": MASK},
    backend.active: {"device": "cpu"},
    backend.choose: {"choice": "auto"},
    using: {"choice": "auto"},
    convert.convert: {"state_dict": {}},
    export.to_aoti: EXPORTED | {"path": "x.pt2"},
    export.to_onnx: EXPORTED
    | {"path": "x.onnx", "input_names": None, "output_names": None, "opset_version": 20},
    quantization.quantize_weights_: {"model": LINEAR, "bits": 8, "filter_fn": lambda *_: False},
    quantization.Int8Linear: {"linear": LINEAR},
    quantization.Int4Linear: {"linear": LINEAR, "group_size": 32},
    compat.LSTM: SIZES | FLAGS | {"dropout": 0.0, "proj_size": 0},
    compat.GRU: SIZES | FLAGS | {"dropout": 0.0},
    compat.LSTMCell: CELL,
    compat.GRUCell: CELL,
}
OTHERS = {"decompositions", "accumulate_dtype", "QuantizedLinear", "LengthParallel"}
pytestmark = [
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage:UserWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
]


def sparse(like: Any) -> Tensor:
    return like.to_sparse() if isinstance(like, Tensor) else torch.eye(2).to_sparse()


def mkldnn(like: Any) -> Tensor:
    return (like if isinstance(like, Tensor) and like.is_floating_point() else torch.eye(2)).to_mkldnn()


WRONG: dict[str, Callable[[Any], Any]] = {
    "an array": lambda like: like.numpy() if isinstance(like, Tensor) else torch.eye(2).numpy(),
    "a list": lambda like: like.tolist() if isinstance(like, Tensor) else [object()],
    "None": lambda like: None,
    "text": lambda like: "abc",
    "a dict": lambda like: {"a": 1},
    "nested": lambda like: torch.nested.nested_tensor([torch.zeros(2, 4), torch.zeros(3, 4)]),
    "jagged": lambda like: torch.nested.nested_tensor([torch.zeros(2)] * 2, layout=torch.jagged),
    "sparse": sparse,
    "mkldnn": mkldnn,
    "quantized": lambda like: torch.quantize_per_tensor(torch.eye(2), 0.1, 0, torch.qint8),
    "meta": lambda like: like.to("meta") if isinstance(like, Tensor) else torch.eye(2, device="meta"),
}
# Values that are valid after all, or not ours to refuse.
FINE = {
    ("dynamic_shapes", "a dict"),
    ("dynamic_shapes", "a list"),
    ("state_dict", "a dict"),
    *((name, "None") for name in ("c0", "x", "mask_c", "mask_pad", "s0", "h0", "filter_fn")),
    *((name, "None") for name in ("mask_h", "norm_eps", "norm_weight", "norm_bias")),
    *((name, "None") for name in ("dynamic_shapes", "input_names", "output_names")),
}


def is_wrong(function: Callable[..., Any], name: str, kind: str) -> bool:
    if kind == "meta" and sum(isinstance(value, Tensor) for value in CALLS[function].values()) == 1:
        return not isinstance(CALLS[function][name], Tensor)  # a single tensor is on one device
    if kind == "text" and name in ("path", "activation"):  # another path, another name
        return function is functional.sru_recurrence
    return (name, kind) not in FINE or (function is reference.without_padding and kind == "None")


CASES = [
    pytest.param(function, name, kind, id=f"{function.__module__}.{function.__qualname__}-{name}-{kind}")
    for function, given in CALLS.items()
    for name in given
    for kind in WRONG
    if is_wrong(function, name, kind)
]


@pytest.mark.parametrize(("function", "name", "kind"), CASES)
def test_wrong_types_are_refused(function, name, kind):
    given = CALLS[function] | {name: WRONG[kind](CALLS[function][name])}
    for choice in CHOICES if function.__module__ == functional.__name__ else CHOICES[:1]:
        with backend.using(choice), pytest.raises((TypeError, ValueError)) as caught:
            function(**given)
        message = str(caught.value)
        assert len(message) < 300
        assert re.match(rf"(backend\.)?{function.__name__}: .*must (be|have)", message), message
        others = (
            [other for other, value in given.items() if isinstance(value, Tensor)] if kind == "meta" else []
        )
        assert any(re.search(rf"\b{other}\b", message) for other in [name, *others]), message


RECURRENCES = [
    (functions, name)
    for functions in (
        (functional.sru_recurrence, reference.sru_recurrence),
        (functional.gated_linear_recurrence, reference.gated_linear_recurrence),
        (functional.ligru_recurrence, reference.ligru_recurrence),
        (functional.mingru_recurrence, reference.mingru_recurrence),
    )
    for name, value in CALLS[functions[0]].items()
    if isinstance(value, Tensor)
]


@pytest.mark.parametrize(("functions", "name"), RECURRENCES)
@pytest.mark.parametrize("shape", [(T + 1, B, 2, D), (T, B), (B, D + 1)])
def test_wrong_shapes_are_refused_by_the_reference_in_the_same_words(functions, name, shape):
    messages = []
    for function in functions:
        given = CALLS[function] | {name: torch.zeros(shape, dtype=CALLS[function][name].dtype)}
        if given[name].shape == CALLS[function][name].shape:
            pytest.skip("it fits")
        with pytest.raises(
            ValueError, match=rf"^{function.__name__}: .* must have shape \(.*, got"
        ) as caught:
            function(**given)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_a_checked_function_is_pickled_and_compiled():
    function = pickle.loads(pickle.dumps(reference.mingru_recurrence))
    assert function is reference.mingru_recurrence
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(**MINGRU), function(**MINGRU))


def test_every_public_function_is_called():
    public = {
        thing.__name__
        for module in (functional, reference, export, quantization, compat)
        for name, thing in vars(module).items()
        if (not hasattr(module, "__all__") or name in module.__all__)
        and callable(thing)
        and getattr(thing, "__module__", "").startswith("sru_nn")
        and not name.startswith("_")
        and (hasattr(module, "__all__") or thing.__module__ == module.__name__)
    }
    assert public - OTHERS <= {function.__name__ for function in CALLS}
