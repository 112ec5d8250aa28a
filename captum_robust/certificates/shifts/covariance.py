"""How far a map can move, from its covariance. Gaussian noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
        >>> from captum_robust.certificates import hcr_shift
        >>> float(hcr_shift(0.5, 0.01).round(4))
        0.0533
    """
    eigenvalue = np.asarray(eigenvalue, float)
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.sqrt(eigenvalue) * np.sqrt(np.expm1(np.asarray(shift, float) ** 2))
    # A map without covariance does not move, whatever the size of the exponential.
    return np.where(eigenvalue == 0.0, 0.0, np.where(np.isfinite(eigenvalue), moved, np.inf))


def inverse_hcr_shift(distance: Array | float, eigenvalue: Array | float) -> Array:
    """The shift at which :func:`hcr_shift` reaches ``distance``; 0 where no eigenvalue is known."""
    distance = np.clip(np.asarray(distance, float), 0.0, None)
    eigenvalue = np.asarray(eigenvalue, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.sqrt(np.log1p(distance**2 / eigenvalue))
    return np.where(eigenvalue == 0.0, np.inf, np.where(np.isfinite(eigenvalue), shift, 0.0))
