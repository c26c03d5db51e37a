"""The report of `bench_translation.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from record import described, target

RECIPE = "multi30k-en-de-sru"
EQUAL_SIZES, EQUAL_PARAMETERS = "lstm, equal sizes", "lstm, equal parameters"
CELL = "lstm decoder by nn.LSTMCell"
BEAM, SENTENCES, SYMBOLS = 5, 32, 16
LENGTHS, LENGTH_BATCH = (25, 50, 100, 200, 400), 8
TARGETS = {"training": 1.5, "search": 1.3, "length": 1.2}
PARTS = tuple(TARGETS)


def page(result: Mapping[str, Any]) -> Iterator[str]:
    """Write the report."""
    yield "# Speed of translation on the CPU\n"
    yield "Written by `nox -s bench -- translation`. The contenders take turns in one run; medians, with"
    yield "quartiles in brackets. Sizes, vocabularies and batches are those of `sru translate fit --recipe"
    yield f"{RECIPE}`; weights are random, as time does not depend on them."
    if "training" in result:
        part = result["training"]
        worst = max(part["errors"].values())
        encoder, decoder = part["layers"]
        yield "\n## Training\n"
        yield f"{encoder} layers of the encoder, in both directions, and {decoder} of the decoder; float32,"
        yield "Adam. All train on the same batches. Logits of single steps and of whole targets, and"
        yield f"gradients by the kernels and by the reference, agree to {worst:.1e} of the largest."
        yield f"{described(part['machine'])}.\n"
        yield from table(part["rows"], "target tokens per second", "hidden_size", "decoder_size")
    if "search" in result:
        part = result["search"]
        yield "\n## Beam search\n"
        yield f"Beam {BEAM}, {SENTENCES} sentences of Multi30k side by side, translations of {SYMBOLS}"
        yield f"symbols. The decoders have {part['layers']} layers of D = {part['decoder_size']}. The time of"
        yield "the encoder, the same SRU for both, is included."
        yield f"{described(part['machine'])}.\n"
        yield from table(part["rows"], "sentences per second")
    if "length" in result:
        part = result["length"]
        yield "\n## Time by length\n"
        yield f"The SRU, beam {BEAM}, {LENGTH_BATCH} sentences side by side, translations of a given length."
        yield f"{described(part['machine'])}.\n"
        yield "| symbols | ms | ms per symbol |"
        yield "| --- | --- | --- |"
        for symbols, t in part["rows"].items():
            times = f"{1e3 * t['median']:,.0f} [{1e3 * t['low']:,.0f}, {1e3 * t['high']:,.0f}]"
            yield f"| {symbols} | {times} | {1e3 * per_symbol(part['rows'], int(symbols)):.2f} |"


def table(rows: Mapping[str, Any], unit: str, *widths: str) -> Iterator[str]:
    """Format speeds as a Markdown table, relative to the first LSTM."""
    titles = {"hidden_size": "D of the encoder, per direction", "decoder_size": "D of the decoder"}
    (_, base, *_) = rows.values()
    heads = ["system", "parameters", *(titles[width] for width in widths), unit, "relative to the LSTM"]
    yield f"| {' | '.join(heads)} |"
    yield "| --- " * len(heads) + "|"
    for name, row in rows.items():
        t = row["per_second"]
        cells = [name, f"{row['parameters']:,}", *(str(row[width]) for width in widths)]
        cells += [f"{t['median']:,.0f} [{t['low']:,.0f}, {t['high']:,.0f}]"]
        cells += [f"{t['median'] / base['per_second']['median']:.2f}x"]
        yield f"| {' | '.join(cells)} |"


def target_row(part: str, result: Mapping[str, Any]) -> str:
    """Return the target's row for one part."""
    goal, rows = TARGETS[part], result["rows"]
    if part == "length":
        ratio = per_symbol(rows, LENGTHS[-1]) / per_symbol(rows, LENGTHS[0])
        what = f"a symbol of a translation of {LENGTHS[-1]} symbols against one of {LENGTHS[0]}"
        return target(what, f"at most {goal:g}x", f"{ratio:.2f}x", ratio <= goal)
    base, unit = (EQUAL_SIZES, "tokens") if part == "training" else (CELL, "sentences")
    ratio = rows["sru"]["per_second"]["median"] / rows[base]["per_second"]["median"]
    what = f"{part} of translation, {unit} per second of the SRU against {base}"
    return target(what, f"at least {goal:g}x", f"{ratio:.2f}x", ratio >= goal)


def per_symbol(rows: Mapping[str, Any], symbols: int) -> float:
    """Return the median seconds per step, counting the end symbol."""
    return float(rows[str(symbols)]["median"]) / (symbols + 1)
