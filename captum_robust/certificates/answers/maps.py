"""Answers about the whole map: cosine, angle, distance, and mass inside a region."""

from __future__ import annotations

from torch import Tensor

from captum_robust.certificates.answers.asking import Asked


class MapAnswers(Asked):
    """Cosine, angle, l2 deviation, region mass and the prediction."""

    def cosine(self, epsilon: float | Tensor) -> Tensor:
        r"""Certified cosine similarity between the map and that of any perturbed input.

        .. math:: \cos \ge \sqrt{1 - \left(\frac{R + A(\epsilon)}{\|\hat h\|}\right)^2}

        with the Monte-Carlo radius R of :func:`~captum_robust.certificates.norm_radius` and the
        constant A of :meth:`~captum_robust.noise.NoiseLaw.angle_shift`. Wang and Kong (2024),
        Theorem 1, with the geometry put right.

        Proof for the reported map: let w be a unit vector with :math:`w\cdot\hat h = -\|\hat h\|
        \sin t`. Then :math:`w\cdot h(x) \le -\|\hat h\|\sin t + R`, and where that is at most
        :math:`-A`, :math:`w\cdot h(x+\delta) \le 0`. So the perturbed map lies in no direction at
        an angle beyond t with :math:`\|\hat h\| \sin t = R + A`. The law's constant wants
        :math:`w\cdot h(x) < -A` strictly: were the perturbed map at an angle beyond t < 90 degrees,
        take for w that of an angle a little beyond t, for which the inequality is strict.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Cosines ``(N,)`` in [-1, 1], float64; -1 (0 for nonnegative maps) where nothing is
            certified.

        Raises:
            ValueError: if the norm of the maps has no bound; the message has the three ways out.
        """
        found: Tensor = self.ask("cosine", epsilon)
        return found

    def angle(self, epsilon: float | Tensor) -> Tensor:
        """Certified angle in degrees, the arc cosine of :meth:`cosine`; 180 (90) for nothing."""
        found: Tensor = self.ask("angle", epsilon)
        return found

    def l2_deviation(self, epsilon: float | Tensor) -> Tensor:
        r"""Certified largest l2 distance between the map and that of any perturbed input.

        .. math:: \|\hat h(x) - h(x+\delta)\|_2 \le R + \Delta(\epsilon)

        with R as in :meth:`cosine` and :meth:`~captum_robust.noise.NoiseLaw.norm_shift`.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Distances ``(N,)``, in units of the map, float64.
        """
        found: Tensor = self.ask("l2_deviation", epsilon)
        return found

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
        found: Tensor = self.ask("region_mass", epsilon)
        return found

    def prediction(self, epsilon: float | Tensor) -> Tensor:
        r"""Certified share of noisy copies at which the net predicts what the map explains.

        .. math:: P(f(x + \delta + \eta) = y) \ge \text{the share, for all }
                  \|\delta\| \le \epsilon

        Above one half the smoothed classifier, which gives the label that the net predicts most
        often under the noise, gives that label at every perturbed input.
        ``certified_radius(prediction=0.5)`` is the size up to which it does, the radius of Cohen
        et al. (2019).

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Shares ``(N,)`` in [0, 1], float64, rounded down.

        Raises:
            ValueError: if the net's predictions were not seen.
        """
        found: Tensor = self.ask("prediction", epsilon)
        return found
