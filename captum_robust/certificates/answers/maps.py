"""Answers about the whole map: cosine, angle, distance, and mass inside a region."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from captum_robust._base.checks import check_number
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.evidence.norm import NormEvidence, norm_evidence
from captum_robust.certificates.evidence.region import RegionEvidence

Array = NDArray[np.float64]

_DEGREES: Final = 1e-9  # what rounding can take from an arc cosine


class MapAnswers(CertificateData):
    """Cosine, angle, l2 deviation and region mass."""

    def cosine(self, epsilon: float | Tensor) -> Tensor:
        r"""Certified cosine similarity between the map and that of any perturbed input.

        .. math:: \cos \ge \sqrt{1 - \left(\frac{R + A(\epsilon)}{\|\hat h\|}\right)^2}

        with the Monte-Carlo radius R of :func:`~captum_robust.certificates.norm_radius` and the
        constant A of :meth:`~captum_robust.noise.NoiseLaw.angle_shift`. Wang and Kong (2024),
        Theorem 1, with the geometry put right.

        Proof for the reported map: let w be a unit vector with :math:`w\cdot\hat h = -\|\hat h\|
        \sin t`. Then :math:`w\cdot h(x) \le -\|\hat h\|\sin t + R`, and where that is at most
        :math:`-A`, :math:`w\cdot h(x+\delta) \le 0`. So the perturbed map lies in no direction at
        an angle beyond t with :math:`\|\hat h\| \sin t = R + A`.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Cosines ``(N,)`` in [-1, 1], float64; -1 (0 for nonnegative maps) where nothing is
            certified.

        Raises:
            ValueError: if the norm of the maps has no bound; the message has the three ways out.
        """
        return self._answer(self._norm_evidence("cosine").cosine(self.shift.of_epsilon(epsilon)))

    def angle(self, epsilon: float | Tensor) -> Tensor:
        """Certified angle in degrees, the arc cosine of :meth:`cosine`; 180 (90) for nothing."""
        cosine = self._norm_evidence("angle").cosine(self.shift.of_epsilon(epsilon))
        largest = 90.0 if self.range.nonnegative else 180.0
        return self._answer(np.minimum(np.degrees(np.arccos(cosine)) + _DEGREES, largest))

    def l2_deviation(self, epsilon: float | Tensor) -> Tensor:
        r"""Certified largest l2 distance between the map and that of any perturbed input.

        .. math:: \|\hat h(x) - h(x+\delta)\|_2 \le R + \Delta(\epsilon)

        with R as in :meth:`cosine` and :meth:`~captum_robust.noise.NoiseLaw.norm_shift`.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Distances ``(N,)``, in units of the map, float64.
        """
        evidence = self._norm_evidence("l2_deviation")
        return self._answer(evidence.deviation(self.shift.of_epsilon(epsilon)))

    def region_mass(self, epsilon: float | Tensor) -> Tensor:
        r"""Certified share of the map's marked features inside the masks given to ``certify``.

        .. math:: E\,\frac{|\mathrm{top}_T(g(x+\delta+\eta)) \cap \text{mask}|}{T}
                  \ge \text{the share}

        One scalar, so no union over features: the mean by betting, its shift by Neyman and
        Pearson's lemma and by mean and variance together. See
        :mod:`captum_robust.certificates.shifts.moments`.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Shares ``(N,)`` in [0, 1], float64.
        """
        shifts = self.shift.of_epsilon(epsilon)
        evidence = self._region_evidence()
        return self._answer([one.share(shift) for one, shift in zip(evidence, shifts, strict=True)])

    def _cosine_shifts(self, cosine: float) -> Array:
        """The shift of each example up to which a cosine is certified."""
        bound = check_number("cosine", cosine, low=0, high=1)
        return self._norm_evidence("cosine").shift_of_cosine(bound)

    def _angle_shifts(self, angle: float) -> Array:
        """The shift of each example up to which an angle in degrees is certified."""
        degrees = check_number("angle", angle, low=0, high=90)
        inside = degrees if degrees == 90.0 else max(degrees - 2.0 * _DEGREES, 0.0)
        # The sine of the complement: the cosine of 90 degrees would not be 0.
        cosine = float(np.sin(np.radians(90.0 - inside)))
        return self._norm_evidence("angle").shift_of_cosine(cosine)

    def _l2_deviation_shifts(self, deviation: float) -> Array:
        """The shift of each example up to which a deviation is certified."""
        bound = check_number("l2_deviation", deviation, low=0)
        return self._norm_evidence("l2_deviation").shift_of_deviation(bound)

    def _region_mass_shifts(self, share: float) -> Array:
        """The shift of each example up to which a share inside the mask is certified."""
        share = check_number("region_mass", share, low=0, high=1)
        return np.array([one.shift_of_share(share) for one in self._region_evidence()])

    def _norm_evidence(self, question: str) -> NormEvidence:
        return norm_evidence(self, question, self._alpha(question, "norm"))

    def _region_evidence(self) -> list[RegionEvidence]:
        """What is known of each example's share inside its mask."""
        alpha = self._alpha("region_mass", "region")
        if self.shares is None:
            raise ValueError(
                "`region_mass` needs `masks` given to certify before sampling: a mask chosen after "
                "seeing the samples is not covered."
            )
        rows, law, dimension = self.shares.numpy(), self.shift.law, self.shift.dimension
        if self.terms.confidence == "exact":
            return [RegionEvidence.exact(row, law, dimension) for row in rows]
        fresh = self.claim == "redrawn"
        return [RegionEvidence.of(row, alpha, law, dimension, fresh) for row in rows]
