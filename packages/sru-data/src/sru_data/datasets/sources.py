"""Where the files of a data set come from: the local data folder, or else a download.

Each family of data sets has a table `SOURCES` that maps a name to a `Source`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sru_data.download import DATA_DIR_VARIABLE, download, resolve_data_dir
from sru_data.errors import DataError


@dataclass(frozen=True)
class SourceFile:
    """The source of one split of a data set."""

    path: str
    """The path of the download, relative to the data folder or the cache."""
    url: str
    """Where to download it from."""
    sha256: str | None = None
    """Its checksum."""
    md5: str | None = None
    """Its checksum if no SHA-256 is known."""
    git_blob: str | None = None
    """Its git blob hash, if no other checksum is known."""
    places: tuple[str, ...] = ()
    """Possible places in the data folder, the usual one first; by default only `path`.

    A place is a path, a pattern for several files, or, as in `fsspec`, `member::archive`, where the member
    may also be a pattern for several.
    """
    num_files: int = 1
    """The number of files that a pattern in `places` must match."""
    lines: int | None = None
    """The number of lines, if published."""
    encoding: str | None = None
    """The encoding the file must be in; None if files in several encodings are in circulation."""

    def find(self, data_dir: str | Path | None = None) -> tuple[list[Path], str | None]:
        """Find the files in the data folder, or download them if there is none.

        Args:
            data_dir: The data folder; `$SRU_DATA` if None.

        Returns:
            The files in order, and the member or pattern of members if they are archives.

        Raises:
            DataError: The data folder lacks the files or some of them, or the download failed.
        """
        places = [place.rpartition("::") for place in self.places or (self.path,)]
        members = {path: member or None for member, _, path in places}
        folder = resolve_data_dir(data_dir)
        if folder is None:
            downloaded = download(
                self.path, url=self.url, sha256=self.sha256, md5=self.md5, git_blob=self.git_blob
            )
            return [downloaded], members[self.path]
        for pattern, selected in members.items():
            files = sorted(path for path in folder.glob(pattern) if path.is_file())
            if files and selected is None and len(files) != self.num_files:
                raise DataError.at(
                    folder / pattern,
                    None,
                    f"expected {self.num_files} files, got {len(files)}; the data set is incomplete, "
                    "download it again",
                )
            if files:
                return files, selected
        first, *others = members
        alternatives = f" or one of {', '.join(others)} in the data folder" if others else ""
        raise DataError.at(
            folder / first,
            None,
            f"expected this file{alternatives}, got no such file; save {self.url} as {self.path} in the data "
            f"folder, or leave data_dir and {DATA_DIR_VARIABLE} unset to download it",
        )


@dataclass(frozen=True)
class Source:
    """A data set: a file per split, or one file that the reader splits."""

    train: SourceFile
    validation: SourceFile | None = None
    test: SourceFile | None = None
    phrases: SourceFile | None = None
    """An alternative training set: the phrases that the sentences of `train` consist of."""


def locate(relative: str, *, url: str, sha256: str | None, data_dir: str | Path | None = None) -> Path:
    """Return the path of a data file, downloading it only if there is no local data folder.

    Args:
        relative: The file's path relative to the data folder and to the cache, such as
            `classification/x.all`.
        url: Where to download it from.
        sha256: Its checksum, or None if unknown. Local files are not checked against it.
        data_dir: The local data folder; `$SRU_DATA` if None.

    Raises:
        DataError: The local folder lacks the file, or the download failed.
    """
    files, _ = SourceFile(relative, url, sha256).find(data_dir)
    return files[0]
