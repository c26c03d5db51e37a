"""Annotation in several processes."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import lru_cache, partial

from sru_data.annotation import Annotated, Annotator, annotator_of
from sru_data.processes import map_in_processes


def annotate_batches(
    annotator: Annotator, batches: Iterable[Sequence[str]], *, processes: int
) -> Generator[list[Annotated], None, None]:
    """Yield the annotations of batches of texts, in order; a few batches are read ahead.

    The worker processes end with this one, however it ends. A script that calls this for several processes
    must do so below `if __name__ == "__main__":`, since each of them imports the script.

    Args:
        annotator: The annotator.
        batches: The texts.
        processes: The number of processes that annotate in parallel; 1 uses only this one.

    Raises:
        DataError: A process was killed or could not start.
    """
    if processes == 1:
        for batch in batches:
            yield list(annotator.annotate(batch))
        return
    annotate = partial(_annotate, dict(annotator.description))
    yield from map_in_processes(annotate, batches, processes=processes, doing="annotation")


def _annotate(description: Mapping[str, str], texts: Sequence[str]) -> list[Annotated]:
    return list(_annotator(tuple(description.items())).annotate(texts))


@lru_cache(maxsize=1)
def _annotator(description: tuple[tuple[str, str], ...]) -> Annotator:
    return annotator_of(dict(description))
