"""Moves a map in the l2 norm."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_robust._base.vectors import flatten
from captum_robust.robust.objectives.objective import Explain, Maps, Objective


class L2Objective(Objective):
    r"""Moves the map: raises :math:`\lVert h(x') - h(x) \rVert_2^2`, scored by its root.

    Wang and Kong (2023), the deviation their bounds are measured against.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import AttributionAttack, L2Objective
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> attack = AttributionAttack(model, Saliency(model), objective=L2Objective())
        >>> y = model(x).argmax(1)
        >>> attack.perturb(x, radius=0.1, target=y, step_num=5, random_start=True).shape
        torch.Size([2, 4])
    """

    stationary = True

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        return flatten(clean)

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        return (flatten(maps) - anchor).square().sum(1)

    def score(self, maps: Maps, clean: Maps, anchor: Tensor) -> Tensor:
        return torch.linalg.vector_norm(flatten(maps) - anchor, dim=1)
