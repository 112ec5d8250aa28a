"""Radius of the mean of bounded vectors from the spread, by Bousquet's inequality."""

from __future__ import annotations

import math


def bousquet_radius(
    trace: float,
    eigenvalue: float,
    samples: int,
    alpha: float,
    norm: float,
    nonnegative: bool = False,
) -> float:
    r"""Radius within which a mean of bounded vectors lies of its expectation, by their spread.

    .. math:: R = e + \sqrt{\frac{2(\lambda + 2Be)\ln(1/\alpha)}{N}} + \frac{B\ln(1/\alpha)}{3N},
              \quad e = \sqrt{\mathrm{tr}/N}

    with :math:`B = 2M` (:math:`\sqrt2 M` for nonnegative maps). Proof: :math:`\|\hat h - h\|` is
    the supremum over unit w of an average of centred variables :math:`w\cdot(G_i-h) \le B` of
    variance
    at most :math:`\lambda`, its expectation at most e (Jensen), and the bound of Bousquet
    (2002), Theorem 2.3, grows with the expectation.

    Args:
        trace: bound on :math:`\mathrm{tr}\,\mathrm{Cov}\,G`.
        eigenvalue: bound on :math:`\lambda_{\max}(\mathrm{Cov}\,G)`.
        samples: N.
        alpha: probability of failure, beyond that of the two bounds.
        norm: M.
        nonnegative: whether maps have no negative element.

    Example:
        >>> from captum_robust.certificates import bousquet_radius
        >>> bousquet_radius(0.9, 0.02, samples=8192, alpha=0.025, norm=1.0) < 0.02
        True
    """
    spread = (math.sqrt(2.0) if nonnegative else 2.0) * norm
    mean = math.sqrt(trace / samples)
    level = math.log(1.0 / alpha) / samples
    deviation = math.sqrt(2.0 * (eigenvalue + 2.0 * spread * mean) * level)
    return (mean + deviation + spread * level / 3.0) * (1.0 + 1e-12)
