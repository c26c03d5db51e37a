"""Text as overlapping windows, to score each token with a minimum amount of context."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from sru_data.errors import DataError
from sru_data.loaders.streams import IGNORE, Segment, TextLoader


class WindowLoader(TextLoader):
    """A text of n tokens in windows of W steps, each read without the preceding text.

    Window k consists of steps k·R to k·R + W - 1, where step i reads token i and predicts token i + 1. The
    first window scores all of its steps and every other window its last R. Every token but the first is
    therefore scored exactly once, and after the first window with at least W - R tokens of context.

    A batch holds the next B · world_size windows; rank r reads windows r·B to (r + 1)·B - 1 of these. Targets
    beyond the end of the text are `IGNORE`.

    Args:
        tokens: (n,) ids of any integer type; memory-mapped ids stay memory-mapped.
        batch_size: B, the number of windows in a batch of this rank.
        window: W.
        stride: R, at most W.
        separator: The id of the token that ends a document, as for `StreamLoader`.
        rank: The number of this process.
        world_size: The number of processes.

    Raises:
        ValueError: `tokens` is not 1-D or not of integers, or an option is out of range.
        DataError: The text has fewer than two tokens.
    """

    def __init__(
        self,
        tokens: Tensor,
        *,
        batch_size: int,
        window: int,
        stride: int,
        separator: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(tokens, batch_size=batch_size, separator=separator, rank=rank, world_size=world_size)
        self._check_positive(window=window, stride=stride)
        if stride > window:
            raise ValueError(
                f"WindowLoader: stride must be at most window = {window}, got {stride}; "
                "tokens between the windows would not be scored"
            )
        if len(tokens) < 2:
            raise DataError(
                f"WindowLoader: expected a text of at least 2 tokens, got {len(tokens)}; give a longer text"
            )
        self.window = window
        self.stride = stride
        self.windows = 1 + max(0, -(-(len(tokens) - 1 - window) // stride))
        """The number of windows in the text."""

    def __len__(self) -> int:
        """Return the number of batches."""
        return -(-self.windows // (self.batch_size * self.world_size))

    def _items(self, start: int) -> Iterator[Segment]:
        context = self.window - self.stride
        for batch in range(start, len(self)):
            window = (batch * self.world_size + self.rank) * self.batch_size
            segment = self._gather(first=window * self.stride, apart=self.stride, length=self.window)
            segment.targets[:context, 1 if window == 0 else 0 :] = IGNORE
            yield segment

    def _sizes(self) -> dict[str, Any]:
        return {
            "tokens": len(self.tokens),
            "windows in a batch": self.batch_size * self.world_size,
            "window": self.window,
            "stride": self.stride,
        }
