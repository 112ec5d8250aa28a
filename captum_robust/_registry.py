"""Makes the public names available in Captum's own namespaces, and takes them back."""

from __future__ import annotations

import importlib
from typing import Final

_NAMESPACES: Final = ("attr", "metrics", "robust")
_added: dict[str, list[str]] = {}


def register() -> None:
    """Makes this library's classes and functions available as ``captum.attr.X`` and so on.

    Names of ``captum_robust.attr``, ``.metrics`` and ``.robust`` appear in the Captum namespace of
    the same name. A name that Captum has is never overwritten; calling twice changes nothing.

    Example:
        >>> import captum.attr, captum_robust
        >>> captum_robust.register()
        >>> captum.attr.UniformSmoothing is captum_robust.attr.UniformSmoothing
        True
        >>> captum_robust.unregister()
        >>> hasattr(captum.attr, "UniformSmoothing")
        False
    """
    for namespace in _NAMESPACES:
        ours = importlib.import_module(f"captum_robust.{namespace}")
        captums = importlib.import_module(f"captum.{namespace}")
        added = _added.setdefault(namespace, [])
        for name in ours.__all__:
            if not hasattr(captums, name):
                setattr(captums, name, getattr(ours, name))
                captums.__all__.append(name)
                added.append(name)


def unregister() -> None:
    """Undoes :func:`register`; a name that was given another meaning since then keeps it.

    Example:
        >>> import captum.attr, captum_robust
        >>> captum_robust.register()
        >>> captum_robust.unregister()
        >>> hasattr(captum.attr, "UniformSmoothing")
        False
    """
    while _added:
        namespace, names = _added.popitem()
        ours = importlib.import_module(f"captum_robust.{namespace}")
        captums = importlib.import_module(f"captum.{namespace}")
        for name in names:
            if getattr(captums, name, None) is getattr(ours, name):
                delattr(captums, name)
            if name in captums.__all__:
                captums.__all__.remove(name)
