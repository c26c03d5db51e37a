"""Fields as text: values of JSON and Parquet, and columns added to a copy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from sru_data.errors import DataError, shortened
from sru_data.reading import HALF_OF_A_PAIR
from sru_data.tables.table import check_length

_MAX_SHOWN = 60


class FieldReader:
    """Converts the values of one column to text, and requires all of them to have the same type.

    Args:
        column: The name of the column.
        list_separator: The separator of the items of a list; None refuses lists.
    """

    def __init__(self, column: str, list_separator: str | None = None) -> None:
        self._column, self._separator = column, list_separator
        self._type: str | None = None
        self._first = ""

    def read(self, value: Any, file: Path, line: int | None) -> str:
        """Convert a value to text; null and NaN become an empty string.

        Args:
            value: The value.
            file: The file, for messages.
            line: The line or row, for messages.

        Raises:
            DataError: It is not a text, number or boolean (or a list of them, if lists are allowed), has a
                different type from the values before it, or is too long.
        """
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        found = _type_of(value)
        if found != self._type:
            self._change_type(found, value, file, line)
        if found == "a list":
            text = self._joined(value, file, line)
        else:
            text = value if isinstance(value, str) else as_text(value)
        if not text.isascii() and (half := HALF_OF_A_PAIR.search(text)):
            raise DataError.at(
                file,
                line,
                f"expected {self._column!r} to be text, got half of a surrogate pair at character "
                f"{half.start()}",
            )
        return check_length(text, file, line, self._column)

    def _change_type(self, found: str | None, value: Any, file: Path, line: int | None) -> None:
        shown = shortened(repr(value), _MAX_SHOWN)
        if found is None or (found == "a list" and self._separator is None):
            raise DataError.at(file, line, f"expected {self._column!r} to be text or a number, got {shown}")
        if self._type is not None:
            raise DataError.at(
                file,
                line,
                f"expected {self._column!r} to be {self._type} as in {self._first}, got {found}: {shown}; "
                "write all values of a column as the same type",
            )
        self._type, self._first = found, str(file) if line is None else f"{file}:{line}"

    def _joined(self, values: list[Any], file: Path, line: int | None) -> str:
        items = FieldReader(self._column)
        texts = [items.read(value, file, line) for value in values]
        separator = self._separator or ""
        for text in texts:
            if separator in text or not text:
                raise DataError.at(
                    file,
                    line,
                    f"expected items of {self._column!r} that are not empty and do not contain "
                    f"{separator!r}, which separates them, got {shortened(text, _MAX_SHOWN)!r}; choose "
                    "another separator",
                )
        return separator.join(texts)


def _type_of(value: Any) -> str | None:
    match value:
        case str():
            return "text"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case list():
            return "a list"
    return None


def as_text(value: object) -> str:
    """Convert a value to text: None to an empty string, a whole number without a fraction, others to JSON.

    Args:
        value: The value.
    """
    match value:
        case None:
            return ""
        case str():
            return value
        case float() if math.isfinite(value) and value.is_integer():
            return str(int(value))
        case bool() | float() | int():
            return json.dumps(value)
    return json.dumps(value, ensure_ascii=False)
