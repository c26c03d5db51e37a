"""The progress bar of the preparation of token files."""

from __future__ import annotations

import sys
from types import TracebackType

from tqdm import tqdm  # type: ignore[import-untyped]

from sru_data.token_files import Progress


class PreparationBar:
    """A bar for each split, in bytes, that appears with the first report; a log file gets a line instead.

    Args:
        name: What is prepared.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._stage: str | None = None
        self._bar: tqdm | None = None

    def __enter__(self) -> PreparationBar:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        self._close()

    def report(self, progress: Progress) -> None:
        """Show how far it has come."""
        if progress.stage != self._stage:
            self._begin(progress)
        if self._bar is not None:
            self._bar.n = progress.bytes
            self._bar.set_postfix_str(f"{progress.tokens:,} tokens", refresh=False)
            self._bar.update(0)

    def _begin(self, progress: Progress) -> None:
        self._close()
        self._stage = progress.stage
        if progress.stage == "waiting":
            print(f"{self.name}: another process prepares it; waiting", flush=True)
        elif progress.stage == "tokenizer":
            print(f"{self.name}: making the vocabulary", flush=True)
        elif sys.stderr.isatty():
            self._bar = tqdm(
                total=progress.total, desc=progress.stage, unit="B", unit_scale=True, leave=False
            )
        else:
            print(f"{self.name}: preparing the {progress.stage} split", flush=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
