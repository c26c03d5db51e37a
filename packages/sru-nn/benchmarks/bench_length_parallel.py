"""The length-parallel SRU: how many iterations it takes, how exact it is and what it costs on a CPU.

`python packages/sru-nn/benchmarks/bench_length_parallel.py` from the root of the repository, in the
environment of `nox -s bench`; takes some minutes. Writes docs/benchmarks/length-parallel.json and the tables
of docs/length-parallel.md, between their markers.
"""

from __future__ import annotations

import argparse
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import torch
from measure import race
from record import described, machine
from torch import Tensor, nn
from torch.nn import functional as F

from sru_nn import SRU, SRUCell, backend
from sru_nn.experimental.length_parallel import LengthParallel, solve
from sru_nn.functional import sru_recurrence
from sru_nn.linear_scan import scan

SIZE, LAYERS = 256, 2
LENGTHS = (1024, 4096, 16384, 65536)
CHUNKS = (1, 8, 32, 64, 128, 256, 512)
CHUNKS_LENGTH = 16384
LARGE = 4.0
"""Factor of the recurrent vectors in the weights called large."""
LENGTH_PARALLEL, REFERENCE, KERNELS = "length-parallel", "reference", "kernels"


class CharacterModel(nn.Module):
    """Predicts the next character."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(characters, SIZE)
        self.rnn = SRU(SIZE, SIZE, LAYERS)
        self.output = nn.Linear(SIZE, characters)

    def forward(self, text: Tensor) -> Tensor:
        """Map `(T, B)` to `(T, B, characters)`."""
        logits: Tensor = self.output(self.rnn(self.embedding(text))[0])
        return logits


def main() -> None:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=800, help="of the training of the character model")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each measurement")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of the page")
    options = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)  # the tables say what did not converge
    facts = machine("cpu")
    text = read_text()
    torch.manual_seed(0)
    model = CharacterModel(int(text.max()) + 1)
    inputs = {"random": layer_inputs(model, text)}
    bits = train(model, text, options.steps)
    inputs["trained"] = layer_inputs(model, text)
    inputs["trained, v times 4"] = [case | {"v": LARGE * case["v"]} for case in inputs["trained"]]
    print(f"trained to {bits:.2f} bits per character", flush=True)
    result = {
        "machine": facts,
        "training": {"steps": options.steps, "bits per character": bits},
        "accuracy": [row for name, cases in inputs.items() for row in accuracy_rows(name, cases)],
        "chunks": [row for name, cases in inputs.items() for row in chunk_rows(name, cases, options.seconds)],
        "times": time_rows(inputs["trained"][0], options.seconds),
        "scans": scan_rows(options.seconds),
    }
    (options.docs / "benchmarks/length-parallel.json").write_text(json.dumps(result, indent=1) + "\n")
    page = options.docs / "length-parallel.md"
    for name, lines in tables(result).items():
        text_of_page = page.read_text()
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
        filled = begin + "\n".join(lines) + "\n" + end
        page.write_text(pattern.sub(lambda _, filled=filled: filled, text_of_page))  # type: ignore[misc]
        print("\n".join(lines), flush=True)


def read_text() -> Tensor:
    """Return the documentation of Python's syntax, character by character."""
    text = "".join(topics[name] for name in sorted(topics))
    alphabet = {character: index for index, character in enumerate(sorted(set(text)))}
    return torch.tensor([alphabet[character] for character in text])


