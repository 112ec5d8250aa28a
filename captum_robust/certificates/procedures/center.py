"""Comparator: a map in the middle of the noisy maps instead of their mean. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from captum_robust._base.checks import check_count, check_number
from captum_robust.certificates.budget import center_test, per_side

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CenterTerms:
    r"""How many samples center smoothing takes, and with what probability it may err.

    Kumar and Goldstein (2021), Theorem 1, for outputs in any metric space. Draw candidates and a
    selection; the **centre** is the candidate of least median distance r to the selection. Fresh
    samples must show that the ball of radius r about it holds more than :math:`1/2 - \Delta` of the
    mass, else the procedure **abstains**. At x a third set gives a radius R that holds
    :math:`p = \mathrm{upper}(1/2 + \Delta)` of the mass, so that it holds :math:`1/2 + \Delta` at
    every perturbed input. Then the centre found at one perturbed input lies within

    .. math:: \gamma(1 + 2\gamma)\,R, \quad 3R \text{ in a metric } (\gamma = 1),

    with probability :math:`1-\alpha` over the draws at both points, unless it abstains there
    (``pointwise``: for each perturbed input by itself, not for all at once).

    Proof: some candidate at :math:`\tilde x` lies in the ball about the centre at x, and half of
    the selection does, so its median distance is at most :math:`2\gamma R`; the least is no larger.
    That ball and the one about the centre at x hold more than all the mass together, so they meet.
    It fails if no candidate lies in the ball, with probability :math:`(1/2-\Delta)^C` (not counted
    in print); if fewer than half of the selection do (a binomial probability); if the share is
    over-estimated; if the radius is too small. The last two have what the first two leave of
    :math:`\alpha`, half each, by exact binomial tests.

    Args:
        candidates: C, candidate centres.
        samples: in the selection, and again in the set that tests its share.
        certify_samples: in the set that gives the radius.
        slack: :math:`\Delta`, in (0, 1/2).
        alpha: probability of error, in (0, 1).
        published: Hoeffding's inequality in the place of both tests and nothing for candidates.

    Raises:
        ValueError: if an argument lies outside its range, or the samples are too few for alpha.

    Example:
        >>> from captum_robust.certificates import CenterTerms
        >>> terms = CenterTerms(candidates=16, samples=1000, certify_samples=1000, slack=0.1)
        >>> terms.total_samples
        3016
    """

    candidates: int = 16
    samples: int = 2000
    certify_samples: int = 2000
    slack: float = 0.05
    alpha: float = 0.05
    published: bool = False

    def __post_init__(self) -> None:
        for name in ("candidates", "samples", "certify_samples"):
            check_count(name, getattr(self, name))
        check_number("slack", self.slack, low=0, high=0.5, open_low=True, open_high=True)
        check_number("alpha", self.alpha, low=0, high=1, open_low=True, open_high=True)
        if self.test_alpha <= 0.0:
            raise ValueError(
                f"`samples` and `candidates` must be larger for alpha = {self.alpha:g} and slack = "
                f"{self.slack:g}, got {self.samples} and {self.candidates}: the selection alone "
                f"fails with probability {self.selection_error:.2g}; a larger slack needs fewer."
            )

    @property
    def total_samples(self) -> int:
        """Samples drawn at an input, in the order candidates, selection, share, radius."""
        return self.candidates + 2 * self.samples + self.certify_samples

    @property
    def selection_error(self) -> float:
        """Probability that the selection at a perturbed input misleads."""
        missed = (0.5 - self.slack) ** self.candidates
        half = math.ceil(self.samples / 2)
        return missed + float(scipy.stats.binom.cdf(half - 1, self.samples, 0.5 + self.slack))

    @property
    def test_alpha(self) -> float:
        """Probability of error of each of the two tests."""
        return center_test(self.alpha, 0.0 if self.published else self.selection_error)


def choose_center(distances: ArrayLike) -> tuple[int, float]:
    """The candidate in the middle of a selection, and the radius that holds half of it.

    Args:
        distances: of each candidate to each sample of the selection, ``(C, n)``.

    Returns:
        Index of the candidate of least median distance, and that distance: the
        ``ceil(n/2)``-th smallest, so that at least half of the selection is inside.

    Example:
        >>> from captum_robust.certificates.procedures.center import choose_center
        >>> choose_center([[3.0, 1.0, 2.0, 9.0], [1.0, 1.5, 9.0, 9.0]])
        (1, 1.5)
    """
    distances = np.asarray(distances, float)
    half = math.ceil(distances.shape[1] / 2)
    medians = np.partition(distances, half - 1, axis=1)[:, half - 1]
    return int(medians.argmin()), float(medians.min())


def center_abstains(distances: ArrayLike, radius: float, terms: CenterTerms) -> bool:
    r"""Whether fresh samples fail to show that a ball holds more than :math:`1/2-\Delta`.

    By Clopper and Pearson's lower bound; as published by Hoeffding's, where
    :math:`\Delta_1 = \sqrt{\ln(2/\alpha_1)/2n}` must not exceed :math:`\Delta` either.

    Args:
        distances: of fresh samples to the centre, ``(n,)``.
        radius: of the ball.
        terms: of the procedure.

    Example:
        >>> import numpy as np
        >>> from captum_robust.certificates import CenterTerms
        >>> from captum_robust.certificates.procedures.center import center_abstains
        >>> center_abstains(np.linspace(0, 2, 2000), 1.0, CenterTerms())
        False
    """
    distances = np.asarray(distances, float)
    inside, count = int((distances <= radius).sum()), distances.size
    if terms.published:
        error = math.sqrt(-math.log(per_side(terms.test_alpha, 1)) / (2.0 * count))
        return max(error, 0.5 - (inside / count - error)) > terms.slack
    if inside == 0:
        return True
    share = float(scipy.stats.beta.ppf(terms.test_alpha, inside, count - inside + 1))
    return share <= 0.5 - terms.slack


def center_radius(
    distances: ArrayLike, mass: ArrayLike, terms: CenterTerms, gamma: float = 1.0
) -> Array:
    r"""The radius of center smoothing, :math:`\gamma(1+2\gamma)` times an order statistic.

    The k-th smallest of n distances, with the least k for which
    :math:`P(\mathrm{Bin}(n, p) \ge k) \le \alpha_2`, holds at least p of the mass; as published
    :math:`k = \lceil qn \rceil` with :math:`q = p + \sqrt{\ln(1/\alpha_2)/2n}`.

    Args:
        distances: of fresh samples to the centre, ``(n,)``.
        mass: p, in [0, 1], any shape: for Gaussian noise
            :math:`\Phi(\Phi^{-1}(1/2+\Delta) + \epsilon/\sigma)`.
        terms: of the procedure.
        gamma: of the relaxed triangle inequality
            :math:`d(a,c) \le \gamma(d(a,b) + d(b,c))`, 1 for a metric and 2 for 1 - cos.

    Returns:
        Radii in the unit of the distances, shape of ``mass``; infinity where no sample is far
        enough out.

    Example:
        >>> import numpy as np
        >>> from captum_robust.certificates import CenterTerms, center_radius
        >>> float(center_radius(np.linspace(0, 1, 1001), 0.8, CenterTerms()))
        2.475
    """
    ordered = np.append(np.sort(np.asarray(distances, float)), np.inf)
    mass, count = np.asarray(mass, float), ordered.size - 1
    if not ((mass >= 0.0) & (mass <= 1.0)).all():
        raise ValueError(f"`mass` must be in [0, 1], got {mass}.")
    if terms.published:
        error = math.sqrt(math.log(1.0 / terms.test_alpha) / (2.0 * count))
        ranks = np.ceil((mass + error) * count - 1e-9)
    else:
        ranks = scipy.stats.binom.isf(terms.test_alpha, count, mass) + 1
    places = np.clip(ranks, 1, count + 1).astype(int) - 1
    return gamma * (1.0 + 2.0 * gamma) * ordered[places]
