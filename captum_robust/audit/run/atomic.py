"""Files that are there in full or not at all, whatever kills the process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from captum_robust.audit.ask.usage import AuditFailure

_PART: Final = ".part"
_UNFINISHED: Final = re.compile(r"\..+\.\d+\.part")


@contextmanager
def placed(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the name of ``path`` once the writing is done.

    Readers see the old file, or none, until the new one is complete and on the disk.

    Raises:
        AuditFailure: if it cannot be written; what was there before is as it was.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            _sync(part)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        _sync(path.parent)
    except OSError as error:
        raise AuditFailure(f"cannot write {str(path)!r} ({error.strerror or error})") from None


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file that is there in full or not at all.

    Raises:
        AuditFailure: if it cannot be written; what was there before is as it was.
    """
    with placed(path) as part:
        part.write_bytes(content)


def sweep(folders: Iterable[Path]) -> None:
    """Removes what killed processes left unfinished in these folders, and nothing of others."""
    for folder in folders:
        for part in folder.glob(f".*{_PART}"):
            if _UNFINISHED.fullmatch(part.name) and part.is_file():
                part.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Brings a file, or the names in a folder, to the disk, so that they outlive a power cut."""
    if path.is_dir() and os.name != "posix":
        return  # where folders cannot be opened
    opened = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
