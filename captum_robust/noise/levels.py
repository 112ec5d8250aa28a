"""Noise levels: every form a user may give, resolved once into standard deviations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from captum_robust._base.checks import check_number
from captum_robust.noise.law import NoiseLaw


@dataclass(frozen=True)
class Relative:
    """A noise level relative to each example's range, ``share * (max(x) - min(x))``.

    The range is taken once, from the input as given (Smilkov et al., 2017, section 3.1), for each
    tensor of a tuple by itself. A certificate freezes the standard deviations it leads to.

    Args:
        share: of the range, >= 0.

    Example:
        >>> import torch
        >>> from captum_robust.noise import Relative
        >>> Relative(0.1).resolve(torch.tensor([[0.0, 5.0], [1.0, 1.0]]))
        tensor([[0.5000],
                [0.0000]])
    """

    share: float

    def __post_init__(self) -> None:
        check_number("share", self.share, low=0, high=math.inf, open_high=True)

    def resolve(self, tensor: Tensor) -> Tensor:
        """The level of each example, ``(N, 1, ...)``."""
        dims = tuple(range(1, tensor.dim()))
        if not dims:
            return torch.zeros_like(tensor)
        return self.share * (tensor.amax(dims, keepdim=True) - tensor.amin(dims, keepdim=True))


Level = float | Tensor | Relative
Levels = Level | tuple[Level, ...]


@dataclass(frozen=True)
class NoiseLevel:
    """Standard deviations of one call.

    Attributes:
        scales: one tensor an input, broadcastable to it.
        smallest: ``(N,)`` float64, the smallest standard deviation of each example.
        weighted: whether features of an example differ; a perturbation is then measured by
            ``||delta / stdev||`` instead of ``||delta||``.
        dimension: number of features, all inputs together.
    """

    scales: tuple[Tensor, ...]
    smallest: Tensor
    weighted: bool
    dimension: int


def resolve_level(
    law: NoiseLaw, inputs: tuple[Tensor, ...], stdevs: Levels | None, radius: Levels | None
) -> NoiseLevel:
    """Resolves ``stdevs`` or ``radius`` at ``inputs``.

    Raises:
        ValueError: if both are given, or a level is negative, not finite or of the wrong shape.
        TypeError: if a level is neither number, tensor, :class:`Relative` nor a tuple of them.
    """
    if stdevs is not None and radius is not None:
        raise ValueError("exactly one of `stdevs` and `radius` must be given, got both.")
    dimension = sum(tensor[0].numel() for tensor in inputs)
    name, levels, unit = ("stdevs", 1.0 if stdevs is None else stdevs, 1.0)
    if radius is not None:
        name, levels, unit = ("radius", radius, 1.0 / law.radius_in_stdevs(dimension))
    scales = tuple(
        _resolve(name, level, tensor) * unit
        for level, tensor in zip(_per_input(name, levels, len(inputs)), inputs, strict=True)
    )
    smallest, largest = _extremes(scales, inputs)
    return NoiseLevel(scales, smallest, bool((smallest < largest).any()), dimension)


def _per_input(name: str, levels: Any, count: int) -> tuple[Any, ...]:
    if not isinstance(levels, tuple):
        return (levels,) * count
    if len(levels) != count:
        raise ValueError(
            f"`{name}` must have one entry for each of the {count} inputs, got {len(levels)}."
        )
    return levels


def _resolve(name: str, level: Any, tensor: Tensor) -> Tensor:
    """One input's level as a tensor that broadcasts to it."""
    dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    if isinstance(level, Relative):
        level = level.resolve(tensor)
    elif isinstance(level, Real) and not isinstance(level, bool):
        level = torch.tensor(float(level), dtype=dtype)
    elif not isinstance(level, Tensor):
        raise TypeError(
            f"`{name}` must be a number, a tensor, a Relative or a tuple of them, "
            f"got {type(level).__name__}."
        )
    level = level.detach().to(device=tensor.device, dtype=dtype)
    try:
        fits = torch.broadcast_shapes(level.shape, tensor.shape) == tensor.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"`{name}` must broadcast to its input of shape {tuple(tensor.shape)}, "
            f"got shape {tuple(level.shape)}."
        )
    if not (torch.isfinite(level).all() and (level >= 0).all()):
        raise ValueError(f"`{name}` must be finite and >= 0, got {level.flatten().min():g}.")
    return level


def _extremes(scales: tuple[Tensor, ...], inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Smallest and largest standard deviation of each example, ``(N,)`` float64 on the CPU."""
    rows = [
        scale.expand(tensor.shape).reshape(tensor.shape[0], -1)
        if scale.dim()
        else scale.expand(tensor.shape[0], 1)
        for scale, tensor in zip(scales, inputs, strict=True)
    ]
    smallest = torch.stack([row.amin(1) for row in rows]).amin(0)
    largest = torch.stack([row.amax(1) for row in rows]).amax(0)
    return smallest.cpu().double(), largest.cpu().double()
