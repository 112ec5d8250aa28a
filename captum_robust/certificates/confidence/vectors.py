"""Confidence radii of the mean of bounded vectors."""

from __future__ import annotations

import math


def norm_radius(norm: float, samples: int, alpha: float, nonnegative: bool = False) -> float:
    r"""Radius within which a mean of bounded vectors lies of its expectation, in l2 norm.

    .. math:: R = \frac{M}{\sqrt N}\left(1 + \sqrt{2\ln\tfrac1\alpha}\right)

    Proof: :math:`E\|\hat h - h\| \le \sqrt{\mathrm{tr}\,\mathrm{Cov}/N} \le M/\sqrt N` (Jensen);
    exchanging one sample moves :math:`\|\hat h - h\|` by at most :math:`2M/N`, so McDiarmid's
    inequality bounds the excess over the expectation by :math:`M\sqrt{2\ln(1/\alpha)/N}` with
    probability :math:`1-\alpha`. Two maps without negative elements are at most
    :math:`\sqrt2 M` apart, which takes the 2 out of the root.

    Args:
        norm: bound M on the l2 norm of every sample.
        samples: number N of independent samples.
        alpha: probability of failure.
        nonnegative: whether samples have no negative element.

    Example:
        >>> from captum_robust.certificates import norm_radius
        >>> round(norm_radius(1.0, samples=100_000, alpha=0.01), 5)
        0.01276
    """
    spread = 1.0 if nonnegative else 2.0
    return norm / math.sqrt(samples) * (1.0 + math.sqrt(spread * math.log(1.0 / alpha)))
