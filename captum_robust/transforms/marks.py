"""Transforms that mark the largest features."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from captum_robust._base.checks import check_share_or_count, feature_count
from captum_robust._base.vectors import top_mask
from captum_robust.transforms.norms import nonzero
from captum_robust.transforms.ranges import MapRange
from captum_robust.transforms.transform import JointTransform, Shapes, features_of


class Sparsify(JointTransform):
    r"""Marks the largest features, :math:`\mathbb 1[\,g_i \text{ in the top } T\,]`. Range: 0 or 1.

    Exactly :math:`T` features are marked, whatever ties (a threshold on the zeros of a ReLU net
    would mark thousands); a zero map stays zero. Levine et al. (2019), eq. 3.1. A step function:
    gradients do not flow, :class:`Relax` has them.

    Args:
        keep: features marked, a share in ``(0, 1]`` (rounded up) or a count.

    Example:
        >>> import torch
        >>> from captum_robust.transforms import Sparsify
        >>> Sparsify(1)((torch.tensor([[1.0, 3.0, 3.0], [0.0, 0.0, 0.0]]),))
        (tensor([[0., 1., 0.],
                [0., 0., 0.]]),)
    """

    differentiable = False

    def __init__(self, keep: int | float) -> None:
        self.keep = check_share_or_count("keep", keep)

    def _apply(self, rows: Tensor) -> Tensor:
        marked = top_mask(rows, feature_count("keep", self.keep, rows.shape[1]))
        return (marked & rows.any(1, keepdim=True)).to(rows.dtype)

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        count = feature_count("keep", self.keep, features_of(shapes))
        return MapRange(0.0, 1.0, math.sqrt(count), binary=True, total=count)


class Relax(JointTransform):
    r"""Keeps the largest features at a value between 0 and 1, so that gradients flow.

    .. math:: t(g)_i = \min(1,\, g_i / g_{[\lceil\gamma m\rceil]})
              \text{ for the top } \tau m \text{ features, else } 0

    Levine et al. (2019), section 3 (relaxed sparsified SmoothGrad). Negative values count as 0.
    Range: [0, 1].

    Args:
        keep: features kept (:math:`\tau`), a share in ``(0, 1]`` or a count.
        clip: features at 1 (:math:`\gamma`), a share or a count of at most ``keep``; 0 divides by
            the largest.

    Example:
        >>> import torch
        >>> from captum_robust.transforms import Relax
        >>> Relax(keep=3, clip=0)((torch.tensor([[1.0, 4.0, 2.0, 0.5]]),))
        (tensor([[0.2500, 1.0000, 0.5000, 0.0000]]),)
    """

    def __init__(self, keep: int | float, clip: int | float = 0.01) -> None:
        self.keep = check_share_or_count("keep", keep)
        largest = clip == 0 and not isinstance(clip, bool)
        self.clip = 0 if largest else check_share_or_count("clip", clip)

    def _counts(self, features: int) -> tuple[int, int]:
        keep = feature_count("keep", self.keep, features)
        clip = feature_count("clip", self.clip, features) if self.clip else 1
        if clip > keep:
            raise ValueError(
                f"`clip` must select at most `keep` = {keep} of {features} features, got {clip}."
            )
        return keep, clip

    def _apply(self, rows: Tensor) -> Tensor:
        keep, clip = self._counts(rows.shape[1])
        rows = rows.clamp(min=0)
        unit = rows.topk(clip, dim=1).values[:, -1:]
        # The smaller first: a quotient that overflows would have an undefined gradient.
        clipped = torch.minimum(rows, unit) / nonzero(unit)
        relaxed = torch.where(unit > 0, clipped, (rows > 0).to(rows.dtype))
        return torch.where(top_mask(rows.detach(), keep), relaxed, 0.0)

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        keep, _ = self._counts(features_of(shapes))
        return MapRange(0.0, 1.0, math.sqrt(keep), total=keep)


class Rank(JointTransform):
    r"""Replaces each feature by a function of its rank, :math:`f(\mathrm{rank}_i)`. Range: [0, 1].

    Rank 1 is the largest. Levine et al. (2019), appendix (general rank maps).

    Args:
        function: takes the ranks ``1 .. m`` as a float64 tensor and returns as many values in
            [0, 1] that do not increase; default :math:`f(k) = 1 - (k-1)/m`.

    Example:
        >>> import torch
        >>> from captum_robust.transforms import Rank
        >>> Rank()((torch.tensor([[5.0, 9.0, 5.0, 0.0]]),))
        (tensor([[0.7500, 1.0000, 0.5000, 0.2500]]),)
    """

    differentiable = False

    def __init__(self, function: Callable[[Tensor], Tensor] | None = None) -> None:
        self.function = function

    def __repr__(self) -> str:
        name = "linear" if self.function is None else getattr(self.function, "__name__", "custom")
        return f"Rank({name})"

    def values(self, features: int) -> Tensor:
        """The values of ranks ``1 .. features``, checked."""
        ranks = torch.arange(1, features + 1, dtype=torch.float64)
        values = 1 - (ranks - 1) / features if self.function is None else self.function(ranks)
        values = torch.as_tensor(values, dtype=torch.float64)
        if values.shape != ranks.shape or not (
            0 < values[0] <= 1 and values[-1] >= 0 and (values.diff() <= 0).all()
        ):
            raise ValueError(
                "`function` must map the ranks to as many values in [0, 1] that do not increase, "
                "the first above 0."
            )
        return values

    def _apply(self, rows: Tensor) -> Tensor:
        values = self.values(rows.shape[1]).to(device=rows.device, dtype=rows.dtype)
        order = rows.argsort(dim=1, descending=True, stable=True)
        ranked = torch.empty_like(rows).scatter_(1, order, values.expand_as(rows))
        return ranked * rows.any(1, keepdim=True)

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        values = self.values(features_of(shapes))
        norm = float(torch.linalg.vector_norm(values))
        return MapRange(0.0, float(values[0]), norm, total=float(values.sum()))
