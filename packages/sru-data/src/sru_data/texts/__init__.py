"""Texts that may be larger than memory: files, compressed or in archives, JSON lines, strings."""

from sru_data.texts.files import MemoryText, TextFile, TextPart
from sru_data.texts.source import Block, TextSource, Unit

__all__ = ["Block", "MemoryText", "TextFile", "TextPart", "TextSource", "Unit"]
