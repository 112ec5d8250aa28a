"""Overlap of the top k by all routes: elementwise intervals and the map's distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captum_robust.certificates.functionals.exchange import ExchangeCosts

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OverlapEvidence:
    """What is known of one example's top features.

    Attributes:
        count: K.
        limits: elementwise route: shifts from which on 1, 2, ... features may leave; None where
            that route is closed.
        costs: l2 route: how far the map has to move for exchanges; None where that route is closed.
    """

    count: int
    limits: Array | None
    costs: ExchangeCosts | None

    def displaced(self, shift: float, moved: float) -> tuple[int, int]:
        """The most features that may leave, by each route; all where it is closed.

        Args:
            shift: of the noise law.
            moved: how far the map moves at that shift.
        """
        elementwise = distance = self.count
        if self.limits is not None:
            elementwise = int(np.searchsorted(self.limits, shift, side="right"))
        if self.costs is not None:
            distance = int(self.costs.displaced(moved))
        return elementwise, distance

    def share(self, shift: float, moved: float) -> float:
        """The certified share at a shift: that of the better route."""
        return 1.0 - min(self.displaced(shift, moved)) / self.count

    def winner(self, shift: float, moved: float) -> str:
        """The route that answers at a shift."""
        elementwise, distance = self.displaced(shift, moved)
        return "l2" if distance < elementwise or self.limits is None else "elementwise"

    def allowed(self, share: float) -> int:
        """How many features may leave while a share stays."""
        return self.count - int(np.ceil(share * self.count - 1e-9))

    def limit_of_share(self, share: float) -> float:
        """The shift at which the elementwise share falls below a threshold."""
        if self.limits is None:
            return -np.inf
        allowed = self.allowed(share)
        return float(self.limits[allowed]) if allowed < self.limits.size else np.inf

    def distance_of_share(self, share: float) -> float:
        """How far the map may move while a share stays."""
        allowed = self.allowed(share)
        if self.costs is None:
            return -np.inf
        if allowed >= self.costs.most:
            return np.inf
        # Strictly cheaper than one exchange more than allowed.
        return self.costs.cost(allowed + 1) * (1.0 - 1e-12)
