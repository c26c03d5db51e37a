"""`sru classify validate` and `sru classify test`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sru_apps.classification.data import SentenceData
from sru_apps.classification.load import load_module
from sru_apps.classification.module import ClassifierModule
from sru_apps.training.checkpoint_io import reading
from sru_apps.training.console import quiet_lightning
from sru_apps.training.errors import shows_errors
from sru_apps.training.evaluation import STAGES, Command, measure
from sru_apps.training.parser import OptionParser
from sru_apps.training.run_folder import find_checkpoint


@shows_errors("sru classify validate")
def validate(args: Sequence[str]) -> int:
    """Print the accuracy of a checkpoint on the validation set."""
    return _evaluate("validate", args)


@shows_errors("sru classify test")
def test(args: Sequence[str]) -> int:
    """Print the accuracy of a checkpoint on the test set."""
    return _evaluate("test", args)


def evaluate(
    module: ClassifierModule, data: SentenceData, command: Command, *, accelerator: str
) -> tuple[float, float]:
    """Measure a trained module.

    Args:
        module: With its weights.
        data: The data set, with the module's tokenizer.
        command: The set to use.
        accelerator: As Lightning names it.

    Returns:
        Accuracy, 0 to 1, and mean loss.

    Raises:
        UserError: When there is no such accelerator.
    """
    figures = measure(module, data, command, accelerator=accelerator)
    return figures["accuracy"], figures["loss"]


def _evaluate(command: Command, args: Sequence[str]) -> int:
    stage = STAGES[command]
    options = _parser(command, stage).parse_args(list(args))
    quiet_lightning()
    path = find_checkpoint(Path(options.checkpoint))
    module, checkpoint = load_module(path)
    with reading(path):
        settings = dict(checkpoint["datamodule_hyper_parameters"])
        if options.data_dir is not None:
            settings["data_dir"] = options.data_dir
        data = SentenceData(**settings)
        data.load_state_dict(checkpoint[SentenceData.__qualname__])
    accuracy, loss = evaluate(module, data, command, accelerator=options.accelerator)
    if options.json:
        result = {
            "checkpoint": str(path),
            "dataset": data.dataset,
            "set": stage,
            "accuracy": accuracy,
            "loss": loss,
        }
        print(json.dumps(result))
    else:
        encoder = module.network.config.encoder
        print(f"{data.dataset} {encoder}: {stage} accuracy {100 * accuracy:.2f} %, loss {loss:.4f}")
    return 0


def _parser(command: str, stage: str) -> OptionParser:
    parser = OptionParser(
        prog=f"sru classify {command}",
        description=f"Accuracy of a checkpoint on the {stage} set it belongs to.",
    )
    parser.add_argument(
        "checkpoint", type=str, help="A run folder (its best checkpoint is taken) or a .ckpt file."
    )
    parser.add_argument(
        "--data-dir", type=str | None, help="Folder with the data; default: as in training, else $SRU_DATA."
    )
    parser.add_argument("--accelerator", type=str, default="auto", help="cpu, gpu, or auto.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    return parser
