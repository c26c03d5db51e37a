"""Where data files lie: in a local folder, or at their canonical home on the network."""

from __future__ import annotations

import os
from pathlib import Path

from sru_data.errors import DataError

DATA_DIR_VARIABLE = "SRU_DATA"


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
    """Return the folder that keeps downloaded files, by the conventions of the operating system."""
    import pooch  # type: ignore[import-untyped]  # brings requests: 0.1 s that local data does not need

    return Path(pooch.os_cache("sru-data"))


def locate(relative: str, *, url: str, sha256: str | None, data_dir: str | Path | None = None) -> Path:
    """Return the path of a data file, downloading it only when no local data folder is given.

    A download is kept in `cache_dir()` and reused; it appears there only when it is complete and, where a
    checksum is known, correct.

    Args:
        relative: The file's path below the data folder and below the cache, such as `classification/x.all`.
        url: Where the file can be downloaded.
        sha256: The file's checksum, or None when it is not known. Local files are not checked against it.
        data_dir: The local data folder; `$SRU_DATA` when None.

    Raises:
        DataError: The local folder lacks the file, or the download failed.
    """
    folder = resolve_data_dir(data_dir)
    if folder is None:
        return download(relative, url=url, sha256=sha256)
    path = folder / relative
    if not path.is_file():
        raise DataError.at(
            path,
            None,
            f"expected this file in the data folder, got no such file; put {url} there, "
            f"or leave data_dir and {DATA_DIR_VARIABLE} unset to download it",
        )
    return path


def download(relative: str, *, url: str, sha256: str | None, md5: str | None = None) -> Path:
    """Return the path of a file in the cache, downloading it when it is not there.

    It appears there only when it is complete and, where a checksum is known, correct.

    Args:
        relative: The file's path below the cache.
        url: Where the file can be downloaded.
        sha256: The file's checksum, or None when it is not known.
        md5: A checksum where no SHA-256 is known.

    Raises:
        DataError: The download failed.
    """
    import pooch

    target = cache_dir() / relative
    known_hash = f"sha256:{sha256}" if sha256 else f"md5:{md5}" if md5 else None
    # Some homes refuse the name that the HTTP library gives itself.
    downloader = pooch.HTTPDownloader(headers={"User-Agent": "Mozilla/5.0 (compatible; sru-data)"})
    try:
        pooch.retrieve(
            url, known_hash=known_hash, fname=target.name, path=target.parent, downloader=downloader
        )
    # Every failure of requests is an OSError; pooch reports a wrong checksum as a ValueError.
    except (OSError, ValueError) as error:
        raise DataError(
            f"{url}: cannot download {target.name} ({error}); "
            f"fetch it by other means and save it as {target}, "
            f"or as {relative} in the folder that data_dir or {DATA_DIR_VARIABLE} names"
        ) from error
    return target
