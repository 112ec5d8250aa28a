"""Per-sample transforms: from one sample's attribution to what is averaged.

Each takes a tuple of maps ``(N, *)``, treats the rows alone, declares the range of what it returns
and composes by ``>>``. A tuple of maps is one vector: norms, maxima and ranks go over all of it.
Zero maps stay zero; ties are broken by index. Half-precision maps are float32 by the time they come
here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Size, Tensor

from captum_robust._checks import check_number, check_share_or_count, feature_count
from captum_robust._features import feature_shapes, flatten, top_mask, unflatten
from captum_robust.certificates._ranges import MapRange

Maps = tuple[Tensor, ...]
Shapes = Sequence[Size]


class Transform(ABC):
    """A map from one sample's attribution to what is averaged.

    Attributes:
        differentiable: whether gradients flow through it.
    """

    differentiable: bool = True

    @abstractmethod
    def __call__(self, maps: Maps) -> Maps:
        """Transforms maps ``(N, *)``, each row by itself."""

    @abstractmethod
    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        """The range of the result, given that of the argument and one example's shapes."""

    def shapes(self, shapes: Shapes) -> Shapes:
        """One example's shapes after the transform."""
        return shapes

    def __rshift__(self, then: Transform) -> Transform:
        """Composes: ``(first >> then)(maps)`` is ``then(first(maps))``."""
        if not isinstance(then, Transform):
            return NotImplemented
        return Chain(*_links(self), *_links(then))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"


def _links(transform: Transform) -> tuple[Transform, ...]:
    return transform.links if isinstance(transform, Chain) else (transform,)


class Chain(Transform):
    """Transforms applied one after the other; what ``>>`` builds. An empty chain is the identity.

    Example:
        >>> (Abs() >> Sparsify(2))((torch.tensor([[3.0, -4.0, 1.0]]),))
        (tensor([[1., 1., 0.]]),)
    """

    def __init__(self, *links: Transform) -> None:
        self.links = links

    @property
    def differentiable(self) -> bool:  # type: ignore[override]
        """Whether gradients flow through every link."""
        return all(link.differentiable for link in self.links)

    def __call__(self, maps: Maps) -> Maps:
        for link in self.links:
            maps = link(maps)
        return maps

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        for link in self.links:
            before = link.range(before, shapes)
            shapes = link.shapes(shapes)
        return before

    def shapes(self, shapes: Shapes) -> Shapes:
        for link in self.links:
            shapes = link.shapes(shapes)
        return shapes

    def __repr__(self) -> str:
        return " >> ".join(map(repr, self.links)) or "identity"


class _Elementwise(Transform):
    """A transform of each element alone."""

    def __call__(self, maps: Maps) -> Maps:
        return tuple(self._apply(part) for part in maps)

    @abstractmethod
    def _apply(self, part: Tensor) -> Tensor: ...


class _Joint(Transform):
    """A transform of all features of an example together."""

    def __call__(self, maps: Maps) -> Maps:
        return unflatten(self._apply(flatten(maps)), feature_shapes(maps))

    @abstractmethod
    def _apply(self, rows: Tensor) -> Tensor: ...


class Abs(_Elementwise):
    r"""Absolute values, :math:`|g|`. Range: :math:`[0, \infty)`; norm as before.

    Example:
        >>> Abs()((torch.tensor([[-2.0, 1.0]]),))
        (tensor([[2., 1.]]),)
    """

    def _apply(self, part: Tensor) -> Tensor:
        return part.abs()

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        return MapRange(0.0, before.magnitude, before.norm, before.binary, before.total)


class Square(_Elementwise):
    r"""Squares, :math:`g^2`. Range: :math:`[0, \infty)`; norm at most the square of the norm.

    The norm follows from :math:`\|g^2\|_2 = \|g\|_4^2 \le \|g\|_2^2`.

    Example:
        >>> Square()((torch.tensor([[-2.0, 1.0]]),))
        (tensor([[4., 1.]]),)
    """

    def _apply(self, part: Tensor) -> Tensor:
        return part.square()

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        # Products: a power that is too large for a float raises, a product is infinite.
        high, norm = before.magnitude * before.magnitude, before.norm * before.norm
        return MapRange(0.0, high, norm, before.binary)


class UnitNorm(_Joint):
    r"""Maps of unit l2 norm, :math:`g/\|g\|_2`. Range: norm 1, elements in [-1, 1].

    The smoothed map is then an average of directions; its norm says how far they agree.

    Example:
        >>> UnitNorm()((torch.tensor([[3.0], [0.0]]), torch.tensor([[4.0], [0.0]])))
        (tensor([[0.6000],
                [0.0000]]), tensor([[0.8000],
                [0.0000]]))
    """

    def _apply(self, rows: Tensor) -> Tensor:
        scaled = rows / _largest(rows)
        return scaled / _nonzero(_norm(scaled))

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        return MapRange(0.0 if before.nonnegative else -1.0, 1.0, 1.0)


