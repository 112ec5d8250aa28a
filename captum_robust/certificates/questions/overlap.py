"""Question: how many of the top k features stay there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from captum_robust._base.checks import check_share_or_count, feature_count
from captum_robust._base.numbers.rounding import percent_down
from captum_robust.certificates.budget import ELEMENTWISE, NORM, OUTCOMES
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.evidence.norm import NormEvidence
from captum_robust.certificates.evidence.overlap import OverlapEvidence
from captum_robust.certificates.evidence.renyi import renyi_limits
from captum_robust.certificates.functionals.exchange import ExchangeCosts
from captum_robust.certificates.questions.question import Array, Question


@dataclass(frozen=True)
class Overlap(Question):
    """Share of the top k features that no perturbation can displace.

    Attributes:
        k: features compared, a share in ``(0, 1]`` or a count.
    """

    k: int | float

    name = "overlap"
    thresholds = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_share_or_count("k", self.k)

    @classmethod
    def events(cls, certificate: CertificateData) -> tuple[str, ...]:
        route = certificate.terms.route
        if route == "l2":
            return (NORM,)
        if route == "renyi":
            return (OUTCOMES,)
        both = route == "best" and certificate.pairs is not None
        if both and certificate.claim != "population":
            return (ELEMENTWISE, NORM)
        return (ELEMENTWISE,)

    @classmethod
    def admits(cls, certificate: CertificateData) -> bool:
        return certificate.range.bounded

    def answer(self, certificate: CertificateData, shifts: Array) -> Array:
        moved = self._moved(certificate, shifts)
        each = zip(self._evidence(certificate), shifts, moved, strict=True)
        return np.array([evidence.share(shift, far) for evidence, shift, far in each])

    def inverse(self, certificate: CertificateData, threshold: float) -> Array:
        evidence = list(self._evidence(certificate))
        limits = np.array([one.limit_of_share(threshold) for one in evidence])
        norms = self._norms(certificate)
        if norms is None:
            return limits
        distances = np.array([one.distance_of_share(threshold) for one in evidence])
        return np.maximum(limits, norms.shift_of_deviation(distances))

    def routes(self, certificate: CertificateData, shifts: Array) -> list[str]:
        if certificate.terms.route in ("lecuyer", "renyi"):
            return [certificate.terms.route] * len(shifts)
        moved = self._moved(certificate, shifts)
        each = zip(self._evidence(certificate), shifts, moved, strict=True)
        return [evidence.winner(shift, far) for evidence, shift, far in each]

    def sentences(self, certificate: CertificateData, shifts: Array) -> list[str]:
        count = feature_count("k", self.k, certificate.features)
        about = f"the top {count} of {certificate.words.counted(certificate.features)}"
        shares, routes = self.answer(certificate, shifts), self.routes(certificate, shifts)
        return [
            _sentence(float(share), count, about, route)
            for share, route in zip(shares, routes, strict=True)
        ]

    def _moved(self, certificate: CertificateData, shifts: Array) -> Array:
        """How far each map can move."""
        norms = self._norms(certificate)
        return np.full(len(shifts), np.inf) if norms is None else norms.deviation(shifts)

    def _norms(self, certificate: CertificateData) -> NormEvidence | None:
        """What is known of the map's distance, where that route is open."""
        events = self.events(certificate)
        if certificate.claim == "population" and NORM in events:
            raise ValueError(
                '`route` "l2" compares with the map computed here, so it has no "population" '
                'claim; use route="elementwise".'
            )
        return self.norm(certificate) if NORM in events else None

    def _evidence(self, certificate: CertificateData) -> Iterator[OverlapEvidence]:
        """What is known of each example's top k, by all routes."""
        count = feature_count("k", self.k, certificate.features)
        by_distance = self._norms(certificate) is not None
        for example, limits in enumerate(self._limits(certificate, count)):
            costs = None
            if by_distance:
                build = partial(ExchangeCosts, certificate.mean[example].numpy(), count)
                costs = certificate.remembered.get(("costs", count, example), build)
            yield OverlapEvidence(count, limits, costs)

    def _limits(self, certificate: CertificateData, count: int) -> Iterator[Array | None]:
        """Each example's shifts from which on features may leave, by intervals of features."""
        events = self.events(certificate)
        if OUTCOMES in events:
            yield from renyi_limits(certificate, count, self.alpha(certificate, OUTCOMES))
        elif ELEMENTWISE in events:
            alpha = self.alpha(certificate, ELEMENTWISE)
            for example, one in enumerate(self.elementwise(certificate)):
                build = partial(one.displacements, count, certificate.terms)
                yield certificate.remembered.get(("limits", count, alpha, example), build)
        else:
            yield from [None] * len(certificate.mean)


def _sentence(share: float, count: int, about: str, route: str) -> str:
    if share <= 0.0:
        return (
            f"nothing is certified of {about} "
            "(a smaller epsilon, more noise or more samples may help)"
        )
    kept = round(share * count)
    return f"at least {kept} of {about} ({percent_down(share)}) stay there ({route} route)"
