"""An epoch of `sru squad fit` on 10,000 questions, with an SRU and an LSTM of the same sizes.

`nox -s bench -- squad --embeddings FILE` writes docs/benchmarks/squad-speed.json and .md. The readers take
turns on each batch, so that other load on the machine affects both equally. The data is read from
`--data-dir` or `$SRU_DATA`, without spaCy features.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sru_apps.nn import RecurrentEncoder
from sru_apps.tasks.squad.batches import Batch
from sru_apps.tasks.squad.data import SquadData
from sru_apps.tasks.squad.module import SquadModule
from sru_apps.train.console import flush_denormals
from sru_apps.train.optimizers import OptimizerConfig, build_optimizer

# The benchmarks of sru-nn contain the helpers that time and record runs.
sys.path.append(str(Path(__file__).resolve().parents[2] / "sru-nn" / "benchmarks"))

from measure import summary
from record import described, machine, save, save_targets, target

ENCODERS = ("sru", "lstm")
PRECISIONS = {"float32": None, "bf16-mixed": torch.bfloat16}
MODEL = {"hidden_size": 128, "num_layers": 3}
CLIPPED_AT = 10.0
WARM_UP = 10
TARGET = 2.0
MOST_PADDING = 0.15


class Contender:
    """A reader in training, with timed steps and encoders.

    Args:
        encoder: The name of its encoder.
        data: The questions.
    """

    def __init__(self, encoder: str, data: SquadData) -> None:
        torch.manual_seed(0)
        config = OptimizerConfig.of({"name": "adamax", "lr": 2e-3})
        self.module = SquadModule.build(data, {"encoder": encoder, **MODEL}, config)
        self.module.start(data)
        self.module.train()
        self.optimizer = build_optimizer(self.module, config)
        self.steps: list[float] = []
        self.in_encoders = 0.0
        for layer in self.module.modules():
            if isinstance(layer, RecurrentEncoder):
                self._watch(layer)

    def _watch(self, layer: nn.Module) -> None:
        """Sum the time between entering and leaving a layer, in both passes."""
        since = 0.0

        def enter(*_: Any) -> None:
            nonlocal since
            since = time.perf_counter()

        def leave(*_: Any) -> None:
            self.in_encoders += time.perf_counter() - since

        layer.register_forward_pre_hook(enter)
        layer.register_forward_hook(leave)
        layer.register_full_backward_pre_hook(enter)
        layer.register_full_backward_hook(leave)

    def step(self, batch: Batch, dtype: torch.dtype | None) -> None:
        """Train on a batch."""
        start = time.perf_counter()
        with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
            loss = self.module.training_step(batch, 0)
        loss.backward()
        nn.utils.clip_grad_norm_(self.module.parameters(), CLIPPED_AT)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps.append(time.perf_counter() - start)


def measure_epoch(data: SquadData, precision: str) -> dict[str, Any]:
    """Train both readers for an epoch."""
    contenders = {name: Contender(name, data) for name in ENCODERS}
    loader = data.train_dataloader()
    reading, since = [], time.perf_counter()
    for number, batch in enumerate(loader):
        reading.append(time.perf_counter() - since)
        if number == WARM_UP:
            reading.clear()
            for contender in contenders.values():
                contender.steps.clear()
                contender.in_encoders = 0.0
        for name in ENCODERS if number % 2 else reversed(ENCODERS):
            contenders[name].step(batch, PRECISIONS[precision])
        since = time.perf_counter()
    per_batch, batches = sum(reading) / len(reading), len(loader)
    return {
        name: {
            "step": asdict(summary(contender.steps)),
            "epoch": batches * (sum(contender.steps) / len(contender.steps) + per_batch),
            "encoders": contender.in_encoders / sum(contender.steps),
            "reading": per_batch,
        }
        for name, contender in contenders.items()
    }


def speedup(rows: Mapping[str, Any]) -> float:
    """Return the speedup of an epoch with SRU over LSTM."""
    return float(rows["lstm"]["epoch"] / rows["sru"]["epoch"])


def page(result: Mapping[str, Any]) -> Iterator[str]:
    """Write the report."""
    yield "# Speed of reading comprehension on the CPU"
    yield ""
    yield f"Written by `nox -s bench -- squad --embeddings FILE`: {described(result['machine'])}."
    yield ""
    yield f"An epoch of {result['questions']:,} questions of SQuAD 1.1 with the reader `drqa`:"
    yield f"{result['batches']} steps of up to 32 questions, whose passages are padded by"
    yield f"{result['padding']:.2%}. Both encoders have 3 layers of 128 units in both directions over passage"
    yield "and question, and they train on each batch in turn. The encoders' share of a step is that of the"
    yield "recurrent layers, forward and backward. Batches with padding are packed for `nn.LSTM`, which is"
    yield "slow on a CPU and determines its upper quartile."
    yield ""
    yield "| precision | encoder | step, ms: median (quartiles) | encoders' share | epoch, s | LSTM/SRU |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for precision, rows in result["rows"].items():
        for name, row in rows.items():
            low, median, high = (1e3 * row["step"][key] for key in ("low", "median", "high"))
            times = f"{speedup(rows):.2f}x" if name == "lstm" else ""
            yield (
                f"| {precision} | {name} | {median:.0f} ({low:.0f} to {high:.0f}) | {row['encoders']:.0%} | "
                f"{row['epoch']:.1f} | {times} |"
            )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embeddings", help="word vectors")
    parser.add_argument("--data-dir", help="folder with the data; default: $SRU_DATA")
    parser.add_argument("--questions", type=int, default=10_000, help="number of training questions")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    options = parser.parse_args()
    flush_denormals()
    data = SquadData(
        name="squad1", data_dir=options.data_dir, embeddings=options.embeddings, subset=options.questions
    )
    data.prepare_data()
    data.setup("fit")
    facts = machine("cpu")
    result = {
        "machine": facts,
        "questions": len(data.parts["train"]),
        "batches": len(data.train_dataloader()),
        "padding": data.padding(),
        "rows": {precision: measure_epoch(data, precision) for precision in PRECISIONS},
    }
    save(options.out, "squad-speed", result, page(result))
    rows = [
        target(
            f"an epoch of {options.questions:,} questions, SRU against LSTM, {precision}",
            f"at least {TARGET:g}x",
            f"{speedup(found):.2f}x",
            speedup(found) >= TARGET,
        )
        for precision, found in result["rows"].items()
    ]
    share = result["padding"]
    rows.append(target("padding", f"under {MOST_PADDING:.0%}", f"{share:.2%}", share < MOST_PADDING))
    save_targets(options.out, "squad-speed", facts, rows)


if __name__ == "__main__":
    main()
