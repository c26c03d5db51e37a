"""Derivatives of features over time, of a whole utterance or frame by frame."""

from __future__ import annotations

import torch
from torch import Tensor

_SLOPES = [(-2, -0.2), (-1, -0.1), (1, 0.1), (2, 0.2)]
_REACH = 2


class Deltas:
    """Appends first and second derivatives, each a regression over five frames.

        Δx_t = Σ_{n=1,2} n (x_{t+n} − x_{t−n}) / 10          Δ²x_t = Δ(Δx)_t

    The first and the last frame are repeated at the ends, as in Kaldi. A frame is returned once the
    `2 · order` frames after it have arrived; the result is the same, bit for bit, however the input is split.

    Args:
        order: The number of derivatives, 0 to 2.
        size: The number of features in a frame.
    """

    def __init__(self, order: int, size: int) -> None:
        self._order = order
        self._reach = _REACH * order
        self._held = torch.empty(0, size)
        self._begun = False

    def accept(self, frames: Tensor) -> Tensor:
        """Take frames and return those that are complete.

        Args:
            frames: (t, F) float32.

        Returns:
            (t', F · (1 + order)) float32; t' may be 0.
        """
        if not self._begun and len(frames):
            self._held, self._begun = frames[:1].repeat(self._reach, 1), True
        frames = torch.cat([self._held, frames])
        ready = max(len(frames) - 2 * self._reach, 0)
        self._held = frames[ready:].clone()
        columns = [frames[self._reach : self._reach + ready]]
        slopes = frames
        for step in range(1, self._order + 1):
            slopes = _slope(slopes)
            # `slopes` lacks the first frames, which have no left neighbours.
            first = self._reach - _REACH * step
            columns.append(slopes[first : first + ready])
        return torch.cat(columns, dim=1)

    def finish(self) -> Tensor:
        """Return the frames that were held back.

        Returns:
            (t', F · (1 + order)) float32.
        """
        return self.accept(self._held[-1:].repeat(self._reach, 1))


def _slope(frames: Tensor) -> Tensor:
    """Return the slope at every frame that has two others on each side."""
    count = max(len(frames) - 2 * _REACH, 0)
    result = torch.zeros(count, frames.shape[1])
    for offset, weight in _SLOPES:
        start = _REACH + offset
        # In two steps: a fused operation would round differently where a SIMD vector is not full.
        result = result + frames[start : start + count] * weight
    return result
