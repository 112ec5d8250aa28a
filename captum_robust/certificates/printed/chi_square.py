"""The norm of a mean of maps as a quadratic form of normal variables, and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from captum_robust._base.checks import check_count, check_number

Array = NDArray[np.float64]

_TOLERANCE: Final = 1e-9  # of a probability
_NODES: Final = 2**14  # beyond so many the sum gives way to quadrature
_ELEMENTS: Final = 2**21  # of the characteristic function computed at once


class QuadraticForm:
    r"""The distribution of :math:`Q = \sum_j (\mu_j + s_j Z_j)^2`, a generalised chi-square.

    Its weights are :math:`s_j^2`, its non-centralities :math:`\mu_j^2/s_j^2`. The distribution
    function is Imhof's (1961) integral over the characteristic function :math:`\phi` of the
    standardised variable,

    .. math:: F(y) = \frac12 - \frac1\pi \int_0^\infty \frac{\mathrm{Im}(\phi(t)e^{-ity})}t\,dt,

    summed at the midpoints :math:`(k + \frac12)h` as Davies (1973) does. Both errors are bounded:
    the step's by two tails of Q beyond :math:`2\pi/h` (Birgé, 2001, Lemma 8.1), the cut's by
    :math:`|\phi|`, which falls at least as :math:`t^{-p}` beyond the last node with the exponent p
    it has there. Where a few variances dominate, :math:`\phi` falls too slowly and the integral is
    left to QUADPACK's Fourier routine. Equal variances have a closed form.

    Args:
        means: :math:`\mu`, ``(m,)``.
        variances: :math:`s^2`, ``(m,)``, >= 0, not all 0.

    Example:
        >>> from captum_robust.certificates import QuadraticForm
        >>> form = QuadraticForm([1.0, 0.0, 2.0], [0.5, 1.0, 2.0])
        >>> round(float(form.cdf(8.5)), 6)
        0.606785
    """

    def __init__(self, means: ArrayLike, variances: ArrayLike) -> None:
        means, variances = np.broadcast_arrays(
            np.asarray(means, float).ravel(), np.asarray(variances, float).ravel()
        )
        if not ((variances >= 0.0).all() and variances.any() and np.isfinite(variances).all()):
            raise ValueError("`variances` must be finite, >= 0 and not all 0.")
        fixed = variances == 0.0
        self._offset = float((means[fixed] ** 2).sum())
        weights, squares = variances[~fixed], means[~fixed] ** 2
        self.mean = float(self._offset + (weights + squares).sum())
        self.stdev = math.sqrt(float((2.0 * weights**2 + 4.0 * weights * squares).sum()))
        self._degrees = weights.size
        self._scale = float(weights[0]) if (weights == weights[0]).all() else None
        self._noncentrality = float((squares / weights[0]).sum())
        self._weights = weights / self.stdev
        self._squares = squares / self.stdev
        self._nodes: tuple[float, Array, Array] | None = None

    def cdf(self, value: ArrayLike) -> Array:
        """P(Q <= value), within 1e-9 (1e-6 where left to quadrature), any shape."""
        value = np.asarray(value, float)
        if self._scale is not None:
            return scipy.stats.ncx2.cdf(
                np.maximum(value - self._offset, 0.0) / self._scale,
                self._degrees,
                self._noncentrality,
            )
        flat = ((value - self.mean) / self.stdev).ravel()
        step, real, imaginary = self._nodes or self._evaluate()
        if real.size:
            found = np.array([self._midpoint_sum(y, step, real, imaginary) for y in flat])
        else:
            found = np.array([self._quadrature(y) for y in flat])
        reach = self._reach()  # beyond it the tail is below the tolerance
        found = np.where(flat > reach, 1.0, np.where(flat < -reach, 0.0, found))
        found = np.where(value.ravel() <= self._offset, 0.0, found)
        return np.clip(found, 0.0, 1.0).reshape(value.shape)

    def quantile(self, probability: float) -> float:
        """The value below which Q lies with a probability in (0, 1)."""
        level = check_number(
            "probability", probability, low=0, high=1, open_low=True, open_high=True
        )
        reach = self._reach() * self.stdev
        low, high = max(self._offset, self.mean - reach), self.mean + reach
        return float(
            scipy.optimize.brentq(
                lambda q: float(self.cdf(q)) - level, low, high, xtol=1e-14 * high
            )
        )

    def _reach(self) -> float:
        """Standard deviations beyond which either tail is below the tolerance (Birgé, 2001)."""
        level = math.log(2.0 / _TOLERANCE)
        return math.sqrt(2.0 * level) + 2.0 * float(self._weights.max()) * level

    def _characteristic(self, times: Array) -> tuple[Array, Array]:
        """Logarithm of the modulus and argument of phi at times ``(k,)``."""
        modulus, argument = np.zeros(times.size), np.zeros(times.size)
        block = max(1, _ELEMENTS // times.size)
        for start in range(0, self._degrees, block):
            weights = self._weights[start : start + block]
            angle = 2.0 * np.outer(times, weights)
            damped = self._squares[start : start + block] / (1.0 + angle**2)
            modulus -= 0.25 * np.log1p(angle**2).sum(1) + times * (angle * damped).sum(1)
            argument += 0.5 * (np.arctan(angle) - angle).sum(1)
            argument -= times * (angle**2 * damped).sum(1)
        return modulus, argument

    def _evaluate(self) -> tuple[float, Array, Array]:
        """The step, and phi at the midpoints; no nodes where too many would be needed."""
        step = math.pi / self._reach()
        nodes = 16
        while nodes <= _NODES and self._cut_error(nodes, step) > _TOLERANCE:
            nodes *= 2
        times: Array = (np.arange(nodes if nodes <= _NODES else 0, dtype=float) + 0.5) * step
        modulus, argument = self._characteristic(times) if times.size else (times, times)
        self._nodes = step, np.exp(modulus) * np.cos(argument), np.exp(modulus) * np.sin(argument)
        return self._nodes

    def _cut_error(self, nodes: int, step: float) -> float:
        """Bound on the terms of the sum from a node on."""
        first = np.array([(nodes + 0.5) * step])
        modulus, _ = self._characteristic(first)
        angle = (2.0 * first * self._weights) ** 2
        exponent = 0.5 * float((angle / (1.0 + angle)).sum())
        return math.exp(float(modulus[0])) / math.pi * (1.0 / (nodes + 0.5) + 1.0 / exponent)

    @staticmethod
    def _midpoint_sum(y: float, step: float, real: Array, imaginary: Array) -> float:
        places = np.arange(real.size) + 0.5
        phase = places * (step * y)
        terms = imaginary * np.cos(phase) - real * np.sin(phase)
        return 0.5 - float((terms / places).sum()) / math.pi

    def _quadrature(self, y: float) -> float:
        """The integral to 1 by adaptive quadrature, beyond as a Fourier integral."""
        drift = self._drift()
        frequency = y + drift
        if frequency <= 0.0:
            return 0.0

        def parts(time: float) -> tuple[float, float]:
            modulus, argument = self._characteristic(np.array([time]))
            size, angle = math.exp(float(modulus[0])) / time, float(argument[0]) + time * drift
            return size * math.sin(angle), size * math.cos(angle)

        def whole(time: float) -> float:
            sine, cosine = parts(time)
            return sine * math.cos(time * frequency) - cosine * math.sin(time * frequency)

        return (
            0.5
            - math.fsum(
                [
                    _integral(whole, 0.0, 1.0),
                    _integral(lambda t: parts(t)[0], 1.0, np.inf, weight="cos", wvar=frequency),
                    -_integral(lambda t: parts(t)[1], 1.0, np.inf, weight="sin", wvar=frequency),
                ]
            )
            / math.pi
        )

    def _drift(self) -> float:
        """How fast the argument of phi falls far out, where the dominant variances are spent."""
        angle = 2.0 * _NODES * self._weights
        spent = angle**2 / (1.0 + angle**2)
        return float((spent * (self._weights + self._squares)).sum())


def _integral(value: Callable[[float], float], low: float, high: float, **weight: Any) -> float:
    """QUADPACK's integral, or an error where it is not good to 1e-6."""
    limits = {"limlst": 500} if weight else {}
    found, error, *_ = scipy.integrate.quad(
        value, low, high, limit=500, epsabs=1e-9, full_output=1, **weight, **limits
    )
    if error > 1e-6:
        raise RuntimeError(
            f"the distribution of the norm could not be integrated to 1e-6 (error {error:.1g}): "
            "few of very many variances dominate."
        )
    return float(found)


