"""Per-sample transforms: from one sample's attribution to what is averaged.

Each takes a tuple of maps ``(N, *)``, treats the rows alone, declares the range of what it returns
and composes by ``>>``. A tuple of maps is one vector: norms, maxima and ranks go over all of it.
Zero maps stay zero; ties are broken by index. Half-precision maps are float32 by the time they come
here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Size, Tensor

from captum_robust._base.vectors import feature_shapes, flatten, unflatten
from captum_robust.transforms.features import Features
from captum_robust.transforms.ranges import MapRange

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

    def features(self, before: Features, shapes: Shapes) -> Features:
        """What the features are called after the transform."""
        return before

    def shares(self, masks: Maps) -> Maps:
        """The share of each feature of the result that lies inside masks ``(N, *)`` in [0, 1]."""
        return masks

    @property
    def examples(self) -> int:
        """Number of examples it has a part of its own for; 1 where it serves any."""
        return 1

    def of_rows(self, rows: Tensor) -> Transform:
        """The transform of some examples alone, which differs where it has a part for each."""
        return self

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
        >>> import torch
        >>> from captum_robust.transforms import Abs, Sparsify
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

    def features(self, before: Features, shapes: Shapes) -> Features:
        for link in self.links:
            before, shapes = link.features(before, shapes), link.shapes(shapes)
        return before

    def shares(self, masks: Maps) -> Maps:
        for link in self.links:
            masks = link.shares(masks)
        return masks

    @property
    def examples(self) -> int:
        return max((link.examples for link in self.links), default=1)

    def of_rows(self, rows: Tensor) -> Transform:
        return Chain(*(link.of_rows(rows) for link in self.links))

    def __repr__(self) -> str:
        return " >> ".join(map(repr, self.links)) or "identity"


class ElementwiseTransform(Transform):
    """A transform of each element alone."""

    def __call__(self, maps: Maps) -> Maps:
        return tuple(self._apply(part) for part in maps)

    @abstractmethod
    def _apply(self, part: Tensor) -> Tensor: ...


class JointTransform(Transform):
    """A transform of all features of an example together."""

    def __call__(self, maps: Maps) -> Maps:
        return unflatten(self._apply(flatten(maps)), feature_shapes(maps))

    @abstractmethod
    def _apply(self, rows: Tensor) -> Tensor: ...


def features_of(shapes: Shapes) -> int:
    return sum(shape.numel() for shape in shapes)


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


def refuse_other_examples(transform: Transform, count: int) -> None:
    """Raises where a transform was made for another number of examples."""
    if transform.examples not in (1, count):
        raise ValueError(
            f"`transform` was made for {transform.examples} examples, one labelling each, got "
            f"{count}; labels of a single image need a first axis of length 1, labels[None]."
        )
