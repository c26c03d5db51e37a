from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from sru_data.tokenizers import CharTokenizer


@dataclass
class FakeSource:
    """A text in blocks of any size."""

    content: Sequence[bytes]
    name: str = "fake"
    skips: list[int] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(b"|".join(self.content)).hexdigest()

    @property
    def size(self) -> int:
        return len(b"".join(self.content))

    def blocks(self, skip: int = 0) -> Iterator[bytes]:
        self.skips.append(skip)
        yield from self.content[skip:]


@dataclass
class FakeCorpus:
    train: FakeSource
    validation: FakeSource
    test: FakeSource | None = None
    name: str = "fake"


@pytest.fixture(scope="session")
def make_corpus() -> Callable[..., FakeCorpus]:
    """Make a corpus whose splits have the given numbers of blocks, each a line of three words."""

    def make(*num_blocks: int) -> FakeCorpus:
        return FakeCorpus(
            *(
                FakeSource([f"block {number} ü\n".encode() for number in range(blocks)])
                for blocks in num_blocks
            )
        )

    return make


@pytest.fixture
def corpus(make_corpus) -> FakeCorpus:
    return make_corpus(30, 3, 1)


@pytest.fixture(scope="session")
def tokenizer() -> CharTokenizer:
    return CharTokenizer.train(["block 0123456789 ü\n"])
