"""Pairs of attribution maps, checked and prepared alike for every similarity."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from captum_robust._base.checks import check_choice
from captum_robust._base.precision import wide
from captum_robust._base.vectors import Tensors, flatten
from captum_robust.metrics.similarities.shared.rows import Normalize, ends, normalized

Channels = Literal["sum", "abs-sum"] | None


def as_vectors(
    a: Tensors, b: Tensors, channels: Channels, normalize: Normalize
) -> tuple[Tensor, Tensor]:
    """Both maps as rows ``(N, m)`` in double precision; a tuple is one concatenated vector."""
    first, second = _checked(a, b, channels, normalize)
    return normalized(flatten(first), normalize), normalized(flatten(second), normalize)


def as_images(
    name: str, a: Tensors, b: Tensors, channels: Channels, normalize: Normalize
) -> tuple[Tensor, Tensor]:
    """Both maps as ``(N, C, *spatial)``; maps of three dimensions or fewer have one channel."""
    for maps in (a, b):
        if isinstance(maps, tuple) and len(maps) > 1:
            raise ValueError(
                f"`{name}` is about positions in one map, got a tuple of {len(maps)}; "
                "compare the maps one by one."
            )
    first, second = (maps[0] for maps in _checked(a, b, channels, normalize))
    if first.dim() < 2:
        raise ValueError(f"`{name}` needs maps of shape (N, *), got {tuple(first.shape)}.")
    first, second = (
        normalized(flatten((part,)), normalize).reshape(part.shape) for part in (first, second)
    )
    if first.dim() < 4:
        first, second = first.unsqueeze(1), second.unsqueeze(1)
    return first, second


def reduced(maps: tuple[Tensor, ...], channels: Channels) -> tuple[Tensor, ...]:
    """The maps ``(N, C, *)`` with dimension 1 summed as ``channels`` says."""
    if channels is None:
        return maps
    check_choice("channels", channels, ("sum", "abs-sum"))
    for part in maps:
        if part.dim() < 3:
            raise ValueError(
                "`channels` sums dimension 1 of maps of shape (N, C, *), "
                f"got a map of shape {tuple(part.shape)}."
            )
    return tuple((part.abs() if channels == "abs-sum" else part).sum(1) for part in maps)


def _checked(
    a: Tensors, b: Tensors, channels: Channels, normalize: Normalize
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    first, second = _as_tuple("a", a), _as_tuple("b", b)
    shapes = [[tuple(part.shape) for part in maps] for maps in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "`a` and `b` must have the same shapes, "
            f"got {_listed(shapes[0])} and {_listed(shapes[1])}."
        )
    _check_finite("a", first)
    _check_finite("b", second)
    return (
        reduced(tuple(map(wide, first)), channels),
        reduced(tuple(map(wide, second)), channels),
    )


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return str(shapes[0]) if len(shapes) == 1 else str(tuple(shapes))


def _as_tuple(name: str, maps: Tensors) -> tuple[Tensor, ...]:
    parts = maps if isinstance(maps, tuple) else (maps,)
    if not parts:
        raise ValueError(f"`{name}` must hold at least one map, got an empty tuple.")
    for part in parts:
        if not isinstance(part, Tensor):
            raise TypeError(
                f"`{name}` must be a Tensor or a tuple of Tensors, got {type(part).__name__}."
            )
        if part.is_complex():
            raise TypeError(f"`{name}` must be real, got {part.dtype}.")
        if part.dim() == 0 or part.numel() == 0:
            raise ValueError(
                f"`{name}` must hold at least one example and one feature, "
                f"got shape {tuple(part.shape)}."
            )
        if part.shape[0] != parts[0].shape[0]:
            raise ValueError(
                f"all maps of `{name}` must have the same batch size, "
                f"got {parts[0].shape[0]} and {part.shape[0]}."
            )
    return parts


def _check_finite(name: str, maps: tuple[Tensor, ...]) -> None:
    for part in maps:
        low, high = ends(part.reshape(part.shape[0], -1))
        finite = torch.isfinite(low) & torch.isfinite(high)  # NaN shows in both
        if not finite.all():
            example = int((~finite)[:, 0].nonzero()[0])
            raise ValueError(f"`{name}` must be finite, got NaN or infinity in example {example}.")