def train(model: CharacterModel, text: Tensor, steps: int) -> float:
    """Train on random pieces of the text; return the bits per character over the last fifty steps."""
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    length, batch, losses = 128, 16, []
    for _ in range(steps):
        starts = torch.randint(len(text) - length, (batch,))
        piece = torch.stack([text[start : start + length + 1] for start in starts.tolist()], dim=1)
        loss = F.cross_entropy(model(piece[:-1]).flatten(0, 1), piece[1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item() / 0.6931)
    return sum(losses[-50:]) / len(losses[-50:])


@torch.no_grad()
def layer_inputs(model: CharacterModel, text: Tensor) -> list[dict[str, Tensor]]:
    """Return what the recurrence of each layer reads while the model reads a long text as one sequence."""
    x = model.embedding(text[: max(LENGTHS)].unsqueeze(1))
    cases = []
    for cell in model.rnn.rnn_lst:
        assert isinstance(cell, SRUCell)
        assert cell.transform is not None
        u = cell.transform(x).view(len(x), 1, 3, SIZE)
        case = {
            "u": u,
            "v": cell.weight_c.view(2, SIZE).clone(),
            "bias": cell.bias.view(2, SIZE).clone(),
            "x": x,
        }
        cases.append(case)
        x, _ = sru_recurrence(**case)
    return cases


def cut(case: dict[str, Tensor], length: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Return the first steps, with everything in one dtype."""
    return {
        name: (tensor[:length] if name in "ux" else tensor).to(dtype).contiguous()
        for name, tensor in case.items()
    }


def accuracy_rows(weights: str, cases: Sequence[dict[str, Tensor]]) -> Iterator[dict[str, Any]]:
    """Count iterations, and compare both forms with the truth: float64, from the same rounded inputs."""
    for length in LENGTHS:
        print(f"accuracy, {weights}, {length}", flush=True)
        for dtype in (torch.float32, torch.bfloat16):
            for layer, whole in enumerate(cases):
                case = cut(whole, length, dtype)
                solution = solve(*forget_gate(case))
                with backend.using("auto"):
                    truth = results(cut(case, length, torch.float64), False)
                row = {"weights": weights, "length": length, "dtype": name_of(dtype), "layer": layer}
                row |= {"iterations": solution.iterations, "looped": solution.looped}
                for form, length_parallel in ((LENGTH_PARALLEL, True), (REFERENCE, False)):
                    with backend.using("reference"):
                        found = results(case, length_parallel)
                    row[form] = [differences(*pair) for pair in zip(found, truth, strict=True)]
                yield row


def forget_gate(case: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what `solve` takes, in the accumulation dtype."""
    u = case["u"].float()
    return (
        u[:, :, 0],
        u[:, :, 1] + case["bias"][0].float(),
        case["v"][0].float(),
        torch.zeros_like(u[0, :, 0]),
    )


def results(case: dict[str, Tensor], length_parallel: bool | LengthParallel) -> tuple[Tensor, Tensor]:
    """Return the output and the gradient of u for a gradient of ones at the output."""
    u = case["u"].detach().requires_grad_()
    h, _ = sru_recurrence(**case | {"u": u}, length_parallel=length_parallel)
    return h.detach(), torch.autograd.grad(h.sum(), u)[0]


def differences(found: Tensor, truth: Tensor) -> tuple[float, float]:
    """Return the median over the states, and the largest, of a state's largest difference.

    It is relative to the largest magnitude of that state.
    """
    error = (found.double() - truth).abs().flatten(0, -2).amax(0) / truth.abs().flatten(0, -2).amax(0)
    return float(error.median()), float(error.max())


def chunk_rows(weights: str, cases: Sequence[dict[str, Tensor]], seconds: float) -> Iterator[dict[str, Any]]:
    """Count iterations and time the solution of the first layer for several chunks; one is DEER's."""
    given = forget_gate(cut(cases[0], CHUNKS_LENGTH))
    for chunk in CHUNKS:
        options = LengthParallel(chunk=chunk)
        found = solve(*given, options)
        timing = race({"": lambda options=options: solve(*given, options)}, seconds=seconds / 4, rounds=3)[""]  # type: ignore[misc]
        row = {
            "weights": weights,
            "chunk": chunk,
            "iterations": found.iterations,
            "work": found.work,
            "looped": found.looped,
            "median": timing.median,
        }
        yield row


def time_rows(case: dict[str, Tensor], seconds: float) -> list[dict[str, Any]]:
    """Time the recurrence of the first layer in its three forms."""
    rows = []
    for length in LENGTHS:
        for dtype in (torch.float32, torch.bfloat16):
            given = cut(case, length, dtype)
            for mode, run in (("forward", forward), ("forward and backward", results)):
                calls = {
                    LENGTH_PARALLEL: as_call(run, given, True, "reference"),
                    REFERENCE: as_call(run, given, False, "reference"),
                    KERNELS: as_call(run, given, False, "auto"),
                }
                for contender, timing in race(calls, seconds=seconds, rounds=3).items():
                    row = {"length": length, "dtype": name_of(dtype), "mode": mode, "contender": contender}
                    rows.append(row | {"median": timing.median, "low": timing.low, "high": timing.high})
    return rows


@torch.no_grad()
def forward(case: dict[str, Tensor], length_parallel: bool) -> Tensor:
    """Return the output."""
    return sru_recurrence(**case, length_parallel=length_parallel)[0]


def as_call(
    run: Callable[..., object], case: dict[str, Tensor], length_parallel: bool, choice: backend.Choice
) -> Callable[[], object]:
    """Return a call with this implementation."""

    def call() -> object:
        with backend.using(choice):
            return run(case, length_parallel)

    return call


@torch.no_grad()
def scan_rows(seconds: float) -> list[dict[str, Any]]:
    """Time ways to solve a linear recurrence."""
    rows = []
    for length in LENGTHS:
        a, b = torch.rand(length, SIZE), torch.randn(length, SIZE)
        torch.testing.assert_close(scan(a, b), odd_even_scan(a, b), rtol=1e-4, atol=1e-4)
        calls = {
            "chunks of 16, recursively": lambda a=a, b=b: scan(a, b),
            "odd and even, recursively": lambda a=a, b=b: odd_even_scan(a, b),
            "doubling": lambda a=a, b=b: doubling_scan(a, b),
            "step by step": lambda a=a, b=b: step_by_step(a, b),
        }
        for contender, timing in race(calls, seconds=seconds, rounds=3).items():
            rows.append({"length": length, "contender": contender, "median": timing.median})
    return rows


def odd_even_scan(a: Tensor, b: Tensor) -> Tensor:
    """Solve the recurrence of every other step, and with it that of the rest."""
    if len(a) == 1:
        return b
    even = len(a) - len(a) % 2
    odd = odd_even_scan(a[1::2] * a[0:even:2], torch.addcmul(b[1::2], a[1::2], b[0:even:2]))
    y = torch.empty_like(b)
    y[0], y[1::2] = b[0], odd
    torch.addcmul(b[2::2], a[2::2], odd[: (len(a) - 1) // 2], out=y[2::2])
    return y


def doubling_scan(a: Tensor, b: Tensor) -> Tensor:
    """Join each step with the one 1, 2, 4, … before it: the fewest calls, and the most arithmetic."""
    distance = 1
    while distance < len(a):
        joined = torch.addcmul(b[distance:], a[distance:], b[:-distance])
        a = torch.cat([a[:distance], a[distance:] * a[:-distance]])
        b = torch.cat([b[:distance], joined])
        distance *= 2
    return b


def step_by_step(a: Tensor, b: Tensor) -> Tensor:
    """Solve the recurrence in order."""
    y, before = torch.empty_like(b), torch.zeros_like(b[0])
    for a_t, b_t, y_t in zip(a.unbind(0), b.unbind(0), y.unbind(0), strict=True):
        before = torch.addcmul(b_t, a_t, before, out=y_t)
    return y


def tables(result: dict[str, Any]) -> dict[str, list[str]]:
    """Return the parts of the page by the names of their markers."""
    training = result["training"]
    trained = (
        f"{training['steps']} steps of training to {training['bits per character']:.2f} bits per character"
    )
    return {
        "machine": [f"{described(result['machine'])}. B = 1, D = {SIZE}; the character model had {trained}."],
        "accuracy": list(accuracy_table(result["accuracy"])),
        "chunks": list(pivot(result["chunks"], "chunk", "weights", chunk_cell)),
        "times": list(time_table(result["times"])),
        "scans": list(pivot(result["scans"], "length", "contender", lambda row: ms(row["median"]), "T")),
    }


def accuracy_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """One line for each kind of weights, dtype and length; the worse of the layers."""
    heads = ["weights", "storage", "T", "iterations, by layer", "h", "h, loop", "gradient", "gradient, loop"]
    yield "| " + " | ".join(heads) + " |"
    yield "| --- " * len(heads) + "|"
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["weights"], row["dtype"], row["length"]), []).append(row)
    for (weights, dtype, length), layers in groups.items():
        counts = ", ".join(iterations(row) for row in layers)
        cells = [
            " / ".join(f"{max(row[form][i][j] for row in layers):.1e}" for j in (0, 1))
            for i in (0, 1)
            for form in (LENGTH_PARALLEL, REFERENCE)
        ]
        yield f"| {weights} | {dtype} | {length} | {counts} | " + " | ".join(cells) + " |"


def time_table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """One line for each storage, mode and length."""
    for mode in dict.fromkeys(row["mode"] for row in rows):
        yield f"\n{mode.capitalize()}:\n"
        chosen = [
            row | {"T, storage": f"{row['length']}, {row['dtype']}"} for row in rows if row["mode"] == mode
        ]
        yield from pivot(chosen, "T, storage", "contender", lambda row: ms(row["median"]))


def pivot(
    rows: Sequence[dict[str, Any]],
    down: str,
    across: str,
    cell: Callable[[dict[str, Any]], str],
    head: str | None = None,
) -> Iterator[str]:
    """Lay rows out by the values of two of their keys."""
    columns = list(dict.fromkeys(row[across] for row in rows))
    yield f"| {head or down} | " + " | ".join(columns) + " |"
    yield "| --- " * (len(columns) + 1) + "|"
    for value in dict.fromkeys(row[down] for row in rows):
        found = {row[across]: row for row in rows if row[down] == value}
        yield f"| {value} | " + " | ".join(cell(found[column]) for column in columns) + " |"


def chunk_cell(row: dict[str, Any]) -> str:
    """Iterations, steps in a row, and milliseconds."""
    steps = (row["iterations"] + 1) * row["chunk"] + (CHUNKS_LENGTH if row["looped"] else 0)
    return f"{iterations(row)}; {steps}; {ms(row['median'])}"


def iterations(row: dict[str, Any]) -> str:
    """The number, and how many states were left to the loop."""
    return f"{row['iterations']} (loop: {row['looped']})" if row["looped"] else str(row["iterations"])


def ms(seconds: float) -> str:
    """Milliseconds."""
    return f"{1e3 * seconds:.3g} ms"


def name_of(dtype: torch.dtype) -> str:
    """A dtype without its package."""
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    main()
