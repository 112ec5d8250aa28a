"""Functional: from how far a map can move to the angle and the cosine."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def cosine_from_sine(sine: ArrayLike, nonnegative: bool = False) -> Array:
    r"""Lower bound on the cosine between a map of norm c and one with :math:`\sin \le A/c`.

    .. math:: \cos \ge \sqrt{1 - (A/c)^2} \text{ if } A < c, \text{ else nothing}

    Proof: among all vectors within :math:`A < c` of the tip of a vector of length :math:`c`, the
    one on the tangent from the origin is at the widest angle, whose sine is :math:`A/c`. For
    :math:`A \ge c` the ball holds the origin. Wang and Kong (2024), Theorem 1, print
    :math:`c/\sqrt{c^2 + A^2}`, the angle to the point at a right angle to c, which is not the
    widest: not a bound (see :func:`published_cosine`).

    Args:
        sine: :math:`A/c`, >= 0.
        nonnegative: whether both maps have no negative elements; their cosine is then >= 0.

    Returns:
        Cosines, rounded down; -1 (0 for nonnegative maps) where nothing is certified.

    Example:
        >>> from captum_robust.certificates import cosine_from_sine
        >>> cosine_from_sine([0.6, 1.0]).round(6)
        array([ 0.8, -1. ])
    """
    sine = np.asarray(sine, float)
    nothing = 0.0 if nonnegative else -1.0
    bound = np.sqrt(np.clip(1.0 - np.minimum(sine, 1.0) ** 2, 0.0, 1.0)) - 1e-12
    return np.where(sine < 1.0, np.maximum(bound, nothing), nothing)


def sine_from_cosine(cosine: ArrayLike) -> Array:
    r"""The sine allowed by a cosine of at least ``cosine`` in [0, 1], rounded down."""
    cosine = np.asarray(cosine, float)
    return np.sqrt(np.clip((1.0 - cosine) * (1.0 + cosine), 0.0, 1.0)) * (1.0 - 1e-12)
