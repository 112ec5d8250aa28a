"""Functional: features that stay in, or out of, most samples' top whatever the shift."""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from captum_robust.certificates.budget import holm_limits

Array = NDArray[np.float64]
Decisions = NDArray[np.int8]

IMPORTANT: Final = 1
UNIMPORTANT: Final = 0
ABSTAIN: Final = -1


def pixel_decisions(lower: ArrayLike, upper: ArrayLike) -> Decisions:
    r"""Decides each feature from bounds on its probability that hold at the perturbed input.

    ``1`` (important) where :math:`l_j > 1/2`: more than half of the noisy samples mark the feature,
    ``0`` (unimportant) where :math:`u_j < 1/2`, ``-1`` (abstain) between. Anani et al. (2025).

    Args:
        lower, upper: simultaneous bounds on probabilities after the shift, any shape.

    Returns:
        Decisions of the same shape, int8.

    Example:
        >>> from captum_robust.certificates import pixel_decisions
        >>> pixel_decisions([0.6, 0.1, 0.4], [0.9, 0.3, 0.7])
        array([ 1,  0, -1], dtype=int8)
    """
    decisions = np.full(np.shape(lower), ABSTAIN, dtype=np.int8)
    decisions[np.asarray(lower, float) > 0.5] = IMPORTANT
    decisions[np.asarray(upper, float) < 0.5] = UNIMPORTANT
    return decisions


def holm_decisions(means: ArrayLike, samples: int, alpha: float, threshold: float) -> Decisions:
    r"""Decides all features at **one** perturbation size that was fixed before sampling.

    Feature j is important if :math:`H_j: p_j \le \tau` is rejected and unimportant if
    :math:`H'_j: p_j \ge 1 - \tau` is, by Holm's step-down procedure over all 2m hypotheses with
    exact binomial p-values, where :math:`\tau` is the probability from which the shift cannot go
    below 1/2 (:math:`\Phi(\epsilon/\sigma)` for Gaussian noise). The probability of any wrong
    decision is at most alpha. Fischer et al. (2021); Anani et al. (2025) use Bonferroni, which
    decides less. For several sizes take simultaneous bounds and :func:`pixel_decisions`: Holm's
    rejections at different sizes do not hold together.

    Args:
        means: shares of samples that mark each feature, multiples of 1/N, ``(m,)``.
        samples: their number N.
        alpha: probability of any wrong decision.
        threshold: :math:`\tau`, in [1/2, 1].

    Returns:
        Decisions ``(m,)``, int8.

    Example:
        >>> from captum_robust.certificates import holm_decisions
        >>> holm_decisions([1.0, 0.0, 0.5], samples=50, alpha=0.001, threshold=0.75)
        array([ 1,  0, -1], dtype=int8)
    """
    means = np.asarray(means, float)
    counts = np.rint(means * samples)
    high = scipy.stats.binom.sf(counts - 1, samples, threshold)
    low = scipy.stats.binom.cdf(counts, samples, 1.0 - threshold)
    rejected = _holm(np.concatenate([high, low]), alpha).reshape(2, -1)
    decisions = np.full(means.shape, ABSTAIN, dtype=np.int8)
    decisions[rejected[0]] = IMPORTANT
    decisions[rejected[1]] = UNIMPORTANT
    return decisions


def _holm(pvalues: Array, alpha: float) -> NDArray[np.bool_]:
    """Holm's rejections: the i-th smallest p-value against alpha / (n - i), until one fails."""
    order = np.argsort(pvalues, kind="stable")
    limits = holm_limits(alpha, pvalues.size)
    fails = pvalues[order] > limits
    count = int(fails.argmax()) if fails.any() else pvalues.size
    rejected = np.zeros(pvalues.size, dtype=bool)
    rejected[order[:count]] = True
    return rejected
