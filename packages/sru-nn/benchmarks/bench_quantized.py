"""Decoding with quantized weights: its speed, and its effect on a language model.

`nox -s bench -- quantized` writes docs/benchmarks/quantization.json and .md. torchao is included if it is
installed. The language model is trained first, in about a minute; `--checkpoint` uses the SRU of `sru demo`
instead, and needs sru-apps.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from character_model import CharacterModel, read_text, train
from measure import race
from record import described, machine, save, save_targets, target
from torch import Tensor, nn
from torch.nn import functional as F

from sru_nn import SRU
from sru_nn.quantization import quantize_weights_

FLOAT, INT8 = "float32", "int8 weights"
HELD_OUT = 0.05
TARGET = 2.0


def main() -> None:
    """Run the benchmark and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="time for the decoding steps")
    parser.add_argument("--size", type=int, default=1024, help="D of the stack of four layers")
    parser.add_argument("--steps", type=int, default=800, help="training steps of the language model")
    parser.add_argument("--checkpoint", type=Path, help="checkpoint of `sru demo` to use instead")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # torch and torchao emit deprecation warnings
    torch.manual_seed(0)
    facts = machine("cpu")
    rows = step_rows(options.size, options.seconds)
    if options.checkpoint:
        what, scores = f"the SRU of {options.checkpoint.name}", demo_scores(options.checkpoint)
    else:
        what, scores = f"a model after {options.steps} steps of training", trained_scores(options.steps)
    result = {"machine": facts, "size": options.size, "steps": rows, "model": what, "bits": scores}
    save(options.out, "quantization", result, page(result))
    save_targets(options.out, "quantization", facts, [judged(rows)])


def int8_weights(model: nn.Module) -> None:
    """Quantize with sru_nn, 8 bits."""
    quantize_weights_(model)


def int4_weights(model: nn.Module) -> None:
    """Quantize with sru_nn, 4 bits."""
    quantize_weights_(model, bits=4)


def torchao_weights(model: nn.Module) -> None:
    """Quantize with torchao, 8 bits."""
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    quantize_(model, Int8WeightOnlyConfig())


def torchao_dynamic(model: nn.Module) -> None:
    """Quantize with torchao, 8 bits for weights and activations."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    quantize_(model, Int8DynamicActivationInt8WeightConfig())


def torch_dynamic(model: nn.Module) -> None:
    """Quantize with torch.ao, which torchao will replace."""
    torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, torch.qint8, inplace=True)


def methods() -> dict[str, Callable[[nn.Module], object]]:
    """Return the available methods, by name."""
    found: dict[str, Callable[[nn.Module], object]] = {FLOAT: lambda model: None, INT8: int8_weights}
    found["int4 weights"] = int4_weights
    if importlib.util.find_spec("torchao") is not None:
        found |= {"torchao int8 weights": torchao_weights, "torchao int8 dynamic": torchao_dynamic}
    return found | {"torch.ao int8 dynamic": torch_dynamic}


def quantized(model: nn.Module, quantize: Callable[[nn.Module], object]) -> nn.Module:
    """Return a quantized copy of a model."""
    model = copy.deepcopy(model)
    quantize(model)
    return model


@torch.inference_mode()
def step_rows(size: int, seconds: float) -> list[dict[str, Any]]:
    """Measure the error of the outputs, then time one step of four layers with batch size 1."""
    rnn, x, text = SRU(size, size, 4).eval(), torch.randn(1, 1, size), torch.randn(64, 1, size)
    exact, calls, errors = rnn(text)[0], {}, {}
    for name, quantize in methods().items():
        model = quantized(rnn, quantize)
        h, state = model(text)
        errors[name] = float((h - exact).norm() / exact.norm())
        assert errors[name] < 0.2, (name, errors[name])
        calls[name] = lambda model=model, state=state: model(x, state)
    times = race(calls, seconds=seconds, shortest=0.05)
    return [
        {"contender": name, "median": t.median, "low": t.low, "high": t.high, "error": errors[name]}
        for name, t in times.items()
    ]


def trained_scores(steps: int) -> dict[str, float]:
    """Train a model on most of the text; return its bits per character on the rest, by method."""
    text = read_text()
    end = int(len(text) * (1 - HELD_OUT))
    model = CharacterModel(int(text.max()) + 1)
    train(model, text[:end], steps)
    return scores(model.eval(), lambda model: model.rnn, text[end:], lambda model, ids: model(ids))


def demo_scores(path: Path) -> dict[str, float]:
    """Return the bits per character of `sru demo`'s SRU on held-out text, by method."""
    from sru_apps.demo import VALIDATION_SHARE
    from sru_apps.language_modelling.module import LanguageModelModule

    from sru_data.datasets.language_modelling import python_help_text
    from sru_data.tokenizers import CharTokenizer

    text = python_help_text()
    ids = torch.tensor(CharTokenizer.train([text]).encode(text))
    model = LanguageModelModule.load_from_checkpoint(path, weights_only=True).network.eval()
    held_out = ids[-int(len(ids) * VALIDATION_SHARE) :]
    return scores(model, lambda model: model.rnn, held_out, lambda model, ids: model(ids)[0])


@torch.no_grad()
def scores(
    model: nn.Module,
    recurrent: Callable[[Any], nn.Module],
    text: Tensor,
    predict: Callable[[Any, Tensor], Tensor],
) -> dict[str, float]:
    """Return the bits per character of a text read as one sequence, with the recurrent part quantized."""
    found = {}
    for name, quantize in methods().items():
        changed = copy.deepcopy(model)
        quantize(recurrent(changed))
        logits = predict(changed, text[:-1, None])
        found[name] = float(F.cross_entropy(logits.flatten(0, 1), text[1:])) / 0.693147
    return found


def page(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the report."""
    rows: Sequence[Mapping[str, Any]] = result["steps"]
    base = next(row["median"] for row in rows if row["contender"] == FLOAT)
    plain = result["bits"][FLOAT]
    yield "# Decoding with quantized weights\n"
    yield f"Written by `nox -s bench -- quantized`: {described(result['machine'])}.\n"
    yield f"One step of four layers of D = {result['size']} at batch 1: medians of one run in turns,"
    yield "quartiles in brackets. The error is that of the outputs, with random weights and inputs. Bits per"
    yield f"character are those of {result['model']}, on unseen text.\n"
    yield "| projections | ms per step | steps per second | speedup | error | bits per character | change |"
    yield "| --- " * 7 + "|"
    for row in rows:
        name, t = row["contender"], row["median"]
        bits = result["bits"][name]
        yield (
            f"| {name} | {1e3 * t:.3f} [{1e3 * row['low']:.3f}, {1e3 * row['high']:.3f}] | {1 / t:.0f} "
            f"| {base / t:.2f}x | {row['error']:.1%} | {bits:.4f} | {bits - plain:+.4f} |"
        )


def judged(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the target's row."""
    medians = {row["contender"]: row["median"] for row in rows}
    ratio = medians[FLOAT] / medians[INT8]
    what = "decoding steps per second with int8 weights against float32"
    return target(what, f"at least {TARGET:g}x", f"{ratio:.2f}x", ratio >= TARGET)


if __name__ == "__main__":
    main()
