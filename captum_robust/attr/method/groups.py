"""Groups of a method's own ``feature_mask`` as the features of its map."""

from __future__ import annotations

from typing import Any, Final

import torch
from captum.attr import Attribution, FeatureAblation, LimeBase, ShapleyValueSampling
from torch import Tensor

from captum_robust._base.vectors import flatten, unflatten
from captum_robust.attr.method.forward import innermost
from captum_robust.transforms.joining import JoiningTransform, per_row
from captum_robust.transforms.ranges import MapRange
from captum_robust.transforms.segments import Segments
from captum_robust.transforms.transform import Maps, Shapes, Transform

_GROUPING: Final = (FeatureAblation, LimeBase, ShapleyValueSampling)


class Groups(Segments):
    """One value for each group of features that a method changes together.

    Captum repeats a group's value at each of its features. Marks, ranks and norms of the repeated
    values would count a group as often as it has features, and cut it by index.

    Args:
        feature_mask: as for the method; numbers may be missing.
    """

    def __init__(self, feature_mask: Tensor | tuple[Tensor, ...]) -> None:
        super().__init__(_numbered(feature_mask), word="group")

    def __call__(self, maps: Maps) -> Maps:
        shapes = [part.shape[1:] for part in maps]
        rows, owners = flatten(maps), self.owners(shapes)
        places = torch.arange(owners.shape[1]).expand_as(owners)
        first = owners.new_full((len(owners), self.count), owners.shape[1])
        first = first.scatter_reduce(1, owners, places, "amin").to(rows.device)
        return unflatten(rows.gather(1, per_row(first, len(rows))), self.shapes(shapes))

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        """As before: the values are some of the map's."""
        return before

    def shares(self, masks: Maps) -> Maps:
        ones = tuple(torch.ones_like(mask) for mask in masks)
        pairs = zip(super().__call__(masks), super().__call__(ones), strict=True)
        return tuple(inside / whole for inside, whole in pairs)

    def spread(self, maps: Maps, shapes: Shapes) -> Maps:
        """The groups' values at each of their features again."""
        rows = flatten(maps)
        owners = per_row(self.owners(shapes).to(rows.device), len(rows))
        return unflatten(rows.gather(1, owners), shapes)


def groups_of(
    attribution: Attribution, arguments: dict[str, Any], transform: Transform, inputs: Maps
) -> Groups | None:
    """The groups of a call's ``feature_mask``; None where features are its own or the transform's.

    A transform that joins features itself (``Pool``, ``Segments``, ...) says what the features are.
    """
    mask = arguments.get("feature_mask")
    if mask is None or not isinstance(innermost(attribution), _GROUPING):
        return None
    shapes = [part.shape[1:] for part in inputs]
    groups = Groups(mask)
    if groups.count == sum(shape.numel() for shape in shapes):
        return None
    links = getattr(transform, "links", (transform,))
    joins = any(isinstance(link, JoiningTransform) for link in links)
    return None if joins or list(transform.shapes(shapes)) != shapes else groups


def _numbered(mask: Any) -> tuple[Tensor, ...]:
    """Group numbers from 0 without gaps, in every example by itself."""
    parts = mask if isinstance(mask, tuple) else (mask,)
    rows = max(len(part) for part in parts)
    wide = [part.expand(rows, *part.shape[1:]) for part in parts]
    flat = flatten([part.contiguous() for part in wide])
    numbers = [torch.unique(row, return_inverse=True)[1] for row in flat]
    return unflatten(torch.stack(numbers), [part.shape[1:] for part in wide])
