"""`sru classify fit`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sru_apps.classification.data import SentenceData
from sru_apps.classification.evaluate import evaluate
from sru_apps.classification.fit_cli import FitCLI
from sru_apps.classification.load import export_classifier, load_module
from sru_apps.classification.module import TASK, ClassifierModule
from sru_apps.training.checkpoint_io import read_checkpoint, reading
from sru_apps.training.console import quiet_lightning
from sru_apps.training.errors import UserError, shows_errors
from sru_apps.training.export import check_task
from sru_apps.training.run_folder import RunFolder, find_checkpoint
from sru_apps.training.summary import Summary, count_parameters


@shows_errors("sru classify fit")
def main(args: Sequence[str]) -> int:
    """Train, test the best checkpoint, export it, and print the summary.

    Args:
        args: The command line after `sru classify fit`.

    Returns:
        The exit status; 130 after Ctrl-C.
    """
    quiet_lightning()
    cli = FitCLI(args)
    try:
        _train(cli)
    except SystemExit:
        if not cli.checkpoints.interrupted and not cli.trainer.received_sigterm:
            raise
        if cli.run.last.exists():
            print(f"Interrupted. Continue with: sru classify fit --resume {cli.run.path}")
        else:
            print("Interrupted before the first checkpoint.")
        return 130
    _finish(cli)
    return 0


def _train(cli: FitCLI) -> None:
    module: ClassifierModule = cli.model
    data: SentenceData = cli.datamodule
    resume_from = None
    if cli.options.resume is not None:
        resume_from = find_checkpoint(Path(cli.options.resume), last=True)
        _check_same_settings(resume_from, module, data)
    elif data.pretrained is not None:
        module.use_vectors(data.pretrained.weight)
        words = data.vocab_size - 2
        print(f"{data.pretrained.found:,} of {words:,} words have a vector in {data.embeddings}")
    print(
        f"{module.hparams['encoder']}: {count_parameters(module):,} parameters; run folder {cli.run.path}",
        flush=True,
    )
    try:
        cli.trainer.fit(module, data, ckpt_path=resume_from)
    except BaseException:
        # A run that never took a step would only stand in the way of the next one of its name.
        if resume_from is None and cli.trainer.global_step == 0:
            shutil.rmtree(cli.run.path, ignore_errors=True)
        raise


def _check_same_settings(path: Path, module: ClassifierModule, data: SentenceData) -> None:
    checkpoint = read_checkpoint(path)
    check_task(checkpoint.get("task"), TASK, path)
    # Files may have moved; that their words are the same is checked with the tokenizer.
    movable = {"data_dir", "embeddings"}
    ours = {**module.hparams, **{key: data.hparams[key] for key in data.hparams if key not in movable}}
    with reading(path):
        theirs: dict[str, Any] = {
            **checkpoint["datamodule_hyper_parameters"],
            **checkpoint["hyper_parameters"],
        }
    different = [
        f"{key}={theirs.get(key)!r}, not {ours[key]!r}" for key in ours if theirs.get(key) != ours[key]
    ]
    if different:
        raise UserError(
            f"{path} was trained with {'; '.join(different)}; continue with the run's own settings"
        )


def _finish(cli: FitCLI) -> None:
    run: RunFolder = cli.run
    data: SentenceData = cli.datamodule
    module, _ = load_module(run.best)
    test_accuracy, _ = evaluate(module, data, "test", accelerator=cli.options.trainer.accelerator)
    export_classifier(run.model, module, data.tokenizer)
    parameters = count_parameters(module)
    summary = Summary(
        dataset=data.dataset,
        encoder=module.network.config.encoder,
        seed=data.seed,
        test_accuracy=test_accuracy,
        validation_accuracy=cli.checkpoints.best_score or 0.0,
        best_epoch=cli.checkpoints.best_epoch + 1,
        epochs=len(cli.history.rows),
        seconds=round(cli.history.seconds, 2),
        parameters=parameters,
        parameters_without_embedding=parameters - count_parameters(module.network.embedding),
        run=str(run.path),
    )
    summary.save(run.summary)
    print(summary.line())
