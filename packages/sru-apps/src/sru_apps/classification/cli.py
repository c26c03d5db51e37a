"""`sru classify`: one row a command."""

from __future__ import annotations

from collections.abc import Sequence

from sru_apps.commands import Command, run_command

COMMANDS = {
    "fit": Command(
        "train, keep the best checkpoint, test it, export the model", "sru_apps.classification.fit:main"
    ),
    "validate": Command(
        "accuracy of a checkpoint on the validation set", "sru_apps.classification.evaluate:validate"
    ),
    "test": Command("accuracy of a checkpoint on the test set", "sru_apps.classification.evaluate:test"),
    "table": Command(
        "mean and spread of finished runs: seeds or folds", "sru_apps.classification.table:main"
    ),
    "predict": Command("label and probability of your own sentences", "sru_apps.classification.predict:main"),
}

DESCRIPTION = """Sentence classification on MR, CR, SUBJ, MPQA, TREC, SST-1 and SST-2.
Start with: sru classify fit --recipe sst2"""


def main(args: Sequence[str]) -> int:
    """Run `sru classify`, given the arguments after it."""
    return run_command("sru classify", DESCRIPTION, COMMANDS, args)
