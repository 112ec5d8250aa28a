"""Adaptive sampling: looks at the samples after 128, 256, 512, ... and stops when it can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from torch import Tensor

from captum_robust._base.checks import check_count
from captum_robust.certificates.certificate import Certificate
from captum_robust.certificates.questions.question import Question

_FIRST: Final = 128
_HOPE: Final = 4  # a statement is given up if it would fail with so many times the budget


@dataclass(frozen=True)
class Until:
    r"""A statement to certify, and when to look.

    The looks are fixed by the budget alone and alpha is shared equally among them, so by the union
    bound no stopping rule that looks only there can make the error exceed alpha.

    Attributes:
        question: what is asked, with its arguments.
        threshold: what is to be certified.
        epsilon: at which perturbation size.
        looks: numbers of samples.
    """

    question: Question
    threshold: float
    epsilon: float
    looks: tuple[int, ...]

    @classmethod
    def parsed(cls, until: Mapping[str, Any], max_samples: int) -> Until:
        """A statement such as ``{"overlap": 0.5, "epsilon": 0.03, "k": 0.1}``, checked."""
        words = {name: value for name, value in until.items() if name != "epsilon"}
        wanted = Question.wanted(words)
        if wanted is None or "epsilon" not in until:
            raise ValueError(
                f"`until` must hold `epsilon` and one of {Question.radii()}, got {dict(until)}."
            )
        looks = [min(_FIRST, check_count("max_samples", max_samples))]
        while looks[-1] < max_samples:
            looks.append(min(2 * looks[-1], max_samples))
        question, threshold = wanted
        return cls(question, threshold, until["epsilon"], tuple(looks))

    def certified(self, certificate: Certificate) -> Tensor:
        """Which examples have the statement, ``(N,)``."""
        answers: Tensor = certificate.ask(self.question, self.epsilon)
        reached: Tensor = self.question.reached(answers, self.threshold)
        return reached

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
