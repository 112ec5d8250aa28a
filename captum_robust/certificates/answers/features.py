"""Answers about features: what stays in the top, in order and in place."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_robust._base.checks import check_count, check_number, feature_count
from captum_robust._base.vectors import flatten
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.evidence.elementwise import (
    ElementwiseEvidence,
    elementwise_evidence,
)
from captum_robust.certificates.evidence.norm import norm_evidence
from captum_robust.certificates.evidence.overlap import OverlapEvidence
from captum_robust.certificates.evidence.renyi import renyi_limits
from captum_robust.certificates.functionals.pixels import Decisions, holm_decisions

Array = NDArray[np.float64]


class FeatureAnswers(CertificateData):
    """Overlap, order, rank and pixels."""

    def overlap(self, epsilon: float | Tensor, k: int | float) -> Tensor:
        r"""Certified share of the top k features that no perturbation can displace.

        .. math:: \frac1K |\mathrm{top}_K(\hat h(x)) \cap \mathrm{top}_K(h(x+\delta))|
                  \ge \text{the share, for all } \|\delta\| \le \epsilon

        Levine et al. (2019), Corollary 2, with the index put right.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.
            k: features compared, a share in ``(0, 1]`` or a count.

        Returns:
            Shares ``(N,)`` in [0, 1], float64.

        Raises:
            ValueError: if the maps have no known range, or an argument is outside its own.
        """
        return self._overlap_curve([epsilon], k)[:, 0]

    def precedes(
        self,
        first: int | tuple[int, ...],
        second: int | tuple[int, ...],
        epsilon: float | Tensor,
    ) -> Tensor:
        r"""Whether one feature is certified to stay above another.

        .. math:: \mathrm{lower}(l_i) > \mathrm{upper}(u_j)

        Args:
            first: i, an index into the vector of all features or into the map.
            second: j.
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Booleans ``(N,)``.
        """
        shifts = self.shift.of_epsilon(epsilon)
        pair = self._flat_index("first", first), self._flat_index("second", second)
        limits = [evidence.order_shift(*pair) for evidence in self._each("precedes")]
        return torch.from_numpy(shifts < np.array(limits)).to(self._device)

    def rank(self, epsilon: float | Tensor) -> Tensor | tuple[Tensor, ...]:
        """Worst rank that any perturbation can give each feature; 1 is the largest.

        The smaller of :func:`~captum_robust.certificates.certified_ranks` and
        :func:`~captum_robust.certificates.conserved_ranks`.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Ranks in the maps' shape ``(N, *)``, int64.
        """
        shifts = self.shift.of_epsilon(epsilon)
        rows = [
            evidence.ranks(shift)
            for evidence, shift in zip(self._each("rank"), shifts, strict=True)
        ]
        return self._as_maps(rows, torch.int64)

    def pixels(
        self, epsilon: float | Tensor, simultaneous: bool = True
    ) -> Tensor | tuple[Tensor, ...]:
        """Decides each feature: 1 stays in most samples' top, 0 stays out, -1 abstains.

        Anani et al. (2025), for 0/1 maps such as ``Sparsify(keep)`` gives.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.
            simultaneous: whether answers at all sizes hold together. ``False`` decides more, by
                Holm's procedure, but holds at one size that was fixed before sampling.

        Returns:
            Decisions in the maps' shape ``(N, *)``, int8.
        """
        self._refuse_values("pixels")
        shifts = self.shift.of_epsilon(epsilon)
        if not simultaneous:
            return self._as_maps(self._holm_rows(shifts), torch.int8)
        each = zip(self._each("pixels"), shifts, strict=True)
        return self._as_maps([evidence.decisions(shift) for evidence, shift in each], torch.int8)

    def pixel_radius(self) -> Tensor | tuple[Tensor, ...]:
        """Perturbation size up to which each feature's decision holds, all sizes together.

        Returns:
            Radii in the maps' shape ``(N, *)``, float64; 0 where it abstains.
        """
        self._refuse_values("pixels")
        rows = [evidence.decision_shifts() for evidence in self._each("pixels")]
        radii = self.shift.to_epsilon(np.stack(rows).T).T
        return self._as_maps(list(radii), torch.float64)

    def certified_share(self, epsilon: float | Tensor, simultaneous: bool = True) -> Tensor:
        """Share of features that :meth:`pixels` decides, ``(N,)`` in [0, 1]."""
        maps = self.pixels(epsilon, simultaneous)
        rows = flatten(maps if isinstance(maps, tuple) else (maps,))
        return (rows >= 0).double().mean(1)

    def _overlap_curve(self, epsilons: Any, k: int | float) -> Tensor:
        """Overlaps at many sizes from one sort an example."""
        shifts = np.stack([self.shift.of_epsilon(epsilon) for epsilon in epsilons], axis=1)
        each = zip(self._overlaps(k), shifts, strict=True)
        return self._answer(np.stack([evidence.shares(row) for evidence, row in each]))

    def _overlap_shifts(self, overlap: float, k: int | float) -> Array:
        """The shift of each example at which the certified overlap falls below a share."""
        share = check_number("overlap", overlap, low=0, high=1)
        return np.array([evidence.shift_of_share(share) for evidence in self._overlaps(k)])

    def _overlaps(self, k: int | float) -> Iterator[OverlapEvidence]:
        """What is known of each example's top k, by all routes."""
        count = feature_count("k", k, self.features)
        events = self._events("overlap")
        if self.claim == "population" and "norm" in events:
            raise ValueError(
                '`route` "l2" compares with the map computed here, so it has no "population" '
                'claim; use route="elementwise".'
            )
        norms = (
            norm_evidence(self, "overlap", self._alpha("overlap", "norm"))
            if "norm" in events
            else None
        )
        limits: Iterator[Array | None] = repeat(None)
        if self.terms.route == "renyi":
            limits = renyi_limits(self, count, self._alpha("overlap", "elementwise"))
        elif "elementwise" in events:
            limits = (one.displacements(count, self.terms) for one in self._each("overlap"))
        for example, (mean, limit) in enumerate(zip(self.mean.numpy(), limits, strict=False)):
            yield OverlapEvidence.of(mean, count, limit, norms, example)

    def _each(self, question: str) -> Iterator[ElementwiseEvidence]:
        """The elementwise evidence of each example."""
        return elementwise_evidence(self, question, self._alpha(question, "elementwise"))

    def _refuse_values(self, question: str) -> None:
        """Raises unless maps are 0/1."""
        if not self.range.binary:
            raise ValueError(
                f"`{question}` needs 0/1 maps, which {self.terms.method} does not give; "
                "use transform=Abs() >> Sparsify(keep) or SparsifiedSmoothGrad."
            )

    def _holm_rows(self, shifts: Array) -> list[Decisions]:
        """Holm's decisions of each example."""
        if self.claim == "redrawn" or self.terms.questions not in (None, ("pixels",)):
            raise ValueError(
                "`simultaneous` must be True for the redrawn claim, since Holm's procedure is "
                "about expectations, and beside other joint questions, since its error is not "
                "theirs."
            )
        alpha, law = self._alpha("pixels", "elementwise"), self.shift.law
        return [
            holm_decisions(
                mean,
                self.nt_samples,
                alpha,
                float(law.upper(0.5, shift, self.shift.dimension)),
            )
            for mean, shift in zip(self.mean.numpy(), shifts, strict=True)
        ]

    def _flat_index(self, name: str, index: int | tuple[int, ...]) -> int:
        """A feature's place in the vector of all features."""
        if isinstance(index, tuple):
            if len(self.shapes) != 1 or len(index) != len(self.shapes[0]):
                raise ValueError(
                    f"`{name}` must be an int, or an index into one map of shape "
                    f"{[tuple(shape) for shape in self.shapes]}, got {index}."
                )
            return int(np.ravel_multi_index(index, tuple(self.shapes[0])))
        if not 0 <= check_count(name, index, low=0) < self.features:
            raise ValueError(f"`{name}` must be in [0, {self.features - 1}], got {index}.")
        return index
