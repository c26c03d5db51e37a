"""Text as contiguous streams or overlapping windows, read side by side from a file of ids."""

from sru_data.streams.loader import IGNORE, Segment
from sru_data.streams.stream_loader import StreamLoader
from sru_data.streams.window_loader import WindowLoader

__all__ = ["IGNORE", "Segment", "StreamLoader", "WindowLoader"]
