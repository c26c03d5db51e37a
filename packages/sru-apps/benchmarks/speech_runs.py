"""Error rates of `sru speech fit` on AN4, and accuracy on spoken digits by held-out speaker.

    python speech_runs.py runs/speech/an4-sru/* runs/speech/fsdd/* --commit 1a2b3c4

writes speech.json, speech.md, speech.png and speech-digits.png from run folders. A record in speech.json
stays until a run of the same recipe, encoder, seed and held-out speaker replaces it, so that a page can be
built over several days. Results with a language model are read from a run's `decoded.json`:

    sru speech test RUN --lm an4.ug.lm --beam 16 --lm-unknown -20 --json > RUN/decoded.json
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sru_apps.tasks.classify.pictures import draw_confusion
from sru_apps.train.pictures import draw_curves

from kept_runs import curve, read_folder, read_runs  # isort: skip
from record import described, save  # isort: skip

NAME = "speech"
PICTURED = "sru"
"""The encoder whose confusion matrix of digits is plotted, over all speakers and seeds."""
AN4 = """## Spelled words and commands

AN4: 844 training utterances (0.63 hours), and 773 words in the 130 test utterances. Recipes `an4-*`, which
differ in the encoder and in its width: cepstra with their derivatives, characters by CTC, four layers. The
best path takes the most probable symbol of each frame; the other columns are of a search with a beam and the
model of single words that comes with the data (`etc/an4.ug.lm`). Mean and standard deviation over seeds, in
percent, of the epoch with the lowest word error rate in validation. As is usual with CTC, a network first
outputs blanks only; the epoch in which that ends differs between encoders and seeds. To reproduce a row:

    sru speech fit --recipe an4-sru --seeds 3 --name first
    sru speech test runs/speech/an4-sru/first-seed-0 --lm an4.ug.lm --beam 16 --lm-unknown -20
""".splitlines()
DIGITS = """## Spoken digits of a new speaker

FSDD: recipe `fsdd` trains on all speakers but one and tests on the 500 recordings of that one. Each speaker,
also the new one, is normalised by the mean and the standard deviation of all their recordings; labels play no
part in that. Accuracy in percent; every column is a training of its own. To repeat a row, for each speaker:

    sru speech fit --recipe fsdd --held-out theo
""".splitlines()


def record(folder: Path) -> dict[str, Any]:
    """Read the record of a run."""
    summary, settings, metrics = read_folder(folder)
    figure = "validation_error_rate" if "error_rate" in summary["test"] else "validation_wer"
    found = {
        "recipe": settings["recipe"],
        "encoder": summary["encoder"],
        "held_out": settings["data"].get("held_out"),
        "seed": summary["seed"],
        "parameters": summary["parameters"],
        "epochs": summary["epochs"],
        "ended_by": summary["ended_by"],
        "seconds": summary["seconds"],
        "best_epoch": summary["best_epoch"],
        "validation": summary["validation"],
        "test": summary["test"],
        "curve": curve(metrics, train_loss="train_loss", error_rate=figure),
    }
    confusion, decoded = folder / "figures/confusion.json", folder / "decoded.json"
    if confusion.is_file():
        counted = json.loads(confusion.read_text())
        found |= {"labels": counted["labels"], "counts": counted["counts"]}
    if decoded.is_file():
        measured = json.loads(decoded.read_text())
        options = {**measured["options"], "lm": Path(measured["options"]["lm"]).name}
        found["decoded"] = {"options": options, **{rate: measured[rate] for rate in ("wer", "cer")}}
    return found


def key(run: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the key of a run; records with equal keys replace each other."""
    return run["recipe"], run["encoder"], run["held_out"], run["seed"]