def published_norm_interval(
    means: ArrayLike, variances: ArrayLike, samples: int, alpha: float
) -> tuple[float, float]:
    r"""The interval printed for the norm of a smoothed map; **its coverage collapses**.

    .. math:: \left[F^{-1}(\tfrac\alpha2),\ F^{-1}(1 - \tfrac\alpha2)\right]^{1/2}, \quad
              F \text{ the distribution of } \sum_j \left(\hat h_j + \sqrt{v_j/N}\, Z_j\right)^2

    Wang and Kong (2024), appendix C.1, eq. 43 to 45, by :class:`QuadraticForm`. The covariance is
    taken to be diagonal, and the distribution is centred on the estimate itself although
    :math:`E\|\hat h\|^2 = \|h\|^2 + \mathrm{tr}/N`. Features that move together make it too
    narrow, many noisy features shift it beyond the truth. Use :func:`norm_lower_asymptotic` or the
    Monte-Carlo radius of :func:`~captum_robust.certificates.norm_radius`.

    Args:
        means: average map over samples, ``(m,)``.
        variances: of the samples, ``(m,)``, >= 0.
        samples: their number N.
        alpha: nominal probability of error, in (0, 1).

    Returns:
        Lower and upper end for the norm of the expected map.

    Example:
        >>> from captum_robust.certificates import published_norm_interval
        >>> low, high = published_norm_interval([3.0, 4.0], [1.0, 1.0], samples=100, alpha=0.1)
        >>> round(low, 3), round(high, 3)
        (4.837, 5.165)
    """
    check_count("samples", samples)
    level = check_number("alpha", alpha, low=0, high=1, open_low=True, open_high=True)
    means, variances = np.asarray(means, float), np.asarray(variances, float)
    if not variances.any():
        norm = float(np.linalg.norm(means))
        return norm, norm
    form = QuadraticForm(means, variances / samples)
    return math.sqrt(form.quantile(level / 2.0)), math.sqrt(form.quantile(1.0 - level / 2.0))


