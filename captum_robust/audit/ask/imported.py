"""Code of the user's, found by ``module:name``: the one way in which an audit runs any."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
from pathlib import Path
from typing import Any, Final

from captum_robust.audit.ask.usage import OF_USER_CODE, UsageError, first_line

IMPORTED: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # module:name
_BLOCK: Final = 2**20


def import_name(option: str, name: str) -> Any:
    """What ``module:name`` names; the module is looked for where ``python -m`` does.

    Args:
        option: the option that asks for it, for errors.
        name: of the form ``module:name``.

    Raises:
        UsageError: if it cannot be imported.
    """
    module, attribute = name.split(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # as python -m does
    try:
        return getattr(importlib.import_module(module), attribute)
    except OF_USER_CODE as error:
        raise UsageError(f"`{option}` {name!r} cannot be imported: {told(error)}") from None


def code_digest(name: str) -> str | None:
    """SHA-256 of the file of an imported ``module:name``; None where it is no such name.

    Of the module itself: what it imports in its turn is not looked at.
    """
    module = sys.modules.get(name.partition(":")[0]) if IMPORTED.fullmatch(name) else None
    file = getattr(module, "__file__", None)
    return None if file is None else file_digest(Path(file))


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def told(error: BaseException) -> str:
    """The kind of an error and its first line."""
    return f"{type(error).__name__}: {first_line(error)}"
