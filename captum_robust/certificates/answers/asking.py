"""How a certificate is asked: any question of the family, at one size, at many, or backwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from captum_robust._base.checks import check_choice
from captum_robust.certificates.budget import Budget
from captum_robust.certificates.data import CertificateData
from captum_robust.certificates.questions.question import Question, budget_of


class Asked(CertificateData):
    """Answers to every question of the family."""

    def ask(self, question: str | Question, epsilon: float | Tensor, **arguments: Any) -> Any:
        """The answer to a question, also to one that was defined elsewhere.

        Args:
            question: its name, or the question with its arguments.
            epsilon: perturbation size, >= 0, a number or ``(N,)``.
            **arguments: of the question, such as ``k``, where it is given by its name.

        Returns:
            What the question's own method returns; numbers as a tensor ``(N,)``.

        Raises:
            ValueError: if the certificate does not answer the question, or an argument lies
                outside its range.

        Example:
            >>> import torch
            >>> from captum.attr import Saliency
            >>> from captum_robust.attr import SparsifiedSmoothGrad
            >>> from captum_robust.examples import example_model
            >>> smooth = SparsifiedSmoothGrad(Saliency(example_model()), keep=2)
            >>> certificate = smooth.certify(
            ...     torch.zeros(3, 4), target=0, stdevs=0.5, nt_samples=100, seed=0
            ... )
            >>> certificate.ask("overlap", 0.1, k=2)
            tensor([1., 1., 1.], dtype=torch.float64)
        """
        asked = self._question(question, arguments)
        found = asked.answer(self, self.shift.of_epsilon(epsilon))
        return self.tensor(found) if isinstance(found, np.ndarray) else found

    def certified_radius(
        self,
        *,
        overlap: float | None = None,
        k: int | float | None = None,
        cosine: float | None = None,
        angle: float | None = None,
        l2_deviation: float | None = None,
        region_mass: float | None = None,
        **words: Any,
    ) -> Tensor:
        """Largest perturbation size up to which a threshold is certified.

        Give one threshold: ``overlap`` in [0, 1] with ``k``, ``cosine`` in [0, 1], ``angle`` in
        degrees in [0, 90], ``l2_deviation`` >= 0, ``region_mass`` in [0, 1], or that of another
        question by its name, with its arguments.

        Returns:
            Radii ``(N,)`` in the unit of ``epsilon``, float64, rounded down; 0 where nothing is
            certified, infinity where nothing can fail.

        Raises:
            ValueError: if not exactly one threshold is given, or one lies outside its range.
        """
        words |= {
            "overlap": overlap,
            "k": k,
            "cosine": cosine,
            "angle": angle,
            "l2_deviation": l2_deviation,
            "region_mass": region_mass,
        }
        given = {name: value for name, value in words.items() if value is not None}
        wanted = Question.wanted(given)
        if wanted is None:
            thresholds = [name for name in given if name in Question.known()]
            others = [name for name in given if name not in Question.known()]
            raise ValueError(
                f"give exactly one of {Question.radii()}, got {', '.join(thresholds) or 'none'}"
                f"{''.join(f' and {name}' for name in others)}."
            )
        question, threshold = wanted
        self.terms.joint_with(question.part_of)
        return self.tensor(self.shift.to_epsilon(question.inverse(self, threshold)))

    def curve(
        self,
        question: str | Question,
        epsilons: Sequence[float | Tensor] | Tensor,
        **arguments: Any,
    ) -> Tensor:
        """Answers to one question at many sizes, ``(N, len(epsilons))``.

        Args:
            question: one of numbers, such as ``"overlap"``, ``"cosine"``, ``"angle"``,
                ``"l2_deviation"``, ``"certified_share"`` or ``"region_mass"``.
            epsilons: perturbation sizes, >= 0.
            **arguments: of the question, such as ``k``.
        """
        if isinstance(question, str):
            known = Question.known().items()
            numbers = tuple(name for name, kind in known if kind.thresholds is not None)
            check_choice("question", question, numbers)
        asked = self._question(question, arguments)
        return torch.stack([self.ask(asked, epsilon) for epsilon in epsilons], dim=1)

    def winning_routes(
        self,
        question: str | Question,
        epsilon: float | Tensor,
        k: int | float | None = None,
        **arguments: Any,
    ) -> list[str]:
        """By which route each example is answered: ``"overlap"`` with k, ``"cosine"``, ``"angle"``.

        Args:
            question: its name, or the question with its arguments.
            epsilon: perturbation size, >= 0, a number or ``(N,)``.
            k: features compared, for the overlap.
            **arguments: of other questions.
        """
        if question == "overlap" and k is None:
            raise ValueError("`k` must be given for the overlap.")
        arguments |= {} if k is None else {"k": k}
        asked = self._question(question, arguments)
        return asked.routes(self, self.shift.of_epsilon(epsilon))

    def budget(self) -> Budget:
        """How alpha is shared among events, features and parts; prints as a table.

        Example:
            >>> import torch
            >>> from captum.attr import Saliency
            >>> from captum_robust.attr import GaussianSmoothing, UnitNorm
            >>> from captum_robust.examples import example_model
            >>> smooth = GaussianSmoothing(Saliency(example_model()), UnitNorm())
            >>> certificate = smooth.certify(
            ...     torch.zeros(1, 4), target=0, stdevs=0.5, nt_samples=100, seed=0
            ... )
            >>> certificate.budget().of("cosine", "norm")
            0.05
        """
        return budget_of(self)

    def _question(self, question: str | Question, arguments: dict[str, Any]) -> Question:
        """The question asked for, refused where the certificate does not answer it."""
        if isinstance(question, Question):
            if arguments:
                raise TypeError(
                    f"a question brings its own arguments, got {', '.join(arguments)} beside it."
                )
            return question
        named = Question.named(question, **arguments)
        self.terms.joint_with(named.part_of)
        return named
