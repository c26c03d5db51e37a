"""Random tables, well-formed or malformed: CSV, TSV, JSON lines, text and folders."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import tarfile
from pathlib import Path
from typing import Any

from cases import TEXTS, Case, dump_json, hostile_value, mutated_bytes, mutated_tree
from hypothesis import strategies as st

from sru_data import DataError
from sru_data.datasets import classification
from sru_data.tables import open_table
from sru_data.texts import TextSource

FIELD = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [*TEXTS[:-1], '"', '"a', 'a"b', '""', ",", ";", "\t", "a\r\nb", "\n", "\r", "1", "1.0", "x"]
    ),
)
LABEL = st.sampled_from(["spam", "ham", "ham", " ham ", "1", "", "a|b", "a|", "é"])
COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def refuses(error: BaseException) -> bool:
    """Every reader raises only DataError, which names the file."""
    return isinstance(error, DataError) and "/case" in str(error)


def tables(case: Case) -> None:
    """Accepted rows have the requested number of fields, and a copy matches row by row."""
    path = _table(case)
    table = open_table(path)
    columns = [name for name in table.columns if table.columns.count(name) == 1]
    rows = list(table.rows(columns))
    for row in rows:
        assert len(row.values) == len(columns), "wrong number of fields"
        assert not any("\0" in value for value in row.values) or table.kind == "JSON lines", "a NUL byte"
        "".join(row.values).encode()
    out = io.BytesIO()
    names = table.copy_with(out, ({"label": "é,\n", "p": 0.5} for _ in rows), columns=["label", "p"])
    copy = case.write(f"copy{table.output_ending}", out.getvalue())
    if rows or table.kind != "JSON lines":
        again = open_table(copy, delimiter=getattr(table, "delimiter", None))
        assert list(again.rows([*columns, names[1]])) or not rows, "the copy is empty"
        found = [row.values for row in again.rows([*columns, names[1]])]
        expected = [(*row.values, "0.5") for row in rows]
        assert found == expected, f"the copy differs: {found!r:.80} {expected!r:.80}"


def own_files(case: Case) -> None:
    """Accepted tables have every class in training, and every row in exactly one part."""
    path = _table(case)
    separator = case.draw(st.sampled_from([None, None, "|"]), "separator")
    pair = case.draw(st.sampled_from([None, None, "pair"]), "pair")
    fold = case.draw(st.sampled_from([None, 0, 9]), "fold")
    splits = classification.load_files(path, label_separator=separator, pair_column=pair, fold=fold)
    rows = sum(1 for _ in open_table(path).rows([]))
    assert rows == len(splits.train) + len(splits.validation) + len(splits.test), "rows lost or duplicated"
    labels = [example.label for example in splits.train]
    known = {one for label in labels for one in (label if isinstance(label, tuple) else (label,))}
    assert known == set(range(splits.num_classes)), "a class without training rows"


def tar_headers(case: Case) -> None:
    """Tar headers that announce names of up to 7 GB, followed by up to 200 MB of data."""
    kinds = [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK]
    entry = tarfile.TarInfo("././@LongLink")
    entry.type = case.draw(st.sampled_from([*kinds, tarfile.GNUTYPE_SPARSE]), "type")
    entry.size = case.draw(st.sampled_from([0, 1 << 20, 1 << 30, 7 << 30]), "size")
    piece = case.draw(st.sampled_from([b"n", b"1\n", b"30 path=" + b"x" * 21 + b"\n", b"\0"]), "piece")
    bomb = gzip.compress(entry.tobuf(tarfile.GNU_FORMAT))
    bomb += gzip.compress(piece * (1_000_000 // len(piece))) * case.draw(st.sampled_from([1, 200]), "times")
    next(TextSource.from_files([case.write("x.tgz", bomb)]).blocks())


def _table(case: Case) -> Path:
    rows = case.draw(st.lists(st.tuples(FIELD, LABEL, FIELD), max_size=8), "rows")
    rows = rows * case.draw(st.sampled_from([1, 3, 3]), "times")
    kind = case.draw(st.sampled_from(sorted(_KINDS)), "kind")
    content = _KINDS[kind](rows, case)
    match case.draw(st.sampled_from(["as it is", "as it is", "marked", "mutated"]), "ending"):
        case "mutated":
            content = mutated_bytes(content, case.random())
        case "marked":
            content = b"\xef\xbb\xbf" + content
    if kind == "folder":
        for number, (_, label, text) in enumerate(rows):
            name = label.strip().replace("|", "") or "none"
            case.write(f"texts/{name}/{number}.txt", text.encode("utf-8", "surrogatepass"))
        case.write("texts/spam/last", content)
        return case.folder / "texts"
    ending = case.draw(st.sampled_from(sorted(COMPRESS)), "compression")
    return case.write(f"table.{kind}{ending}", COMPRESS[ending](content))


def _csv(rows: list[Any], case: Case) -> bytes:
    text = io.StringIO(newline="")
    quoting = case.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), "quoting")
    writer = csv.writer(text, delimiter=case.draw(st.sampled_from(",;"), "delimiter"), quoting=quoting)
    writer.writerows([("text", "label", "pair"), *rows])
    return text.getvalue().encode("utf-8", "surrogatepass")


def _tsv(rows: list[Any], case: Case) -> bytes:
    lines = ["\t".join(row) for row in [("text", "label", "pair"), *rows]]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _json_lines(rows: list[Any], case: Case) -> bytes:
    records: list[Any] = [dict(zip(("text", "label", "pair"), row, strict=True)) for row in rows]
    if records and case.draw(st.booleans(), "hostile"):
        chance = case.random()
        place = chance.randrange(len(records))
        records[place] = mutated_tree(records[place], chance, hostile_value)
    return case.draw(st.sampled_from([b"\n", b"\r\n", b"\n\n"]), "end").join(map(dump_json, records))


def _text(rows: list[Any], case: Case) -> bytes:
    return "\n".join(row[0] for row in rows).encode("utf-8", "surrogatepass")


_KINDS = {"csv": _csv, "tsv": _tsv, "jsonl": _json_lines, "json": _json_lines, "txt": _text, "folder": _text}
