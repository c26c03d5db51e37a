"""Keeps modules importable under their former names."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "encoders": "nn",
    "dropout": "nn.dropout",
    "training": "train",
    "training.optimizers": "train.optimizers",
    "classification": "tasks.classify",
    "classification.model": "tasks.classify.model",
    "classification.load": "tasks.classify.module",
    "language_modelling": "tasks.lm",
    "language_modelling.config": "tasks.lm.model",
    "language_modelling.model": "tasks.lm.model",
    "language_modelling.module": "tasks.lm.module",
    "language_modelling.load": "tasks.lm.load",
    "language_modelling.generate": "decoding.continuation",
    "language_modelling.sampling": "decoding.sampling",
    "chat": "tasks.chat",
    "chat.load": "tasks.chat.model",
    "chat.reply": "tasks.chat.model",
    "demo": "tasks.demo.commands",
}
"""Former and present names of modules within `sru_apps`; an import of the former one finds the present one."""


class Redirection(MetaPathFinder, Loader):
    """Finds modules by their former names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Take over the former names only."""
        return ModuleSpec(fullname, self) if fullname.removeprefix("sru_apps.") in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the present module in the place of the former one, which the import system then returns."""
        present = MOVED[module.__name__.removeprefix("sru_apps.")]
        sys.modules[module.__name__] = import_module(f"sru_apps.{present}")
