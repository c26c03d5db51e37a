"""SRU++ on the CPU against `sru` 3.0.0.dev6, if it is installed.

Checks that contenders with the same weights agree, then times them in one run and writes
`docs/benchmarks/srupp-cpu.json` and `.md`::

    pip install --no-build-isolation sru==3.0.0.dev6  # needs torch, ninja, setuptools and numpy
    python packages/sru-nn/benchmarks/bench_srupp.py
"""

from __future__ import annotations

import argparse
import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from measure import race
from record import described, machine, save, save_targets, target
from torch import Tensor, nn

from sru_nn import SRUpp, backend

OURS, REFERENCE, OLD = "sru_nn", "sru_nn, reference operators", "sru 3.0.0.dev6"
MODES = ("forward", "forward and backward")
TARGET = ("forward and backward", 1.5)
Call = Callable[[], Any]


def main() -> None:
    """Run everything and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="time per row of the table")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    sizes = {"length": 512, "batch": 8, "hidden": 1024, "projection": 256, "layers": 4}
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    options = parser.parse_args()
    torch.manual_seed(0)
    rows = []
    for causal in (False, True):
        rows += sequence_rows(options, causal)
    rows += token_rows(options)
    about = machine("cpu")
    save(options.out, "srupp-cpu", {"machine": about, "rows": rows}, report(about, rows))
    save_targets(options.out, "srupp-cpu", about, judged(rows))


def sequence_rows(options: argparse.Namespace, causal: bool) -> Iterator[dict[str, Any]]:
    """Time a whole sequence, without gradients and with gradients of the input and every parameter."""
    made = modules(options, causal)
    x = torch.randn(options.length, options.batch, options.hidden)
    mask = torch.full((options.length, options.length), -torch.inf).triu(1) if causal else None
    for mode in MODES:
        calls = sequence_calls(made, x, mask, training=mode == MODES[1])
        check_parity(calls)
        print(f"{mode}, {'causal' if causal else 'everywhere'}", flush=True)
        for name, timing in race(calls, seconds=options.seconds, rounds=3).items():
            attention = "causal" if causal else "everywhere"
            yield {"mode": mode, "attention": attention, "contender": name, **asdict(timing)}


def token_rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Time one more token after a context, batch size 1, in each way that a package offers."""
    made = modules(options, True)
    context, token = torch.randn(options.length, 1, options.hidden), torch.randn(1, options.hidden)
    calls = {}
    for name, module in made.items():
        with torch.no_grad():
            c, bank = module(context)[1:]
            state = module.stream(context)[1] if isinstance(module, SRUpp) else None
        # Default arguments bind the module now; a closure would use the last one.
        if state is not None:

            def step(module: Any = module, state: Any = state) -> Tensor:
                with torch.no_grad():
                    h: Tensor = module.step(token, state)[0]
                return h

            calls[f"{name}, keys and values kept"] = step

        def again(module: Any = module, c: Tensor = c, memory: Any = bank["saved_inputs"]) -> Tensor:
            with torch.no_grad():
                h: Tensor = module(token[None], c, memory=memory)[0][0]
            return h

        calls[f"{name}, inputs kept"] = again
    first, *others = (call() for call in calls.values())
    if OLD in made:  # it computes the context without a mask, so its values differ
        others = others[:1]
    for other in others:
        torch.testing.assert_close(first, other, rtol=1e-3, atol=1e-3)
    for name, timing in race(calls, seconds=min(options.seconds, 5.0), rounds=5).items():
        yield {"mode": "token", "contender": name, **asdict(timing)}


