"""One audit a folder: a lock that the operating system takes back when a process ends."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from captum_robust.audit.ask.usage import AuditFailure, UsageError

_NAME: Final = ".lock"
_TAKEN: Final = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextmanager
def locked(folder: Path, say: Callable[[str], object]) -> Iterator[None]:
    """Holds the lock of a folder; a process that is killed loses it, so that none is ever stale.

    Args:
        folder: of the report.
        say: told where the file system has no locks.

    Raises:
        UsageError: if another audit holds it; says which.
        AuditFailure: if the file cannot be written.
    """
    path = folder / _NAME
    try:
        file = _opened(path)
    except OSError as error:
        raise AuditFailure(f"cannot write {str(path)!r} ({error.strerror or error})") from None
    try:
        if file is None:
            say(
                f"the file system of {str(folder)!r} has no locks: make sure that no other audit "
                "writes to it."
            )
        yield
    finally:
        if file is not None:
            path.unlink(missing_ok=True)  # while it is still held
            os.close(file)


def _opened(path: Path) -> int | None:
    """The file, locked; None where the file system has no locks."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(file)
        except OSError as error:
            told = _told(os.read(file, 1000))
            os.close(file)
            if error.errno in _TAKEN:
                raise UsageError(
                    f"`--out` {str(path.parent)!r} is in use by another audit{told}. Wait "
                    "until it ends, or name another folder."
                ) from None
            return None
        if _is_still(path, file):
            os.ftruncate(file, 0)
            os.write(
                file, json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode()
            )
            return file
        os.close(file)  # its last holder has removed it in between


def _is_still(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _told(holder: bytes) -> str:
    try:
        found = json.loads(holder)
        return f", process {int(found['process'])} on {str(found['host'])[:64]!r}"
    except (ValueError, KeyError, TypeError):
        return ""


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        # Far behind the text, which others may read.
        os.lseek(file, 2**20, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(file, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
