"""Transforms that divide a map by its size."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_robust._base.checks import check_number
from captum_robust.transforms.ranges import MapRange
from captum_robust.transforms.transform import JointTransform, Shapes, features_of


class UnitNorm(JointTransform):
    r"""Maps of unit l2 norm, :math:`g/\|g\|_2`. Range: norm 1, elements in [-1, 1].

    The smoothed map is then an average of directions; its norm says how far they agree.

    Example:
        >>> import torch
        >>> from captum_robust.transforms import UnitNorm
        >>> UnitNorm()((torch.tensor([[3.0], [0.0]]), torch.tensor([[4.0], [0.0]])))
        (tensor([[0.6000],
                [0.0000]]), tensor([[0.8000],
                [0.0000]]))
    """

    def _apply(self, rows: Tensor) -> Tensor:
        scaled = rows / _largest(rows)
        return scaled / nonzero(_norm(scaled))

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        return MapRange(0.0 if before.nonnegative else -1.0, 1.0, 1.0)


class UnitSum(JointTransform):
    r"""Magnitudes that sum to one, :math:`|g|/\sum_i |g_i|`. Range: [0, 1], norm 1, sum at most 1.

    Each sample's map is then a distribution over features, what the Renyi certificate of Liu et al.
    (2022) is about.

    Example:
        >>> import torch
        >>> from captum_robust.transforms import UnitSum
        >>> UnitSum()((torch.tensor([[1.0, -3.0], [0.0, 0.0]]),))
        (tensor([[0.2500, 0.7500],
                [0.0000, 0.0000]]),)
    """

    def _apply(self, rows: Tensor) -> Tensor:
        scaled = rows.abs() / _largest(rows)
        return scaled / nonzero(scaled.sum(1, keepdim=True))

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        return MapRange(0.0, 1.0, 1.0, total=1.0)


class ClipNorm(JointTransform):
    r"""Maps of l2 norm at most ``bound``, :math:`g \min(1, M/\|g\|_2)`. Range: norm ``bound``.

    Args:
        bound: the norm :math:`M` beyond which a map is scaled down, > 0.

    Example:
        >>> import torch
        >>> from captum_robust.transforms import ClipNorm
        >>> ClipNorm(1.0)((torch.tensor([[3.0, 4.0], [0.3, 0.4]]),))
        (tensor([[0.6000, 0.8000],
                [0.3000, 0.4000]]),)
    """

    def __init__(self, bound: float) -> None:
        self.bound = check_number(
            "bound", bound, low=0, high=math.inf, open_low=True, open_high=True
        )

    def _apply(self, rows: Tensor) -> Tensor:
        scale = _largest(rows)
        scaled = rows / scale
        norm = nonzero(_norm(scaled))
        return torch.where(scale * norm > self.bound, scaled * (self.bound / norm), rows)

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        norm = min(self.bound, before.norm)
        low, high = min(before.low, 0.0), max(before.high, 0.0)  # scaling goes towards 0
        return MapRange(max(low, -norm), min(high, norm), norm)


class ScaleToMax(JointTransform):
    r"""Maps divided by their largest magnitude, :math:`g/\max_i |g_i|`. Range: [-1, 1] or [0, 1].

    Levine et al. (2019), section 3 (scaled SmoothGrad).

    Example:
        >>> import torch
        >>> from captum_robust.transforms import ScaleToMax
        >>> ScaleToMax()((torch.tensor([[1.0, 4.0], [0.0, 0.0]]),))
        (tensor([[0.2500, 1.0000],
                [0.0000, 0.0000]]),)
    """

    def _apply(self, rows: Tensor) -> Tensor:
        return rows / nonzero(rows.abs().amax(1, keepdim=True))

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        return MapRange(0.0 if before.nonnegative else -1.0, 1.0, math.sqrt(features_of(shapes)))


def _norm(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1, keepdim=True)


def _largest(rows: Tensor) -> Tensor:
    """A scale at which squares neither overflow nor vanish; it cancels, so it needs no gradient."""
    return nonzero(rows.detach().abs().amax(1, keepdim=True))


def nonzero(divisor: Tensor) -> Tensor:
    """The divisor, 1 where it is 0, so that a zero map stays zero."""
    return torch.where(divisor > 0, divisor, torch.ones_like(divisor))
