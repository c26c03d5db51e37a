"""Archives of `torch.save`, inspected before anything in them is read."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile


def check_archive(path: Path, *, checksums: bool = True) -> None:
    """Reject a file from `torch.save` whose content is damaged, or larger than the file itself.

    torch writes its entries uncompressed, with checksums that it ignores when it reads them.

    Args:
        path: The file.
        checksums: Whether to verify them too, which reads the whole file. `torch.save` may have omitted them.

    Raises:
        ValueError: It is not such a file, an entry is compressed or too large, or a checksum is wrong.
    """
    try:
        with ZipFile(path) as archive:
            size, entries = path.stat().st_size, archive.infolist()
            if any(entry.compress_type != ZIP_STORED for entry in entries):
                raise ValueError("its entries are compressed, which torch.save never does")
            if sum(entry.file_size for entry in entries) > size:
                raise ValueError("its entries are larger than the file")
            spoilt = archive.testzip() if checksums else None
    except (BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"it is not a whole archive of torch.save: {error}") from error
    if spoilt is not None:
        raise ValueError(f"the checksum of {spoilt} is wrong")
