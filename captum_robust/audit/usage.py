"""What a person can mend: one line, exit code 2."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence


class UsageError(Exception):
    """A wrong argument or a missing extra; the message says what, and how to mend it."""


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
