"""Rows with named columns: CSV, TSV, JSON lines, lines of text, folders of texts, Parquet."""

from sru_data.tables.opening import Kind, kind_by_name, open_table
from sru_data.tables.table import MAX_FIELD_BYTES, Row, Table
from sru_data.tables.texts import ColumnText

__all__ = ["MAX_FIELD_BYTES", "ColumnText", "Kind", "Row", "Table", "kind_by_name", "open_table"]
