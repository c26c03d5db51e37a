"""Parity of streaming and whole-utterance transcription, and the speed of streaming.

    python speech_streams.py RUN strings/test.jsonl

takes a unidirectional recogniser from `sru speech fit` and recordings with its sample rate from
`digit_strings.py`, and writes speech-streams.json and speech-streams.md. It also times streaming
transcription with a randomly initialized model on one thread.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import soundfile
import torch
import yaml
from torch import Tensor

import sru_apps
from sru_apps.tasks.speech.commands import raw_samples
from sru_apps.tasks.speech.model import SpeechConfig, SpeechModel
from sru_apps.tasks.speech.predict import Transcriber
from sru_data.datasets.speech import read_manifest
from sru_data.features import FeatureConfig, extract_samples
from sru_data.features import statistics as statistics_of
from sru_data.tokenizers import CharTokenizer

# The benchmarks of sru-nn contain the helpers that record runs.
sys.path.append(str(Path(__file__).resolve().parents[2] / "sru-nn" / "benchmarks"))

from record import described, machine, save

NAME = "speech-streams"
BOUND = 1e-5
SIZES = (37, 80, 801, 4000, 100_000)
"""Samples per piece."""
PIECES = ("0.01", "1")
"""Seconds per piece, as command-line arguments."""
LAYERS, WIDTH, BINS, RATE = 4, 512, 80, 16_000
SECONDS, REPEATS, PIECE = 10, 5, 0.1
LETTERS = "abcdefghijklmnopqrstuvwxyz '"
GOAL = 0.05


def compare(model: Transcriber, recordings: Sequence[bytes], size: int) -> dict[str, Any]:
    """Compare streaming with whole utterances.

    Args:
        model: The recogniser.
        recordings: 16-bit samples.
        size: Samples per piece.

    Returns:
        The number of equal texts and the largest difference of a log-probability, relative for values below
        -1, since float32 cannot distinguish -142 from -142.00001.
    """
    equal, outputs, furthest = 0, 0, 0.0
    for content in recordings:
        samples = torch.cat(list(raw_samples(io.BytesIO(content), len(content))))
        whole = model.log_probs(extract_samples(model.features, samples))
        stream = model.stream()
        pieces = [stream.accept(piece) for piece in raw_samples(io.BytesIO(content), size)]
        pieces.append(stream.finish())
        streamed = torch.cat([piece.log_probs for piece in pieces])
        assert streamed.shape == whole.shape
        outputs += len(whole)
        differences = (streamed - whole).abs() / whole.abs().clamp(min=1)
        furthest = max(furthest, float(differences.max()))
        equal += "".join(piece.text for piece in pieces) == model.transcribe(samples).text
    counts = {"samples": size, "outputs": outputs, "texts": len(recordings), "equal": equal}
    return {**counts, "furthest": furthest}


def by_command(run: Path, content: bytes, rate: int) -> list[dict[str, Any]]:
    """Pipe samples to `sru speech transcribe --raw` and compare the text with that of the whole file."""
    program = Path(sys.executable).with_name("sru")
    command = [str(program), "speech", "transcribe", "--model", str(run)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "all.wav"
        soundfile.write(file, numpy.frombuffer(content, dtype=numpy.int16), rate)
        offline = subprocess.run([*command, str(file)], capture_output=True, text=True, check=True).stdout
    (_, text) = offline.rstrip("\n").split("\t")
    found = []
    for piece in PIECES:
        options = ["--raw", "--sample-rate", str(rate), "--piece", piece]
        done = subprocess.run([*command, *options], input=content, capture_output=True, check=True)
        found.append(
            {"seconds": piece, "words": len(text.split()), "equal": done.stdout.decode() == f"{text}\n"}
        )
    return found


def untrained(subsampling: int, samples: Tensor) -> Transcriber:
    """Return a randomly initialized unidirectional recogniser, normalized by the features of samples."""
    torch.manual_seed(0)
    tokenizer = CharTokenizer.train([LETTERS])
    features = {"kind": "fbank", "num_bins": BINS, "sample_rate": RATE}
    config = SpeechConfig(
        input_size=BINS,
        vocab_size=len(tokenizer),
        subsampling=subsampling,
        hidden_size=WIDTH,
        num_layers=LAYERS,
        bidirectional=False,
    )
    network = SpeechModel(config).eval()
    network.normalize_by(*statistics_of([extract_samples(FeatureConfig(**features), samples)]))
    return Transcriber(network, tokenizer, {"features": features, "unit": "characters"})


def speed(subsampling: int) -> dict[str, Any]:
    """Time the streaming transcription of noise, including features and decoding."""
    samples = 0.1 * torch.randn(SECONDS * RATE, generator=torch.Generator().manual_seed(0))
    model = untrained(subsampling, samples)
    _check(model, samples[:RATE])
    factors, processor, latencies = [], [], []
    for _ in range(REPEATS):
        stream, times, begun = model.stream(), [], time.process_time()
        for piece in samples.split(round(PIECE * RATE)):
            start = time.perf_counter()
            stream.accept(piece)
            times.append(time.perf_counter() - start)
        factors.append(sum(times) / SECONDS)
        processor.append((time.process_time() - begun) / SECONDS)
        latencies.append(statistics.median(times))
    return {
        "subsampling": subsampling,
        "parameters": sum(weight.numel() for weight in model.network.parameters()),
        "factors": factors,
        "processor": processor,
        "latency": statistics.median(latencies),
    }


def _check(model: Transcriber, samples: Tensor) -> None:
    stream = model.stream()
    pieces = [*map(stream.accept, samples.split(777)), stream.finish()]
    whole = model.log_probs(extract_samples(model.features, samples))
    torch.testing.assert_close(torch.cat([p.log_probs for p in pieces]), whole, rtol=BOUND, atol=BOUND)


def page(result: Mapping[str, Any]) -> Iterator[str]:
    """Write the report."""
    model, outputs = result["model"], result["pieces"][0]["outputs"]
    yield f"# Streams of speech\n\n{described(result['machine'])}.\n"
    yield from f"""## A stream gives what the whole utterance gives

