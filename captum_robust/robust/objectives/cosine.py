"""Turns a map."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from captum_robust._base.vectors import flatten
from captum_robust.robust.objectives.objective import Explain, Maps, Objective


class CosineObjective(Objective):
    """Turns the map: one minus its cosine with the clean map, in [0, 2]; 0 for a map of zeros."""

    stationary = True
    ceiling = 2.0

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        return flatten(clean)

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        # A map of zeros has no direction; calling it unchanged keeps the attack from aiming at it.
        cosine = F.cosine_similarity(flatten(maps), anchor, dim=1, eps=1e-30)
        empty = (flatten(maps) == 0).all(1) | (anchor == 0).all(1)
        return torch.where(empty, torch.zeros_like(cosine), 1 - cosine)
