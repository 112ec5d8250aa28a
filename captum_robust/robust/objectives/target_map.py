"""Moves a map towards a given one."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from captum_robust._base.checks import check_choice, check_count
from captum_robust._base.vectors import flatten
from captum_robust.robust.objectives.objective import (
    Explain,
    MapError,
    Maps,
    Normalisation,
    Objective,
    Reduction,
    like_map,
    squared_error,
)


class TargetMapObjective(Objective):
    r"""Makes the map look like a given one: :math:`D(x') = -\mathrm{MSE}(h(x'), h_t)`.

    Dombrowski et al. (2019). The target goes through the same normalisation as the map.

    Args:
        target_map: the map :math:`h_t`, broadcast to the map as ``reduction`` leaves it; see
            :func:`frame_target`.
        reduction, normalisation: see :class:`Objective`.
        error: ``"mean"`` of the squares over the map, or their ``"sum"``.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.robust import AttributionAttack, TargetMapObjective, frame_target
        >>> model = example_model((1, 5, 5))
        >>> x = torch.rand(2, 1, 5, 5)
        >>> objective = TargetMapObjective(frame_target((5, 5), width=1))
        >>> attack = AttributionAttack(model, Saliency(model), objective=objective)
        >>> attack.perturb(x, radius=0.1, step_num=5, target=model(x).argmax(1)).shape
        torch.Size([2, 1, 5, 5])
    """

    ceiling = 0.0

    def __init__(
        self,
        target_map: Tensor,
        reduction: Reduction = "abs-sum",
        normalisation: Normalisation = "sum",
        error: MapError = "mean",
    ) -> None:
        super().__init__(reduction, normalisation)
        self.error = check_choice("error", error, get_args(MapError))
        if not isinstance(target_map, Tensor) or not target_map.is_floating_point():
            raise TypeError("`target_map` must be a floating-point Tensor.")
        if not bool(torch.isfinite(target_map).all()):
            raise ValueError("`target_map` must be finite, got NaN or infinity.")
        self.target_map = target_map

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        wanted = like_map("target_map", self.target_map, clean)
        scaled = Objective(normalisation=self.normalisation)
        return flatten(scaled.view((wanted,))).to(clean[0].dtype)

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        return -squared_error(maps, anchor, self.error)


def frame_target(shape: tuple[int, ...], width: int) -> Tensor:
    """A map of ones along the border and zeros inside, the target of Joo et al. (2023).

    Args:
        shape: shape of the map, its last two dimensions are height and width.
        width: thickness of the frame in pixels, at most half the image; their code takes 5 at 32
            pixels and 35 at 224.

    Raises:
        ValueError: if the frame leaves no inside.

    Example:
        >>> from captum_robust.robust import frame_target
        >>> frame_target((3, 4), width=1).tolist()
        [[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]
    """
    width = check_count("width", width)
    if len(shape) < 2 or 2 * width >= min(shape[-2:]):
        raise ValueError(
            f"`width` must leave an inside in a map of shape {tuple(shape)}, got {width}."
        )
    frame = torch.ones(shape)
    frame[..., width:-width, width:-width] = 0
    return frame
