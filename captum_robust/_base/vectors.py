"""Maps as feature vectors: a tuple of maps is one concatenated vector per example."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, Tensor

Tensors = Tensor | tuple[Tensor, ...]  # one, or several that belong together


def flatten(maps: Sequence[Tensor]) -> Tensor:
    """Concatenates maps ``(N, *)`` into ``(N, m)``; a view where there is a single map."""
    flat = [part.reshape(part.shape[0], part.shape[1:].numel()) for part in maps]
    return flat[0] if len(flat) == 1 else torch.cat(flat, dim=1)


def unflatten(vector: Tensor, shapes: Sequence[Size]) -> tuple[Tensor, ...]:
    """Splits ``(N, m)`` into maps ``(N, *shape)``, views of the vector."""
    parts = vector.split([shape.numel() for shape in shapes], dim=1)
    return tuple(
        part.reshape(vector.shape[0], *shape) for part, shape in zip(parts, shapes, strict=True)
    )


def feature_shapes(maps: Sequence[Tensor]) -> tuple[Size, ...]:
    """The shapes of one example's maps."""
    return tuple(part.shape[1:] for part in maps)


def top_mask(values: Tensor, count: int) -> Tensor:
    """Marks exactly the ``count`` largest of each row of ``(N, m)``; ties go to the lower index.

    Example:
        >>> import torch
        >>> from captum_robust._base.vectors import top_mask
        >>> top_mask(torch.tensor([[0.0, 1.0, 0.0, 0.0]]), 2).tolist()
        [[True, True, False, False]]
    """
    threshold = values.topk(count, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    above = values > threshold
    tied = values == threshold
    wanted = count - above.sum(dim=1, keepdim=True)
    if torch.equal(tied.sum(dim=1, keepdim=True), wanted):  # no tie straddles the threshold
        return above | tied
    return above | (tied & (tied.cumsum(dim=1) <= wanted))
