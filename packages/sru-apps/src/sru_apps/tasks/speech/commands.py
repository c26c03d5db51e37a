"""`sru speech transcribe`."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from jsonargparse.typing import PositiveFloat, PositiveInt
from torch import Tensor

from sru_apps.inference.loading import load_trained
from sru_apps.task import Task
from sru_apps.tasks.speech.predict import Stream, Transcriber
from sru_apps.train.errors import UserError
from sru_apps.train.options import parse_options
from sru_apps.train.strict_json import dump_json
from sru_apps.utf8 import use_utf8
from sru_data.datasets.speech import Utterance
from sru_data.features import read_samples
from sru_data.features.config import SHIFT_SECONDS

_FULL_SCALE = 32768.0


def transcribe(task: Task, args: Sequence[str]) -> int:
    """Print the text of files, of standard input or of a microphone."""
    options = parse_options(
        "sru speech transcribe",
        "Print the text of audio files, one row per file; with a classifier, print the label and its "
        "probability. For standard input, a microphone, or a file with --stream, text is printed as soon as "
        "it is final.",
        [
            ("files", list, [], "Audio files, or feature files if the model was trained on them."),
            ("--model", str, ..., "A run folder, the `model` folder in it, or a .ckpt file."),
            (
                "--raw",
                bool,
                False,
                "Read samples from standard input: 16 bits, little-endian, one channel, no header.",
            ),
            ("--microphone", bool, False, "Listen to the microphone until Ctrl-C; needs sounddevice."),
            (
                "--sample-rate",
                PositiveInt | None,
                None,
                "The sample rate of --raw and --microphone; default: the model's.",
            ),
            (
                "--speaker",
                list,
                None,
                "A recording of the speaker, for a model trained with --data.normalization speaker; may be "
                "repeated; default: the files.",
            ),
            ("--stream", bool, False, "Also process files in chunks."),
            ("--piece", PositiveFloat, 0.1, "Length of a chunk in seconds."),
            (
                "--beam",
                PositiveInt | None,
                None,
                "The beam size; default: the model's.",
            ),
            ("--lm", str | None, None, "A word n-gram model in ARPA format; needs a beam."),
            ("--lm-weight", float | None, None, "Its weight; default: the model's."),
            ("--word-bonus", float | None, None, "Bonus for each word; default: the model's."),
            (
                "--lm-unknown",
                float | None,
                None,
                "Score added for each word outside its vocabulary; default: the model's.",
            ),
            ("--stats", bool, False, "Print the real-time factor and, for streams, the latency."),
            ("--json", bool, False, "Print one JSON object per file."),
        ],
        args,
    )
    use_utf8()
    sources = [bool(options.files), options.raw, options.microphone]
    if sum(sources) != 1:
        wanted = "give files, --raw for standard input, or --microphone"
        raise UserError(f"{wanted}; only one of them" if any(sources) else f"no audio: {wanted}", status=2)
    if options.json and not options.files:
        raise UserError("--json is for files; leave it out", status=2)
    if options.json and options.stream:
        raise UserError("--json prints whole files and --stream pieces; leave one of them out", status=2)
    if options.sample_rate is not None and options.files:
        raise UserError("--sample-rate is for --raw and --microphone; a file names its own", status=2)
    model: Transcriber = load_trained(task, Path(options.model))
    if options.speaker is not None:
        model.adapt_to(options.speaker)
    elif model.features.per_speaker and options.files:
        model.adapt_to(options.files)
    names = ("beam", "lm_weight", "word_bonus", "lm_unknown")
    given = {name: options[name] for name in names}
    if not model.config.classify:
        model.decode_with(options.lm, **given)
    elif any(value is not None for value in (options.lm, *given.values())):
        raise UserError(
            "--beam and a language model are for transcripts, and the model labels clips", status=2
        )
    return _files(model, options) if options.files and not options.stream else _streams(model, options)


def _files(model: Transcriber, options: Namespace) -> int:
    seconds = 0.0
    start = time.perf_counter()
    for file, found in zip(options.files, model.predict(options.files), strict=True):
        seconds += found.frames * SHIFT_SECONDS
        if options.json:
            row: dict[str, Any] = {"file": file, "text": found.text}
            if found.probability is not None:
                row = {"file": file, "label": found.text, "probability": found.probability}
            print(dump_json(row), flush=True)
        else:
            shown = found.text if found.probability is None else f"{found.text}\t{found.probability:.4f}"
            print(f"{file}\t{shown}", flush=True)
    if options.stats:
        _print_speed(seconds, time.perf_counter() - start)
    return 0


def _streams(model: Transcriber, options: Namespace) -> int:
    by_frames = model.features.kind == "file"
    if by_frames and not options.files:
        raise UserError("the model needs feature files, not audio; train one with --data.features fbank")
    rate = round(1 / SHIFT_SECONDS) if by_frames else options.sample_rate or model.features.sample_rate
    size = max(1, round(options.piece * rate))
    for file in options.files:
        # Opened before anything is printed.
        stream, samples = model.stream(), read_samples(model.features, Utterance(file, file))
        if len(options.files) > 1:
            print(f"{file}\t", end="")
        _follow(stream, torch.split(samples, size), size, rate, options)
    if not options.files:
        stream = model.stream(sample_rate=rate)
        pieces = microphone(rate, size) if options.microphone else raw_samples(sys.stdin.buffer, size)
        _follow(stream, pieces, size, rate, options)
    return 0


def _follow(stream: Stream, pieces: Iterable[Tensor], size: int, rate: int, options: Namespace) -> None:
    """Print the text of a stream as it becomes final."""
    count, times = 0, []
    try:
        for samples in pieces:
            start = time.perf_counter()
            print(stream.accept(samples).text, end="", flush=True)
            times.append(time.perf_counter() - start)
            count += len(samples)
    except KeyboardInterrupt:
        # Ctrl-C ends microphone input.
        if not options.microphone:
            raise
    except FloatingPointError as error:
        raise UserError(f"the audio cannot be used: {error}") from error
    if not count:
        raise UserError("no audio: the input is empty")
    start = time.perf_counter()
    print(stream.finish().text, flush=True)
    times.append(time.perf_counter() - start)
    if options.stats:
        _print_speed(count / rate, sum(times))
        print(
            f"pieces of {1000 * size / rate:.0f} ms: text after {1000 * statistics.median(times):.1f} ms "
            f"(median), {1000 * max(times):.1f} ms (longest)",
            file=sys.stderr,
        )


def _print_speed(seconds: float, spent: float) -> None:
    print(
        f"{seconds:.2f} s of audio in {spent:.2f} s: real-time factor {spent / max(seconds, 1e-9):.4f}",
        file=sys.stderr,
    )


def raw_samples(source: Any, size: int) -> Iterator[Tensor]:
    """Read samples of 16 bits as they arrive.

    Args:
        source: A stream of bytes.
        size: The maximum number of samples per piece.

    Yields:
        Samples from -1 to 1, (N,) float32.

    Raises:
        UserError: The input ends within a sample.
    """
    rest = b""
    while chunk := source.read1(2 * size - len(rest)):
        chunk = rest + chunk
        whole = len(chunk) // 2 * 2
        rest = chunk[whole:]
        if whole:
            samples = torch.frombuffer(bytearray(chunk[:whole]), dtype=torch.int16)
            yield samples.float() / _FULL_SCALE
    if rest:
        raise UserError(
            "standard input ends in the middle of a sample; --raw expects 16 bits, one channel, no header"
        )


def microphone(rate: int, size: int) -> Iterator[Tensor]:
    """Listen to the default microphone.

    Args:
        rate: Samples per second.
        size: Samples of a piece.

    Yields:
        Samples from -1 to 1, (size,) float32.

    Raises:
        UserError: sounddevice is not installed, or there is no microphone.
    """
    # Imported here because nothing else needs it.
    try:
        import sounddevice  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except (ImportError, OSError) as error:
        raise UserError(
            "reading the microphone needs sounddevice, which cannot be imported; run "
            "`pip install sounddevice`, or pipe samples to --raw"
        ) from error
    try:
        with sounddevice.InputStream(samplerate=rate, channels=1, dtype="float32") as stream:
            while True:
                samples, _ = stream.read(size)
                yield torch.from_numpy(samples[:, 0].copy())
    except sounddevice.PortAudioError as error:
        raise UserError(f"the microphone cannot be used: {error}") from error
