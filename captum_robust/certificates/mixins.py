"""Certificate mixins: each names the questions that ``certify`` answers for a class."""

from __future__ import annotations

from typing import ClassVar

from captum_robust.certificates.questions.question import Question


class CertificateMixin:
    """Collects the questions of every mixin of a class into ``certificate_questions``.

    A mixin adds no ``certify`` of its own: it names questions in ``questions``, by their names or
    their classes. So does a class of attributions that answers one question more.

    Example:
        >>> from captum_robust.certificates import CertificateMixin, Question
        >>> class OrderMixin(CertificateMixin):
        ...     questions = ("precedes", Question.known()["rank"])
        >>> OrderMixin.certificate_questions
        ('precedes', 'rank')
    """

    questions: ClassVar[tuple[str | type[Question], ...]] = ()
    certificate_questions: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        named = [
            question if isinstance(question, str) else question.name
            for base in reversed(cls.__mro__)
            for question in vars(base).get("questions", ())
        ]
        cls.certificate_questions = tuple(dict.fromkeys(named))


class TopKCertificateMixin(CertificateMixin):
    """Answers ``overlap``, ``precedes``, ``pixels`` and ``region_mass``: what stays where it is.

    Admitted by maps with a known range. Levine et al. (2019), Corollary 2; Anani et al. (2025).

    Example:
        >>> from captum_robust.certificates import TopKCertificateMixin
        >>> TopKCertificateMixin.certificate_questions
        ('overlap', 'precedes', 'pixels', 'region_mass')
    """

    questions: ClassVar[tuple[str | type[Question], ...]] = (
        "overlap",
        "precedes",
        "pixels",
        "region_mass",
    )


class RankCertificateMixin(CertificateMixin):
    """Answers ``rank``: the worst rank that a perturbation can give each feature.

    Admitted by maps with a known range. Levine et al. (2019), section 3.

    Example:
        >>> from captum_robust.certificates import RankCertificateMixin
        >>> RankCertificateMixin.certificate_questions
        ('rank',)
    """

    questions: ClassVar[tuple[str | type[Question], ...]] = ("rank",)


class CosineCertificateMixin(CertificateMixin):
    """Answers ``cosine``, ``angle`` and ``l2_deviation``.

    Admitted by maps with a bound on their norm. Wang and Kong (2024), corrected.

    Example:
        >>> from captum_robust.certificates import CosineCertificateMixin
        >>> CosineCertificateMixin.certificate_questions
        ('cosine', 'angle', 'l2_deviation')
    """

    questions: ClassVar[tuple[str | type[Question], ...]] = ("cosine", "angle", "l2_deviation")
