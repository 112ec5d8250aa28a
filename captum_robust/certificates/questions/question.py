"""The family of certificate questions."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from captum_robust._base.checks import check_choice, check_number
from captum_robust._base.numbers.bisect import bisect
from captum_robust._base.numbers.rounding import down, up
from captum_robust.certificates.budget import ELEMENTWISE, NORM, REGION, Budget
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.evidence.elementwise import (
    ElementwiseEvidence,
    elementwise_evidence,
)
from captum_robust.certificates.evidence.norm import NormEvidence, norm_evidence
from captum_robust.certificates.evidence.region import RegionEvidence, region_evidence

Array = NDArray[np.float64]

_FAR: Final = 2.0**12  # standard deviations beyond which no radius is looked for


class Question(ABC):
    """A question that a certificate answers, with its arguments.

    A new one is one subclass with a ``name``, an ``event`` and an :meth:`answer`; it is known from
    then on. A class of attributions answers it that names it in ``questions``, and so does any
    certificate whose questions hold each by itself, by
    :meth:`~captum_robust.certificates.Certificate.ask`. Curves, radii, ``until``, statements and
    budgets follow from the class attributes.

    Attributes:
        name: the word for it.
        event: what its answers rest on: ``"elementwise"``, ``"norm"``, ``"region"`` or an event of
            its own. Answers that rest on one event share its probability of error.
        part_of: the question whose probability of error it shares, where it is a view of another.
        thresholds: the least and the largest threshold that make sense; None where answers are not
            one number an example, so that it has neither radius nor curve.
        larger_is_stronger: whether a larger answer says more.
        stated: whether it is part of every statement; else only where it was asked for.
        about_map: whether it is about the map, of which every statement says something.

    Example:
        >>> from dataclasses import dataclass
        >>> import numpy as np
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import SparsifiedSmoothGrad
        >>> from captum_robust.certificates import Question
        >>> from captum_robust.examples import example_model
        >>> @dataclass(frozen=True)
        ... class Value(Question):
        ...     '''Least value of one feature of the map at any perturbed input.'''
        ...
        ...     feature: int
        ...
        ...     name = "value"
        ...     event = "elementwise"
        ...     thresholds = (0.0, 1.0)
        ...
        ...     def answer(self, certificate, shifts):
        ...         bounds = zip(self.elementwise(certificate), shifts)
        ...         return np.array([one.after(shift)[0][self.feature] for one, shift in bounds])
        >>> method = Saliency(example_model())
        >>> certificate = SparsifiedSmoothGrad(method, keep=2).certify(
        ...     torch.randn(3, 4), target=0, stdevs=0.5, nt_samples=100, seed=0
        ... )
        >>> certificate.ask(Value(feature=1), epsilon=0.1).shape
        torch.Size([3])
        >>> class MarkedSmoothGrad(SparsifiedSmoothGrad):
        ...     questions = (Value,)
        >>> certificate = MarkedSmoothGrad(method, keep=2).certify(
        ...     torch.randn(3, 4), target=0, stdevs=0.5, nt_samples=100, seed=0
        ... )
        >>> certificate.certified_radius(value=0.5, feature=1).shape
        torch.Size([3])
        >>> Question.forget("value")
    """

    name: ClassVar[str]
    event: ClassVar[str]
    part_of: ClassVar[str]
    thresholds: ClassVar[tuple[float, float] | None] = None
    larger_is_stronger: ClassVar[bool] = True
    stated: ClassVar[bool] = True
    about_map: ClassVar[bool] = True

    _known: ClassVar[dict[str, type[Question]]] = {}

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in vars(cls):
            cls.part_of = vars(cls).get("part_of", cls.name)
            Question._known[cls.name] = cls

    # -- what a question says -----------------------------------------------------------------

    @abstractmethod
    def answer(self, certificate: CertificateData, shifts: Array) -> Any:
        """Answers at shifts of the noise law, in standard deviations, ``(N,)``.

        Returns:
            One number an example ``(N,)`` where the question has thresholds.
        """

    def inverse(self, certificate: CertificateData, threshold: float) -> Array:
        """Shifts ``(N,)`` up to which a threshold is certified; negative where it never is.

        By bisection from the safe side, for answers that get weaker with the shift.
        """
        free = self.reached(np.asarray(self.nothing(certificate)), threshold)
        zero = np.zeros(len(certificate.mean))

        def holds(shifts: Array) -> NDArray[np.bool_]:
            return self.reached(np.asarray(self.answer(certificate, shifts)), threshold)

        safe, _ = bisect(holds, zero, zero + _FAR, steps=60)
        return np.where(free, np.inf, np.where(holds(zero), safe, -np.inf))

    def nothing(self, certificate: CertificateData) -> float:
        """The answer that holds of any two maps; by default the weakest threshold."""
        low, high = self.thresholds or (math.nan, math.nan)
        return low if self.larger_is_stronger else high

    def reached(self, answers: Any, threshold: float) -> Any:
        """Which answers are at least as strong as a threshold."""
        return answers >= threshold if self.larger_is_stronger else answers <= threshold

    @classmethod
    def events(cls, certificate: CertificateData) -> tuple[str, ...]:
        """The events whose failure can make an answer false."""
        return (cls.event,)

    @classmethod
    def admits(cls, certificate: CertificateData) -> bool:
        """Whether what is known of the maps admits it; others are left out of statements."""
        return True

    def sentences(self, certificate: CertificateData, shifts: Array) -> list[str]:
        """The answer of each example in plain English, a part of a sentence."""
        answers = np.asarray(self.answer(certificate, shifts), float)
        side, rounded = ("at least", down) if self.larger_is_stronger else ("at most", up)
        return [f"the {self.name} is {side} {rounded(one)}" for one in answers]

    def routes(self, certificate: CertificateData, shifts: Array) -> list[str]:
        """By which route each example is answered."""
        raise ValueError(f"`{self.name}` is answered by one route.")

    # -- evidence at the question's share of alpha --------------------------------------------

    def alpha(self, certificate: CertificateData, event: str) -> float:
        """The probability of error of an event behind this question."""
        return budget_of(certificate, self).of(self.part_of, event)

    def elementwise(self, certificate: CertificateData) -> Iterator[ElementwiseEvidence]:
        """What is known of every feature, an example at a time."""
        alpha = self.alpha(certificate, ELEMENTWISE)
        return elementwise_evidence(certificate, self.name, alpha)

    def norm(self, certificate: CertificateData) -> NormEvidence:
        """What is known of the map as a vector."""
        return norm_evidence(certificate, self.name, self.alpha(certificate, NORM))

    def region(self, certificate: CertificateData) -> list[RegionEvidence]:
        """What is known of the share inside the masks, an example each."""
        return region_evidence(certificate, self.alpha(certificate, REGION))

    # -- the family ---------------------------------------------------------------------------

    @staticmethod
    def known() -> Mapping[str, type[Question]]:
        """All questions by name."""
        return dict(Question._known)

    @staticmethod
    def named(name: str, /, **arguments: Any) -> Question:
        """A question by its name, with its arguments."""
        check_choice("question", name, tuple(Question._known))
        kind = Question._known[name]
        if not kind.takes(arguments):
            raise TypeError(
                f"`{name}` takes {', '.join(kind.parameters()) or 'no arguments'} beside the size "
                f"of the perturbation, got {', '.join(arguments) or 'none'}."
            )
        return kind(**arguments)

    @staticmethod
    def forget(name: str) -> None:
        """Takes a question out of the family again."""
        Question._known.pop(name, None)

    @classmethod
    def parameters(cls) -> Mapping[str, inspect.Parameter]:
        """The question's own arguments."""
        return inspect.signature(cls).parameters

    @classmethod
    def takes(cls, arguments: Mapping[str, Any]) -> bool:
        """Whether these are the question's arguments: all it needs, and no other."""
        parameters = cls.parameters()
        needed = {name for name, one in parameters.items() if one.default is one.empty}
        return needed <= set(arguments) <= set(parameters)

    @staticmethod
    def radii() -> str:
        """The thresholds that a radius can be asked for, in words."""
        words = []
        for name, kind in Question._known.items():
            needed = [one.name for one in kind.parameters().values() if one.default is one.empty]
            more = f" (with {', '.join(f'`{one}`' for one in needed)})" if needed else ""
            words += [] if kind.thresholds is None else [f"`{name}`{more}"]
        return ", ".join(words)

    @staticmethod
    def wanted(words: Mapping[str, Any]) -> tuple[Question, float] | None:
        """The question and the threshold in words such as ``{"overlap": 0.5, "k": 0.1}``.

        None where they do not hold exactly one threshold and the arguments of its question.
        """
        kinds = [
            kind
            for name, kind in Question._known.items()
            if name in words and kind.thresholds is not None
        ]
        if len(kinds) != 1:
            return None
        (kind,) = kinds
        arguments = {name: value for name, value in words.items() if name != kind.name}
        if kind.thresholds is None or not kind.takes(arguments):
            return None
        low, high = kind.thresholds
        threshold = check_number(kind.name, words[kind.name], low=low, high=high)
        return kind(**arguments), threshold


def budget_of(certificate: CertificateData, question: Question | None = None) -> Budget:
    """How a certificate shares alpha among its questions, and a question beside them.

    Raises:
        ValueError: if the certificate does not answer the question.
    """
    terms, known = certificate.terms, Question.known()
    names = terms.questions or terms.offered
    if question is not None and question.part_of not in names:
        if terms.questions is not None:
            terms.joint_with(question.part_of)
        names = (*names, question.part_of)
    if terms.questions is not None and not set(names) <= set(known):
        raise ValueError(
            f"this certificate answers {', '.join(names)} jointly, of which "
            f"{', '.join(sorted(set(names) - set(known)))} is not known here; import the module "
            "that defines it."
        )
    return Budget(
        alpha=terms.alpha,
        events={name: known[name].events(certificate) for name in names if name in known},
        joint=terms.questions is not None,
        examples=terms.examples,
        looks=terms.looks,
        features=certificate.features,
        spread=certificate.pairs is not None,
        claim=certificate.claim,
    )
