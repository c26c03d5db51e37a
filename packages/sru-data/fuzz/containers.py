"""The container formats of a text."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

from cases import Case
from hypothesis import strategies as st


def _tar(content: bytes, case: Case) -> tuple[str, bytes, bytes]:
    ending = case.draw(st.sampled_from([".tar", ".tgz", ".tar.gz", ".tar.xz"]))
    buffer = io.BytesIO()
    mode = {".tar": "w", ".tar.xz": "w:xz"}.get(ending, "w:gz")
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        member = tarfile.TarInfo("a.txt")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return f"text{ending}", buffer.getvalue(), content


def _zip(content: bytes, case: Case) -> tuple[str, bytes, bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", content)
    return "text.zip", buffer.getvalue(), content


def _json_lines(content: bytes, case: Case) -> tuple[str, bytes, bytes]:
    texts = content.decode("utf-8", "replace").split("\n")
    lines = "\n".join(json.dumps({"text": text}) for text in texts)
    end = case.draw(st.sampled_from(["", "\n"]), "end")
    return "text.jsonl", (lines + end).encode(), "".join(f"{text}\n" for text in texts).encode()


CONTAINERS = [
    lambda content, case: ("text.txt", content, content),
    lambda content, case: ("text.txt.gz", gzip.compress(content), content),
    lambda content, case: ("text.txt.xz", lzma.compress(content), content),
    lambda content, case: ("text.txt.bz2", bz2.compress(content), content),
    _tar,
    _zip,
    _json_lines,
]
"""Each returns a file name, the file's content, and the text that a reader must extract from it."""
