"""What one pass of the sampling loop gave."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Size, Tensor

from captum_robust.transforms.ranges import MapRange

Maps = tuple[Tensor, ...]


@dataclass(frozen=True)
class Pass:
    """What one pass gave.

    Attributes:
        maps: ``(N, b, *)``, transformed, at least float32.
        dtypes: of the maps as the base method gave them.
        is_tuple: whether it gave a tuple.
        deltas: ``(N, b, *)``.
        range: what is known of every map.
        base_shapes: one example's shapes of the base method's maps.
    """

    maps: Maps
    dtypes: tuple[torch.dtype, ...]
    is_tuple: bool
    deltas: list[Tensor]
    range: MapRange
    base_shapes: tuple[Size, ...]


def full_precision(maps: Maps) -> Maps:
    """Half-precision maps as float32, so that transforms and sums do not round."""
    return tuple(part.to(torch.promote_types(part.dtype, torch.float32)) for part in maps)
