"""Transforms that join features."""

from __future__ import annotations

import math

from torch import Size, Tensor

from captum_robust.transforms.ranges import MapRange
from captum_robust.transforms.transform import ElementwiseTransform, Shapes


class SumChannels(ElementwiseTransform):
    r"""Sums the channels, ``(N, C, *)`` to ``(N, 1, *)``. Range: C times the interval before.

    The norm grows by at most :math:`\sqrt C` (Cauchy and Schwarz).

    Example:
        >>> import torch
        >>> from captum_robust.transforms import SumChannels
        >>> SumChannels()((torch.ones(1, 3, 1, 2),))[0].shape
        torch.Size([1, 1, 1, 2])
    """

    def _apply(self, part: Tensor) -> Tensor:
        if part.dim() < 3:
            raise ValueError(
                f"`SumChannels` needs maps of shape (N, C, *), got {tuple(part.shape)}."
            )
        return part.sum(1, keepdim=True)

    def shapes(self, shapes: Shapes) -> Shapes:
        return tuple(Size((1, *shape[1:])) for shape in shapes)

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        channels = [shape[0] for shape in shapes]
        return MapRange(
            min(count * before.low for count in channels),
            max(count * before.high for count in channels),
            math.sqrt(max(channels)) * before.norm,
            before.binary and max(channels) == 1,
            before.total,
        )
