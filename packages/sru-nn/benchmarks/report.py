"""The report of the SRU benchmark: JSON, a Markdown page, plots, and the table of the front pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from contenders import GEMM, LSTM, OURS
from record import described, replace_section, save, save_targets
from targets import losses, median, shapes, targets

Row = Mapping[str, Any]
MODES = ("forward", "forward and backward")


def write_report(folder: Path, device: str, machine: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Write `sru-DEVICE.json`, `.md` and `.png`; for the CPU also the targets and the front pages.

    Args:
        folder: Created if missing.
        device: "cpu" or "cuda".
        machine: The facts of this run.
        rows: One row per measurement.
    """
    name = f"sru-{device}"
    save(folder, name, {"machine": machine, "rows": rows}, _page(name, machine, rows))
    _draw(rows, folder / f"{name}.png")
    if device == "cpu":
        save_targets(folder, name, machine, targets(rows))
        for page in (folder.parent.parent / "README.md", folder.parent / "index.md"):
            replace_section(page, "speed", _summary(machine, rows))
        _draw_summary(rows, folder.parent / "images" / "speed.png")


def _summary(machine: Mapping[str, str], rows: Sequence[Row]) -> Iterator[str]:
    """The table of the README and the documentation: one layer against `nn.LSTM` of the same width."""
    training = {shape: _times(rows, MODES[1], shape=shape) for shape in shapes(rows, MODES[1])}
    inference = {shape: _times(rows, MODES[0], shape=shape) for shape in training}
    step = _times(rows, "step", layers=1)
    yield f"One layer against `nn.LSTM` of the same width: **{_range(training)} times as fast to train**,"
    yield f"{_range(inference)} times at inference, {step[0] / step[1]:.2g} times token by token.\n"
    yield "| steps × batch × width | training, LSTM → SRU | | inference, LSTM → SRU | |"
    yield "| --- | --- | --- | --- | --- |"
    for shape, (theirs, ours) in sorted(training.items(), key=lambda item: -item[1][0] / item[1][1]):
        pairs = ((theirs, ours), inference[shape])
        cells = (f"{_ms(lstm)} → {_ms(sru)} ms | **{lstm / sru:.2g}×**" for lstm, sru in pairs)
        yield f"| {' × '.join(map(str, shape))} | {' | '.join(cells)} |"
    yield f"\nfloat32; {described(machine)}."


def _times(rows: Sequence[Row], mode: str, **where: object) -> tuple[float, float]:
    theirs, ours = (median(rows, mode, name, **where) for name in (LSTM, OURS))
    assert theirs is not None
    assert ours is not None
    return theirs, ours


def _range(times: Mapping[tuple[int, ...], tuple[float, float]]) -> str:
    ratios = [theirs / ours for theirs, ours in times.values()]
    return f"{min(ratios):.2g} to {max(ratios):.2g}"


def _page(name: str, machine: Mapping[str, str], rows: Sequence[Row]) -> Iterator[str]:
    on_cpu = name == "sru-cpu"
    yield f"# SRU on {'the CPU' if on_cpu else 'a GPU'}\n"
    command = "nox -s bench" if on_cpu else "nox -s bench -- --device cuda"
    yield f"Written by `{command}`: {described(machine)}.\n"
    yield "One layer with D inputs and D units; median milliseconds, quartiles in brackets. All contenders"
    yield "take turns in one run. Before timing, the outputs and gradients of contenders with equal weights"
    yield "are compared.\n"
    yield f"![Speed relative to nn.LSTM]({name}.png)\n"
    yield "## Where another unit was faster\n"
    yield from list(losses(rows)) or ["Nowhere in this run."]
    yield ""
    for dtype in dict.fromkeys(row["dtype"] for row in rows):
        for mode in MODES:
            yield f"## {mode.capitalize()}, {dtype}\n"
            yield from _table(
                [row for row in rows if (row["mode"], row["dtype"]) == (mode, dtype)], "(T, B, D)"
            )
    yield f"## One step, batch 1, D = {_first(rows, 'step')['shape'][2]}, float32\n"
    yield from _table([row for row in rows if row["mode"] == "step"], "layers", key="layers")
    if not on_cpu:
        return
    yield "## Time per step and sequence length\n"
    yield "| (T, B, D) | microseconds per step |\n| --- | --- |"
    for row in rows:
        if row["mode"] == "length":
            yield f"| {_shape(row)} | {1e6 * row['median'] / row['shape'][0]:.2f} |"
    memory = [row for row in rows if row["mode"] == "memory"]
    yield f"\n## Peak memory of forward and backward, {_shape(memory[0])}, float32\n"
    yield "| | MiB |\n| --- | --- |"
    for row in memory:
        yield f"| {row['contender']} | {row['bytes'] / 2**20:.0f} |"


