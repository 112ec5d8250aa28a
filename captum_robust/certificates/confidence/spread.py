r"""Confidence for vectors of bounded norm, from the spread between pairs of samples.

With :math:`\|G\| \le M` at every input, :math:`L = 2M^2` bounds :math:`\|G-G'\|^2/2`; for maps
without negative elements :math:`L = M^2`, since then :math:`G\cdot G' \ge 0`.
"""

from __future__ import annotations

import math

import scipy
from scipy import linalg

from captum_robust.certificates.budget import stake_shares
from captum_robust.certificates.confidence.elementwise.kl_chernoff import kl_upper
from captum_robust.certificates.shifts.covariance import Array


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
        >>> from captum_robust.certificates.confidence.spread import mean_upper
        >>> round(mean_upper(0.0, limit=2.0, samples=1000, alpha=0.05), 5)
        0.00598
    """
    share = min(max(average / limit, 0.0), 1.0)
    return limit * float(kl_upper(share, math.log(1.0 / alpha) / samples))


def mean_lower(average: float, low: float, high: float, samples: int, alpha: float) -> float:
    """Lower bound on the mean of a variable in [``low``, ``high``], from an average.

    Example:
        >>> from captum_robust.certificates.confidence.spread import mean_lower
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
        >>> from captum_robust.certificates import trace_upper
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
    sample_fourth: float | None = None,
) -> float:
    r"""Upper bound on :math:`\lambda_{\max}(\mathrm{Cov}\,G)`, whatever the number of features.

    Proof (ours): let w be the unit top eigenvector of the covariance. The values
    :math:`x_p = (w\cdot D_p)^2/2`, :math:`D_p = G_p - G'_p`, lie in [0, L] and have mean
    :math:`\lambda_{\max}`; their average is the quadratic form at w of the average of
    :math:`DD^T/2`, so at most a, its own top eigenvalue. w is fixed, hence no union over directions
    and no dimension: :math:`\lambda_{\max}` is at most :func:`mean_upper` of a.

    With ``sample_fourth`` b, it is bounded by a bet instead. Let L = 1 and
    :math:`\mu = \lambda_{\max}`. For a stake 0 < s < 1 the product of
    :math:`1 + s(\mu - x_p) > 0` has mean one, so by Markov its logarithm exceeds
    :math:`\ln(1/\alpha)` with probability :math:`\alpha` at most. Since
    :math:`\ln(1-z) \ge -z - \kappa_s z^2` on [0, s], with
    :math:`\kappa_s = (-\ln(1-s) - s)/s^2`, and since the average of :math:`x_p^2` at w is at most
    b (:math:`x_p = \langle ww^T, D_pD_p^T\rangle/2`, and b is the largest average over all unit
    matrices in place of :math:`ww^T`),

    .. math:: \ln(1+s\mu) - \frac{sa}{1+s\mu} - \frac{\kappa_s s^2 b}{(1+s\mu)^2}
              \le \frac1P \ln\frac1\alpha,

    whose left side grows with :math:`\mu`. Two stakes share the bet, the products being averaged
    with weights :math:`\pi` that add :math:`\ln(1/\pi)` to the right side.

    Args:
        sample_eigenvalue: a, top eigenvalue of the average of :math:`DD^T/2` over ``pairs``
            disjoint pairs; must not be under-estimated (power iteration does).
        pairs: P.
        alpha: probability of failure.
        norm: M.
        nonnegative: whether maps have no negative element.
        sample_fourth: b, top eigenvalue of the P x P matrix of :math:`(D_p\cdot D_q)^2/(4P)`, the
            Gram matrix of the :math:`D_pD_p^T/2`; must not be under-estimated either. Where there
            are fewer features than pairs, the top eigenvalue of the average of
            :math:`\|D\|^2DD^T/4` serves as well (ours): :math:`x_p \le \|D_p\|^2/2`, so
            :math:`x_p^2 \le \|D_p\|^2(w\cdot D_p)^2/4`, whose average is its quadratic form at w.

    Example:
        >>> from captum_robust.certificates import top_eigenvalue_upper
        >>> round(top_eigenvalue_upper(0.01, pairs=4096, alpha=0.02, norm=1.0), 4)
        0.0175
        >>> bet = top_eigenvalue_upper(0.01, 4096, alpha=0.02, norm=1.0, sample_fourth=0.0005)
        >>> round(bet, 4)
        0.0128
    """
    limit = pair_limit(norm, nonnegative)
    if sample_fourth is None:
        return mean_upper(sample_eigenvalue, limit, pairs, alpha)
    mean, square = sample_eigenvalue / limit, sample_fourth / limit**2
    return limit * min(
        _largest_mean(stake, mean, square, math.log(1.0 / share) / pairs)
        for stake, share in stake_shares(alpha)
    )


def _largest_mean(stake: float, mean: float, square: float, level: float) -> float:
    """The largest mean in [0, 1] against which a bet may have won no more than ``level`` a pair."""
    curvature = -math.log1p(-stake) - stake

    def won(tried: float) -> float:
        odds = 1.0 + stake * tried
        return math.log(odds) - stake * mean / odds - curvature * square / odds**2 - level

    if won(1.0) <= 0.0:
        return 1.0
    return float(scipy.optimize.brentq(won, 0.0, 1.0, xtol=1e-15)) * (1.0 + 1e-9) + 1e-14


def sample_top_eigenvalue(gram: Array, pairs: int) -> float:
    r"""Top eigenvalue of the average of :math:`(G-G')(G-G')^T/2` from the pairs' Gram matrix.

    The P x P matrix of inner products of differences has the same nonzero spectrum as the m x m
    matrix. LAPACK's symmetric solver is backward stable: what it can under-estimate, some
    :math:`P\,u\,\|\cdot\|`, is added.

    Args:
        gram: :math:`(G_p-G'_p)\cdot(G_q-G'_q)`, ``(P, P)`` float64.
        pairs: P.

    Example:
        >>> import numpy as np
        >>> from captum_robust.certificates.confidence.spread import sample_top_eigenvalue
        >>> round(sample_top_eigenvalue(np.eye(4) * 2.0, pairs=4), 9)
        0.25
    """
    top = linalg.eigvalsh(gram, subset_by_index=[len(gram) - 1, len(gram) - 1])[0]
    return float(top) * (1.0 + 1e-12 * len(gram)) / (2.0 * pairs)
