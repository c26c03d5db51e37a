"""Random calls of every module and function: correct, or refused in one sentence that names the callee."""

from __future__ import annotations

import functools
import re
import sys
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from cases import Case, Refused
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

# The rows and the tolerances of the contract suite.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from tests.conftest import CHOICES, STACK_TOLERANCES, TOLERANCES
from tests.contract.one_by_one import by_sequences
from tests.contract.rows import ROWS, Row, call, tensors

from sru_nn import backend, functional, reference
from sru_nn.dtypes import accumulate_dtype

SECONDS = 20
NAMES = "SRU|SRUpp|SRUCell|SRUppCell|SRUppAttention|SRUppProjectedLinear|GatedLinearRNN"
NAMES += "|LiGRU|SLiGRU|MinGRU|LSTM|GRU"
OURS = re.compile(rf"(({NAMES})(\.\w+)?|\w+_recurrence|backend\.\w+)\b.*: |({NAMES}) needs", re.DOTALL)


def refuses(error: BaseException) -> bool:
    """Accept errors that begin with the name of the function or class."""
    return isinstance(error, (TypeError, ValueError)) and OURS.match(str(error)) is not None


def _wrong_values(tensor: Tensor) -> list[Any]:
    """List values that user code may pass in place of a tensor."""
    plain = tensor.detach()
    return [
        None,
        "x",
        1.0,
        plain.tolist(),
        plain.numpy() if plain.dtype != torch.bfloat16 else [],
        (plain, plain),
        [plain],
        plain.int(),
        plain.bool(),
        plain.to(torch.complex64),
        plain.half(),
        plain.double(),
        plain.float(),
        plain.to("meta"),
        plain.to_sparse(),
        plain.float().to_mkldnn() if plain.dim() and plain.numel() else None,
        torch.nested.nested_tensor([plain, plain]),
        torch.quantize_per_tensor(plain.float(), 0.1, 0, torch.qint8),
        plain[..., :0],
        plain[:0],
        plain[..., None],
        plain.sum(),
        torch.cat([plain, plain], -1) if plain.dim() else plain,
        nn.Parameter(plain) if plain.is_floating_point() else plain,
    ]


FORMS = st.sampled_from(["plain", "strided", "negated", "imaginary", "offset"])


def _reformatted(tensor: Tensor, form: str) -> Tensor:
    """Return a tensor with the same values in another memory format."""
    if not tensor.is_floating_point():
        return tensor
    forms = {
        "plain": lambda: tensor,
        "strided": lambda: torch.stack([tensor, tensor], -1)[..., 0],
        "negated": lambda: torch._neg_view(-tensor),
        "imaginary": lambda: torch.complex(tensor, -tensor).conj().imag,
        "offset": lambda: torch.cat([tensor.flatten()[:1], tensor.flatten()])[1:].view(tensor.shape),
    }
    if form == "imaginary" and tensor.dtype not in (torch.float32, torch.float64):
        return tensor
    return forms[form]()


def _check(
    what: str,
    actual: Any,
    expected: Any,
    tolerances: dict[torch.dtype, tuple[float, float]],
    *,
    scale: float = 1,
    spreads: bool = False,
) -> None:
    """Compare with float64. Infinity and NaN count as equal, because rounding decides which of them results.

    With `spreads`, non-finite numbers may spread to other numbers of their chunk.
    """
    for one, other in zip(tensors(actual), tensors(expected), strict=True):
        rtol, atol = (scale * tolerance for tolerance in tolerances[one.dtype])
        exact = other.to(one.dtype).double()  # values beyond the dtype's range become infinite
        finite = exact.isfinite() & (one.isfinite() | (not spreads))
        assert torch.equal(one.isfinite(), finite), f"{what}: different numbers are finite"
        close = torch.isclose(one.double()[finite], exact[finite], rtol=rtol, atol=atol)
        assert close.all(), f"{what}: {close.logical_not().sum()} of {close.numel()} numbers are wrong"


def _module(case: Case) -> tuple[Row, nn.Module]:
    torch.manual_seed(case.draw(st.integers(0, 2**32 - 1), "seed"))
    row = ROWS[case.draw(st.sampled_from(sorted(ROWS)), "row")]
    return row, row.build(torch.float32).eval()


