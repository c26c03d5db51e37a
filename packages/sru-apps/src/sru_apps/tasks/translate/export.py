"""`sru translate export`."""

from __future__ import annotations

import importlib.util
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sru_apps.inference.loading import load_trained
from sru_apps.task import Task
from sru_apps.tasks.translate.decoding import MORE, PER_SYMBOL, search
from sru_apps.tasks.translate.graphs import write_graphs
from sru_apps.tasks.translate.model import TranslationModel
from sru_apps.tasks.translate.onnx_search import FORMAT, OnnxTranslator
from sru_apps.tasks.translate.vocabularies import TokenizerPair
from sru_apps.train.errors import UserError, building
from sru_apps.train.options import parse_options
from sru_apps.train.strict_json import write_json
from sru_apps.utf8 import input_lines, use_utf8
from sru_data.atomic import replace
from sru_data.loaders import pad_sequences
from sru_data.reading import MAX_SENTENCE_BYTES
from sru_data.tokenizers import PAD_ID, SentenceTokenizer
from sru_nn.operators import TORCH_2_13

_NAME = "translation.json"
_BATCH_SIZE = 32


def export(task: Task, args: Sequence[str]) -> int:
    """Export a trained model as ONNX, and optionally compare its translations."""
    options = parse_options(
        "sru translate export",
        "Write a trained model as ONNX: encoder.onnx, decoder.onnx (one step), the vocabularies, and "
        "translation.json, which describes them. sru_apps/tasks/translate/onnx_search.py translates with "
        "these files; it needs only numpy and onnxruntime, and may be copied.",
        [
            ("model", str, ..., "A run folder, the `model` folder in it, or a .ckpt file."),
            ("--out", str, ..., "Write the files to this folder; created if missing."),
            (
                "--check",
                str | None,
                None,
                "A file of sentences, one per line, to translate with PyTorch and with ONNX; the exit status "
                "is 1 unless all translations are the same.",
            ),
        ],
        args,
    )
    use_utf8()
    _check_packages("onnx", "onnxscript", *([] if options.check is None else ["onnxruntime"]))
    folder = Path(options.out)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out must be a folder, but {folder} is a file; choose another path")
    # Before the model is loaded, so that a wrong path is reported at once.
    lines = [] if options.check is None else _read(options.check)
    translator: Any = load_trained(task, Path(options.model))
    with _quiet_exporter():
        write_export(folder, translator.network, translator.tokenizer)
    for path in sorted(folder.iterdir()):
        print(f"{path} ({path.stat().st_size:,} bytes)")
    if lines:
        with building():  # a sentence may be too long for the graphs
            print(compare(folder, translator.network, translator.tokenizer, lines))
    return 0


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter's messages about optional packages and its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def _check_packages(*names: str) -> None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"this needs {' and '.join(missing)}; pip install {' '.join(missing)}")
    if not TORCH_2_13:
        raise UserError(
            f"exporting sentences of any length needs torch 2.13, got {torch.__version__}; upgrade torch"
        )


def _read(file: str) -> list[str]:
    with input_lines(file, limit=MAX_SENTENCE_BYTES) as groups:
        lines = [line for group in groups for line in group if line.strip()]
    if not lines:
        raise UserError(f"--check needs sentences, but {file} has none")
    return lines


def write_export(folder: Path, model: TranslationModel, tokenizer: TokenizerPair) -> None:
    """Write the graphs, the vocabularies and `translation.json`; the files appear once all are complete.

    Args:
        folder: The folder to write to; created if missing.
        model: The model, in evaluation mode, on the CPU.
        tokenizer: Its vocabularies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as temporary:
        new = Path(temporary)
        graphs = write_graphs(model, new)
        source = _write_vocabulary(new, "source", tokenizer.source)
        config = model.config
        write_json(
            new / _NAME,
            {
                "format": FORMAT,
                "memory": [part._asdict() for part in graphs.memory],
                "state": [{**part._asdict(), "next": f"next_{part.name}"} for part in graphs.state],
                "source_vocab_size": config.source_vocab_size,
                "target_vocab_size": config.target_vocab_size,
                "most_source_symbols": graphs.most_source_symbols,
                "most_target_symbols": graphs.most_target_symbols,
                "longest": {"per_source_symbol": PER_SYMBOL, "more": MORE},
                "pad_id": PAD_ID,
                "bos_id": config.bos_id,
                "eos_id": config.eos_id,
                "forbidden": [PAD_ID, config.bos_id],
                "beam": config.beam,
                "length_penalty": config.length_penalty,
                "alpha": config.alpha,
                "source_form": asdict(tokenizer.source.form),
                "target_form": asdict(tokenizer.target.form),
                "source_vocabulary": source,
                "target_vocabulary": (
                    source if tokenizer.joint else _write_vocabulary(new, "target", tokenizer.target)
                ),
            },
        )
        # The file that names the others comes last.
        for path in sorted(new.iterdir(), key=lambda path: path.name == _NAME):
            replace(path, folder / path.name)


def _write_vocabulary(folder: Path, name: str, tokenizer: SentenceTokenizer) -> str:
    """Write a vocabulary: a Hugging Face tokenizer, `NAME.json`, or a sentencepiece model, `NAME.model`."""
    path = folder / name
    tokenizer.save(path)
    named = path.with_suffix(".json" if path.read_bytes().lstrip().startswith(b"{") else ".model")
    path.rename(named)
    return named.name


def compare(folder: Path, model: TranslationModel, tokenizer: TokenizerPair, lines: Sequence[str]) -> str:
    """Translate sentences with PyTorch and with the exported model.

    Args:
        folder: The folder that `write_export` wrote.
        model: The model.
        tokenizer: Its vocabularies.
        lines: The sentences.

    Returns:
        A message that all translations are the same.

    Raises:
        UserError: Some translations differ; the message shows the first.
    """
    exported = OnnxTranslator(folder)
    ids = [tokenizer.encode(line) for line in lines]
    order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
    same, different = 0, ""
    for first in range(0, len(order), _BATCH_SIZE):
        chosen = order[first : first + _BATCH_SIZE]
        sentences = [ids[number] for number in chosen]
        padded = pad_sequences([torch.tensor(sentence) for sentence in sentences], batch_first=False)
        theirs = exported.translate(sentences)
        for number, (ours, *_), (other, *_) in zip(
            chosen, search(model, padded.ids, padded.mask), theirs, strict=True
        ):
            same += ours.ids == other.ids
            if ours.ids != other.ids and not different:
                texts = (f"{tokenizer.decode(one.ids)!r} ({one.score:.6f})" for one in (ours, other))
                different = f"{lines[number]!r} becomes {' with PyTorch and '.join(texts)} with ONNX"
    found = f"{same:,} of {len(lines):,} translations are the same"
    if different:
        raise UserError(f"{found}; {different}")
    return found
