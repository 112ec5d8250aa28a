"""How far the gradient moves under a random perturbation."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from captum_robust.losses.criterion import check_weight
from captum_robust.losses.gradients.local_gradient_alignment import LocalGradientAlignment


class GradientL2(LocalGradientAlignment):
    r"""Cross-entropy and the l2 criterion alone.

    .. math:: L = \mathrm{CE} + \lambda\, E_\delta \|g(x+\delta) - g(x)\|_2, \qquad
        g = \nabla_x f_y

    The baseline "l2" of Joo et al. (2023), Table 1; see :class:`LocalGradientAlignment`.

    Args:
        weight: :math:`\lambda`, >= 0; the paper selects 0.1 for a LeNet and 1 for a ResNet-18 on
            CIFAR-10, and 0.3 on ImageNet, with the squared norm of its code.
        radius: as in :class:`LocalGradientAlignment`.
        **options: its further keywords.

    Raises:
        ValueError: as there.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.losses import GradientL2
        >>> model = example_model()
        >>> criterion = GradientL2(weight=0.1, radius=4 / 255)
        >>> loss = criterion(model, torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))
        >>> loss.backward()
        >>> list(criterion.terms)
        ['cross_entropy', 'l2', 'total']
    """

    def __init__(
        self, weight: float = 0.1, radius: float | Tensor = 4 / 255, **options: Any
    ) -> None:
        super().__init__(0.0, check_weight("weight", weight), radius, **options)
        self.weights = {name: self.weights[name] for name in (self.task.name, "l2")}
