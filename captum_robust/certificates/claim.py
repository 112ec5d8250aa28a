"""The terms of a certificate: what was asked, with what probability, about which two maps."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from captum_robust._base.checks import check_choice, check_number

CONFIDENCES: Final = (
    "auto",
    "hoeffding",
    "clopper-pearson",
    "kl",
    "empirical-bernstein",
    "exact",
)
CLAIMS: Final = ("reported", "population", "redrawn")
ROUTES: Final = ("best", "elementwise", "l2", "bounded", "hcr", "lecuyer", "renyi")


class PublishedFormulaWarning(UserWarning):
    """A printed formula was asked for that is not valid or not tight."""


@dataclass(frozen=True)
class Terms:
    """What was asked for; checked once, by :meth:`checked`.

    Attributes:
        method: the smoothed attribution, in words.
        offered: questions its mixins answer.
        questions: questions that hold jointly; None where each holds by itself.
        alpha: probability of error.
        confidence: the interval asked for.
        claim: which two maps are compared.
        route: how a question may be answered.
        published: whether printed formulas are used.
        looks: how often the samples may be looked at; alpha is shared among the looks.
        layer: the name of the module whose output is perturbed; the input where None.
    """

    method: str
    offered: tuple[str, ...]
    questions: tuple[str, ...] | None
    alpha: float
    confidence: str
    claim: str
    route: str
    published: bool
    looks: int = 1
    layer: str | None = None

    @classmethod
    def checked(
        cls,
        *,
        method: str,
        offered: Sequence[str],
        questions: Sequence[str] | None,
        alpha: float,
        confidence: str,
        claim: str,
        route: str,
        published: bool,
        looks: int = 1,
        layer: str | None = None,
    ) -> Terms:
        """Terms, or an error that names the argument, its rule and what came."""
        alpha = check_number("alpha", alpha, low=0, high=1, open_low=True, open_high=True)
        check_choice("confidence", confidence, CONFIDENCES)
        check_choice("claim", claim, CLAIMS)
        check_choice("route", route, ROUTES)
        for question in questions or ():
            check_choice("questions", question, tuple(offered))
        if questions is not None and not questions:
            raise ValueError("`questions` must name at least one question, got none.")
        if confidence == "exact" and claim == "redrawn":
            raise ValueError(
                '`confidence` "exact" is about expectations, so `claim` must be "reported" or '
                '"population", got "redrawn".'
            )
        if published:
            if claim != "reported":
                raise ValueError(
                    f'`published` formulas exist for claim="reported" only, got {claim!r}.'
                )
            warnings.warn(
                "published=True uses printed formulas: the overlap of Levine et al. (2019), "
                "Corollary 2, is one too strict, and the cosine of Wang and Kong (2024), "
                "Theorem 1, is not a bound.",
                PublishedFormulaWarning,
                stacklevel=3,
            )
        joint = None if questions is None else tuple(questions)
        return cls(
            method=method,
            offered=tuple(offered),
            questions=joint,
            alpha=alpha,
            confidence=confidence,
            claim=claim,
            route=route,
            published=published,
            looks=looks,
            layer=layer,
        )

    @property
    def collects_pairs(self) -> bool:
        """Whether the spread between pairs of samples is wanted."""
        return self.route in ("best", "l2", "hcr") and not self.published

    def joint_with(self, question: str) -> tuple[str, ...]:
        """The questions that share alpha with one, itself included."""
        if question not in self.offered:
            raise ValueError(
                f"{self.method} does not answer `{question}`; it answers {', '.join(self.offered)}."
            )
        if self.questions is None:
            return (question,)
        if question not in self.questions:
            raise ValueError(
                f"`{question}` is not among the questions that share alpha, "
                f"{', '.join(self.questions)}; name it in `questions`."
            )
        return self.questions
