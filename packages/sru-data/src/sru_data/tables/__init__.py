"""Rows with named columns: CSV, TSV, JSON lines, lines of text, folders of texts, Parquet."""

from sru_data.tables.opening import Kind, open_table
from sru_data.tables.table import MAX_FIELD_BYTES, Row, Table

__all__ = ["MAX_FIELD_BYTES", "Kind", "Row", "Table", "open_table"]
