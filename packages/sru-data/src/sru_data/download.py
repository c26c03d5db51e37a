"""The local data folder, the download cache, and downloads into it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from sru_data.errors import DataError, shortened

DATA_DIR_VARIABLE = "SRU_DATA"
_LONGEST_REASON = 240


def resolve_data_dir(data_dir: str | Path | None = None) -> Path | None:
    """Return the local data folder: the argument, else `$SRU_DATA`, else None.

    Args:
        data_dir: A folder that takes precedence over the environment variable.

    Raises:
        DataError: The folder does not exist.
    """
    named_by = "data_dir" if data_dir is not None else f"the environment variable {DATA_DIR_VARIABLE}"
    chosen = data_dir if data_dir is not None else os.environ.get(DATA_DIR_VARIABLE)
    if not chosen:
        return None
    folder = Path(chosen).expanduser()
    if not folder.is_dir():
        raise DataError.at(
            folder, None, f"expected the data folder that {named_by} names, got no such folder"
        )
    return folder


def cache_dir() -> Path:
    """Return the folder for downloaded files, following the conventions of the operating system."""
    import pooch  # type: ignore[import-untyped]  # imports requests: 0.1 s that local data does not need

    return Path(pooch.os_cache("sru-data"))


def download(
    relative: str,
    *,
    url: str,
    sha256: str | None,
    md5: str | None = None,
    git_blob: str | None = None,
) -> Path:
    """Return the path of a file in the cache, downloading it if it is not there yet.

    The file appears only once it is complete and, if a checksum is known, verified.

    Args:
        relative: The file's path relative to the cache.
        url: Where to download it from.
        sha256: Its checksum, or None if unknown.
        md5: Its MD5 checksum, used when no SHA-256 is known.
        git_blob: Its git blob hash, used when no other checksum is known.

    Raises:
        DataError: The download failed.
    """
    import pooch

    target = cache_dir() / relative
    known_hash = f"sha256:{sha256}" if sha256 else f"md5:{md5}" if md5 else None
    # Some servers refuse the default user agent of the HTTP library.
    over_http = pooch.HTTPDownloader(headers={"User-Agent": "Mozilla/5.0 (compatible; sru-data)"})

    def downloader(url: str, output_file: Any, *args: Any) -> None:
        over_http(url, output_file, *args)
        if known_hash is None and git_blob not in (None, found := _git_blob(Path(output_file))):
            raise ValueError(f"expected the git blob {git_blob}, got {found}")

    try:
        pooch.retrieve(
            url, known_hash=known_hash, fname=target.name, path=target.parent, downloader=downloader
        )
    # Every failure of requests is an OSError; pooch reports a wrong checksum as a ValueError.
    except (OSError, ValueError) as error:
        raise DataError(
            f"{url}: cannot download {target.name} ({_reason(error)}); download it by other means and save "
            f"it as {target}, or as {relative} in the folder that data_dir or {DATA_DIR_VARIABLE} names"
        ) from error
    return target


def _reason(error: Exception) -> str:
    """Return why a download failed: the message of the system or the server, without its wrappers."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"{response.status_code} {response.reason}"
    inner: BaseException = error
    while (cause := inner.__cause__ or inner.__context__) is not None:
        inner = cause
    said = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return shortened(said.partition(". Deleted download")[0], _LONGEST_REASON)


def _git_blob(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
