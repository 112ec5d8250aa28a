"""What a certificate computed once and keeps, within bounds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Final, TypeVar

import numpy as np

Value = TypeVar("Value")

LIMIT: Final = 2**26  # bytes of arrays kept


class Remembered:
    """Values by key, at most ``limit`` bytes of arrays; those asked longest ago go first.

    Threads may compute the same value twice, never see a half-made one. Copies and pickles of a
    certificate start empty.

    Example:
        >>> import numpy as np
        >>> from captum_robust.certificates.remembered import Remembered
        >>> kept = Remembered()
        >>> kept.get("key", lambda: np.zeros(3)) is kept.get("key", lambda: np.ones(3))
        True
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Remembered, (self._limit,)

    def get(self, key: Hashable, build: Callable[[], Value]) -> Value:
        """The value of a key, built where it is not there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
        value = build()
        self._keep(key, value)
        return value

    def _keep(self, key: Hashable, value: Any) -> None:
        size = _size(value)
        with self._lock:
            if size > self._limit or key in self._values:
                return
            self._values[key] = value, size
            self._bytes += size
            while self._bytes > self._limit:
                _, (_, gone) = self._values.popitem(last=False)
                self._bytes -= gone


def _size(value: Any) -> int:
    """Bytes of the arrays in a value and in its attributes, and a little for the rest."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, list | tuple):
        return 64 + sum(map(_size, value))
    return 64 + sum(_size(part) for part in getattr(value, "__dict__", {}).values())
