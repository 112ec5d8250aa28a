"""Masks of regions, brought to the features of the maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, Tensor
from torch.nn import functional

from captum_robust._base.precision import accumulation_dtype
from captum_robust._base.vectors import flatten
from captum_robust.transforms.transform import Shapes, Transform

Maps = tuple[Tensor, ...]


def masks_of_features(
    masks: Sequence[Tensor], maps: Maps, base_shapes: Shapes, transform: Transform
) -> Tensor:
    """The share of every feature that lies inside the masks, ``(N, m)`` in [0, 1].

    Masks of the maps' own shape are taken as they are. Masks of the shape of what the transform
    joins, such as an image's, are converted by share: a region of which 30 % lie inside counts
    0.3. Where the base method's map is coarser than the mask (GradCAM), the mask is averaged over
    the area of each place first.

    Args:
        masks: booleans, one tensor a map, broadcasting to it.
        maps: transformed maps ``(N, b, *)``.
        base_shapes: one example's shapes before the transform.
        transform: the transform.

    Raises:
        ValueError: if masks are not boolean or fit neither shape.
    """
    for mask in masks:
        if not ((mask == 0) | (mask == 1)).all():
            raise ValueError(f"`masks` must be boolean, got other values in {mask.dtype}.")
    count, device = len(maps[0]), maps[0].device
    wide = accumulation_dtype(device)
    own = [Size((count, *part.shape[2:])) for part in maps]
    whole = [Size((count, *shape)) for shape in base_shapes]
    given = [mask.to(device=device, dtype=wide) for mask in masks]
    if _fit(given, own):
        return flatten([mask.expand(shape) for mask, shape in zip(given, own, strict=True)])
    if len(given) == len(whole):
        given = [_coarser(mask, shape) for mask, shape in zip(given, whole, strict=True)]
    if not _fit(given, whole):
        shapes = [str([tuple(one) for one in each]) for each in (own, whole)]
        wanted = " or ".join(dict.fromkeys(shapes))
        raise ValueError(
            f"`masks` must have one mask for each map and broadcast to the shapes {wanted}, got "
            f"{[tuple(mask.shape) for mask in masks]}."
        )
    spread = tuple(mask.expand(shape) for mask, shape in zip(given, whole, strict=True))
    return flatten(transform.shares(spread))


def _fit(masks: Sequence[Tensor], shapes: Sequence[Size]) -> bool:
    """Whether masks broadcast to shapes, one each."""
    if len(masks) != len(shapes):
        return False
    try:
        pairs = zip(masks, shapes, strict=True)
        return all(torch.broadcast_shapes(mask.shape, shape) == shape for mask, shape in pairs)
    except RuntimeError:
        return False


def _coarser(mask: Tensor, shape: Size) -> Tensor:
    """A mask ``(*, H, W)`` averaged over the places of a coarser map; others as they are."""
    if mask.dim() < 3 or len(shape) < 3:
        return mask
    sides = zip(mask.shape[-2:], shape[-2:], strict=True)
    if not all(one >= other for one, other in sides) or mask.shape[-2:] == shape[-2:]:
        return mask
    return functional.adaptive_avg_pool2d(mask, (shape[-2], shape[-1]))
