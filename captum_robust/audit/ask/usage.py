"""What stops an audit, each with its exit code."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """What the command answers to the shell; where two fit, the first of 3 and 4."""

    DONE = 0
    FAILED = 1  # stopped by the machine: disk, device, another process; what was finished is kept
    USAGE = 2  # a wrong argument, or one that does not fit the model or the data
    CONTRADICTED = 3  # an attack contradicts a certificate
    INCOMPLETE = 4  # examples were skipped; the report names them
    CHANGED = 5  # of `verify`: a report, a record or a certificate is not as it was made
    INTERRUPTED = 130  # what shells expect after Ctrl-C


# What code of the user's may end with, models above all; ``sys.exit`` included.
OF_USER_CODE: Final = (Exception, SystemExit)


class Stop(BaseException):
    """What ends a part of the audit; no ``except Exception`` in the user's code can swallow it."""


class UsageError(Stop):
    """A wrong argument or a missing extra; the message says what, and how to mend it."""


class AuditFailure(Stop):
    """What no argument can mend, such as a full disk; what was finished is kept."""


class Skipped(Stop):
    """An example, or one method on it, that cannot be done; the audit goes on without it.

    Args:
        reason: in words.
        retry: whether the same command may succeed later.
    """

    def __init__(self, reason: str, retry: bool = False) -> None:
        super().__init__(reason)
        self.retry = retry


def require(modules: Sequence[str]) -> None:
    """Raises where an optional module that the audit needs is not installed.

    Raises:
        UsageError: naming the modules and the command that installs them.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the audit needs {' and '.join(missing)}, not installed here; "
            'run: pip install "captum-robust[audit]"'
        )


def printable(text: str) -> str:
    r"""The text without line ends, control or direction characters, and without lone surrogates.

    Example:
        >>> from captum_robust.audit.ask.usage import printable
        >>> print(printable("a" + chr(10) + chr(0x202E) + "b"))
        a\n\u202eb
    """
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind where it has none, as a sentence."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code})."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    return line if line.endswith(".") else line + "."
