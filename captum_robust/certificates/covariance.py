"""Confidence for vectors of bounded norm, from the spread between pairs of samples.

With :math:`\\|G\\| \\le M` at every input, :math:`L = 2M^2` bounds :math:`\\|G-G'\\|^2/2`; for maps
without negative elements :math:`L = M^2`, since then :math:`G\\cdot G' \\ge 0`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from captum_robust.certificates.confidence import kl_upper

Array = NDArray[np.float64]


def pair_limit(norm: float, nonnegative: bool) -> float:
    r"""The largest value L of :math:`\|G-G'\|^2/2` over maps of norm at most ``norm``."""
    return (1.0 if nonnegative else 2.0) * norm**2


def mean_upper(average: float, limit: float, samples: int, alpha: float) -> float:
    r"""Upper bound on the mean of a variable in [0, ``limit``], from an average.

    .. math:: L \sup\{q : \mathrm{kl}(a/L \,\|\, q) \le \tfrac1P \ln\tfrac1\alpha\}

    One side of :func:`~captum_robust.certificates.kl_chernoff`.

    Args:
        average: of ``samples`` independent values.
        limit: L > 0.
        samples: their number P.
        alpha: probability of failure.

    Example:
        >>> round(mean_upper(0.0, limit=2.0, samples=1000, alpha=0.05), 5)
        0.00598
    """
    share = min(max(average / limit, 0.0), 1.0)
    return limit * float(kl_upper(share, math.log(1.0 / alpha) / samples))


def mean_lower(average: float, low: float, high: float, samples: int, alpha: float) -> float:
    """Lower bound on the mean of a variable in [``low``, ``high``], from an average.

    Example:
        >>> mean_lower(1.0, low=-1.0, high=1.0, samples=1000, alpha=0.05) > 0.99
        True
    """
    return high - mean_upper(high - average, high - low, samples, alpha)


def trace_upper(
    average: float, pairs: int, alpha: float, norm: float, nonnegative: bool = False
) -> float:
    r"""Upper bound on :math:`\mathrm{tr}\,\mathrm{Cov}\,G`.

    Proof (ours): :math:`E\|G-G'\|^2/2 = \mathrm{tr}\,\mathrm{Cov}\,G`; the values lie in [0, L].

    Args:
        average: of :math:`\|G-G'\|^2/2` over ``pairs`` disjoint pairs of samples.
        pairs: P.
        alpha: probability of failure.
        norm: M.
        nonnegative: whether maps have no negative element.

    Example:
        >>> round(trace_upper(0.25, pairs=1000, alpha=0.05, norm=1.0), 4)
        0.3042
    """
    return mean_upper(average, pair_limit(norm, nonnegative), pairs, alpha)


def top_eigenvalue_upper(
    sample_eigenvalue: float,
    pairs: int,
    alpha: float,
    norm: float,
    nonnegative: bool = False,
    second_moment: float = math.inf,
) -> float:
    r"""Upper bound on :math:`\lambda_{\max}(\mathrm{Cov}\,G)`, whatever the number of features.

    Proof (ours): let w be the unit top eigenvector of the covariance. The values
    :math:`x = (w\cdot(G-G'))^2/2` lie in [0, L] and have mean :math:`\lambda_{\max}`; their average
    is the quadratic form at w of the average of :math:`(G-G')(G-G')^T/2`, so at most its own top
    eigenvalue. w is fixed, hence no union over directions and no dimension. By Chernoff's bound the
    average :math:`a` falls short of the mean by so much that the probability is :math:`\alpha` at
    most; on that one event both :func:`mean_upper` and, since :math:`x \ge 0` and
    :math:`E e^{-sx} \le 1 - s\lambda + s^2 E x^2/2`, also

    .. math:: \lambda \le a + \sqrt{2\, E x^2 \ln(1/\alpha)/P}

    hold, and the smaller is returned.

    Args:
        sample_eigenvalue: top eigenvalue of the average of :math:`(G-G')(G-G')^T/2` over ``pairs``
            disjoint pairs; must not be under-estimated (power iteration does).
        pairs: P.
        alpha: probability of failure.
        norm: M.
        nonnegative: whether maps have no negative element.
        second_moment: bound on :math:`E x^2`, of :func:`second_moment_upper`.

    Example:
        >>> round(top_eigenvalue_upper(0.01, pairs=4096, alpha=0.02, norm=1.0), 4)
        0.0175
    """
    limit = pair_limit(norm, nonnegative)
    by_range = mean_upper(sample_eigenvalue, limit, pairs, alpha)
    by_moment = sample_eigenvalue + math.sqrt(2.0 * second_moment * math.log(1.0 / alpha) / pairs)
    return min(by_range, by_moment)


def second_moment_upper(
    sample_fourth: float, pairs: int, alpha: float, norm: float, nonnegative: bool = False
) -> float:
    r"""Upper bound on :math:`E (w\cdot(G-G'))^4/4` at the covariance's top eigenvector w.

    Proof (ours): :math:`(w\cdot D)^4 = \langle ww^T, DD^T\rangle^2`, so the average over pairs at
    w is at most the largest over all unit matrices in place of :math:`ww^T`: the top eigenvalue
    of the pairs' Gram matrix of :math:`DD^T/2`; its entries are the squares of :math:`D_p\cdot
    D_q/2`. The values lie in :math:`[0, L^2]`, and w is fixed.

    Args:
        sample_fourth: top eigenvalue of the matrix :math:`(D_p\cdot D_q)^2/(4P)`; must not be
            under-estimated.
        pairs: P.
        alpha: probability of failure.
        norm: M.
        nonnegative: whether maps have no negative element.

    Example:
        >>> round(second_moment_upper(0.0005, pairs=4096, alpha=0.005, norm=1.0), 4)
        0.007
    """
    return mean_upper(sample_fourth, pair_limit(norm, nonnegative) ** 2, pairs, alpha)


def sample_top_eigenvalue(gram: Array, pairs: int) -> float:
    r"""Top eigenvalue of the average of :math:`(G-G')(G-G')^T/2` from the pairs' Gram matrix.

    The P x P matrix of inner products of differences has the same nonzero spectrum as the m x m
    matrix. LAPACK's symmetric solver is backward stable: what it can under-estimate, some
    :math:`P\,u\,\|\cdot\|`, is added.

    Args:
        gram: :math:`(G_p-G'_p)\cdot(G_q-G'_q)`, ``(P, P)`` float64.
        pairs: P.

    Example:
        >>> round(sample_top_eigenvalue(np.eye(4) * 2.0, pairs=4), 9)
        0.25
    """
    top = linalg.eigvalsh(gram, subset_by_index=[len(gram) - 1, len(gram) - 1])[0]
    return float(top) * (1.0 + 1e-12 * len(gram)) / (2.0 * pairs)


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
        >>> bousquet_radius(0.9, 0.02, samples=8192, alpha=0.025, norm=1.0) < 0.02
        True
    """
    spread = (math.sqrt(2.0) if nonnegative else 2.0) * norm
    mean = math.sqrt(trace / samples)
    level = math.log(1.0 / alpha) / samples
    deviation = math.sqrt(2.0 * (eigenvalue + 2.0 * spread * mean) * level)
    return (mean + deviation + spread * level / 3.0) * (1.0 + 1e-12)


def hcr_shift(shift: Array | float, eigenvalue: Array | float) -> Array:
    r"""How far the mean of a map moves when Gaussian noise shifts, from its covariance.

    .. math:: \|h(x+\delta) - h(x)\| \le \sqrt{\lambda_{\max}(\mathrm{Cov}\,G)}\,
              \sqrt{e^{t^2} - 1},\quad t = \|\delta\|/\sigma

    Proof (ours; Hammersley, 1950, and Chapman and Robbins, 1951, read backwards): for a unit w and
    the likelihood ratio :math:`\Lambda` of the shifted noise,
    :math:`w\cdot(h(x+\delta)-h(x)) = E[(w\cdot G - w\cdot h)(\Lambda - 1)]`, and Cauchy and Schwarz
    with :math:`E(\Lambda-1)^2 = e^{t^2} - 1` give the claim. The covariance is that at x alone.

    Args:
        shift: t, >= 0.
        eigenvalue: bound on :math:`\lambda_{\max}`; infinity where none is known.

    Example:
        >>> float(hcr_shift(0.5, 0.01).round(4))
        0.0533
    """
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.sqrt(eigenvalue) * np.sqrt(np.expm1(np.asarray(shift, float) ** 2))
    return np.where(np.isfinite(eigenvalue), moved, np.inf)


def inverse_hcr_shift(distance: Array | float, eigenvalue: Array | float) -> Array:
    """The shift at which :func:`hcr_shift` reaches ``distance``."""
    distance = np.clip(np.asarray(distance, float), 0.0, None)
    with np.errstate(divide="ignore"):
        return np.sqrt(np.log1p(distance**2 / eigenvalue))
