"""Objects that print as the call that makes them."""

from __future__ import annotations

from inspect import signature
from typing import Any

from torch import Tensor


class Printed:
    """Prints the settings that the constructor took and the object kept under their names."""

    def __repr__(self) -> str:
        names = [name for name in signature(type(self)).parameters if hasattr(self, name)]
        settings = ", ".join(f"{name}={described(getattr(self, name))}" for name in names)
        return f"{type(self).__name__}({settings})"


def described(value: Any) -> str:
    """A short form of a setting: tensors as their shape, functions by their name."""
    if isinstance(value, Tensor):
        return f"Tensor{tuple(value.shape)}"
    if isinstance(value, tuple):
        inner = ", ".join(map(described, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    plain = type(value).__repr__ is object.__repr__
    if plain or callable(value):
        return str(getattr(value, "__name__", type(value).__name__))
    return repr(value)