def wrong_module_calls(case: Case) -> None:
    """One argument of a module is replaced: the call is refused or runs."""
    row, module = _module(case)
    steps = "step" not in row.exceptions and hasattr(module, "step") and case.draw(st.booleans(), "step")
    x, reset = row.inputs(3, 2, torch.float32), torch.tensor([[False, True]] * 3)
    state = row.state(module, 2)
    given = [x[0], state, reset[0]] if steps else [x, state, torch.zeros(3, 2).bool(), reset]
    leaves, spec = tree_flatten(given)
    at = case.draw(st.integers(0, len(leaves) - 1), "argument")
    odd = _wrong_values(leaves[at])
    leaves[at] = odd[case.draw(st.integers(0, len(odd) - 1), "in its place")]
    *args, reset = tree_unflatten(leaves, spec)
    with backend.using(case.draw(st.sampled_from(CHOICES))):
        (module.step if steps else functools.partial(call, module))(*args, reset=reset)


def module_values(case: Case) -> None:
    """Random inputs in unusual memory formats: the same results as float64, on every backend."""
    row, module = _module(case)
    length, batch = case.draw(st.integers(0, 9), "length"), case.draw(st.integers(0, 4), "batch")
    x = row.inputs(length, batch, torch.float32)
    state = row.state(module, batch) if batch and case.draw(st.booleans(), "state") else None
    mask, reset = (
        torch.rand(length, batch) < 0.3 if case.draw(st.booleans(), name) else None
        for name in ("mask", "reset")
    )
    with backend.using("reference"), torch.no_grad():
        expected = call(_exact(row, module), x.double(), _wide(state), mask, reset=reset)
    form, choice = case.draw(FORMS, "form"), case.draw(st.sampled_from(CHOICES), "backend")
    formed = tree_map_only(Tensor, lambda leaf: _reformatted(leaf, form), state)
    with backend.using(choice), torch.set_grad_enabled(case.draw(st.booleans(), "gradients")):
        actual = call(module, _reformatted(x, form), formed, mask, reset=reset)
    _check(
        f"{type(module).__name__}, {choice}, {form}", actual, expected, STACK_TOLERANCES, scale=row.magnifies
    )


def sequences_end_to_end(case: Case) -> None:
    """Concatenated sequences of any lengths: the same results as each alone in float64, on every backend."""
    row, module = _module(case)
    lengths = case.draw(st.lists(st.integers(0, 9), min_size=1, max_size=5), "lengths")
    offsets = [0, *accumulate(lengths)]
    x = row.inputs(sum(lengths), 1, torch.float32).squeeze(1)
    state = row.state(module, len(lengths)) if case.draw(st.booleans(), "state") else None
    with backend.using("reference"), torch.no_grad():
        expected = by_sequences(row, _exact(row, module), x.double(), _wide(state), offsets)
    form, choice = case.draw(FORMS, "form"), case.draw(st.sampled_from(CHOICES), "backend")
    cu_seqlens = torch.tensor(offsets, dtype=case.draw(st.sampled_from([torch.int32, torch.int64]), "dtype"))
    with backend.using(choice), torch.set_grad_enabled(case.draw(st.booleans(), "gradients")):
        actual = call(module, _reformatted(x, form), state, cu_seqlens=cu_seqlens)
    _check(f"{type(module).__name__}, {choice}", actual, expected, STACK_TOLERANCES, scale=row.magnifies)


def wrong_offsets(case: Case) -> None:
    """Offsets with any values: refused, or valid."""
    row, module = _module(case)
    values = case.draw(st.lists(st.integers(-3, 12), max_size=5), "values")
    dtype = case.draw(st.sampled_from([torch.int32, torch.int64, torch.int16, torch.float32]), "dtype")
    total = case.draw(st.integers(0, 9), "total")
    x = row.inputs(total, 1, torch.float32).squeeze(1)
    with backend.using(case.draw(st.sampled_from(CHOICES), "backend")):
        call(module, x, cu_seqlens=torch.tensor(values, dtype=dtype))
    assert values[0] == 0, "offsets that do not begin at 0"
    assert values[-1] == total, "offsets that do not end at the number of positions"
    assert values == sorted(values), "offsets that decrease"