class UnitSum(_Joint):
    r"""Magnitudes that sum to one, :math:`|g|/\sum_i |g_i|`. Range: [0, 1], norm 1, sum at most 1.

    Each sample's map is then a distribution over features, what the Renyi certificate of Liu et al.
    (2022) is about.

    Example:
        >>> UnitSum()((torch.tensor([[1.0, -3.0], [0.0, 0.0]]),))
        (tensor([[0.2500, 0.7500],
                [0.0000, 0.0000]]),)
    """

    def _apply(self, rows: Tensor) -> Tensor:
        scaled = rows.abs() / _largest(rows)
        return scaled / _nonzero(scaled.sum(1, keepdim=True))

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        return MapRange(0.0, 1.0, 1.0, total=1.0)


class ClipNorm(_Joint):
    r"""Maps of l2 norm at most ``bound``, :math:`g \min(1, M/\|g\|_2)`. Range: norm ``bound``.

    Args:
        bound: the norm :math:`M` beyond which a map is scaled down, > 0.

    Example:
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
        norm = _nonzero(_norm(scaled))
        return torch.where(scale * norm > self.bound, scaled * (self.bound / norm), rows)

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        norm = min(self.bound, before.norm)
        low, high = min(before.low, 0.0), max(before.high, 0.0)  # scaling goes towards 0
        return MapRange(max(low, -norm), min(high, norm), norm)


class ScaleToMax(_Joint):
    r"""Maps divided by their largest magnitude, :math:`g/\max_i |g_i|`. Range: [-1, 1] or [0, 1].

    Levine et al. (2019), section 3 (scaled SmoothGrad).

    Example:
        >>> ScaleToMax()((torch.tensor([[1.0, 4.0], [0.0, 0.0]]),))
        (tensor([[0.2500, 1.0000],
                [0.0000, 0.0000]]),)
    """

    def _apply(self, rows: Tensor) -> Tensor:
        return rows / _nonzero(rows.abs().amax(1, keepdim=True))

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        return MapRange(0.0 if before.nonnegative else -1.0, 1.0, math.sqrt(_features(shapes)))


class Sparsify(_Joint):
    r"""Marks the largest features, :math:`\mathbb 1[\,g_i \text{ in the top } T\,]`. Range: 0 or 1.

    Exactly :math:`T` features are marked, whatever ties (a threshold on the zeros of a ReLU net
    would mark thousands); a zero map stays zero. Levine et al. (2019), eq. 3.1. A step function:
    gradients do not flow, :class:`Relax` has them.

    Args:
        keep: features marked, a share in ``(0, 1]`` (rounded up) or a count.

    Example:
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
        count = feature_count("keep", self.keep, _features(shapes))
        return MapRange(0.0, 1.0, math.sqrt(count), binary=True, total=count)


class Relax(_Joint):
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
        clipped = torch.minimum(rows, unit) / _nonzero(unit)
        relaxed = torch.where(unit > 0, clipped, (rows > 0).to(rows.dtype))
        return torch.where(top_mask(rows.detach(), keep), relaxed, 0.0)

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        keep, _ = self._counts(_features(shapes))
        return MapRange(0.0, 1.0, math.sqrt(keep), total=keep)


class Rank(_Joint):
    r"""Replaces each feature by a function of its rank, :math:`f(\mathrm{rank}_i)`. Range: [0, 1].

    Rank 1 is the largest. Levine et al. (2019), appendix (general rank maps).

    Args:
        function: takes the ranks ``1 .. m`` as a float64 tensor and returns as many values in
            [0, 1] that do not increase; default :math:`f(k) = 1 - (k-1)/m`.

    Example:
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
        values = self.values(_features(shapes))
        norm = float(torch.linalg.vector_norm(values))
        return MapRange(0.0, float(values[0]), norm, total=float(values.sum()))


class SumChannels(_Elementwise):
    r"""Sums the channels, ``(N, C, *)`` to ``(N, 1, *)``. Range: C times the interval before.

    The norm grows by at most :math:`\sqrt C` (Cauchy and Schwarz).

    Example:
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


def _features(shapes: Shapes) -> int:
    return sum(shape.numel() for shape in shapes)


def _norm(rows: Tensor) -> Tensor:
    return torch.linalg.vector_norm(rows, dim=1, keepdim=True)


def _largest(rows: Tensor) -> Tensor:
    """A scale at which squares neither overflow nor vanish; it cancels, so it needs no gradient."""
    return _nonzero(rows.detach().abs().amax(1, keepdim=True))


def _nonzero(divisor: Tensor) -> Tensor:
    """The divisor, 1 where it is 0, so that a zero map stays zero."""
    return torch.where(divisor > 0, divisor, torch.ones_like(divisor))


def as_transform(transform: Any) -> Transform:
    """``transform``, or the identity for ``None``."""
    if transform is None:
        return Chain()
    if not isinstance(transform, Transform):
        raise TypeError(
            f"`transform` must be a Transform such as Abs() >> UnitNorm(), "
            f"got {type(transform).__name__}."
        )
    return transform
