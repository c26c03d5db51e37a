"""Translation on the CPU: training, beam search, and search time by length.

`nox -s bench -- translation` writes docs/benchmarks/translation-speed.json and .md. Sizes and batches follow
a recipe for Multi30k; the data is read from `--data-dir` or `$SRU_DATA`. `--only` measures one part and keeps
the figures of the others.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sru_apps.nn import RecurrentEncoder
from sru_apps.tasks.translate import TASK
from sru_apps.tasks.translate.batches import Batch
from sru_apps.tasks.translate.config import TranslationConfig
from sru_apps.tasks.translate.data import TranslationData
from sru_apps.tasks.translate.decoding import Search, search
from sru_apps.tasks.translate.model import TranslationModel
from sru_apps.tasks.translate.systems import build
from sru_apps.train.console import flush_denormals
from sru_apps.train.options import recipe_path
from sru_apps.train.yaml_files import read_settings
from sru_nn import backend

# The benchmarks of sru-nn contain the helpers that time contenders in turns and record runs.
sys.path.append(str(Path(__file__).resolve().parents[2] / "sru-nn" / "benchmarks"))

from measure import Timing, compare, race
from record import machine, save, save_targets
from translation_report import (
    BEAM,
    CELL,
    EQUAL_PARAMETERS,
    EQUAL_SIZES,
    LENGTH_BATCH,
    LENGTHS,
    PARTS,
    RECIPE,
    SENTENCES,
    SYMBOLS,
    page,
    target_row,
)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="time per part")
    parser.add_argument("--steps", type=int, default=4, help="training steps per measurement")
    parser.add_argument("--only", choices=PARTS, help="measure only this part")
    parser.add_argument("--data-dir", help="folder with the data; default: $SRU_DATA")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    flush_denormals()
    former = options.out / "translation-speed.json"
    result: dict[str, Any] = json.loads(former.read_text()) if options.only and former.exists() else {}
    measure: Mapping[str, Callable[..., dict[str, Any]]] = {
        "training": training,
        "search": search_speed,
        "length": length,
    }
    settings = read_settings(recipe_path(TASK, RECIPE))
    data = pairs(settings, options.data_dir)
    config = config_of(settings, data)
    for part in [options.only] if options.only else PARTS:
        torch.manual_seed(0)
        result[part] = {"machine": machine("cpu"), **measure[part](options, data, config)}
    save(options.out, "translation-speed", result, page(result))
    for part, measured in result.items():
        save_targets(options.out, f"translation-{part}", measured["machine"], [target_row(part, measured)])


def pairs(settings: Mapping[str, Any], data_dir: str | None) -> TranslationData:
    """Prepare the sentences of the recipe."""
    data = TranslationData(**settings["data"], data_dir=data_dir)
    data.prepare_data()
    data.setup("fit")
    return data


def config_of(settings: Mapping[str, Any], data: TranslationData) -> TranslationConfig:
    """Return the configuration of the recipe's model."""
    assert data.tokenizer is not None
    return TranslationConfig(
        source_vocab_size=len(data.tokenizer.source),
        target_vocab_size=len(data.tokenizer.target),
        joint=data.tokenizer.joint,
        **settings["model"],
    )


def as_lstm(config: TranslationConfig) -> TranslationConfig:
    """Return the same configuration with PyTorch's LSTM, without the options that only an SRU has."""
    own = dict.fromkeys(config.given("sru"))
    return replace(config, encoder="lstm", decoder="lstm", **own)


def size(model: nn.Module) -> int:
    """Count the parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def config_of_size(parameters: int, config: TranslationConfig) -> TranslationConfig:
    """Return the widest configuration that does not exceed a number of parameters."""
    ratio = config.decoder_units / config.hidden_size

    def wide(units: int) -> TranslationConfig:
        return replace(config, hidden_size=units, decoder_size=round(ratio * units))

    low, high = 8, 2048
    with torch.device("meta"):
        while high - low > 4:
            middle = (low + high) // 8 * 4
            low, high = (middle, high) if size(build(wide(middle))) <= parameters else (low, middle)
    return wide(low)


def training(options: argparse.Namespace, data: TranslationData, config: TranslationConfig) -> dict[str, Any]:
    """Measure tokens per second of training steps; all contenders train on the same batches."""
    lstm = as_lstm(config)
    configs = {"sru": config, EQUAL_SIZES: lstm, EQUAL_PARAMETERS: config_of_size(size(build(config)), lstm)}
    loader = data.train_dataloader()
    # The loader shuffles, so these batches have various lengths.
    batches = list(itertools.islice(loader, options.steps))
    models = {name: build(config) for name, config in configs.items()}
    errors = {name: check_steps(model, batches[0]) for name, model in models.items()}
    errors["kernels"] = check_kernels(models["sru"], batches[0])
    times = race(
        {name: trainer_steps(model, batches) for name, model in models.items()}, seconds=options.seconds
    )
    tokens = sum(batch.tokens for batch in batches)
    rows = {
        name: {
            "parameters": size(models[name]),
            "hidden_size": configs[name].hidden_size,
            "decoder_size": configs[name].decoder_units,
            "per_second": per_second(time, tokens),
        }
        for name, time in times.items()
    }
    return {"errors": errors, "layers": [config.num_layers, config.num_decoder_layers], "rows": rows}


def loss_of(model: TranslationModel, batch: Batch) -> Tensor:
    """Return the mean loss of a batch, as in training."""
    _, loss = model.loss(
        batch.source, batch.target, batch.targets, batch.source_mask, smoothing=model.config.label_smoothing
    )
    return loss.mean()


def trainer_steps(model: TranslationModel, batches: list[Batch]) -> Callable[[], None]:
    """Return a function that trains on every batch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    model.train()

    def run() -> None:
        for batch in batches:
            optimizer.zero_grad()
            loss_of(model, batch).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()

    return run


