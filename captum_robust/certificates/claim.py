"""The terms of a certificate: what was asked, with what probability, about which two maps."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Final, Literal, get_args

from captum_robust._base.checks import check_choice, check_number
from captum_robust._base.targets import Prediction
from captum_robust.certificates.confidence.elementwise.confidence import Confidence

About = Literal["reported", "population", "redrawn"]
Route = Literal["best", "elementwise", "l2", "bounded", "hcr", "lecuyer", "renyi"]

CLAIMS: Final[tuple[str, ...]] = get_args(About)
ROUTES: Final[tuple[str, ...]] = get_args(Route)


class PublishedFormulaWarning(UserWarning):
    """A printed formula was asked for that is not valid or not tight."""


@dataclass(frozen=True)
class Claim:
    """What a certificate claims, and by which means; reusable between calls.

    Every field can also be given to ``certify`` as a keyword of its own, which then takes
    precedence; a plain string for ``claim=`` is :attr:`about`.

    Args:
        about: which two maps are compared. ``"reported"``: the map computed here with the expected
            map at the perturbed input. ``"population"``: the two expected maps. ``"redrawn"``: the
            map computed here with one of as many fresh samples at the perturbed input.
        confidence: ``"hoeffding"``, ``"kl"``, ``"empirical-bernstein"``, ``"clopper-pearson"`` (0/1
            maps), or ``"auto"``: the last for 0/1 maps, else kl. ``"exact"`` takes the samples'
            averages for the expectations, so that what is lost to sampling can be told from what is
            lost to the shift; an ``estimate``.
        route: ``"best"`` takes every admissible route, alpha shared among the events they rest on;
            ``"elementwise"``, ``"l2"`` or, to compare with, ``"lecuyer"`` (Lecuyer et al., 2019)
            and ``"renyi"`` (Liu et al., 2022, over ``UnitSum()``, with kl bounds) for overlaps;
            ``"bounded"`` or ``"hcr"`` for cosines, angles and deviations. Center smoothing has
            samples of its own: :func:`~captum_robust.certificates.center_smoothing`.
        published: the printed formulas, valid or not, to reproduce a paper; warns.
        norm_bound: a proven bound on the l2 norm of every transformed map.
        questions: questions that shall hold jointly; ``alpha`` is split among the events they rest
            on.
        until: a statement such as ``{"overlap": 0.5, "epsilon": 0.03, "k": 0.1}``: looks after 128,
            256, 512, ... samples, alpha shared among the looks, and stops when every example has it
            or will not get it; ``certificate.nt_samples`` says when that was.
        max_samples: the budget of ``until``.
        prediction: what the net predicts, as a function of its outputs that gives an integer or a
            boolean for each row, for the question of that name; by default the class of the largest
            score. One logit, or one label of many: ``lambda out: out[:, 3] > 0``; the class of one
            pixel: ``lambda out: out[:, :, 8, 8].argmax(1)``; a value within a band:
            ``lambda out: (out[:, 0] - 2.5).abs() < 0.1``. The certificate is then about what the
            function gives at the input.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import SparsifiedSmoothGrad
        >>> from captum_robust.certificates import Claim
        >>> from captum_robust.examples import example_model
        >>> claim = Claim("redrawn", confidence="hoeffding")
        >>> smooth = SparsifiedSmoothGrad(Saliency(example_model()), keep=2)
        >>> smooth.certify(
        ...     torch.randn(2, 4), target=0, stdevs=0.5, nt_samples=100, claim=claim
        ... ).kind
        'pointwise'
    """

    about: About = "reported"
    _: KW_ONLY
    confidence: str = "auto"
    route: Route = "best"
    published: bool = False
    norm_bound: float | None = None
    questions: Sequence[str] | None = None
    until: Mapping[str, Any] | None = None
    max_samples: int = 8192
    prediction: Prediction | None = None

    @classmethod
    def of(cls, claim: Claim | str | None) -> Claim:
        """A claim as given to a call: itself, the maps it is about, or the usual one."""
        if isinstance(claim, Claim):
            return claim
        if claim is None:
            return cls()
        if not isinstance(claim, str):
            raise TypeError(
                f"`claim` must be a Claim or one of {', '.join(map(repr, CLAIMS))}, "
                f"got {type(claim).__name__}."
            )
        return cls(check_choice("claim", claim, CLAIMS))  # type: ignore[arg-type]

    def check(self, offered: Sequence[str]) -> None:
        """Raises where a field lies outside its range or two contradict each other.

        Args:
            offered: the questions that the method answers.
        """
        check_choice("confidence", self.confidence, ("auto", *Confidence.names()))
        check_choice("claim", self.about, CLAIMS)
        check_choice("route", self.route, ROUTES)
        for question in self.questions or ():
            check_choice("questions", question, tuple(offered))
        if self.questions is not None and not self.questions:
            raise ValueError("`questions` must name at least one question, got none.")
        if self.confidence == "exact" and self.about == "redrawn":
            raise ValueError(
                '`confidence` "exact" is about expectations, so `claim` must be "reported" or '
                '"population", got "redrawn".'
            )
        if self.published and self.about != "reported":
            raise ValueError(
                f'`published` formulas exist for claim="reported" only, got {self.about!r}.'
            )
        if self.published:
            warnings.warn(
                "published=True uses printed formulas: the overlap of Levine et al. (2019), "
                "Corollary 2, is one too strict, and the cosine of Wang and Kong (2024), "
                "Theorem 1, is not a bound.",
                PublishedFormulaWarning,
                stacklevel=4,
            )


@dataclass(frozen=True)
class Terms:
    """What was asked for, as a certificate keeps it.

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
        examples: how many examples hold together; alpha is shared among them.
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
    examples: int = 1

    @classmethod
    def of(
        cls,
        claim: Claim,
        *,
        alpha: float,
        method: str,
        offered: Sequence[str],
        looks: int = 1,
        layer: str | None = None,
    ) -> Terms:
        """The terms of a claim, or an error that names the argument, its rule and what came."""
        alpha = check_number("alpha", alpha, low=0, high=1, open_low=True, open_high=True)
        claim.check(offered)
        return cls(
            method=method,
            offered=tuple(offered),
            questions=None if claim.questions is None else tuple(claim.questions),
            alpha=alpha,
            confidence=claim.confidence,
            claim=claim.about,
            route=claim.route,
            published=claim.published,
            looks=looks,
            layer=layer,
        )

    @property
    def collects_variances(self) -> bool:
        """Whether the confidence asked for takes sample variances."""
        return self.confidence != "auto" and Confidence.named(self.confidence).needs_variances

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
