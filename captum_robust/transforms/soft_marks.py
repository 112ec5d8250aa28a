"""A smooth stand-in for "is among the largest", which has no gradient of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_robust._base.checks import feature_count
from captum_robust.transforms.marks import Sparsify
from captum_robust.transforms.ranges import MapRange
from captum_robust.transforms.transform import JointTransform

# In mean distances to the threshold: wider ones pull at features that will not cross it,
# narrower ones at too few.
_WIDTH = 0.2


def soft_top(rows: Tensor, count: int, share: float = _WIDTH) -> Tensor:
    r"""How far each feature is among the ``count`` largest of its row, in (0, 1).

    .. math:: \sigma_i = \mathrm{sigmoid}\Bigl(\frac{h_i - \theta}{s\, m}\Bigr)

    with :math:`\theta` halfway between the last value inside and the first outside, and m the mean
    distance to it. Both are constants to the gradient, so that every feature is pulled by itself.

    Args:
        rows: maps ``(N, m)``.
        count: of features inside, in ``[1, m]``.
        share: the width s, > 0, in mean distances.
    """
    last = min(count + 1, rows.shape[1])
    threshold = rows.detach().topk(last, dim=1).values[:, -2:].mean(1, keepdim=True)
    above = rows - threshold
    width = share * above.detach().abs().mean(1, keepdim=True)
    return torch.sigmoid(above / torch.where(width > 0, width, 1))


class SoftSparsify(JointTransform):
    """What attacks climb on in the place of a :class:`Sparsify`: its marks made smooth."""

    def __init__(self, sparsify: Sparsify) -> None:
        self.keep = sparsify.keep

    def _apply(self, rows: Tensor) -> Tensor:
        return soft_top(rows, feature_count("keep", self.keep, rows.shape[1]))

    def range(self, before: MapRange, shapes: object) -> MapRange:
        return MapRange(0.0, 1.0)
