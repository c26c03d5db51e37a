"""Record what `sru` 3.0.0.dev6 computes on random configurations, for the tests to compare with.

Run it in an environment that holds the old package and not this one; it is compiled when it is imported::

    python -m venv scratch && scratch/bin/pip install torch==2.13.0 numpy ninja setuptools wheel
    scratch/bin/pip install --no-build-isolation sru==3.0.0.dev6
    PATH=$PWD/scratch/bin:$PATH scratch/bin/python packages/sru-nn/tests/golden/make_sru_3_0_0_dev6.py

It writes `sru_3_0_0_dev6.pt` and `srupp_3_0_0_dev6.pt` beside itself, in the form of `make_sru.py` and
in float64 too; the field `module` says which class a case is of. The dropout of the attention map cannot be
replayed, and is left out.
"""

import copy
import random
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import sru
import torch
from make_sru import check_compiled_path, layer_sizes, record_masks
from sru.modules import SRUppAttention
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from transforms import make_custom_m

CASES = {"sru": {"SRU": 28, "SRUCell": 14}, "srupp": {"SRUpp": 24, "SRUppAttention": 6}}
SEED = 306


def draw_sru_arguments(rng: random.Random) -> dict:
    """Draw the constructor's arguments of one case of `SRU`; what is left out is at its default."""
    hidden = rng.choice([1, 3, 4])
    bidirectional = rng.random() < 0.5
    output = hidden * (2 if bidirectional else 1)
    arguments = {
        "input_size": rng.choice([output, 2, 5]),
        "hidden_size": hidden,
        "num_layers": rng.choice([1, 2, 3]),
        "dropout": rng.choice([0.0, 0.0, 0.3]),
        "rnn_dropout": rng.choice([0.0, 0.0, 0.3]),
        "bidirectional": bidirectional,
        "use_tanh": rng.random() < 0.3,
        "layer_norm": rng.random() < 0.5,
        "highway_bias": rng.choice([0.0, -2.0]),
        "has_skip_term": rng.random() < 0.75,
        "v1": rng.random() < 0.2,
        "nn_rnn_compatible_return": rng.random() < 0.3,
        "proj_input_to_hidden_first": rng.random() < 0.2,
    }
    if rng.random() < 0.4 and min(arguments["input_size"], output) > 2:
        arguments["projection_size"] = 2
    return arguments | draw_defaults(rng)


def draw_cell_arguments(rng: random.Random) -> dict:
    """Draw the constructor's arguments of one case of `SRUCell`."""
    arguments = draw_sru_arguments(rng)
    for name in ("num_layers", "nn_rnn_compatible_return", "proj_input_to_hidden_first"):
        del arguments[name]
    return arguments


def draw_defaults(rng: random.Random) -> dict:
    """Draw the arguments whose defaults are not those of 2.6.0, each left out in half of the cases."""
    given = {
        "rescale": rng.random() < 0.5,
        "normalize_after": rng.random() < 0.5,
        "weight_c_init": 0.5,
        "amp_recurrence_fp16": False,
    }
    return {name: value for name, value in given.items() if rng.random() < 0.5}


def draw_srupp_arguments(rng: random.Random) -> dict:
    """Draw the constructor's arguments of one case of `SRUpp`."""
    hidden = rng.choice([1, 3, 4])
    bidirectional = rng.random() < 0.4
    output = hidden * (2 if bidirectional else 1)
    arguments = {
        "input_size": rng.choice([output, 2, 5]),
        "hidden_size": hidden,
        "proj_size": rng.choice([2, 4]),
        "num_layers": rng.choice([1, 2, 3]),
        "dropout": rng.choice([0.0, 0.0, 0.3]),
        "num_heads": rng.choice([1, 2]),
        "bidirectional": bidirectional,
        "layer_norm": rng.random() < 0.5,
        "attn_layer_norm": rng.random() < 0.6,
        "rescale": rng.random() < 0.4,
        "nn_rnn_compatible_return": rng.random() < 0.3,
        "proj_input_to_hidden_first": rng.random() < 0.3,
    }
    drawn = {"normalize_after": rng.random() < 0.6, "highway_bias": 0.5, "weight_c_init": 0.5}
    arguments |= {name: value for name, value in drawn.items() if rng.random() < 0.5}
    if rng.random() < 0.4:
        every = rng.random() < 0.5
        arguments["attention_every_n_layers" if every else "attention_last_n_layers"] = 2 if every else 1
    return arguments


