"""Language models: training, generation, and what the trainer adds to a bare loop.

`python packages/sru-apps/benchmarks/bench_language_model.py` in an environment with the four packages, from
the root of the repository. Writes docs/benchmarks/language-model.json and .md. The words are those of the
Penn Treebank or, where it is not at hand, of WikiText-2 with its 10,000 most frequent words; `$SRU_DATA` or
`--data-dir` says where they lie. `--only` measures one part and leaves the figures of the others as they are.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sru_apps.decoding.continuation import generate
from sru_apps.nn import RecurrentName, detach_state
from sru_apps.nn.encoders import ENCODERS
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig
from sru_data import DataError, language_modelling
from sru_data.streams import Segment, StreamLoader
from sru_data.text import encode_block
from sru_data.tokenizers.training import train_tokenizer
from sru_nn.quantization import quantize_weights_

# How contenders take turns, and how a run is described, is known to the benchmarks of sru-nn.
sys.path.append(str(Path(__file__).resolve().parents[2] / "sru-nn" / "benchmarks"))

from measure import Timing, race
from record import described, machine, save
from trainer_overhead import overhead

NAMES: tuple[RecurrentName, ...] = tuple(ENCODERS)
LAYERS = 4
VOCABULARY, EMBEDDING, PARAMETERS = 10_000, 200, 4_000_000
STEPS, STREAMS = 64, 32
BYTES, WIDTH = 258, 1024
INT8 = "sru, int8 weights"
TARGETS = {"training": 2.0, "generation": 10.0, "trainer": 1.1}
PARTS = tuple(TARGETS)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=90.0, help="time for each part")
    parser.add_argument("--tokens", type=int, default=50, help="generated in a measurement")
    parser.add_argument("--steps", type=int, default=10, help="training steps in a measurement")
    parser.add_argument("--only", choices=PARTS, help="one part instead of all")
    parser.add_argument("--data-dir", help="folder with the data; default: $SRU_DATA")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    former = options.out / "language-model.json"
    result: dict[str, Any] = json.loads(former.read_text()) if options.only and former.exists() else {}
    measure: Mapping[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "training": training,
        "generation": generation,
        "trainer": trainer,
    }
    for part in [options.only] if options.only else PARTS:
        torch.manual_seed(0)
        result[part] = {"machine": machine("cpu"), **measure[part](options)}
    save(options.out, "language-model", result, page(result))


def training(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens per second of a training step of every encoder, at equal parameters."""
    text, tokens = words(options.data_dir)
    segments = list(itertools.islice(StreamLoader(tokens, batch_size=STREAMS, length=STEPS), 64))
    models = {name: word_model(name) for name in NAMES}
    calls = {name: trainer_step(model, segments, options.steps) for name, model in models.items()}
    times = race(calls, seconds=options.seconds)
    rows = {
        name: {
            "parameters": size(models[name]),
            "hidden_size": models[name].config.hidden_size,
            "tokens_per_second": per_second(time, options.steps * STEPS * STREAMS),
        }
        for name, time in times.items()
    }
    return {"text": text, "rows": rows}


def words(data_dir: str | None) -> tuple[str, Tensor]:
    """Return the name of a text and its first words as numbers below the size of the vocabulary."""
    for name in ("ptb", "wikitext-2"):
        try:
            corpus = language_modelling.load(name, data_dir=data_dir)
            tokenizer = train_tokenizer(corpus.train, unit="words", vocab_size=VOCABULARY)
        except DataError:
            continue
        return name, encode_block(tokenizer, next(corpus.train.blocks()))
    raise SystemExit("neither PTB nor WikiText-2 is at hand; name their folder with --data-dir or SRU_DATA")


def word_model(name: RecurrentName) -> LanguageModel:
    """Return the model of words with as near the wanted number of parameters as its width allows."""

    def make(hidden_size: int) -> LanguageModel:
        config = LanguageModelConfig(
            vocab_size=VOCABULARY,
            encoder=name,
            embedding_size=EMBEDDING,
            hidden_size=hidden_size,
            num_layers=LAYERS,
            tie_weights=True,
        )
        return LanguageModel(config)

    low, high = 8, 2048
    with torch.device("meta"):
        while high - low > 4:
            middle = (low + high) // 8 * 4
            low, high = (middle, high) if size(make(middle)) <= PARAMETERS else (low, middle)
    return make(low)


def size(model: nn.Module) -> int:
    """Count the parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def trainer_step(model: LanguageModel, segments: list[Segment], steps: int) -> Callable[[], None]:
    """Return a call that trains so many steps, each time from where the last call stopped."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    endless, state = itertools.cycle(segments), None
    model.train()

    def run() -> None:
        nonlocal state
        for segment in itertools.islice(endless, steps):
            optimizer.zero_grad()
            loss, state = model.loss(segment.inputs, segment.targets, state)
            loss.mean().backward()
            optimizer.step()
            state = detach_state(state)

    return run


