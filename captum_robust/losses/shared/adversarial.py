"""Losses at perturbed inputs that an inner maximisation finds in every training step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from captum_robust._base.checks import check_count
from captum_robust._base.modes import evaluation_mode
from captum_robust.losses.criterion import Criterion, Net, check_bound, check_weight, unwrapped
from captum_robust.losses.packing import as_inputs, examples_of
from captum_robust.robust.balls.ball import Norm, ball_of
from captum_robust.robust.balls.draws import BatchDraws, Draws
from captum_robust.robust.steps.fixed import FixedStep
from captum_robust.robust.template.region import Region, ascend, check_size

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from captum_robust.losses.criterion import Common

Raised = Callable[[Tensor], Tensor]


class AdversarialCriterion(Criterion):
    r"""A criterion of inputs and of the perturbed inputs that an inner maximisation finds.

    .. math:: L = \frac1N \sum_n \sum_t w_t\, l_t(x_n, x'_n, y_n), \qquad
        x'_n = \arg\max_{\lVert x' - x_n \rVert \le r,\; x' \in [l, u]} J(x', x_n, y_n)

    A subclass gives J in :meth:`objective` and the terms in :meth:`values_at`. The maximisation is
    projected gradient ascent by signs (in an l2 ball: by normalised gradients), as in the attacks
    of :mod:`captum_robust.robust`, but the last iterate counts and no prediction is kept. It runs
    with the model in evaluation mode, touches no parameter's gradient, and its result is held
    constant.

    Args:
        radius: r, in input units, >= 0 and finite: a number or a tensor that broadcasts to the
            inputs.
        steps: number of steps.
        step_size: length of a step in input units, > 0; by default ``relative_step`` radii.
        lower_bound, upper_bound: the box [l, u] of valid inputs, numbers or tensors that broadcast
            to the inputs; [0, 1] for images in the papers, none by default.
        norm: ``"Linf"``, ``"L2"``, ``"L1"`` or another :class:`~captum_robust.robust.Ball`.
        random_start: begin at a uniformly distributed point of the ball, else at the input.
        generator: draws the starts, on the inputs' device; torch's global one by default.
        **common: ``base`` and ``reduction``, see :class:`Criterion`.

    Raises:
        ValueError: if an argument is out of range, or, in a call, an input outside the box.
    """

    relative_step: ClassVar[float] = 1 / 4
    """Default of ``step_size`` in radii."""
    stationary: ClassVar[bool] = False
    """Whether the gradient of J is zero at the input, so that no climb can begin there."""

    def __init__(
        self,
        radius: float | Tensor,
        steps: int,
        step_size: float | Tensor | None = None,
        lower_bound: float | Tensor = -torch.inf,
        upper_bound: float | Tensor = torch.inf,
        *,
        norm: Norm = "Linf",
        random_start: bool = True,
        generator: torch.Generator | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.radius = _check_finite_size("radius", radius, positive=False)
        self.steps = check_count("steps", steps)
        self.step_size = step_size
        if step_size is not None:
            _check_finite_size("step_size", step_size, positive=True)
        self.lower_bound = check_bound("lower_bound", lower_bound)
        self.upper_bound = check_bound("upper_bound", upper_bound)
        ball_of(norm)
        self.norm = norm
        if self.stationary and not random_start:
            raise ValueError(
                f"`random_start` must be True for {type(self).__name__}: the gradient of what it "
                "raises is zero at the clean input."
            )
        self.random_start = random_start
        self.generator = generator

    @abstractmethod
    def objective(self, net: Net, inputs: Tensor, target: Tensor, start: Tensor) -> Raised:
        """J as a function of perturbed inputs ``(N, *)``, giving ``(N,)``.

        Args:
            net: the model without a wrapper, in evaluation mode.
            inputs: clean inputs, ``(N, *)``.
            target: true classes, ``(N,)``.
            start: where the ascent begins, ``(N, *)``.
        """

    @abstractmethod
    def values_at(
        self, model: Net, inputs: Tensor, perturbed: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Each term of each example, ``(N,)``, given the perturbed inputs.

        Args:
            model: as for the criterion.
            inputs: clean inputs, ``(N, *)``.
            perturbed: perturbed inputs, ``(N, *)``, held constant.
            target: true classes, ``(N,)``.
        """

    def values(self, model: Net, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Each term of each example, ``(N,)``, at the point that the inner ascent finds."""
        return self.values_at(model, inputs, self.perturb(model, inputs, target), target)

    def perturb(self, model: Net, inputs: Tensor, target: Tensor) -> Tensor:
        """The last iterate of the inner ascent, ``(N, *)``, in the ball and in the box.

        Args:
            model: as for the criterion.
            inputs: clean inputs, ``(N, *)``.
            target: true classes, ``(N,)``.
        """
        examples = examples_of(model, inputs)
        bounds = (self.lower_bound, self.upper_bound)
        region = Region.around(examples, self.radius, bounds, self.norm)
        size = self.relative_step * region.ball.radius
        if self.step_size is not None:
            size = examples.spread("step_size", self.step_size)
        draws = BatchDraws(self.generator, examples.clean)
        rule = FixedStep().begin(region.ball, size, draws, 0, self.steps)
        points = self._start(region, draws)
        with evaluation_mode(model):
            start = as_inputs(model, examples, points)
            raised = self.objective(unwrapped(model), inputs, target, start)
            points = ascend(
                lambda rows: raised(as_inputs(model, examples, rows)),
                region,
                rule,
                points,
                self.steps,
            )
        return as_inputs(model, examples, points)

    def _start(self, region: Region, draws: Draws) -> Tensor:
        """The first iterate, ``(N, d)``."""
        kind = "uniform" if self.random_start else "clean"
        return region.start(kind, draws, slice(None), 0)


class PenalisedCriterion(AdversarialCriterion):
    r"""Cross-entropy and a penalty that the inner maximisation raises, alone or with it.

    .. math:: L = \mathrm{CE}(x) + \lambda \max_{x'} P(x, x') \quad\text{or}\quad
        L = \max_{x'} \bigl\{ \mathrm{CE}(x') + \lambda P(x, x') \bigr\}

    A subclass gives P in :meth:`penalty`, and in :meth:`raised_penalty` how the ascent sees it.
    """

    jointly: ClassVar[bool]
    """Whether the second form is meant."""
    penalty_name: ClassVar[str]
    """What P is called in ``terms``."""

    def __init__(self, *ascent: Any, weight: float, **inner: Any) -> None:
        super().__init__(*ascent, **inner)
        self.weights = {self._loss_name: 1.0, self.penalty_name: check_weight("weight", weight)}

    @property
    def _loss_name(self) -> str:
        return "adversarial" if self.jointly else self.task.name

    @abstractmethod
    def penalty(self, net: Net, inputs: Tensor, perturbed: Tensor, target: Tensor) -> Tensor:
        """P of each example, ``(N,)``, with the graph of the model's parameters.

        Args:
            net: the model without a wrapper.
            inputs: clean inputs, ``(N, *)``.
            perturbed: perturbed inputs, ``(N, *)``.
            target: true classes, ``(N,)``.
        """

    @abstractmethod
    def raised_penalty(self, net: Net, inputs: Tensor, target: Tensor) -> Raised:
        """P as a function of perturbed inputs, as the ascent climbs it.

        Args:
            net: the model without a wrapper, in evaluation mode.
            inputs: clean inputs, ``(N, *)``.
            target: true classes, ``(N,)``.
        """

    def objective(self, net: Net, inputs: Tensor, target: Tensor, start: Tensor) -> Raised:
        """The penalty, or the cross-entropy plus the weighted penalty."""
        penalty, weight = self.raised_penalty(net, inputs, target), self.weights[self.penalty_name]
        if not self.jointly:
            return penalty

        def raised(points: Tensor) -> Tensor:
            loss = self.task.loss(self.task.outputs(net, points, target), target)
            return loss if weight == 0 else loss + weight * penalty(points)

        return raised

    def values_at(
        self, model: Net, inputs: Tensor, perturbed: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Cross-entropy, of the perturbed inputs where both are raised, and the penalty."""
        outputs = self.task.outputs(model, perturbed if self.jointly else inputs, target)
        return {
            self._loss_name: self.task.loss(outputs, target),
            self.penalty_name: self.penalty(unwrapped(model), inputs, perturbed, target),
        }


def _check_finite_size(name: str, value: Any, *, positive: bool) -> Any:
    checked = check_size(name, value, positive=positive)
    if not bool(torch.isfinite(torch.as_tensor(checked)).all()):
        raise ValueError(f"`{name}` must be finite, got {value}.")
    return checked
