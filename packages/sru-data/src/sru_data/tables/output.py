"""The output of a copy of a table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from sru_data.atomic import atomic_write


@contextmanager
def open_output(path: Path) -> Iterator[BinaryIO]:
    """Open a file that is replaced atomically when the block ends, compressed if its suffix asks for it.

    Args:
        path: The file.
    """
    from fsspec.compression import compr  # type: ignore[import-untyped]
    from fsspec.utils import infer_compression  # type: ignore[import-untyped]

    compression = infer_compression(path.name)
    with atomic_write(path) as file:
        if compression is None:
            yield cast("BinaryIO", file)
        else:
            with compr[compression](file, mode="wb") as compressed:
                yield compressed