def randomise(model: nn.Module) -> None:
    """Draw what the old package starts at zero or one, so that a case tells whether it is used."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and (name.endswith(("bias", "alpha")) or "layer_norm" in name):
            nn.init.normal_(parameter)


def leaf(*shape: int) -> Tensor:
    """Draw a tensor that takes a gradient."""
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def run_case(rng: random.Random, kind: str) -> dict:
    """Build, run and differentiate one random case of a class."""
    if kind == "SRUppAttention":
        return run_attention_case(rng)
    return run_srupp_case(rng) if kind == "SRUpp" else run_sru_case(rng, kind)


def run_sru_case(rng: random.Random, kind: str) -> dict:
    """Build, run and differentiate one random case of `SRU` or `SRUCell`."""
    is_cell = kind == "SRUCell"
    arguments = draw_cell_arguments(rng) if is_cell else draw_sru_arguments(rng)
    custom = rng.choice(["none", "none", "none", "u", "uv"])
    sizes = layer_sizes({"num_layers": 1, "proj_input_to_hidden_first": False, **arguments})
    modules = make_custom_m(custom, sizes)
    if is_cell:
        model = sru.SRUCell(**arguments, transform_module=modules and modules[0]).double()
    else:
        model = sru.SRU(**arguments, transform_module=modules).double()
    randomise(model)
    form = rng.choice(["plain", "mask"] if is_cell else ["plain", "mask", "packed"])
    length, batch = rng.choice([1, 2, 5]), rng.choice([1, 3])
    x = leaf(length, batch, arguments["input_size"])
    layers = () if is_cell else (arguments["num_layers"],)
    c0 = leaf(*layers, batch, model.output_size) if rng.random() < 0.6 else None
    mask = torch.rand(length, batch) < 0.4 if form == "mask" else None
    lengths = None
    if form == "packed":
        lengths = torch.tensor([rng.randint(1, length) for _ in range(batch)])
        lengths[0] = length
    given = pack_padded_sequence(x, lengths, enforce_sorted=False) if form == "packed" else x

    masks: list = []
    record_masks(masks)
    h, c = model(given, c0, mask_pad=mask)
    h = pad_packed_sequence(h)[0] if isinstance(h, PackedSequence) else h
    if not masks and not (custom == "uv" and arguments["bidirectional"]):
        check_compiled_path(model, given, c0, mask, h, c)
    case = {"module": kind, "arguments": arguments, "custom": custom, "form": form, "mask": mask}
    case |= {"lengths": lengths, "dropout_masks": masks}
    return case | differentiate(model, {"x": x, "c0": c0}, {"h": h, "c": c})


def run_srupp_case(rng: random.Random) -> dict:
    """Build, run and differentiate one random case of `SRUpp`."""
    arguments = draw_srupp_arguments(rng)
    model = sru.SRUpp(**arguments).double()
    randomise(model)
    length, batch, earlier = rng.choice([1, 3, 5]), rng.choice([1, 2]), rng.choice([0, 2])
    x = leaf(length, batch, arguments["input_size"])
    c0 = leaf(model.num_layers, batch, model.output_size) if rng.random() < 0.5 else None
    memory = None
    if earlier:
        memory = [leaf(earlier, batch, cell.input_size) for cell in model.rnn_lst]
        if rng.random() < 0.2:
            memory[0] = None
    attention = rng.choice(["none", "none", "causal", "random"])
    if memory and memory[0] is None:
        attention = "none"  # the layers' contexts differ in length
    mask = padding(rng, length, batch) if rng.random() < 0.5 else None
    memory_mask = None
    if earlier and rng.random() < 0.5:
        memory_mask = torch.rand(earlier, batch) < 0.5
    attn_mask = None
    if attention == "random":
        attn_mask = torch.randn(length, earlier + length, dtype=torch.float64)
    if attention == "causal":
        attn_mask = torch.full((length, earlier + length), -torch.inf).triu(earlier + 1).double()

    masks: list = []
    record_masks(masks)
    record_dropout(masks)
    h, c, bank = model(x, c0, mask, attn_mask, memory, memory_mask)
    assert h.isfinite().all()
    if not masks:
        check_compiled_srupp(model, (x, c0, mask, attn_mask, memory, memory_mask), h, c)
    case = {"module": "SRUpp", "arguments": arguments, "mask": mask, "attention": attention}
    case |= {"attn_mask": attn_mask, "memory_mask": memory_mask, "dropout_masks": masks}
    case["saved_inputs"] = _detached(bank["saved_inputs"])
    return case | differentiate(model, {"x": x, "c0": c0, "memory": memory}, {"h": h, "c": c})


def run_attention_case(rng: random.Random) -> dict:
    """Build, run and differentiate one case of `SRUppAttention`, with more options than `SRUpp` has."""
    arguments = {
        "in_features": 3,
        "out_features": 5,
        "proj_features": 4,
        "num_heads": rng.choice([1, 2]),
        "dropout": rng.choice([0.0, 0.3]),
        "rezero_init_alpha": 0.5,
        "layer_norm": rng.random() < 0.8,
        "normalize_after": rng.random() < 0.3,
    }
    model = SRUppAttention(**arguments).double()
    randomise(model)
    length, batch, earlier = 3, 2, rng.choice([0, 2])
    x, memory = leaf(length, batch, 3), leaf(earlier, batch, 3) if earlier else None
    mask = padding(rng, length, batch)
    masks: list = []
    record_dropout(masks)
    # What it makes of padding goes nowhere.
    h = model(x, mask, None, memory).masked_fill(mask.unsqueeze(-1), 0.0)
    case = {"module": "SRUppAttention", "arguments": arguments, "mask": mask, "dropout_masks": masks}
    return case | differentiate(model, {"x": x, "memory": memory}, {"h": h})


def padding(rng: random.Random, length: int, batch: int) -> Tensor:
    """Draw a mask without the first positions: where all is masked, the old package returns NaN."""
    mask = torch.zeros(length, batch, dtype=torch.bool)
    for sequence in range(batch):
        mask[rng.randint(1, length) :, sequence] = True
    return mask


def record_dropout(masks: list) -> None:
    """Make `nn.Dropout` keep the masks it draws."""

    def forward(self: nn.Dropout, x: Tensor) -> Tensor:
        if not (self.training and self.p > 0):
            return x
        mask = torch.empty_like(x).bernoulli_(1 - self.p).div_(1 - self.p)
        masks.append(mask)
        return x * mask

    nn.Dropout.forward = forward


def differentiate(model: nn.Module, inputs: dict, results: dict) -> dict:
    """Differentiate with random upstream gradients; return all gradients, the inputs and the results.

    Args:
        model: What was run.
        inputs: Leaf tensors and lists of them by name, None where there is none.
        results: Tensors by name.
    """
    upstream = {f"grad_{name}": torch.randn_like(result) for name, result in results.items()}
    torch.autograd.backward(list(results.values()), list(upstream.values()))
    gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()}
    case = {"state_dict": model.state_dict(), "gradients": gradients, **upstream}
    for name, value in {**inputs, **results}.items():
        case[name] = _detached(value)
        if name in inputs:
            case[f"grad_{name}"] = _gradient(value)
    return case


def _detached(value: Any) -> Any:
    if isinstance(value, list):
        return [_detached(entry) for entry in value]
    return None if value is None else value.detach()


def _gradient(value: Any) -> Any:
    if isinstance(value, list):
        return [_gradient(entry) for entry in value]
    return None if value is None else value.grad


@torch.no_grad()
def check_compiled_srupp(model: nn.Module, inputs: tuple, h: Tensor, c: Tensor) -> None:
    """Check that the package's compiled forward agrees with its autograd path."""
    h_compiled, c_compiled, _ = copy.deepcopy(model).float()(*[_float(value) for value in inputs])
    torch.testing.assert_close(h_compiled.double(), h, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(c_compiled.double(), c, rtol=1e-4, atol=1e-4)


def _float(value: Any) -> Any:
    if isinstance(value, list):
        return [_float(entry) for entry in value]
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def packed(cases: list) -> list:
    """Move all tensors of a dtype into one, of which they become views: a file of a third of the size."""
    found: dict = {}
    _walk(cases, lambda tensor: found.setdefault(tensor.dtype, []).append(tensor))
    whole = {dtype: torch.cat([t.reshape(-1) for t in tensors]) for dtype, tensors in found.items()}
    rest = {d: iter(w.split([t.numel() for t in found[d]])) for d, w in whole.items()}
    return _walk(cases, lambda tensor: next(rest[tensor.dtype]).view(tensor.shape))


def _walk(value: Any, replace: Any) -> Any:
    if isinstance(value, Tensor):
        return replace(value)
    if isinstance(value, list):
        return [_walk(entry, replace) for entry in value]
    if isinstance(value, dict):
        new = type(value)((name, _walk(entry, replace)) for name, entry in value.items())
        if isinstance(value, OrderedDict):  # a state dict, with the versions of its modules
            new._metadata = value._metadata
        return new
    return value


def main() -> None:
    """Write all cases."""
    warnings.filterwarnings("ignore")
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    for name, kinds in CASES.items():
        rng = random.Random(SEED)
        cases = packed([run_case(rng, kind) for kind, count in kinds.items() for _ in range(count)])
        path = Path(__file__).with_name(f"{name}_3_0_0_dev6.pt")
        about = {"sru": sru.__version__, "torch": str(torch.__version__), "seed": SEED}
        torch.save(about | {"cases": cases}, path)
        print(f"{len(cases)} cases of sru {sru.__version__} in {path.name}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
