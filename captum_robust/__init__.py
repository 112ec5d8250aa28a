"""Smoothed, certified and audited attributions: a Captum plugin.

Importing this package changes nothing in Captum; :func:`register` makes its names available in
Captum's own namespaces, :func:`unregister` takes them back.
"""

from captum_robust import (
    attr,
    certificates,
    estimates,
    examples,
    losses,
    metrics,
    noise,
    robust,
    transforms,
    visualization,
)
from captum_robust._registry import register, unregister
from captum_robust._version import __version__

__all__ = [
    "__version__",
    "attr",
    "certificates",
    "estimates",
    "examples",
    "losses",
    "metrics",
    "noise",
    "register",
    "robust",
    "transforms",
    "unregister",
    "visualization",
]