def published_cosine_interval(
    means: ArrayLike, variances: ArrayLike, samples: int, alpha: float, deviation: float
) -> tuple[float, float]:
    r"""The interval printed for the cosine bound of a smoothed map; **not valid**.

    .. math:: t_{1,2} = \sqrt{\frac{q_{1,2}}{q_{1,2} + \Delta^2}}, \quad \Delta = M V_U/V_S

    with q the quantiles of the squared norm. Wang and Kong (2024), appendix C.1, eq. 45: neither
    the interval (:func:`published_norm_interval`) nor the bound (Theorem 1) holds.

    Args:
        means, variances, samples, alpha: see :func:`published_norm_interval`.
        deviation: :math:`\Delta`, >= 0, the l2 distance by which the expected map may move.

    Example:
        >>> from captum_robust.certificates import published_cosine_interval
        >>> low, high = published_cosine_interval([3.0, 4.0], [1.0, 1.0], 100, 0.1, deviation=5.0)
        >>> round(low, 3), round(high, 3)
        (0.695, 0.719)
    """
    moved = check_number("deviation", deviation, low=0)
    low, high = published_norm_interval(means, variances, samples, alpha)
    return low / math.hypot(low, moved), high / math.hypot(high, moved)


@dataclass(frozen=True)
class NormEstimate:
    """An estimate of the norm of an expected map; see :func:`norm_lower_asymptotic`.

    Attributes:
        square: unbiased estimate of the squared norm; may be negative.
        stderr: its jackknife standard error.
        lower: asymptotic lower bound on the norm, >= 0.
    """

    square: float
    stderr: float
    lower: float


def norm_lower_asymptotic(
    sums: ArrayLike, squares: ArrayLike, size: int, alpha: float
) -> NormEstimate:
    r"""Lower bound on the norm of an expected map by an unbiased estimate of its square.

    .. math:: U = \frac{\|\sum_i G_i\|^2 - \sum_i \|G_i\|^2}{N(N-1)}, \quad
              \|h\| \ge \sqrt{\left(U - t_{B-1,1-\alpha}\,\mathrm{se}\right)_+}

    Holds with a probability that tends to :math:`1-\alpha` as the number B of blocks grows
    (``asymptotic``: U is a U-statistic, normal in the limit where h is not 0; Arvesen, 1969, for
    the jackknife error). U is the mean of :math:`G_i\cdot G_j` over pairs, so it has no bias;
    :math:`\|\hat h\|^2` is too large by :math:`\mathrm{tr}/N`. No norm bound is needed. Ours.

    The jackknife leaves out one block of samples at a time, so that only block sums are kept:
    B maps of memory, whatever N is.

    Args:
        sums: sum of the maps of each block, ``(B, m)``, B at least 2.
        squares: sum of their squared norms, ``(B,)``.
        size: samples in each block, so N = B * size; at least 3 samples in all.
        alpha: probability of error, in (0, 1).

    Example:
        >>> import numpy as np
        >>> from captum_robust.certificates import norm_lower_asymptotic
        >>> maps = np.random.default_rng(0).normal(0.5, 1.0, (400, 9))
        >>> found = norm_lower_asymptotic(maps, (maps**2).sum(1), size=1, alpha=0.05)
        >>> 0 < found.lower < 1.5  # the norm of the expected map
        True
    """
    sums, squares = np.asarray(sums, float), np.asarray(squares, float)
    level = check_number("alpha", alpha, low=0, high=1, open_low=True, open_high=True)
    blocks, samples = len(sums), len(sums) * check_count("size", size)
    if blocks < 2 or samples - size < 2 or squares.shape != (blocks,):
        raise ValueError(
            "`sums` must be (B, m) and `squares` (B,) with at least 2 blocks and 2 samples outside "
            f"each, got shapes {sums.shape} and {squares.shape} with {size} in a block."
        )
    total = sums.sum(0)
    square = (float(total @ total) - squares.sum()) / (samples * (samples - 1))
    # ||S - S_b||^2 expanded would cancel; the differences themselves do not.
    left = np.array([float(np.square(total - part).sum()) for part in sums])
    rest = samples - size
    without = (left - (squares.sum() - squares)) / (rest * (rest - 1))
    stderr = math.sqrt((blocks - 1) / blocks * float(np.square(without - without.mean()).sum()))
    lower = square - float(scipy.stats.t.ppf(1.0 - level, blocks - 1)) * stderr
    return NormEstimate(float(square), stderr, math.sqrt(max(lower, 0.0)))