def _table(rows: Sequence[Row], head: str, key: str = "shape") -> Iterator[str]:
    names = list(dict.fromkeys(row["contender"] for row in rows))
    yield f"| {head} | " + " | ".join(names) + " |"
    yield "| --- " * (len(names) + 1) + "|"
    for value in dict.fromkeys(row[key] for row in rows):
        cells = {row["contender"]: row for row in rows if row[key] == value}
        label = str(value)
        yield f"| {label} | " + " | ".join(_cell(cells.get(name)) for name in names) + " |"
    yield ""


def _cell(row: Row | None) -> str:
    if row is None:
        return "not measured"
    return f"{_ms(row['median'])} ({_ms(row['low'])} to {_ms(row['high'])})"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:{'.0f' if seconds >= 1 else '.3g'}}"


def _shape(row: Row) -> str:
    return str(tuple(row["shape"]))


def _first(rows: Sequence[Row], mode: str) -> Row:
    return next(row for row in rows if row["mode"] == mode)


def _draw(rows: Sequence[Row], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    for axes, mode in zip(figure.subplots(1, 2), MODES, strict=True):
        chosen = [row for row in rows if (row["mode"], row["dtype"]) == (mode, "float32")]
        shapes = list(dict.fromkeys(row["shape"] for row in chosen))
        times = {(row["shape"], row["contender"]): row["median"] for row in chosen}
        names = [
            name for name in dict.fromkeys(row["contender"] for row in chosen) if name not in (LSTM, GEMM)
        ]
        width = 0.8 / len(names)
        for index, name in enumerate(names):
            speed = [times[shape, LSTM] / times[shape, name] for shape in shapes]
            places = [place + (index - (len(names) - 1) / 2) * width for place in range(len(shapes))]
            axes.bar(places, speed, width, label=name)
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_yscale("log")
        axes.set_xticks(range(len(shapes)), [str(shape) for shape in shapes], rotation=20)
        axes.set_title(f"{mode}, float32")
        axes.set_ylabel("times as fast as nn.LSTM")
        axes.grid(axis="y", alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(names))
    figure.savefig(path, dpi=120)


def _draw_summary(rows: Sequence[Row], path: Path) -> None:
    """Draw the plot of the front page, which must be legible on a phone."""
    from matplotlib.figure import Figure

    training = {shape: _times(rows, MODES[1], shape=shape) for shape in shapes(rows, MODES[1])}
    slowest_first = sorted(training, key=lambda shape: training[shape][0] / training[shape][1])
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    for offset, mode, label in ((0.2, MODES[1], "training"), (-0.2, MODES[0], "inference")):
        times = [_times(rows, mode, shape=shape) for shape in slowest_first]
        places = [place + offset for place in range(len(times))]
        bars = axes.barh(places, [theirs / ours for theirs, ours in times], 0.38, label=label)
        axes.bar_label(bars, fmt="%.1f×", padding=3)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(slowest_first)), [" × ".join(map(str, shape)) for shape in slowest_first])
    axes.margins(x=0.12)
    axes.set_title("SRU: times as fast as nn.LSTM")
    axes.set_ylabel("steps × batch × width")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=160)
