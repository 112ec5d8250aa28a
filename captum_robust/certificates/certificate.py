"""The certificate: sampled once, asked often."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_robust._base.checks import check_choice
from captum_robust._base.vectors import unflatten
from captum_robust.certificates.answers import statement, storage
from captum_robust.certificates.answers.features import FeatureAnswers
from captum_robust.certificates.answers.maps import MapAnswers

Array = NDArray[np.float64]

_CURVES: Final = ("overlap", "cosine", "angle", "l2_deviation", "certified_share", "region_mass")


class Certificate(FeatureAnswers, MapAnswers):
    r"""What holds of a smoothed map for every perturbation up to a size, with a probability.

    Made by :meth:`captum_robust.attr.SmoothedAttribution.certify`; immutable; all answers come from
    the same samples and cost no gradient. Perturbations ``epsilon`` are in input units, in the l2
    norm for Gaussian and ball noise and in the l1 norm for box noise. Each answer holds with
    probability ``1 - alpha`` by itself; overlaps for all k and epsilon hold jointly, as do all
    cosines, angles and deviations; across the two kinds, ask for ``questions=`` beforehand.

    Not covered: an adversary who knows the seed and attacks the empirical map of those very draws.

    Attributes:
        terms: what was asked for.
        shift: the frozen noise law.
        mean: the smoothed maps as vectors, ``(N, m)`` float64.
        shapes: one example's map shapes.
        is_tuple: whether maps come as a tuple.
        range: what is known of every single map beforehand.
        nt_samples: samples an example.
        seed: of the noise, or None.
        target: the target explained.
        variance: sample variances ``(N, m)``, for the empirical Bernstein bound alone.
        pairs: the spread between pairs of samples, where it was collected.
        shares: each sample's share of marked features inside the masks, ``(N, nt_samples)``.
        device: where answers are put.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import SparsifiedSmoothGrad
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> certificate = SparsifiedSmoothGrad(Saliency(model), keep=2).certify(
        ...     torch.randn(3, 4), target=0, stdevs=0.5, nt_samples=500, seed=0
        ... )
        >>> certificate.kind, certificate.nt_samples, certificate.attributions.shape
        ('certified', 500, torch.Size([3, 4]))
    """

    @property
    def kind(self) -> str:
        """``"certified"``, ``"pointwise"``, ``"estimate"`` or ``"as-published"``.

        Certified statements hold for all perturbations at once. Where the second map is drawn anew,
        that draw differs between perturbed inputs, so the statement is about each by itself:
        pointwise. With ``confidence="exact"`` the samples are taken for the law itself: an
        estimate. Printed formulas are as published.
        """
        if self.terms.published:
            return "as-published"
        if self.terms.confidence == "exact":
            return "estimate"
        return "pointwise" if self.claim == "redrawn" else "certified"

    @property
    def noise(self) -> str:
        """The noise law and level in words."""
        return statement.describe_noise(self)

    @property
    def attributions(self) -> Tensor | tuple[Tensor, ...]:
        """The smoothed maps, ``(N, *)`` float64."""
        maps = tuple(self._answer(part.clone()) for part in unflatten(self.mean, self.shapes))
        return maps if self.is_tuple else maps[0]

    def certified_radius(
        self,
        *,
        overlap: float | None = None,
        k: int | float | None = None,
        cosine: float | None = None,
        angle: float | None = None,
        l2_deviation: float | None = None,
        region_mass: float | None = None,
    ) -> Tensor:
        """Largest perturbation size up to which a threshold is certified.

        Give one threshold: ``overlap`` in [0, 1] with ``k``, ``cosine`` in [0, 1], ``angle`` in
        degrees in [0, 90], ``l2_deviation`` >= 0, or ``region_mass`` in [0, 1].

        Returns:
            Radii ``(N,)`` in the unit of ``epsilon``, float64, rounded down; 0 where nothing is
            certified, infinity where nothing can fail.

        Raises:
            ValueError: if not exactly one threshold is given, or one lies outside its range.
        """
        thresholds = {
            "overlap": overlap,
            "cosine": cosine,
            "angle": angle,
            "l2_deviation": l2_deviation,
            "region_mass": region_mass,
        }
        given = {name: value for name, value in thresholds.items() if value is not None}
        if len(given) != 1 or (overlap is None) != (k is None):
            raise ValueError(
                "give exactly one of `overlap` (with `k`), `cosine`, `angle`, `l2_deviation`, "
                "`region_mass`, "
                f"got {', '.join(given) or 'none'}{'' if k is None else ' and k'}."
            )
        ((question, threshold),) = given.items()
        shifts_of = getattr(self, f"_{question}_shifts")
        shifts = shifts_of(threshold) if k is None else shifts_of(threshold, k)
        return self._answer(self.shift.to_epsilon(shifts))

    def curve(
        self, question: str, epsilons: Sequence[float | Tensor] | Tensor, **arguments: Any
    ) -> Tensor:
        """Answers to one question at many sizes, ``(N, len(epsilons))``.

        Args:
            question: ``"overlap"``, ``"cosine"``, ``"angle"``, ``"l2_deviation"``,
                ``"certified_share"`` or ``"region_mass"``.
            epsilons: perturbation sizes, >= 0.
            **arguments: of the question, such as ``k``.
        """
        check_choice("question", question, _CURVES)
        if question == "overlap":
            return self._overlap_curve(epsilons, **arguments)
        ask = getattr(self, question)
        return torch.stack([ask(epsilon, **arguments) for epsilon in epsilons], dim=1)

    def winning_routes(
        self, question: str, epsilon: float | Tensor, k: int | float | None = None
    ) -> list[str]:
        """By which route each example is answered: ``"overlap"`` with k, or ``"cosine"``."""
        check_choice("question", question, ("overlap", "cosine"))
        shifts = self.shift.of_epsilon(epsilon)
        if question == "cosine":
            by_hcr = self._norm_evidence("cosine").by_hcr(shifts)
            return ["hcr" if one else "bounded" for one in by_hcr]
        if k is None:
            raise ValueError("`k` must be given for the overlap.")
        if self.terms.route in ("lecuyer", "renyi"):
            return [self.terms.route] * len(shifts)
        each = zip(self._overlaps(k), shifts, strict=True)
        return [evidence.winner(shift) for evidence, shift in each]

    def statement(
        self, epsilon: float, k: int | float | None = None, example: int | None = None
    ) -> str:
        """What holds, for which perturbations, with what probability, in plain English.

        Args:
            epsilon: perturbation size, >= 0.
            k: features compared, for the overlap; left out of the statement where ``None``.
            example: one example, all where ``None``.
        """
        return statement.statement(self, epsilon, k, example)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the maps, as JSON types, with ``schema_version``."""
        return storage.to_dict(self)

    def save(self, path: str | Path) -> None:
        """Writes an ``.npz`` file without pickle."""
        storage.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """Reads what :meth:`save` wrote; answers are the same."""
        return cls(**storage.load(path))
