"""Transforms of each element alone."""

from __future__ import annotations

from torch import Tensor

from captum_robust.transforms.ranges import MapRange
from captum_robust.transforms.transform import ElementwiseTransform, Shapes


class Abs(ElementwiseTransform):
    r"""Absolute values, :math:`|g|`. Range: :math:`[0, \infty)`; norm as before.

    Example:
        >>> import torch
        >>> from captum_robust.transforms import Abs
        >>> Abs()((torch.tensor([[-2.0, 1.0]]),))
        (tensor([[2., 1.]]),)
    """

    def _apply(self, part: Tensor) -> Tensor:
        return part.abs()

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        return MapRange(0.0, before.magnitude, before.norm, before.binary, before.total)


class Square(ElementwiseTransform):
    r"""Squares, :math:`g^2`. Range: :math:`[0, \infty)`; norm at most the square of the norm.

    The norm follows from :math:`\|g^2\|_2 = \|g\|_4^2 \le \|g\|_2^2`.

    Example:
        >>> import torch
        >>> from captum_robust.transforms import Square
        >>> Square()((torch.tensor([[-2.0, 1.0]]),))
        (tensor([[4., 1.]]),)
    """

    def _apply(self, part: Tensor) -> Tensor:
        return part.square()

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        # Products: a power that is too large for a float raises, a product is infinite.
        high, norm = before.magnitude * before.magnitude, before.norm * before.norm
        return MapRange(0.0, high, norm, before.binary)
