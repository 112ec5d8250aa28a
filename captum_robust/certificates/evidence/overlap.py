"""Overlap of the top k by all routes: elementwise intervals and the map's distance."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from captum_robust.certificates.evidence.norm import NormEvidence
from captum_robust.certificates.functionals.exchange import ExchangeCosts

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OverlapEvidence:
    """What is known of one example's top features.

    Attributes:
        count: K.
        limits: elementwise route: shifts from which on 1, 2, ... features may leave.
        costs: l2 route: what exchanges cost; None where that route is closed.
        norms: l2 route: how far the map moves, of this example alone.
    """

    count: int
    limits: Array | None
    costs: ExchangeCosts | None
    norms: NormEvidence | None

    @classmethod
    def of(
        cls,
        mean: Array,
        count: int,
        limits: Array | None,
        norms: NormEvidence | None,
        example: int,
    ) -> OverlapEvidence:
        """The evidence of one example out of that of all."""
        if norms is None:
            return cls(count, limits, None, None)
        one = slice(example, example + 1)
        alone = replace(
            norms,
            lengths=norms.lengths[one],
            offset=norms.offset[one],
            eigenvalues=norms.eigenvalues[one],
        )
        return cls(count, limits, ExchangeCosts(mean, count), alone)

    def displaced(self, shifts: Array) -> tuple[Array, Array]:
        """The most features that may leave at each shift, by each route; all if closed."""
        everything = np.full(shifts.shape, self.count)
        elementwise = everything
        if self.limits is not None:
            elementwise = np.searchsorted(self.limits, shifts, side="right")
        distance = everything
        if self.costs is not None and self.norms is not None:
            moved = [self.norms.deviation(np.array([shift]))[0] for shift in shifts]
            distance = self.costs.displaced(moved)
        return elementwise, distance

    def shares(self, shifts: Array) -> Array:
        """Certified shares at shifts ``(E,)``: the better route at each."""
        return 1.0 - np.minimum(*self.displaced(shifts)) / self.count

    def winner(self, shift: float) -> str:
        """The route that answers at a shift."""
        elementwise, distance = self.displaced(np.array([shift]))
        return "l2" if distance[0] < elementwise[0] or self.limits is None else "elementwise"

    def shift_of_share(self, share: float) -> float:
        """The shift at which the certified share falls below a threshold."""
        allowed = self.count - int(np.ceil(share * self.count - 1e-9))
        shift = -np.inf
        if self.limits is not None:
            shift = self.limits[allowed] if allowed < self.limits.size else np.inf
        if self.costs is not None and self.norms is not None:
            if allowed >= self.costs.most:
                return np.inf
            # Strictly cheaper than one exchange more than allowed.
            far = self.costs.cost(allowed + 1) * (1.0 - 1e-12)
            shift = max(shift, float(self.norms.shift_of_deviation(far)[0]))
        return float(shift)