A recogniser of {model["num_layers"]} layers of {model["encoder"]}, D = {model["hidden_size"]}, that reads
one way and was trained on strings of digits of FSDD; its word error rate on the test strings is
{100 * model["wer"]:.1f} %. Samples of 16 bits come in pieces, and the log-probability of every symbol in
{outputs:,} outputs is compared with that of the whole file, those below -1 relative to themselves.

| samples per piece | equal transcripts | largest difference of a log-probability |
| --- | --- | --- |""".splitlines()
    for row in result["pieces"]:
        yield f"| {row['samples']:,} | {row['equal']} of {row['texts']} | {row['furthest']:.1e} |"
    yield from """
`sru speech transcribe --raw --piece SECONDS` hears all strings as one stream; `transcribe` reads them as one
file.

| seconds per piece | words | same text |
| --- | --- | --- |""".splitlines()
    for row in result["command"]:
        yield f"| {row['seconds']} | {row['words']} | {'yes' if row['equal'] else 'no'} |"
    yield from f"""
To reproduce it:

    cd packages/sru-apps/benchmarks
    python digit_strings.py --out strings
    sru speech fit --train-file strings/train.jsonl --validation-file strings/validation.jsonl \\
        --test-file strings/test.jsonl --unit words --sample-rate 8000 --num-bins {model["num_bins"]} \\
        --subsampling {model["subsampling"]} --bidirectional false --hidden-size {model["hidden_size"]} \\
        --num-layers {model["num_layers"]} --lr {model["lr"]:g} --schedule {model["schedule"]} \\
        --epochs {model["epochs"]} --name first
    python speech_streams.py runs/speech/train/first strings/test.jsonl

## Real-time factor on one thread

SRU of {LAYERS} layers of {WIDTH} that reads one way, with random weights; {BINS} log-mel energies of
{RATE:,} samples per second, in pieces of {1000 * PIECE:.0f} ms. Features, network and best path are included.
Median of {REPEATS} times {SECONDS} seconds of noise, fastest and slowest in brackets; the target is below
{GOAL}. Processor time is what the thread used of its core, whatever else ran there.

| one output for | parameters | real-time factor | the same by processor time | ms per piece |
| --- | --- | --- | --- | --- |""".splitlines()
    for row in result["speed"]:
        factors = [
            f"{statistics.median(found):.4f} [{min(found):.4f}, {max(found):.4f}]"
            for found in (row["factors"], row["processor"])
        ]
        yield (
            f"| {10 * row['subsampling']} ms | {row['parameters']:,} | {' | '.join(factors)} | "
            f"{1000 * row['latency']:.1f} |"
        )


def main() -> None:
    """Compare, time and report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run folder of a unidirectional recogniser")
    parser.add_argument("manifest", type=Path, help="manifest of recordings with its sample rate")
    parser.add_argument("--commit", help="the commit it was trained with; default: the current commit")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of the report")
    options = parser.parse_args()
    torch.set_num_threads(1)
    summary = json.loads((options.run / "summary.json").read_text())
    settings = yaml.safe_load((options.run / "config.yaml").read_text())
    model = sru_apps.load(options.run)
    read = [soundfile.read(recording.path, dtype="int16") for recording in read_manifest(options.manifest)]
    recordings = [samples.tobytes() for samples, _ in read]
    rate = model.features.sample_rate
    assert {found for _, found in read} == {rate}
    facts = machine("cpu")
    result = {
        "machine": {**facts, "commit": options.commit or facts["commit"]},
        "model": {
            "encoder": model.config.encoder,
            "num_layers": model.config.num_layers,
            "hidden_size": model.config.hidden_size,
            "num_bins": model.features.num_bins,
            "subsampling": model.config.subsampling,
            "lr": settings["optimizer"]["lr"],
            "schedule": settings["optimizer"]["schedule"],
            "epochs": summary["epochs"],
            "wer": summary["test"]["wer"],
        },
        "pieces": [compare(model, recordings, size) for size in SIZES],
        "command": by_command(options.run, b"".join(recordings), rate),
        "speed": [speed(factor) for factor in (1, 2, 4)],
    }
    assert all(row["furthest"] <= BOUND for row in result["pieces"]), result["pieces"]
    save(options.out, NAME, result, page(result))


if __name__ == "__main__":
    main()
