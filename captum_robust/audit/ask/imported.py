"""Code of the user's, found by ``module:name``: the one way in which an audit runs any."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from captum_robust.audit.ask.usage import OF_USER_CODE, UsageError, first_line


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


def told(error: BaseException) -> str:
    """The kind of an error and its first line."""
    return f"{type(error).__name__}: {first_line(error)}"
