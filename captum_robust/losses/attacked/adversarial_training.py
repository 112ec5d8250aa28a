"""Adversarial training of the prediction: of the cross-entropy, and of the output distribution."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from captum_robust._base.checks import check_number
from captum_robust.losses.criterion import Net, unwrapped
from captum_robust.losses.shared.adversarial import AdversarialCriterion, Raised


class AdversarialTraining(AdversarialCriterion):
    r"""Cross-entropy at the point of the ball where it is largest.

    .. math:: L = (1 - c)\,\mathrm{CE}(f(x'), y) + c\,\mathrm{CE}(f(x), y), \qquad
        x' = \arg\max_{\lVert x' - x \rVert_\infty \le r} \mathrm{CE}(f(x'), y)

    Madry et al. (2018), eq. 2.1, with c = 0. The defaults of the ascent are theirs for CIFAR-10;
    for MNIST they take radius 0.3, 40 steps of 0.01.

    Args:
        radius, steps, step_size: of the ascent, see :class:`AdversarialCriterion`.
        clean: c in [0, 1]; with 1 the perturbed point is found for others to use, such as
            :class:`IGR`, and the loss is the plain cross-entropy.
        **inner: further keywords of :class:`AdversarialCriterion`.

    Raises:
        ValueError: if an argument is out of range.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import AdversarialTraining
        >>> model = example_model()
        >>> criterion = AdversarialTraining(radius=0.1, lower_bound=0, upper_bound=1)
        >>> loss = criterion(model, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> list(criterion.terms)
        ['adversarial', 'total']
    """

    def __init__(
        self,
        radius: float | Tensor = 8 / 255,
        steps: int = 7,
        step_size: float | Tensor | None = None,
        *,
        clean: float = 0.0,
        **inner: Any,
    ) -> None:
        super().__init__(radius, steps, step_size, **inner)
        clean = check_number("clean", clean, low=0, high=1)
        shares = {self.task.name: clean, "adversarial": 1 - clean}
        self.weights = {name: share for name, share in shares.items() if share > 0}

    def objective(self, net: Net, inputs: Tensor, target: Tensor, start: Tensor) -> Raised:
        """Cross-entropy."""
        return lambda points: self.task.loss(self.task.outputs(net, points, target), target)

    def values_at(
        self, model: Net, inputs: Tensor, perturbed: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        """Cross-entropies of the inputs and of the perturbed ones, those of weight above zero."""
        points = {self.task.name: inputs, "adversarial": perturbed}
        found: dict[str, Tensor] = {}
        for name in self.weights:
            net = unwrapped(model) if found else model
            found[name] = self.task.loss(self.task.outputs(net, points[name], target), target)
        return found