def page(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Write the report."""
    yield "# Speech\n"
    recognisers = [run for run in runs if "wer" in run["test"]]
    if recognisers:
        yield from [*AN4, "", "![Word error rate by epoch](speech.png)", ""]
        yield from _recognisers(recognisers)
    if digits := [run for run in runs if "counts" in run]:
        yield from ["", *DIGITS, "", "![Confusion of digits](speech-digits.png)", ""]
        yield from _digits(digits)
    yield "\n## Runs\n"
    yield "| recipe | encoder | held out | seed | epochs | best | minutes | test | trained with |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for run in runs:
        test = run["test"]
        figure = f"{100 * test['wer']:.1f} % WER" if "wer" in test else f"{100 * test['accuracy']:.1f} %"
        cells = [run["recipe"], run["encoder"], run["held_out"] or "", run["seed"], run["epochs"]]
        cells += [run["best_epoch"], f"{run['seconds'] / 60:.1f}", figure]
        cells += [described(run["machine"]) + (run["note"] and f". {run['note']}")]
        yield f"| {' | '.join(map(str, cells))} |"


def _recognisers(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield (
        "| recipe | parameters | epochs | minutes | seeds | WER, best path | CER, best path | "
        "WER, language model | CER, language model |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, own in _grouped(runs, "recipe", "encoder"):
        decoded = [run["decoded"] for run in own if "decoded" in run]
        cells = [
            _shown(name, own),
            f"{own[0]['parameters']:,}",
            _range(run["epochs"] for run in own),
            f"{statistics.mean(run['seconds'] for run in own) / 60:.0f}",
            str(len(own)),
            *(_spread([run["test"][rate] for run in own]) for rate in ("wer", "cer")),
            *(_spread([found[rate] for found in decoded]) for rate in ("wer", "cer")),
        ]
        yield f"| {' | '.join(cells)} |"
    options = {json.dumps(run["decoded"]["options"]) for run in runs if "decoded" in run}
    for text in sorted(options):
        given = (f"--{name.replace('_', '-')} {value}" for name, value in json.loads(text).items())
        yield f"\nWith the language model: `{' '.join(given)}`."


def _digits(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    speakers = sorted({run["held_out"] for run in runs})
    yield f"| encoder | seed | parameters | {' | '.join(speakers)} | mean |"
    yield "| --- " * (4 + len(speakers)) + "|"
    for _, own in _grouped(runs, "recipe", "encoder", "seed"):
        accuracy = {run["held_out"]: 100 * run["test"]["accuracy"] for run in own}
        columns = [f"{accuracy[name]:.1f}" if name in accuracy else "not measured" for name in speakers]
        # A mean over only some speakers is not comparable.
        mean = (
            f"{statistics.mean(accuracy.values()):.1f}" if len(accuracy) == len(speakers) else "not measured"
        )
        cells = [own[0]["encoder"], str(own[0]["seed"]), f"{own[0]['parameters']:,}", *columns, mean]
        yield f"| {' | '.join(cells)} |"


def _grouped(runs: Iterable[Mapping[str, Any]], *names: str) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for run in runs:
        groups.setdefault(tuple(run[name] for name in names), []).append(run)
    for found, own in groups.items():
        yield str(found[0]), own


def _shown(recipe: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the recipe's name, with the encoder if the name does not contain it."""
    encoder = runs[0]["encoder"]
    return recipe if recipe.endswith(f"-{encoder}") else f"{recipe}, {encoder}"


def _range(values: Iterable[int]) -> str:
    found = sorted(set(values))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _spread(shares: Sequence[float]) -> str:
    if not shares:
        return "not measured"
    mean = f"{100 * statistics.mean(shares):.1f}"
    return mean if len(shares) == 1 else f"{mean} ± {100 * statistics.stdev(shares):.1f}"


def draw(runs: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Plot word error rate by epoch, and the confusion of digits over all held-out speakers."""
    if recognisers := [run for run in runs if "wer" in run["test"]]:
        curves = {}
        for name, own in _grouped(recognisers, "recipe", "encoder"):
            # Not strict: a run that was stopped early has fewer epochs.
            steps = list(zip(*(run["curve"] for run in own), strict=False))
            rates = [100 * statistics.mean(row["error_rate"] for row in rows) for rows in steps]
            curves[_shown(name, own)] = [rows[0]["epoch"] for rows in steps], rates
        draw_curves(folder / f"{NAME}.png", "epoch", {"validation WER, mean over seeds, %": curves})
    if digits := [run for run in runs if "counts" in run and run["encoder"] == PICTURED]:
        counts = torch.stack([torch.tensor(run["counts"]) for run in digits]).sum(0)
        title = f"{int(counts.diagonal().sum()):,} of {int(counts.sum()):,} digits of new speakers right"
        draw_confusion(folder / f"{NAME}-digits.png", counts, digits[0]["labels"], title)


def main() -> None:
    """Read the runs and report."""
    runs, out = read_runs(__doc__, NAME, record, key)
    save(out, NAME, {"runs": runs}, page(runs))
    draw(runs, out)


if __name__ == "__main__":
    main()
