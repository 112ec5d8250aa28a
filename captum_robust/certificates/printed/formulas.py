"""Formulas as printed, valid or not, to reproduce the page of a paper."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from captum_robust.certificates.functionals.angle import Array
from captum_robust.noise import NoiseLaw


def published_cosine(ratio: ArrayLike) -> Array:
    r"""The printed :math:`1/\sqrt{1 + (\Delta/c)^2}`; **not a bound**.

    Wang and Kong (2024), Theorem 1. Counter-example: d = 3, r = 1, eps = 0.3, M = 1, c = 0.6, where
    a map with cosine 0.6678 exists and 0.8022 is printed.
    """
    return 1.0 / np.sqrt(1.0 + np.asarray(ratio, float) ** 2)


def published_ratio(cosine: ArrayLike) -> Array:
    """Inverse of :func:`published_cosine`, for cosines in (0, 1]."""
    cosine = np.asarray(cosine, float)
    with np.errstate(divide="ignore"):
        return np.sqrt(np.clip(1.0 / cosine**2 - 1.0, 0.0, None))


def published_displacement_shifts(
    means: ArrayLike, lower: ArrayLike, upper: ArrayLike, count: int, law: NoiseLaw, dimension: int
) -> Array:
    r"""As :func:`displacement_shifts`, with rank i paired with 2K - i as printed.

    Levine et al. (2019), Corollary 2. Valid, but rank K is compared with itself, so that full
    overlap can never be certified.

    Example:
        >>> from captum_robust.certificates.printed.formulas import published_displacement_shifts
        >>> from captum_robust.noise import GaussianNoise
        >>> h = [0.95, 0.9, 0.1, 0.05]
        >>> published_displacement_shifts(h, h, h, 2, GaussianNoise(), 4).round(3)
        array([ -inf, 1.463])
    """
    order = np.argsort(-np.asarray(means, float), kind="stable")
    leaving = np.asarray(lower, float)[order][:count][::-1]
    entering = np.asarray(upper, float)[order][count - 1 : 2 * count - 1]
    exchanges = min(leaving.size, entering.size)
    return law.separation(leaving[:exchanges], entering[:exchanges], dimension)