def _exact(row: Row, module: nn.Module) -> nn.Module:
    """Return a float64 module with the same weights."""
    exact = row.make().eval().double()
    exact.load_state_dict(module.state_dict())
    return exact


def _wide(state: Any) -> Any:
    return tree_map_only(Tensor, Tensor.double, state)


def _recurrence(case: Case) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Draw a recurrence, its tensors and its options."""
    name = case.draw(st.sampled_from(["sru", "gated_linear", "ligru", "mingru"]), "recurrence")
    torch.manual_seed(case.draw(st.integers(0, 2**32 - 1), "seed"))
    length, batch, hidden = (case.draw(st.integers(0, 6), letter) for letter in "TBD")
    dtype = case.draw(st.sampled_from(list(TOLERANCES)), "dtype")
    wide = accumulate_dtype(dtype)
    optional = {"mask_pad": torch.rand(length, batch) < 0.3}
    options: dict[str, Any] = {}
    if name == "sru":
        gates, directions = case.draw(st.integers(3, 4), "K"), case.draw(st.integers(1, 2), "N")
        columns = hidden * directions
        given = {"u": torch.randn(length, batch, gates, columns, dtype=dtype)}
        position = (length, batch) if case.draw(st.booleans(), "v per position") else ()
        given |= {
            "v": torch.randn(*position, 2, columns, dtype=wide),
            "bias": torch.randn(2, columns, dtype=wide),
        }
        optional["c0"] = torch.randn(batch, columns, dtype=wide)
        optional["mask_c"] = (torch.rand(batch, columns) < 0.7).to(wide) / 0.7
        if gates == 3:
            optional["x"] = torch.randn(length, batch, columns, dtype=dtype)
        activation = case.draw(st.sampled_from(["identity", "tanh", "relu"]), "activation")
        options = {"bidirectional": directions == 2, "activation": activation}
    elif name == "gated_linear":
        heads, keys = case.draw(st.integers(0, 3), "H"), case.draw(st.integers(0, 4), "K")
        given = {letter: torch.randn(length, batch, heads, keys, dtype=dtype) for letter in "qk"}
        given["v"] = torch.randn(length, batch, heads, hidden, dtype=dtype)
        given["log_g"] = -torch.rand(length, batch, heads, keys, dtype=wide)
        optional["s0"] = torch.randn(batch, heads, keys, hidden, dtype=wide)
    else:
        given = {"u": torch.randn(length, batch, 2, hidden, dtype=dtype)}
        optional["h0"] = torch.randn(batch, hidden, dtype=wide)
        if name == "ligru":
            given["weight"] = (0.3 * torch.randn(2 * hidden, hidden)).to(dtype)  # rounded as by the operator
            optional["mask_h"] = (torch.rand(batch, hidden) < 0.7).to(wide) / 0.7
    optional["reset"] = torch.rand(length, batch) < 0.3
    given |= {key: tensor for key, tensor in optional.items() if case.draw(st.booleans(), key)}
    state = next(key for key in optional if key in ("c0", "s0", "h0"))
    if "reset" in given and case.draw(st.booleans(), "state at a reset"):
        given[f"{state[0]}_reset"] = torch.randn(optional[state].shape[1:], dtype=optional[state].dtype)
    return f"{name}_recurrence", given, options


def _zero_after_nonfinite(given: dict[str, Tensor], expected: Tensor, h: Tensor, last: Tensor) -> None:
    """Zero all results after a non-finite state of a sequence, because the product spreads it."""
    length, batch = expected.shape[:2]
    clean = given["h0"].isfinite().all(-1) if "h0" in given else torch.ones(batch, dtype=torch.bool)
    begins = given.get("reset", torch.zeros(length, batch, dtype=torch.bool))
    if "mask_pad" in given:
        begins = begins & ~given["mask_pad"]
    cleans = bool(given["h_reset"].isfinite().all()) if "h_reset" in given else True
    for states, begin, to in zip(expected.clone(), begins, h, strict=True):
        clean = torch.where(begin, cleans, clean)
        to[~clean] = 0
        clean = clean & states.isfinite().all(-1)
    last[~clean] = 0


def recurrences(case: Case) -> None:
    """Every function, possibly with one infinite, NaN or extreme number: the same results as in float64."""
    name, given, options = _recurrence(case)
    floats = [key for key, tensor in given.items() if tensor.is_floating_point() and tensor.numel()]
    odd = case.draw(st.sampled_from([*floats, None]), "odd number in")
    if odd is not None:
        numbers = [-torch.inf, torch.nan, 0.0, -6e4]
        numbers += [] if odd == "log_g" else [torch.inf, 6e4, 1e-40]  # a gate is at most 1
        if odd == "weight":  # a large weight magnifies the rounding error of the previous state
            numbers = [number for number in numbers if abs(number) != 6e4]
        value = case.draw(st.sampled_from(numbers), "number")
        if "activation" in options:
            options["activation"] = "identity"  # tanh of infinity is 1
        if odd in ("v", "bias", "weight", "mask_h"):
            given.pop("mask_pad", None)  # in the reference, NaN in a column spreads to the gates at padding
        given[odd].view(-1)[case.draw(st.integers(0, given[odd].numel() - 1), "place")] = value
    exact = {key: tensor.double() if tensor.is_floating_point() else tensor for key, tensor in given.items()}
    expected = getattr(reference, name)(**exact, **options)
    form, choice = case.draw(FORMS, "form"), case.draw(st.sampled_from(CHOICES), "backend")
    with backend.using(choice):
        actual = getattr(functional, name)(
            **{key: _reformatted(x, form) for key, x in given.items()}, **options
        )
    spreads = choice == "reference" and name != "sru_recurrence"
    if name == "ligru_recurrence" and not all(tensor.isfinite().all() for tensor in expected):
        _zero_after_nonfinite(given, expected[0], *actual)
        _zero_after_nonfinite(given, expected[0], *expected)
    _check(f"{name}, {choice}, {form}, odd {odd}", actual, expected, TOLERANCES, spreads=spreads)


def wrong_recurrence_calls(case: Case) -> None:
    """One argument of a function is replaced: the call is refused or runs."""
    name, given, options = _recurrence(case)
    key = case.draw(st.sampled_from(sorted({**given, **options})), "argument")
    odd = _wrong_values(given[key]) if key in given else [None, "x", 2, 1.5, (), True, torch.ones(2)]
    value = odd[case.draw(st.integers(0, len(odd) - 1), "in its place")]
    with backend.using(case.draw(st.sampled_from(CHOICES), "backend")):
        try:
            getattr(functional, name)(**{**given, **options, key: value})
        except RuntimeError as error:
            if not str(error).startswith("the backend 'kernels' was chosen"):
                raise
            raise Refused(str(error)) from error


def wrong_sizes(case: Case) -> None:
    """Constructors with one argument replaced."""
    import inspect

    import sru_nn
    from sru_nn import compat

    ours = ("SRU", "SRUCell", "SRUpp", "GatedLinearRNN", "LiGRU", "SLiGRU", "MinGRU")
    kinds = [*(getattr(sru_nn, name) for name in ours), compat.LSTM, compat.GRU]
    kind = case.draw(st.sampled_from(kinds), "class")
    names = list(inspect.signature(kind).parameters)
    sizes = {name: 4 for name in ("input_size", "hidden_size", "proj_size") if name in names}
    if kind is compat.LSTM:
        del sizes["proj_size"]
    name = case.draw(st.sampled_from([name for name in names if name not in ("device", "dtype")]), "argument")
    wrong = [None, "8", 8.0, -1, 0, 3, 0.5, float("nan"), [], (4,), True, torch.tensor(4)]
    value = wrong[case.draw(st.integers(0, len(wrong) - 1), "value")]
    module = kind(**{**sizes, name: value})
    x = torch.randn(3, 2, 4)
    call(module, x.transpose(0, 1) if getattr(module, "batch_first", False) else x)
