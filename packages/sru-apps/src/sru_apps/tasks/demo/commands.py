"""`sru demo`: compare SRU and LSTM as character language models on a text that ships with Python."""

from __future__ import annotations

import statistics
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytorch_lightning as lightning
import torch
from torch import Tensor

from sru_apps.decoding.continuation import generate
from sru_apps.decoding.limits import PositiveCount, Seed
from sru_apps.nn import RecurrentName
from sru_apps.tasks.lm.model import LanguageModelConfig
from sru_apps.tasks.lm.module import LanguageModelModule
from sru_apps.train.checkpoints import AtomicCheckpointIO, RunCheckpoints
from sru_apps.train.console import EpochBar, quiet_lightning
from sru_apps.train.history import History
from sru_apps.train.module import count_parameters
from sru_apps.train.optimizers import OptimizerConfig
from sru_apps.train.options import parse_options
from sru_apps.train.pictures import draw_curves
from sru_apps.train.run_folder import RunFolder, new_run
from sru_data.datasets.language_modelling import python_help_text
from sru_data.loaders import StreamLoader
from sru_data.tokenizers import CharTokenizer
from sru_nn import backend

SRU_HIDDEN_SIZE = 224
# The best of 2e-3 to 3.2e-2, in factors of about 1.5, for each model after two epochs with seed 0.
LEARNING_RATES: dict[RecurrentName, float] = {"sru": 8e-3, "lstm": 1.6e-2}
STREAMS, SEGMENT = 32, 64
VALIDATION_SHARE = 0.05
FIGURE = "bits_per_character"
PROMPT = "The "
SAMPLE_LENGTH = 400


Result = tuple[LanguageModelModule, list[dict[str, float]]]
"""The model of the best epoch, and one row of figures per epoch."""


def demo(args: Sequence[str]) -> int:
    """Train both models, and print the comparison, a sample and the locations of the files.

    Args:
        args: The command line after `sru demo`.

    Returns:
        The exit status.
    """
    options = parse_options(
        "sru demo",
        "Train an SRU and an LSTM of the same size on a text that comes with Python, compare them, and "
        "print a sample.",
        [
            ("--epochs", PositiveCount, 3, "Passes over the text, for each model."),
            ("--seed", Seed, 0, "Seed of the weights and the sample."),
            ("--runs-dir", str, "runs", "Write the files to RUNS_DIR/demo/NAME."),
            ("--name", str | None, None, "Name of the run folder; default: the time."),
        ],
        args,
    )
    quiet_lightning()
    folder = new_run(Path(options.runs_dir) / "demo", options.name)
    # The lock creates the folder: an unwritable path is reported before anything is trained.
    with folder.lock():
        folder.check_new()
        compare(folder, epochs=options.epochs, seed=options.seed)
    return 0


def compare(folder: RunFolder, *, epochs: int, seed: int) -> None:
    """Train both models, and print and plot the results.

    Args:
        folder: Where the files go.
        epochs: Passes over the text, for each model.
        seed: Seed of the weights and the sample.
    """
    text = python_help_text()
    tokenizer = CharTokenizer.train([text])
    ids = torch.tensor(tokenizer.encode(text))
    print(
        f"Text: Python's help topics (pydoc_data.topics), {len(text):,} characters of {len(tokenizer)} kinds."
    )
    results = {
        name: train(ids, len(tokenizer), name, size, folder=folder.path, epochs=epochs, seed=seed)
        for name, size in equal_hidden_sizes(len(tokenizer)).items()
    }

    print("\n" + "\n".join(comparison(results)))
    sample = generate(results["sru"][0].network, tokenizer.encode(PROMPT), temperature=0.6, seed=seed)
    text = tokenizer.decode(list(islice(sample, SAMPLE_LENGTH)))
    print(f"\nThe SRU continues {PROMPT!r}:\n\n{PROMPT}{text}")
    curves = {
        f"{name.upper()}, {count_parameters(module):,} parameters": [
            [row[key] for row in rows] for key in ("seconds", f"validation_{FIGURE}")
        ]
        for name, (module, rows) in results.items()
    }
    panels = {"bits per character, unseen text": curves}
    draw_curves(folder.learning_curve, "training time in seconds", panels, title="sru demo")
    print(f"\nPicture:    {folder.learning_curve}\nCheckpoint: {RunFolder(folder.path / 'sru').best}")