@torch.inference_mode()
def check_steps(model: TranslationModel, batch: Batch) -> float:
    """Return the error of `step` against `decode` of whole targets; raise if it is too large."""
    model.eval()
    memory = model.encode(batch.source, batch.source_mask)
    at_once, state, steps = model.output(model.decode(batch.target, memory)), model.start(memory), []
    for ids in batch.target:
        logits, _, state = model.step(ids, state, memory)
        steps.append(logits)
    real = batch.targets >= 0
    return compare([torch.stack(steps)[real]], [at_once[real]])


def check_kernels(model: TranslationModel, batch: Batch) -> float:
    """Return the error of the kernels' gradients against the reference's; raise if it is too large."""
    model.eval()

    def gradients(choice: backend.Choice) -> list[Tensor]:
        with backend.using(choice):
            return list(torch.autograd.grad(loss_of(model, batch), list(model.parameters())))

    return compare(gradients(backend.active()), gradients("reference"))


def search_speed(
    options: argparse.Namespace, data: TranslationData, config: TranslationConfig
) -> dict[str, Any]:
    """Measure sentences per second of beam search, with translations of equal length."""
    with_cells = build(replace(config, decoder="lstm")).eval()
    sources = validation_batch(data, SENTENCES)
    expected = found(with_cells, sources, SYMBOLS)
    use_cells(with_cells)
    same = found(with_cells, sources, SYMBOLS)
    torch.testing.assert_close(scores(same), scores(expected), rtol=1e-4, atol=1e-4)
    models = {"sru": build(config).eval(), CELL: with_cells}
    calls = {name: searcher(model, sources, SYMBOLS) for name, model in models.items()}
    times = race(calls, seconds=options.seconds)
    rows = {
        name: {"parameters": size(models[name]), "per_second": per_second(time, SENTENCES)}
        for name, time in times.items()
    }
    return {"decoder_size": config.decoder_units, "layers": config.num_decoder_layers, "rows": rows}


def validation_batch(data: TranslationData, count: int) -> Batch:
    """Return the first sentences of the validation set as a batch."""
    part = data.parts["validation"]
    return data.collate([part[number] for number in range(count)])


def found(model: TranslationModel, batch: Batch, symbols: int) -> list[Any]:
    """Translate a batch, with this many symbols per translation."""
    options = Search(beam=BEAM, min_length=symbols, max_length=symbols)
    return [best for best, *_ in search(model, batch.source, batch.source_mask, options)]


def searcher(model: TranslationModel, batch: Batch, symbols: int) -> Callable[[], object]:
    """Return a function that translates."""
    return lambda: found(model, batch, symbols)


def scores(hypotheses: list[Any]) -> Tensor:
    """Return the scores of hypotheses."""
    return torch.tensor([hypothesis.score for hypothesis in hypotheses])


def use_cells(model: TranslationModel) -> None:
    """Make every LSTM of the decoder run single steps with an `nn.LSTMCell` of the same weights."""
    for layer in model.layers:
        assert isinstance(layer, RecurrentEncoder)
        lstm = layer.rnn
        cell = nn.LSTMCell(lstm.input_size, lstm.hidden_size)
        cell.load_state_dict({name.removesuffix("_l0"): value for name, value in lstm.state_dict().items()})
        layer.step = step_of(cell)  # type: ignore[method-assign]


def step_of(cell: nn.LSTMCell) -> Callable[..., Any]:
    """Return a replacement for `RecurrentEncoder.step`."""

    def step(x: Tensor, state: tuple[Tensor, Tensor]) -> Any:
        h, c = cell(x, (state[0].squeeze(0), state[1].squeeze(0)))
        return h, (h.unsqueeze(0), c.unsqueeze(0))

    return step


def length(options: argparse.Namespace, data: TranslationData, config: TranslationConfig) -> dict[str, Any]:
    """Measure seconds of beam search by the length of its translations."""
    model, sources = build(config).eval(), validation_batch(data, LENGTH_BATCH)
    calls = {str(symbols): searcher(model, sources, symbols) for symbols in LENGTHS}
    times = race(calls, seconds=options.seconds)
    return {"rows": {symbols: vars(time) for symbols, time in times.items()}}


def per_second(time: Timing, count: float) -> dict[str, float]:
    """Convert the seconds for a number of items to items per second."""
    return {"median": count / time.median, "low": count / time.high, "high": count / time.low}


if __name__ == "__main__":
    main()
