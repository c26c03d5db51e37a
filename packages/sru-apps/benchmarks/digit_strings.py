r"""Strings of spoken digits, on which a recogniser trains in minutes.

    python digit_strings.py --data-dir DATA --out strings
    sru speech fit --train-file strings/train.jsonl --validation-file strings/validation.jsonl \
        --test-file strings/test.jsonl --unit words --sample-rate 8000 --num-bins 40 --bidirectional false

concatenates recordings of the Free Spoken Digit Dataset into WAV files of one to six digits, one speaker per
file, and lists them in manifests. Recordings 0 to 4 of each speaker and digit are for testing, as in the
official split, and 5 to 9 for validation.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy
import soundfile

from sru_data.datasets import speech
from sru_data.datasets.speech import Utterance

SIZES = {"train": 1500, "validation": 100, "test": 100}
RECORDINGS = {"test": range(5), "validation": range(5, 10), "train": range(10, 50)}
MOST = 6


def write(folder: Path, part: str, recordings: Sequence[Utterance], count: int, seed: int) -> None:
    """Write the strings of one part, and its manifest.

    Args:
        folder: The folder of the manifest; the audio goes into a subfolder named after the part.
        part: The name of the part.
        recordings: The recordings to sample from.
        count: The number of strings to write.
        seed: The seed for sampling.
    """
    draw = random.Random(f"{part}:{seed}")
    speakers: dict[str, list[Utterance]] = {}
    for recording in recordings:
        speakers.setdefault(str(recording.speaker), []).append(recording)
    (folder / part).mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        speaker = draw.choice(sorted(speakers))
        chosen = draw.choices(speakers[speaker], k=draw.randint(1, MOST))
        pieces = [soundfile.read(recording.path, dtype="int16") for recording in chosen]
        path = f"{part}/{number:04}.wav"
        soundfile.write(folder / path, numpy.concatenate([samples for samples, _ in pieces]), pieces[0][1])
        text = " ".join(str(recording.text) for recording in chosen)
        rows.append({"audio": path, "text": text, "speaker": speaker})
    (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def main() -> None:
    """Read the recordings and write the strings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", help="folder with speech/fsdd; default: $SRU_DATA")
    parser.add_argument("--out", type=Path, required=True, help="folder of the strings")
    parser.add_argument("--seed", type=int, default=0, help="seed of the strings")
    options = parser.parse_args()
    parts = speech.load("fsdd", data_dir=options.data_dir)
    recordings = sorted(utterance for part in parts.values() for utterance in part)
    for part, count in SIZES.items():
        own = [r for r in recordings if int(r.id.rpartition("_")[2]) in RECORDINGS[part]]
        write(options.out, part, own, count, options.seed)


if __name__ == "__main__":
    main()
