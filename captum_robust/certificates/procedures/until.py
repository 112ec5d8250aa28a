"""Adaptive sampling: looks at the samples after 128, 256, 512, ... and stops when it can."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from torch import Tensor

from captum_robust._base.checks import check_count, check_number, check_share_or_count
from captum_robust.certificates.certificate import Certificate

_FIRST: Final = 128
_THRESHOLDS: Final = {  # the largest that makes sense; the least is 0
    "overlap": 1.0,
    "cosine": 1.0,
    "angle": 90.0,
    "l2_deviation": math.inf,
    "region_mass": 1.0,
}
_HOPE: Final = 4  # a statement is given up if it would fail with so many times the budget


@dataclass(frozen=True)
class Until:
    r"""A statement to certify, and when to look.

    The looks are fixed by the budget alone and alpha is shared equally among them, so by the union
    bound no stopping rule that looks only there can make the error exceed alpha.

    Attributes:
        question: one of ``overlap``, ``cosine``, ``angle``, ``l2_deviation``, ``region_mass``.
        threshold: what shall be certified.
        epsilon: at which perturbation size.
        k: for the overlap.
        looks: numbers of samples.
    """

    question: str
    threshold: float
    epsilon: float
    k: int | float | None
    looks: tuple[int, ...]

    @classmethod
    def parsed(cls, until: Mapping[str, Any], max_samples: int) -> Until:
        """A statement such as ``{"overlap": 0.5, "epsilon": 0.03, "k": 0.1}``, checked."""
        asked = [name for name in until if name in _THRESHOLDS]
        wanted = {"epsilon", *asked} | ({"k"} if asked == ["overlap"] else set())
        if len(asked) != 1 or set(until) != wanted:
            raise ValueError(
                "`until` must hold `epsilon`, one of "
                f"{', '.join(_THRESHOLDS)} and `k` for an overlap, got {dict(until)}."
            )
        looks = [min(_FIRST, check_count("max_samples", max_samples))]
        while looks[-1] < max_samples:
            looks.append(min(2 * looks[-1], max_samples))
        k = check_share_or_count("k", until["k"]) if "k" in until else None
        (question,) = asked
        threshold = check_number(question, until[question], low=0, high=_THRESHOLDS[question])
        return cls(question, threshold, until["epsilon"], k, tuple(looks))

    def certified(self, certificate: Certificate) -> Tensor:
        """Which examples have the statement, ``(N,)``."""
        arguments = {} if self.k is None else {"k": self.k}
        answers = getattr(certificate, self.question)(self.epsilon, **arguments)
        if self.question in ("angle", "l2_deviation"):
            return answers <= self.threshold
        return answers >= self.threshold

    def settled(self, certificate: Certificate) -> bool:
        """Whether every example has the statement, or will not get it.

        Giving up early costs power, never validity: it is done where the same averages would not
        certify the statement even with four times the whole budget.
        """
        certified = self.certified(certificate)
        if certified.all() or certificate.nt_samples < self.looks[-1] // 8:
            return bool(certified.all())
        return bool((certified | ~self.certified(self._dreamt(certificate))).all())

    def _dreamt(self, certificate: Certificate) -> Certificate:
        """The certificate if the averages had come from four times the budget."""
        samples = _HOPE * self.looks[-1]
        pairs, shares = certificate.pairs, certificate.shares
        if pairs is not None:
            pairs = replace(pairs, pairs=samples // 2, eig_pairs=samples // 2)
        if shares is not None:
            shares = shares.repeat(1, -(-samples // shares.shape[1]))[:, :samples]
        return replace(certificate, nt_samples=samples, pairs=pairs, shares=shares)
