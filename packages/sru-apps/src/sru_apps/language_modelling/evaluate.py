"""`sru lm validate` and `sru lm test`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse.typing import PositiveInt

from sru_apps.language_modelling.data import LanguageModelData
from sru_apps.language_modelling.load import TASK, with_memory_length
from sru_apps.language_modelling.module import LanguageModelModule
from sru_apps.language_modelling.summary import describe
from sru_apps.training.checkpoint_io import read_checkpoint, reading
from sru_apps.training.console import quiet_lightning
from sru_apps.training.errors import building, shows_errors
from sru_apps.training.evaluation import STAGES, Command, Stage, measure
from sru_apps.training.export import check_task
from sru_apps.training.parser import OptionParser, add_options
from sru_apps.training.run_folder import find_checkpoint

# Options of this command and the data's own names.
_DATA_OPTIONS = {
    "data_dir": "data_dir",
    "prepared_dir": "prepared_dir",
    "window": "window",
    "stride": "stride",
    "batch_size": "evaluation_batch_size",
    "length": "evaluation_length",
}


@shows_errors("sru lm validate")
def validate(args: Sequence[str]) -> int:
    """Print the figures of a checkpoint on the validation text."""
    return _evaluate("validate", args)


@shows_errors("sru lm test")
def test(args: Sequence[str]) -> int:
    """Print the figures of a checkpoint on the test text."""
    return _evaluate("test", args)


def load_module(
    path: Path, *, memory_length: int | None = None
) -> tuple[LanguageModelModule, dict[str, Any]]:
    """Read a training checkpoint.

    Args:
        path: A `.ckpt` file.
        memory_length: What SRU++ is to remember, if not as much as in training.

    Returns:
        The module with its weights, and the whole checkpoint.

    Raises:
        UserError: When it is missing, damaged or of another task, or its encoder has no memory whose length
            could be chosen.
    """
    checkpoint = read_checkpoint(path)
    check_task(checkpoint.get("task"), TASK, path)
    with reading(path):
        options = dict(checkpoint["hyper_parameters"])
        options["config"] = with_memory_length(options["config"], memory_length)
        module = LanguageModelModule(**options)
        module.load_state_dict(checkpoint["state_dict"])
    return module, checkpoint


def _evaluate(command: Command, args: Sequence[str]) -> int:
    stage = STAGES[command]
    options = _parser(command, stage).parse_args(list(args))
    quiet_lightning()
    path = find_checkpoint(Path(options.checkpoint))
    module, checkpoint = load_module(path, memory_length=options.memory_length)
    changed = {theirs: options[ours] for ours, theirs in _DATA_OPTIONS.items() if options[ours] is not None}
    with reading(path):
        settings = {**checkpoint["datamodule_hyper_parameters"], **changed}
        state = checkpoint[LanguageModelData.__qualname__]
    with building():
        data = LanguageModelData(**settings)
    data.load_state_dict(state)
    _warn_of_short_streams(data, stage)
    found = measure(module, data, command, accelerator=options.accelerator)
    if options.json:
        result = {"checkpoint": str(path), "dataset": data.dataset, "set": stage, "unit": data.unit, **found}
        print(json.dumps(result))
    else:
        print(f"{data.dataset} {module.config.encoder}: {stage} {describe(found)}")
    return 0


def _warn_of_short_streams(data: LanguageModelData, stage: Stage) -> None:
    streams, tokens = data.evaluation_batch_size, data.counts(stage).tokens
    if data.window is None and streams > 1 and tokens < streams * data.length:
        warnings.warn(
            f"a batch size of {streams} parts the {tokens:,} tokens of the {stage} text into streams of "
            f"{max(1, tokens // streams):,}, each begun without context and shorter than the {data.length} "
            "steps of a segment in training; a smaller --batch-size gives a figure that says more",
            stacklevel=2,
        )


def _parser(command: str, stage: str) -> OptionParser:
    parser = OptionParser(
        prog=f"sru lm {command}",
        description=f"Perplexity, or bits per character or byte, of a checkpoint on the {stage} text. It "
        "is read in streams with the state carried on, each token scored once; with --window in overlapping "
        "windows, each read afresh.",
    )
    parser.add_argument(
        "checkpoint", type=str, help="A run folder (its best checkpoint is taken) or a .ckpt file."
    )
    add_options(
        parser,
        [
            ("--window", PositiveInt | None, None, "Steps of a window."),
            ("--stride", PositiveInt | None, None, "Steps between windows; default: half a window."),
            (
                "--batch-size",
                PositiveInt | None,
                None,
                "Streams, or windows at a time; default: as in training.",
            ),
            ("--length", PositiveInt | None, None, "Steps of a segment; default: as in training."),
            (
                "--memory-length",
                PositiveInt | None,
                None,
                "srupp: positions before itself that a position attends to; default: as in training.",
            ),
            (
                "--data-dir",
                str | None,
                None,
                "Folder with the data; default: as in training, else $SRU_DATA.",
            ),
            ("--prepared-dir", str | None, None, "Folder with the token files, if it has moved."),
            ("--accelerator", str, "auto", "cpu, gpu, or auto."),
        ],
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    return parser
