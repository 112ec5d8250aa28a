"""Adversarial training that turns the gradient of the true class towards the input."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from captum_robust._base.checks import check_choice, check_share_or_count, feature_count
from captum_robust._base.vectors import top_mask
from captum_robust.losses.criterion import Net, check_weight, unwrapped
from captum_robust.losses.shared.adversarial import AdversarialCriterion, Raised
from captum_robust.losses.shared.gradients import bendable_outputs, pass_of, rows, score_map
from captum_robust.losses.shared.maps import check_sharpness, smooth_twin
from captum_robust.losses.tasks.task import Task
from captum_robust.metrics.similarities.shared.rows import cosine


class ART(AdversarialCriterion):
    r"""Cross-entropy and a triplet loss on the angle between input and gradient, both perturbed.

    .. math:: L = \mathrm{CE}(f(x'), y) + \lambda\, T(x'), \qquad
        T(x) = \log\bigl(1 + e^{-(d(g^{i^*}(x), x) - d(g^y(x), x))}\bigr), \quad
        d(a, b) = 1 - \cos(a, b)

    Singh et al. (2020); the IGA of Joo et al. (2023), appendix A. :math:`g^c` is the gradient of
    logit c and :math:`i^*` the wrong class of the largest logit. x' raises T over the k features
    that are largest in :math:`|g^y|` at the start, on a softplus twin of the net, since the
    gradients of a ReLU net have no slope. The defaults are those of the released code for CIFAR-10.

    That code differs from the formula in the loss: with ``mining="hard"``, each of x and x' takes
    the gradients at either that give the largest :math:`d(g^y, \cdot)` and the smallest
    :math:`d(g^{i^*}, \cdot)`, and the mean T of the two counts. It also takes the loss's gradients
    on the softplus twin, which is the same where the net has softplus activations, and the cosines
    with standardised inputs: give inputs so scaled, and the radius and the box with them.

    Args:
        radius, steps, step_size: of the ascent, see :class:`AdversarialCriterion`.
        weight: :math:`\lambda`, >= 0.
        k: features that the ascent looks at, a count or a share in (0, 1]; the code's 1000 of 3072.
        mining: ``"none"`` or ``"hard"``.
        surrogate: sharpness of the softplus twin, > 0, in units of one over a pre-activation;
            ``None`` climbs on the net itself.
        **inner: further keywords of :class:`AdversarialCriterion`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import ART
        >>> model = example_model()
        >>> criterion = ART(radius=0.1, k=2)
        >>> loss = criterion(model, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> list(criterion.terms)
        ['adversarial', 'triplet', 'total']
    """

    relative_step = 5 / 8

    def __init__(
        self,
        radius: float | Tensor = 8 / 255,
        steps: int = 3,
        step_size: float | Tensor | None = None,
        *,
        weight: float = 0.5,
        k: int | float = 1000 / 3072,
        mining: str = "none",
        surrogate: float | None = 50.0,
        **inner: Any,
    ) -> None:
        super().__init__(radius, steps, step_size, **inner)
        self.weights = {"adversarial": 1.0, "triplet": check_weight("weight", weight)}
        self.k = check_share_or_count("k", k)
        self.mining = check_choice("mining", mining, ("none", "hard"))
        self.surrogate = check_sharpness(surrogate)

    def objective(self, net: Net, inputs: Tensor, target: Tensor, start: Tensor) -> Raised:
        """The triplet loss on the largest features of the start."""
        leaf, outputs = pass_of(self.task, net, start, target)
        classes = self.task.classes(outputs, target)
        size = rows(score_map(self.task, outputs, classes, leaf, create_graph=False)).abs()
        marked = top_mask(size, feature_count("k", self.k, size.shape[1]))
        twin = smooth_twin(net, self.surrogate)

        def raised(points: Tensor) -> Tensor:
            outputs = bendable_outputs(self.task, twin, points, target)
            true, rival = class_gradients(self.task, outputs, points, classes)
            x = rows(points) * marked
            return triplet(1 - cosine(true * marked, x), 1 - cosine(rival * marked, x))

        return raised

    def values_at(
        self, model: Net, inputs: Tensor, perturbed: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Cross-entropy of the perturbed inputs, and the triplet loss there or of the pair."""
        leaf, outputs = pass_of(self.task, model, perturbed, target)
        classes = self.task.classes(outputs, target)
        gradients = [class_gradients(self.task, outputs, leaf, classes)]
        anchors = [rows(perturbed)]
        if self.mining == "hard":
            clean_leaf, clean_outputs = pass_of(self.task, unwrapped(model), inputs, target)
            gradients.append(class_gradients(self.task, clean_outputs, clean_leaf, classes))
            anchors.append(rows(inputs))
        mined = torch.stack([_mined(x, gradients) for x in anchors])
        return {"adversarial": self.task.loss(outputs, target), "triplet": mined.mean(0)}


IGA = ART


def class_gradients(
    task: Task, outputs: Tensor, points: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the true class's logit and of the largest other, ``(N, d)`` each, with a graph.

    Args:
        task: tells a class's logit.
        outputs: logits, ``(N, classes)``.
        points: where they were taken, ``(N, *)``.
        target: true classes, ``(N,)``.
    """
    rival = outputs.detach().scatter(1, target.unsqueeze(1), -torch.inf).argmax(1)
    true, other = (
        score_map(task, outputs, each, points, create_graph=True) for each in (target, rival)
    )
    return rows(true), rows(other)


def triplet(positive: Tensor, negative: Tensor) -> Tensor:
    """Soft-margin triplet loss, ``(N,)``: small where the positive is nearer than the negative."""
    return functional.softplus(positive - negative)


def _mined(x: Tensor, gradients: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The triplet loss of the farthest true gradient and of the nearest rival one, ``(N,)``."""
    true, rival = (
        torch.stack([1 - cosine(gradient, x) for gradient in kind])
        for kind in zip(*gradients, strict=True)
    )
    return triplet(true.amax(0), rival.amin(0))