def make_module(vocab_size: int, name: RecurrentName, hidden_size: int) -> LanguageModelModule:
    """Build a model that is trained with Adam and one cycle of the learning rate."""
    return LanguageModelModule(
        LanguageModelConfig(vocab_size=vocab_size, encoder=name, hidden_size=hidden_size),
        OptimizerConfig("adam", LEARNING_RATES[name], schedule="one-cycle"),
        unit="characters",
    )


def equal_hidden_sizes(vocab_size: int) -> dict[RecurrentName, int]:
    """Choose the width that gives the LSTM as many parameters as the SRU, to within one unit."""

    def parameters(name: RecurrentName, hidden_size: int) -> int:
        with torch.device("meta"):
            return count_parameters(make_module(vocab_size, name, hidden_size))

    wanted = parameters("sru", SRU_HIDDEN_SIZE)
    lstm = bisect_left(range(4 * SRU_HIDDEN_SIZE), wanted, lo=1, key=lambda size: parameters("lstm", size))
    return {"sru": SRU_HIDDEN_SIZE, "lstm": lstm}


def train(
    ids: Tensor,
    vocab_size: int,
    name: RecurrentName,
    hidden_size: int,
    *,
    folder: Path,
    epochs: int,
    seed: int,
) -> Result:
    """Train one model on the beginning of the text and validate it on the rest.

    Args:
        ids: (symbols,) int64, the text.
        vocab_size: V.
        name: The cell.
        hidden_size: D.
        folder: Where the folder of this model goes.
        epochs: Passes over the text.
        seed: Seed of the weights.

    Returns:
        The trained model and its figures.
    """
    lightning.seed_everything(seed, verbose=False)
    module = make_module(vocab_size, name, hidden_size)
    print(
        f"\n{name.upper()}, {module.config.num_layers} layers of {hidden_size}: "
        f"{count_parameters(module):,} parameters"
    )
    run = new_run(folder, name)
    history = History(run.learning_curve, figures=[FIGURE], count=lambda batch: 1, unit="steps")
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        logger=False,
        default_root_dir=run.path,
        plugins=[AtomicCheckpointIO()],
        callbacks=[
            EpochBar(history),
            RunCheckpoints(run.checkpoints, monitor=f"validation_{FIGURE}", mode="min", task="demo"),
            history,
        ],
    )
    cut = len(ids) - int(len(ids) * VALIDATION_SHARE)
    sizes: dict[str, Any] = {"batch_size": STREAMS, "length": SEGMENT}
    trainer.fit(module, StreamLoader(ids[:cut], **sizes), StreamLoader(ids[cut:], whole=True, **sizes))
    best = LanguageModelModule.load_from_checkpoint(run.best, weights_only=True)
    return best.eval(), history.rows


def comparison(results: Mapping[str, Result]) -> Iterator[str]:
    """Yield the lines of the table: cost and quality of each model."""
    yield f"{'':<6}{'parameters':>12}{'ms per step':>13}{'seconds':>9}{'bits per character, unseen text':>33}"
    for name, (module, rows) in results.items():
        bits = min(row[f"validation_{FIGURE}"] for row in rows)
        step = statistics.median(1e3 / row["steps_per_second"] for row in rows)
        head = f"{name.upper():<6}{count_parameters(module):>12,}"
        yield f"{head}{step:>13.1f}{rows[-1]['seconds']:>9.1f}{bits:>33.3f}"
    means = {
        "kernels": "the kernels of sru-kernels",
        "triton": "Triton's interpreter",
        "reference": "reference operators in plain PyTorch",
    }
    yield f"A step reads {STREAMS} x {SEGMENT} characters, on {torch.get_num_threads()} CPU threads."
    yield f"The SRU runs {means[backend.active('cpu')]}, the LSTM PyTorch's compiled code."
