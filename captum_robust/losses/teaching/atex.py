"""Learning from a frozen teacher what the prediction is along and across its attribution."""

from __future__ import annotations

import torch
from captum.attr import Saliency
from torch import Tensor, nn

from captum_robust._base.checks import check_choice, check_count, check_number
from captum_robust._base.modes import evaluation_mode
from captum_robust._base.vectors import flatten
from captum_robust.attr import GaussianSmoothing
from captum_robust.losses.criterion import (
    Criterion,
    Net,
    Reduction,
    check_weight,
    drawn_seed,
    unwrapped,
)
from captum_robust.losses.packing import beside
from captum_robust.losses.shared.maps import scored
from captum_robust.losses.tasks.task import Base
from captum_robust.metrics.similarities.shared.rows import normalized


class ATEX(Criterion):
    r"""Makes a student predict what a teacher does, whatever changes across the attribution.

    .. math:: L = \mathrm{KL}(g(x) \,\|\, f(x)) + \lambda\, E\,\mathrm{KL}(g(x^p) \,\|\, f(x^i)),
        \qquad x^i = x + \Delta_i \frac{h}{\|h\|_2}, \quad
        x^p = x^i + \Delta_p \frac{h^\perp}{\|h^\perp\|_2}

    Tang et al. (2022), as Joo et al. (2023), appendix A, print it: h is the SmoothGrad map of the
    teacher f for the true class, :math:`h^\perp` a random direction perpendicular to it, both
    lengths uniform in :math:`[-\epsilon, \epsilon]`. Their sums over points are means here, so that
    :math:`\lambda` does not depend on the number of points. The student g is the model trained,
    usually begun as a copy of the teacher. No second derivatives are taken.

    The released code differs, and each difference is an option: it minimises
    :math:`\mathrm{KL}(f \| g)` (``direction="teacher"``), divides the divergence by the number of
    classes (``reduction="mean"``), softens the teacher alone (``temperature=4``), has no first term
    (``distillation=0``), explains the student anew in every step (``explained="student"``), and
    takes other points (``sampling="grid"``):

    .. math:: x^i = x + \frac{i - n/2}{n - 1}\, \epsilon\, \frac{h}{\max |h|}, \quad i = 0..n-1,
        \qquad x^p = x^i + P_{h^\perp} u, \quad u \sim U([-\epsilon, \epsilon]^d)

    with n = 11 (``along``), from -0.55 to 0.45 of the range and so not symmetric, 8 draws of u
    (``across``), ``stdevs`` of :math:`\epsilon / 4`, and a step of the optimiser for each i.

    Args:
        teacher: f, a net with the model's classes; it is not trained and runs in evaluation mode.
        radius: :math:`\epsilon`, >= 0 and finite, in input units: an l2 norm, or for the grid the
            largest change of a feature; the code takes 0.08 on Fashion-MNIST.
        weight: :math:`\lambda`, >= 0.
        distillation: weight of the first term, >= 0.
        along, across: number of :math:`x^i`, and of :math:`x^p` for each of them.
        sampling: ``"uniform"`` or ``"grid"``.
        explained: whose map h is, ``"teacher"`` or ``"student"``.
        direction: of the divergence, ``"student"`` as printed or ``"teacher"``.
        reduction: over classes, ``"sum"`` or ``"mean"``.
        temperature: the teacher's logits are divided by it, > 0.
        nt_samples, stdevs: of SmoothGrad, its draws and the sd of its noise in input units.
        generator: draws points and noise, on the inputs' device; torch's global one by default.

    Raises:
        ValueError: if an argument is out of range, or, in a call, the model is the teacher itself
            or has other classes.
        TypeError: if the teacher is no module.

    Example:
        >>> import copy
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import ATEX
        >>> model = example_model()
        >>> criterion = ATEX(copy.deepcopy(model), radius=0.5)
        >>> loss = criterion(model, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> list(criterion.terms)
        ['distillation', 'perturbed', 'total']
    """

    def __init__(
        self,
        teacher: nn.Module,
        radius: float,
        weight: float = 1.0,
        *,
        distillation: float = 1.0,
        along: int = 1,
        across: int = 1,
        sampling: str = "uniform",
        explained: str = "teacher",
        direction: str = "student",
        reduction: str = "sum",
        temperature: float = 1.0,
        nt_samples: int = 10,
        stdevs: float = 0.1,
        generator: torch.Generator | None = None,
        base: Base = None,
        example_reduction: Reduction = "mean",
    ) -> None:
        super().__init__(base=base, reduction=example_reduction)
        if not isinstance(teacher, nn.Module):
            raise TypeError(f"`teacher` must be a torch.nn.Module, got {type(teacher).__name__}.")
        self.teacher = teacher
        self.weights = {
            "distillation": check_weight("distillation", distillation),
            "perturbed": check_weight("weight", weight),
        }
        self.radius = check_number("radius", radius, low=0, high=torch.inf, open_high=True)
        self.sampling = check_choice("sampling", sampling, ("uniform", "grid"))
        self.along = check_count("along", along, low=1 if sampling == "uniform" else 2)
        self.across = check_count("across", across)
        self.explained = check_choice("explained", explained, ("teacher", "student"))
        self.direction = check_choice("direction", direction, ("student", "teacher"))
        self.class_reduction = check_choice("reduction", reduction, ("sum", "mean"))
        self.temperature = check_number(
            "temperature", temperature, low=0, high=torch.inf, open_low=True, open_high=True
        )
        self.nt_samples = check_count("nt_samples", nt_samples)
        self.stdevs = check_number("stdevs", stdevs, low=0, high=torch.inf, open_high=True)
        self.generator = generator

    def values(self, model: Net, inputs: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The divergence at each example and the mean one at the points around it, ``(N,)``."""
        teacher = beside(model, self.teacher)
        if getattr(unwrapped(model), "net", unwrapped(model)) is self.teacher:
            raise ValueError(
                "`teacher` must be another net than `model`, whose weights change; pass "
                "copy.deepcopy(model)."
            )
        outputs = self.task.outputs(model, inputs, target)
        distilled = self._divergence(outputs, self._teach_like(teacher, outputs, inputs))
        explained = teacher if self.explained == "teacher" else unwrapped(model)
        unit, reach = self._directions(explained, inputs, target)
        start = flatten((inputs,)) + self.radius * self._along(reach)
        there = start.unsqueeze(1) + self.radius * self._across(unit)
        moved = unwrapped(model)(_like(there.flatten(0, 2), inputs))
        taught = self._teach(teacher, _like(start.flatten(0, 1), inputs))
        taught = taught.unflatten(0, (self.along, 1, -1))
        taught = taught.expand(-1, self.across, *taught.shape[2:])
        perturbed = self._divergence(moved, taught.flatten(0, 2))
        return {
            "distillation": distilled,
            "perturbed": perturbed.unflatten(0, (-1, len(inputs))).mean(0),
        }

    def _directions(self, net: Net, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The map h at unit length, and at the length of a unit step along it, ``(N, d)`` each."""
        maps = flatten((self._smooth_map(net, inputs, target),))
        unit = normalized(maps, "l2")
        return unit, (normalized(maps, "max") if self.sampling == "grid" else unit)

    def _along(self, reach: Tensor) -> Tensor:
        """Steps along the map in radii, ``(along, N, d)``."""
        if self.sampling == "uniform":
            return self._uniform(reach, self.along, len(reach), 1) * reach
        numbers = torch.arange(self.along).to(reach)
        return ((numbers - self.along / 2) / (self.along - 1)).reshape(-1, 1, 1) * reach

    def _across(self, unit: Tensor) -> Tensor:
        """Steps perpendicular to the map in radii, ``(along, across, N, d)``."""
        shape = (self.along, self.across, *unit.shape)
        if self.sampling == "grid":
            return _without(self._uniform(unit, *shape), unit)
        drawn = unit.new_empty(shape).normal_(generator=self.generator)
        across = normalized(_without(drawn, unit).flatten(0, 2), "l2").reshape(shape)
        return self._uniform(unit, *shape[:-1], 1) * across

    def _smooth_map(self, net: Net, inputs: Tensor, target: Tensor) -> Tensor:
        """SmoothGrad of the net explained, without a graph."""
        seed = None if self.generator is None else drawn_seed(self.generator)
        explained, words = scored(self.task, net, target)
        smooth = GaussianSmoothing(Saliency(explained))
        with evaluation_mode(net), torch.autocast(inputs.device.type, enabled=False):
            return smooth.attribute(
                inputs,
                nt_samples=self.nt_samples,
                stdevs=self.stdevs,
                seed=seed,
                abs=False,
                **words,
            )

    def _uniform(self, like: Tensor, *shape: int) -> Tensor:
        """Numbers in [-1, 1]."""
        return like.new_empty(shape).uniform_(-1, 1, generator=self.generator)

    def _teach(self, teacher: Net, points: Tensor) -> Tensor:
        """The teacher's logits over the temperature."""
        with torch.no_grad(), evaluation_mode(self.teacher):
            return self.task.run(teacher, points, "teacher") / self.temperature

    def _teach_like(self, teacher: Net, outputs: Tensor, points: Tensor) -> Tensor:
        """The teacher's logits where the student gave ``outputs``, of the same classes."""
        taught = self._teach(teacher, points)
        if taught.shape != outputs.shape:
            raise ValueError(
                f"`teacher` must have the {outputs.shape[1]} classes of `model`, "
                f"got {taught.shape[1]}; pass a net trained for the same classes."
            )
        return taught

    def _divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        pair = (student, teacher) if self.direction == "student" else (teacher, student)
        value = self.task.divergence(*pair)
        return value / student.shape[1] if self.class_reduction == "mean" else value


def _like(rows: Tensor, inputs: Tensor) -> Tensor:
    """Rows ``(n, d)`` in the shape of the inputs, ``(n, *)``."""
    return rows.reshape(-1, *inputs.shape[1:])


def _without(vectors: Tensor, unit: Tensor) -> Tensor:
    """Vectors ``(*, N, m)`` without their components along unit vectors ``(N, m)``."""
    return vectors - (vectors * unit).sum(-1, keepdim=True) * unit
