"""Integrated gradients of the loss itself, along the way to the perturbed input."""

from __future__ import annotations

from typing import Any

from captum.attr import IntegratedGradients
from torch import Tensor

from captum_robust._base.checks import check_count
from captum_robust.losses.criterion import Net
from captum_robust.losses.shared.adversarial import PenalisedCriterion, Raised
from captum_robust.losses.shared.maps import map_rows
from captum_robust.losses.tasks.task import Task


class IGNorm(PenalisedCriterion):
    r"""Cross-entropy and the largest path attribution of its change within the ball.

    .. math:: L = \ell(x, y) + \lambda \max_{\lVert x' - x \rVert_\infty \le r}
        \lVert \mathrm{IG}^\ell(x, x') \rVert_1, \qquad
        \mathrm{IG}^\ell(x, x')_i = (x'_i - x_i) \int_0^1 \partial_i \ell(x + t (x' - x), y)\, dt

    Chen et al. (2019), IG-NORM, with :math:`\ell` the cross-entropy. The attribution sums to
    :math:`\ell(x', y) - \ell(x, y)`. As in their code, the integral is the mean at t = 1/m, ..., 1,
    and of every ``approx_factor``-th of these points during the ascent; the model is in evaluation
    mode and full precision on the path. The defaults are theirs for MNIST in [0, 1]. On
    Fashion-MNIST they take radius 0.1 and 20 steps of 0.01; on GTSRB and Flower, with inputs in
    [0, 255], radius 8 and 7 steps of 2; ``approx_factor=10`` on all three, and a weight of 0.1 on
    Flower.

    Args:
        radius, steps, step_size: of the ascent, see :class:`AdversarialCriterion`.
        weight: :math:`\lambda`, >= 0.
        path_steps: m, points on the path; all of them go through the model at once.
        approx_factor: how many times fewer points the ascent takes, in [1, m / 2].
        **inner: further keywords of :class:`AdversarialCriterion`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import IGNorm
        >>> model = example_model()
        >>> criterion = IGNorm(radius=0.1, steps=5, path_steps=10, approx_factor=2)
        >>> loss = criterion(model, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> list(criterion.terms)
        ['cross_entropy', 'path', 'total']
    """

    relative_step = 1 / 30
    stationary = True
    jointly = False
    penalty_name = "path"

    def __init__(
        self,
        radius: float | Tensor = 0.3,
        steps: int = 40,
        step_size: float | Tensor | None = None,
        *,
        weight: float = 1.0,
        path_steps: int = 50,
        approx_factor: int = 5,
        **inner: Any,
    ) -> None:
        super().__init__(radius, steps, step_size, weight=weight, **inner)
        self.path_steps = check_count("path_steps", path_steps)
        self.approx_factor = check_count("approx_factor", approx_factor)
        if 2 * self.approx_factor > self.path_steps:  # Captum's rule needs two points
            raise ValueError(
                "`approx_factor` must be at most half of `path_steps` "
                f"({self.path_steps}), got {approx_factor}."
            )

    def penalty(self, net: Net, inputs: Tensor, perturbed: Tensor, target: Tensor) -> Tensor:
        """The l1 norm of the path attribution."""
        return loss_path(self.task, net, inputs, perturbed, target, self.path_steps).abs().sum(1)

    def raised_penalty(self, net: Net, inputs: Tensor, target: Tensor) -> Raised:
        """That norm on fewer points."""
        steps = self.path_steps // self.approx_factor
        return lambda points: loss_path(self.task, net, inputs, points, target, steps).abs().sum(1)


def loss_path(
    task: Task, net: Net, inputs: Tensor, perturbed: Tensor, target: Tensor, steps: int
) -> Tensor:
    r"""Integrated gradients of the cross-entropy from the inputs to the perturbed ones, ``(N, m)``.

    Args:
        task: tells the loss.
        net: a model without a wrapper.
        inputs, perturbed: ends of the path, ``(N, *)``.
        target: true classes, ``(N,)``.
        steps: points of the right Riemann sum.
    """

    def loss(points: Tensor, classes: Tensor) -> Tensor:
        return task.loss(task.outputs(net, points, classes), classes)

    return map_rows(
        IntegratedGradients(loss),
        net,
        perturbed,
        None,
        baselines=inputs,
        additional_forward_args=(target,),
        n_steps=steps,
        method="riemann_right",
    )
