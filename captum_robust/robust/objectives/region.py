"""Moves a map into a region."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_robust._base.vectors import flatten
from captum_robust.robust.objectives.objective import (
    Explain,
    Maps,
    Normalisation,
    Objective,
    Reduction,
    like_map,
)


class RegionObjective(Objective):
    r"""Raises the attribution inside a region: :math:`D(x') = \sum_{i \in A} h_i(x')`.

    Ghorbani et al. (2019), targeted attack.

    Args:
        region: boolean mask, broadcast to the map as ``reduction`` leaves it, one for all examples
            ``(*map)`` or one each ``(N, *map)``.
        reduction, normalisation: see :class:`Objective`.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import AttributionAttack, RegionObjective
        >>> model = example_model()
        >>> x = torch.rand(2, 4)
        >>> objective = RegionObjective(torch.tensor([True, True, False, False]))
        >>> attack = AttributionAttack(model, Saliency(model), objective=objective)
        >>> attack.perturb(x, radius=0.1, step_num=5, target=model(x).argmax(1)).shape
        torch.Size([2, 4])
    """

    def __init__(
        self, region: Tensor, reduction: Reduction = "abs-sum", normalisation: Normalisation = "sum"
    ) -> None:
        super().__init__(reduction, normalisation)
        if not isinstance(region, Tensor) or region.dtype != torch.bool:
            kind = region.dtype if isinstance(region, Tensor) else type(region).__name__
            raise TypeError(f"`region` must be a bool Tensor, got {kind}.")
        if not region.any():
            raise ValueError("`region` must mark at least one feature, got none.")
        self.region = region

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        return like_map("region", self.region, clean)

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        return (flatten(maps) * anchor).sum(1)
