"""Record what `sru` 2.3.5 or 2.6.0 computes on random configurations, for the tests to compare with.

Run it in an environment that holds the old package and not this one; it is compiled when it is imported or
first used, by the torch of today and with no patch::

    python -m venv scratch && scratch/bin/pip install torch==2.13.0 numpy ninja setuptools
    scratch/bin/pip install --no-build-isolation sru==2.6.0
    PATH=$PWD/scratch/bin:$PATH scratch/bin/python packages/sru-nn/tests/golden/make_sru.py

It writes `sru_<version>.pt` beside itself: for each case the constructor's arguments, the state dict, the
inputs, the dropout masks that were drawn, the upstream gradients, the outputs, the final states and every
gradient, in float64, from the package's autograd path on the CPU. Where its compiled forward path (float32
only) can run the case, this script checks that the two agree before it records anything.
"""

import copy
import inspect
import random
import warnings
from pathlib import Path

import sru
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from transforms import LinearWithVectors, make_custom_m

# The number of cases and the seed of each version.
PLAN = {"2.3.5": (24, 235), "2.6.0": (72, 260)}


def draw_arguments(rng: random.Random) -> dict:
    """Draw the constructor's arguments of one case."""
    hidden = rng.choice([1, 3, 4])
    bidirectional = rng.random() < 0.5
    output = hidden * (2 if bidirectional else 1)
    return {
        "input_size": rng.choice([output, 2, 5]),
        "hidden_size": hidden,
        "num_layers": rng.choice([1, 2, 3]),
        "dropout": rng.choice([0.0, 0.0, 0.3]),
        "rnn_dropout": rng.choice([0.0, 0.0, 0.3]),
        "bidirectional": bidirectional,
        "projection_size": rng.choice([0, 0, 2]),
        "use_tanh": rng.random() < 0.5,
        "layer_norm": rng.random() < 0.4,
        "highway_bias": rng.choice([0.0, -2.0]),
        "has_skip_term": rng.random() < 0.75,
        "rescale": rng.random() < 0.5,
        "v1": rng.random() < 0.2,
        "nn_rnn_compatible_return": rng.random() < 0.3,
        "proj_input_to_hidden_first": rng.random() < 0.2,
        "normalize_after": rng.random() < 0.5,
        "weight_c_init": rng.choice([None, None, 0.5]),
    }


def known_arguments(arguments: dict) -> dict:
    """Leave out what this version of `sru` does not know."""
    known = inspect.signature(sru.SRU).parameters
    return {name: value for name, value in arguments.items() if name in known}


def layer_sizes(arguments: dict) -> list[tuple[int, int, int]]:
    """Return `(input_size, output_size, num_matrices)` of each layer."""
    output = arguments["hidden_size"] * (2 if arguments["bidirectional"] else 1)
    first = output if arguments["proj_input_to_hidden_first"] else arguments["input_size"]
    inputs = [first] + [output] * (arguments["num_layers"] - 1)
    return [(size, output, 4 if arguments["has_skip_term"] and size != output else 3) for size in inputs]


def record_masks(masks: list) -> None:
    """Make the old cell keep the dropout masks it draws."""

    def get_dropout_mask_(self: sru.SRUCell, size: tuple[int, int], p: float) -> torch.Tensor:
        mask = self.bias.data.new_empty(size).bernoulli_(1 - p).div_(1 - p)
        masks.append(mask)
        return mask

    sru.SRUCell.get_dropout_mask_ = get_dropout_mask_


def ignore_context(transform: type) -> None:
    """Let a custom transform be called as `sru` 2.3.5 does, which passes it the state and the mask too."""
    forward = transform.forward
    transform.forward = lambda self, x, **context: forward(self, x)


def run_case(rng: random.Random) -> dict:
    """Build, run and differentiate one random case."""
    arguments = known_arguments(draw_arguments(rng))
    custom = rng.choice(["none", "none", "none", "u", "uv"])
    form = rng.choice(["plain", "mask", "packed"])
    model = sru.SRU(**arguments, custom_m=make_custom_m(custom, layer_sizes(arguments))).double()
    for name, parameter in model.named_parameters():
        if name.endswith("bias") and parameter.requires_grad:
            torch.nn.init.normal_(parameter)
    length, batch = rng.choice([1, 2, 5]), rng.choice([1, 3])
    x = torch.randn(length, batch, arguments["input_size"], dtype=torch.float64, requires_grad=True)
    c0 = None
    if rng.random() < 0.6:
        c0 = torch.randn(model.num_layers, batch, model.output_size, dtype=torch.float64, requires_grad=True)
    mask, lengths = None, None
    if form == "mask":
        mask = torch.rand(length, batch) < 0.4
    if form == "packed":
        lengths = torch.tensor([rng.randint(1, length) for _ in range(batch)])
        lengths[0] = length
    given = pack_padded_sequence(x, lengths, enforce_sorted=False) if form == "packed" else x

    masks: list = []
    record_masks(masks)
    h, c = model(given, c0, mask_pad=mask)
    h = pad_packed_sequence(h)[0] if isinstance(h, PackedSequence) else h
    grad_h, grad_c = torch.randn_like(h), torch.randn_like(c)
    torch.autograd.backward([h, c], [grad_h, grad_c])
    if not masks and not (custom == "uv" and arguments["bidirectional"]):
        check_compiled_path(model, given, c0, mask, h, c)
    gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()}
    return {
        "arguments": arguments,
        "custom": custom,
        "form": form,
        "state_dict": model.state_dict(),
        "x": x.detach(),
        "c0": None if c0 is None else c0.detach(),
        "mask": mask,
        "lengths": lengths,
        "dropout_masks": masks,
        "grad_h": grad_h,
        "grad_c": grad_c,
        "h": h.detach(),
        "c": c.detach(),
        "grad_x": x.grad,
        "grad_c0": None if c0 is None else c0.grad,
        "gradients": gradients,
    }


@torch.no_grad()
def check_compiled_path(model, given, c0, mask, h, c) -> None:
    """Check that the package's compiled forward agrees with its autograd path.

    It does not where a custom transform returns v for two directions: the compiled path then reads the v of
    another position for the second one.
    """
    c0 = None if c0 is None else c0.float()
    h_compiled, c_compiled = copy.deepcopy(model).float()(given.float(), c0, mask_pad=mask)
    if isinstance(h_compiled, PackedSequence):
        h_compiled = pad_packed_sequence(h_compiled)[0]
    torch.testing.assert_close(h_compiled.double(), h, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(c_compiled.double(), c, rtol=1e-4, atol=1e-4)


def main() -> None:
    """Write all cases."""
    warnings.filterwarnings("ignore")
    version = sru.__version__
    count, seed = PLAN[version]
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    rng = random.Random(seed)
    if version == "2.3.5":
        ignore_context(torch.nn.Linear)
        ignore_context(LinearWithVectors)
    cases = [run_case(rng) for _ in range(count)]
    path = Path(__file__).with_name(f"sru_{version.replace('.', '_')}.pt")
    torch.save({"sru": version, "torch": str(torch.__version__), "seed": seed, "cases": cases}, path)
    print(f"{len(cases)} cases of sru {version} in {path}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
