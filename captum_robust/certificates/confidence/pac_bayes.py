"""How far a mean of bounded vectors lies from its expectation, by a PAC-Bayes argument."""

from __future__ import annotations

import math

import numpy as np
import scipy


def pac_bayes_radius(
    trace: float,
    eigenvalue: float,
    samples: int,
    alpha: float,
    norm: float,
    nonnegative: bool = False,
) -> float:
    r"""Radius within which a mean of bounded vectors lies of its expectation, by their spread.

    .. math:: R = \min_{\mu, \beta > 0} \frac{\mu \tau}{2\beta} + \frac{\varphi(b)\,\mu}{2}
              \Bigl(\sqrt\lambda + \frac{\mu B \sqrt\tau}{2\beta}\Bigr)^2
              + \frac{\beta/2 + \ln(1/\alpha)}{N\mu},
              \quad b = \mu B + \frac{\mu^2 B^2}{2\beta}

    with :math:`\varphi(b) = 2(e^b - 1 - b)/b^2` and :math:`B = 2M` (:math:`\sqrt2 M` for
    nonnegative maps): about
    :math:`\sqrt{\tau/N} + \sqrt{2\lambda\ln(1/\alpha)/N}`, where Bousquet's inequality has
    :math:`\lambda + 2B\sqrt{\tau/N}` in the second root.

    Proof (ours, after Catoni and Giulini, 2017): let :math:`X_i = G_i - h`, :math:`\|X_i\| \le B`,
    and :math:`\theta \sim N(w, I/\beta)`, whose divergence from :math:`N(0, I/\beta)` is
    :math:`\beta/2` for every unit w. With probability :math:`1-\alpha`, for all w at once (Donsker
    and Varadhan, then Markov),

    .. math:: N\mu\, w\cdot(\hat h - h) \le N\, E_\theta \ln E e^{\mu\theta\cdot X}
              + \beta/2 + \ln(1/\alpha),

    and the logarithm, being concave, is at most that of :math:`E e^Y`,
    :math:`Y = \mu w\cdot X + \mu^2\|X\|^2/(2\beta) \le b`. Now
    :math:`\ln E e^Y \le EY + \varphi(b) EY^2/2`, since :math:`(e^y-1-y)/y^2` grows; :math:`EY =
    \mu^2\tau/(2\beta)`, and Minkowski's inequality bounds :math:`EY^2` by :math:`\mu^2` times the
    square above. Every :math:`\mu, \beta` fixed beforehand gives a bound, and each grows with
    :math:`\tau` and :math:`\lambda`; so the smallest one at upper bounds of these is no less than
    the one that is best at the truth, which was fixed beforehand. The minimum may be rough.

    Args:
        trace: bound :math:`\tau` on :math:`\mathrm{tr}\,\mathrm{Cov}\,G`.
        eigenvalue: bound on :math:`\lambda_{\max}(\mathrm{Cov}\,G)`.
        samples: N.
        alpha: probability of failure, beyond that of the two bounds.
        norm: M.
        nonnegative: whether maps have no negative element.

    Example:
        >>> from captum_robust.certificates import pac_bayes_radius
        >>> round(pac_bayes_radius(0.9, 0.02, samples=8192, alpha=0.02, norm=1.0), 3)
        0.016
    """
    spread = (math.sqrt(2.0) if nonnegative else 2.0) * norm
    level = math.log(1.0 / alpha)
    trace, eigenvalue = max(trace, 1e-300), max(eigenvalue, 1e-300)

    def radius(logarithms: np.ndarray) -> float:
        mu, beta = np.exp(np.clip(logarithms, -300.0, 300.0))
        pull = mu / (2.0 * beta)
        largest = mu * spread * (1.0 + pull * spread)
        deviation = math.sqrt(eigenvalue) + pull * spread * math.sqrt(trace)
        return float(
            pull * trace
            + _excess(largest) * mu * deviation**2 / 2.0
            + (beta / 2.0 + level) / (samples * mu)
        )

    mu = math.sqrt(2.0 * level / (samples * max(eigenvalue, spread**2 * level / samples)))
    start = np.log([mu, mu * math.sqrt(samples * trace)])
    found = scipy.optimize.minimize(radius, start, method="Nelder-Mead", options={"xatol": 1e-3})
    return min(radius(start), float(found.fun)) * (1.0 + 1e-12)


def _excess(largest: float) -> float:
    r""":math:`2(e^b-1-b)/b^2`, infinite where it overflows."""
    if largest < 1e-3:
        return 1.0 + largest  # its series is 1 + b/3 + ...
    if largest > 500.0:
        return math.inf
    return 2.0 * (math.expm1(largest) - largest) / largest**2