def modules(options: argparse.Namespace, causal: bool) -> dict[str, nn.Module]:
    """Create the modules, with the same weights."""
    sizes = (options.hidden, options.hidden, options.projection, options.layers)
    made: dict[str, nn.Module] = {OURS: SRUpp(*sizes, causal=causal)}
    for name, parameter in made[OURS].named_parameters():
        if name.endswith("alpha"):  # with the initial zero, attention would have no effect
            nn.init.constant_(parameter, 0.5)
    if importlib.util.find_spec("sru") is None:
        return made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sru
    if sru.__version__ != "3.0.0.dev6":
        raise RuntimeError(f"the package sru must be version 3.0.0.dev6, got {sru.__version__}")
    made[OLD] = sru.SRUpp(*sizes)
    for name, parameter in made[OLD].named_parameters():
        if name.endswith("alpha"):
            nn.init.constant_(parameter, 0.5)
    made[OURS].load_state_dict(made[OLD].state_dict())
    return made


def sequence_calls(
    made: Mapping[str, nn.Module], x: Tensor, mask: Tensor | None, *, training: bool
) -> dict[str, Call]:
    """Return a call per contender that returns the outputs and, in training, the input's gradient."""
    gradient = torch.randn_like(x)

    def call(module: nn.Module, attn_mask: Tensor | None, choice: backend.Choice = "auto") -> Call:
        inputs = x.clone().requires_grad_(training)

        def run() -> tuple[Tensor, Tensor | None]:
            with backend.using(choice), warnings.catch_warnings(), torch.set_grad_enabled(training):
                warnings.simplefilter("ignore")  # sru warns about training on the CPU
                h = module(inputs, None, None, attn_mask)[0]
                if training:
                    module.zero_grad(set_to_none=True)
                    inputs.grad = None
                    h.backward(gradient)
            return h.detach(), inputs.grad

        return run

    calls = {name: call(module, mask if name == OLD else None) for name, module in made.items()}
    return calls | {REFERENCE: call(made[OURS], None, "reference")}


def check_parity(calls: Mapping[str, Call]) -> None:
    """Raise unless all contenders agree in outputs and in the input's gradient."""
    h, gradient = calls[OURS]()
    for name in calls:
        other_h, other_gradient = calls[name]()
        torch.testing.assert_close(other_h, h, rtol=1e-3, atol=1e-3, msg=lambda m, n=name: f"{n}: {m}")
        if gradient is not None:
            torch.testing.assert_close(other_gradient, gradient, rtol=1e-3, atol=1e-3)


def report(about: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of the page."""
    yield f"# SRU++ on the CPU\n\nWritten by `nox -s bench-srupp`: {described(about)}.\n"
    yield "Median milliseconds, quartiles in brackets. All contenders take turns in one run. Before timing,"
    yield "the outputs and gradients of contenders with equal weights are compared.\n"
    for mode in MODES:
        for attention in ("everywhere", "causal"):
            chosen = [row for row in rows if (row["mode"], row.get("attention")) == (mode, attention)]
            yield from table(f"{mode}, attention {attention}", chosen, OLD)
    tokens = [row for row in rows if row["mode"] == "token"]
    yield from table("one token after a context, batch 1", tokens, f"{OLD}, inputs kept")


def table(head: str, rows: Sequence[Mapping[str, Any]], baseline: str) -> Iterator[str]:
    """Yield a table of contenders, with their speed relative to the baseline last."""
    medians = {row["contender"]: row["median"] for row in rows}
    yield f"| {head} | ms | times as fast as {baseline} |\n| --- | --- | --- |"
    for row in rows:
        low, median, high = (f"{1e3 * row[key]:.3g}" for key in ("low", "median", "high"))
        ratio = f"{medians[baseline] / row['median']:.2f}" if baseline in medians else "not measured"
        yield f"| {row['contender']} | {median} ({low} to {high}) | {ratio} |"
    yield ""


def judged(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the rows of the targets."""
    mode, goal = TARGET
    for attention in ("everywhere", "causal"):
        place = (mode, attention)
        medians = {
            row["contender"]: row["median"] for row in rows if (row["mode"], row.get("attention")) == place
        }
        what = f"SRU++ {mode}, attention {attention}, against {OLD}"
        ratio = medians[OLD] / medians[OURS] if OLD in medians else None
        measured = "not measured" if ratio is None else f"{ratio:.2f}x"
        yield target(what, f"at least {goal:g}x", measured, None if ratio is None else ratio >= goal)


if __name__ == "__main__":
    main()
