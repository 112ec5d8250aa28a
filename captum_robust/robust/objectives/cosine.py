"""Turns a map."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from captum_robust._base.vectors import flatten
from captum_robust.robust.objectives.objective import Explain, Maps, Objective


class CosineObjective(Objective):
    """Turns the map: one minus its cosine with the clean map, in [0, 2]; 0 for a map of zeros.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import AttributionAttack, CosineObjective
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> attack = AttributionAttack(model, Saliency(model), objective=CosineObjective())
        >>> y = model(x).argmax(1)
        >>> attack.perturb(x, radius=0.1, target=y, step_num=5, random_start=True).shape
        torch.Size([2, 4])
    """

    stationary = True
    ceiling = 2.0

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        return flatten(clean)

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        # A map of zeros has no direction; calling it unchanged keeps the attack from aiming at it.
        cosine = F.cosine_similarity(flatten(maps), anchor, dim=1, eps=1e-30)
        empty = (flatten(maps) == 0).all(1) | (anchor == 0).all(1)
        return torch.where(empty, torch.zeros_like(cosine), 1 - cosine)
