"""Language models: training, generation, and the overhead of the trainer compared with a bare loop.

`nox -s bench -- language_model` writes docs/benchmarks/language-model.json and .md. The text is the Penn
Treebank or, if it is missing, WikiText-2 with its 10,000 most frequent words, read from `--data-dir` or
`$SRU_DATA`. `--only` measures one part and keeps the figures of the others.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from sru_apps.decoding.continuation import generate
from sru_apps.nn.encoders import RecurrentName
from sru_apps.nn.states import detach_state
from sru_apps.tasks.lm.model import LanguageModel, LanguageModelConfig
from sru_data import DataError
from sru_data.datasets import language_modelling
from sru_data.loaders import Segment, StreamLoader
from sru_data.tokenizers import encode_block
from sru_data.tokenizers.training import train_tokenizer
from sru_nn.quantization import quantize_weights_

# The benchmarks of sru-nn contain the helpers that time contenders in turns and record runs.
sys.path.append(str(Path(__file__).resolve().parents[2] / "sru-nn" / "benchmarks"))

from measure import Timing, race
from record import described, machine, save, save_targets, target
from trainer_overhead import overhead

NAMES: tuple[RecurrentName, ...] = get_args(RecurrentName)
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
    parser.add_argument("--seconds", type=float, default=90.0, help="time per part")
    parser.add_argument("--tokens", type=int, default=50, help="tokens generated per measurement")
    parser.add_argument("--steps", type=int, default=10, help="training steps per measurement")
    parser.add_argument("--only", choices=PARTS, help="measure only this part")
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
    for part, found in result.items():
        save_targets(options.out, f"language-model-{part}", found["machine"], [target_row(part, found)])


def training(options: argparse.Namespace) -> dict[str, Any]:
    """Measure tokens per second of training steps for every encoder, at equal parameter counts."""
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
    """Return the name of a text and its first block as token ids."""
    for name in ("ptb", "wikitext-2"):
        try:
            corpus = language_modelling.load(name, data_dir=data_dir)
            tokenizer = train_tokenizer(corpus.train, unit="words", vocab_size=VOCABULARY)
        except DataError:
            continue
        return name, encode_block(tokenizer, next(corpus.train.blocks()))
    raise SystemExit("found neither PTB nor WikiText-2; pass their folder with --data-dir or SRU_DATA")


def word_model(name: RecurrentName) -> LanguageModel:
    """Return the word model whose width comes closest to `PARAMETERS` parameters."""

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
    """Return a function that trains for a number of steps, continuing where its last call stopped."""
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
    """Measure tokens per second of greedy generation at batch 1, after checking `step` against `forward`."""
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
    """Return a byte model of four layers."""
    config = LanguageModelConfig(
        vocab_size=BYTES, encoder=name, embedding_size=WIDTH, hidden_size=WIDTH, num_layers=LAYERS
    )
    return LanguageModel(config).eval()


@torch.inference_mode()
def check_steps(model: LanguageModel, prompt: list[int]) -> None:
    """Raise unless `step` and `forward` agree on the logits of the next symbol."""
    ids = torch.tensor(prompt).unsqueeze(1)
    at_once, state = model(ids)[0][-1], None
    for one in ids:
        logits, state = model.step(one, state)
    torch.testing.assert_close(logits, at_once, rtol=1e-3, atol=1e-3)


def trainer(options: argparse.Namespace) -> dict[str, Any]:
    """Measure seconds per step of the trainer and of a bare loop, in turns."""
    return {name: vars(found) if isinstance(found, Timing) else found for name, found in overhead().items()}


def page(result: Mapping[str, Any]) -> Iterator[str]:
    """Write the report."""
    yield "# Language models on the CPU\n"
    yield "Written by `nox -s bench -- language_model`. The contenders take turns in one run; medians, with"
    yield "quartiles in brackets.\n"
    if "training" in result:
        part = result["training"]
        yield "## Training\n"
        yield f"{LAYERS} layers, {VOCABULARY:,} words ({part['text']}), {EMBEDDING} features shared by the"
        yield f"embedding and the output layer, T = {STEPS}, B = {STREAMS}, float32, Adam. Each width is"
        yield f"chosen to come as close as possible to {PARAMETERS:,} parameters."
        yield f"{described(part['machine'])}.\n"
        yield from table(part["rows"], "hidden_size")
    if "generation" in result:
        part = result["generation"]
        yield "\n## Generation\n"
        yield f"{LAYERS} layers, D = {WIDTH}, {BYTES} symbols, batch 1, float32, greedy."
        yield f"{described(part['machine'])}.\n"
        yield from table(part["rows"], None)
    if "trainer" in result:
        part = result["trainer"]
        yield "\n## The trainer and a bare loop\n"
        yield f"{part['what']}. Validation, checkpoints and plots come between epochs and are not included."
        yield f"{described(part['machine'])}.\n"
        yield "| | ms per step |"
        yield "| --- | --- |"
        for name in ("bare", "trainer"):
            t = part[name]
            yield f"| {name} | {1e3 * t['median']:.2f} [{1e3 * t['low']:.2f}, {1e3 * t['high']:.2f}] |"


def target_row(part: str, result: Mapping[str, Any]) -> str:
    """Return the target's row for one part."""
    goal = TARGETS[part]
    if part == "trainer":
        ratio = result["trainer"]["median"] / result["bare"]["median"]
        what = "a step of the trainer against a bare loop"
        return target(what, f"less than {goal - 1:.0%} longer", f"{ratio - 1:.1%} longer", ratio < goal)
    ratio = speed(result["rows"], "sru") / speed(result["rows"], "lstm")
    what = f"{part} of language models, tokens per second of the SRU against `nn.LSTM`"
    return target(what, f"at least {goal:g}x", f"{ratio:.2f}x", ratio >= goal)


def speed(rows: Mapping[str, Any], name: str) -> float:
    """Return the median tokens per second of an encoder."""
    return float(rows[name]["tokens_per_second"]["median"])


def table(rows: Mapping[str, Any], width: str | None) -> Iterator[str]:
    """Format the speeds as a Markdown table."""
    base = speed(rows, "lstm")
    yield f"| encoder | parameters |{' D |' if width else ''} tokens per second | relative to the LSTM |"
    yield "| --- " * (5 if width else 4) + "|"
    for name, row in rows.items():
        t = row["tokens_per_second"]
        cells = [name, f"{row['parameters']:,}", *([str(row[width])] if width else [])]
        cells += [f"{t['median']:,.0f} [{t['low']:,.0f}, {t['high']:,.0f}]", f"{t['median'] / base:.2f}x"]
        yield f"| {' | '.join(cells)} |"


def per_second(time: Timing, count: float) -> dict[str, float]:
    """Convert the seconds for a number of items to items per second."""
    return {"median": count / time.median, "low": count / time.high, "high": count / time.low}


if __name__ == "__main__":
    main()