def generation(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens per second of greedy generation at batch 1, once steps were seen to give what reading gives."""
    prompt = torch.randint(2, BYTES, (32,)).tolist()
    calls: dict[str, Callable[[], object]] = {}
    rows: dict[str, dict[str, Any]] = {}
    for name in [*NAMES, INT8]:
        model = byte_model("sru" if name == INT8 else name)
        rows[name] = {"parameters": size(model)}
        if name == INT8:
            quantize_weights_(model)
        check_steps(model, prompt)
        texts = generate(model, prompt, temperature=0.0)
        calls[name] = lambda texts=texts: [next(texts) for _ in range(options.tokens)]
    times = race(calls, seconds=options.seconds)
    for name, time in times.items():
        rows[name]["tokens_per_second"] = per_second(time, options.tokens)
    return {"rows": rows}


def byte_model(name: RecurrentName) -> LanguageModel:
    """Return four layers of the width in question over bytes."""
    config = LanguageModelConfig(
        vocab_size=BYTES, encoder=name, embedding_size=WIDTH, hidden_size=WIDTH, num_layers=LAYERS
    )
    return LanguageModel(config).eval()


@torch.inference_mode()
def check_steps(model: LanguageModel, prompt: list[int]) -> None:
    """Raise unless reading step by step scores the next symbol as reading at once does."""
    ids = torch.tensor(prompt).unsqueeze(1)
    at_once, state = model(ids)[0][-1], None
    for one in ids:
        logits, state = model.step(one, state)
    torch.testing.assert_close(logits, at_once, rtol=1e-3, atol=1e-3)


def trainer(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds per step of the trainer and of a bare loop, in turns."""
    return {name: vars(found) if isinstance(found, Timing) else found for name, found in overhead().items()}


def page(result: Mapping[str, Any]) -> Iterator[str]:
    """Write the report."""
    yield "# Language models on the CPU\n"
    yield "Written by `python packages/sru-apps/benchmarks/bench_language_model.py`. Medians of one run in"
    yield "which the contenders take turns, quartiles in brackets.\n"
    if "training" in result:
        part = result["training"]
        yield "## Training\n"
        yield f"{LAYERS} layers, embedding and output layer of {EMBEDDING} features share their weights,"
        yield f"{VOCABULARY:,} words ({part['text']}), T = {STEPS}, B = {STREAMS}, float32, Adam; as near"
        yield f"{PARAMETERS:,} parameters as the width allows. {described(part['machine'])}.\n"
        yield from table(part["rows"], "hidden_size", "training")
    if "generation" in result:
        part = result["generation"]
        yield "\n## Generation\n"
        yield f"{LAYERS} layers, D = {WIDTH}, {BYTES} symbols, batch 1, float32, greedy."
        yield f"{described(part['machine'])}.\n"
        yield from table(part["rows"], None, "generation")
    if "trainer" in result:
        part = result["trainer"]
        ratio = part["trainer"]["median"] / part["bare"]["median"]
        yield "\n## The trainer against a bare loop\n"
        yield f"{part['what']}. Validation, checkpoints and pictures come between epochs and are not in it."
        yield f"{described(part['machine'])}.\n"
        yield "| | ms a step |"
        yield "| --- | --- |"
        for name in ("bare", "trainer"):
            t = part[name]
            yield f"| {name} | {1e3 * t['median']:.2f} [{1e3 * t['low']:.2f}, {1e3 * t['high']:.2f}] |"
        reached = "reached" if ratio < TARGETS["trainer"] else "missed"
        yield f"\nTarget, under {TARGETS['trainer'] - 1:.0%} more: {reached}, {ratio - 1:.1%}."


def table(rows: Mapping[str, Any], width: str | None, part: str) -> Iterator[str]:
    """Write the speeds, and whether the target against `nn.LSTM` is met."""
    base = rows["lstm"]["tokens_per_second"]["median"]
    yield f"| encoder | parameters |{' D |' if width else ''} tokens a second | of the LSTM's |"
    yield "| --- " * (5 if width else 4) + "|"
    for name, row in rows.items():
        t = row["tokens_per_second"]
        cells = [name, f"{row['parameters']:,}", *([str(row[width])] if width else [])]
        cells += [f"{t['median']:,.0f} [{t['low']:,.0f}, {t['high']:,.0f}]", f"{t['median'] / base:.2f}x"]
        yield f"| {' | '.join(cells)} |"
    ratio = rows["sru"]["tokens_per_second"]["median"] / base
    reached = "reached" if ratio >= TARGETS[part] else "missed"
    yield f"\nTarget, SRU at {TARGETS[part]:g} times the tokens of `nn.LSTM`: {reached}, {ratio:.2f}."


def per_second(time: Timing, count: float) -> dict[str, float]:
    """Turn the seconds that so many things take into so many a second."""
    return {"median": count / time.median, "low": count / time.high, "high": count / time.low}


if __name__ == "__main__":
    main()
