"""Moves the centre of a map."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from captum_robust._base.checks import check_choice
from captum_robust.robust.objectives.objective import (
    Explain,
    Maps,
    Normalisation,
    Objective,
    Reduction,
)

Reference = Literal["pixel", "exact"]


class MassCenterObjective(Objective):
    r"""Moves the centre of mass of an image's map.

    .. math:: D(x') = \lVert C(x') - \lfloor C(x) \rfloor \rVert_2^2, \quad
        C = \sum_{ij} h_{ij}\,(i, j)

    Ghorbani et al. (2019), whose code cuts the clean centre to whole pixels. Scored by the distance
    of the centres in pixels. Needs maps ``(N, C, H, W)``; a map of zeros has its centre at (0, 0).

    Args:
        reduction, normalisation: see :class:`Objective`.
        reference: ``"pixel"`` is the formula above, which drives the centre to larger coordinates;
            ``"exact"`` leaves the clean centre uncut, goes wherever the start is, and needs a
            random one, since its gradient is zero at the clean input.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import AttributionAttack, MassCenterObjective
        >>> model = example_model((1, 5, 5))
        >>> x = torch.rand(2, 1, 5, 5)
        >>> attack = AttributionAttack(model, Saliency(model), objective=MassCenterObjective())
        >>> attack.perturb(x, radius=0.1, step_num=5, target=model(x).argmax(1)).shape
        torch.Size([2, 1, 5, 5])
    """

    def __init__(
        self,
        reduction: Reduction = "abs-sum",
        normalisation: Normalisation = "sum",
        reference: Reference = "pixel",
    ) -> None:
        super().__init__(reduction, normalisation)
        self.reference = check_choice("reference", reference, get_args(Reference))
        self.stationary = self.reference == "exact"

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        centre = _centre(clean)
        return centre if self.stationary else centre.trunc()

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        return (_centre(maps) - anchor).square().sum(1)

    def score(self, maps: Maps, clean: Maps, anchor: Tensor) -> Tensor:
        return torch.linalg.vector_norm(_centre(maps) - _centre(clean), dim=1)


def _centre(maps: Maps) -> Tensor:
    """Mean pixel position under one image map ``(N, *, H, W)``, ``(N, 2)`` in pixels."""
    if len(maps) != 1 or maps[0].dim() < 3:
        shapes = ", ".join(str(tuple(part.shape)) for part in maps)
        raise ValueError(f"a centre of mass needs one image map (N, C, H, W), got {shapes}.")
    image = maps[0].flatten(1, -3).sum(1) if maps[0].dim() > 3 else maps[0]
    rows = torch.arange(image.shape[1], dtype=image.dtype, device=image.device)
    columns = torch.arange(image.shape[2], dtype=image.dtype, device=image.device)
    return torch.stack([image.sum(2) @ rows, image.sum(1) @ columns], dim=1)
