"""What an attack maximises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from captum_robust._base.checks import check_choice
from captum_robust._base.examples import Maps
from captum_robust._base.printed import Printed
from captum_robust._base.vectors import flatten

Explain = Callable[[Maps, Any], Maps]
Reduction = Literal["none", "abs", "sum", "abs-sum"]
Normalisation = Literal["none", "sum", "max"]


class Objective(Printed):
    """A function of the perturbed map that an attack raises; subclasses give ``value``.

    Args:
        reduction: what is done to the map first: ``"none"``, ``"abs"``, ``"sum"`` or ``"abs-sum"``
            over channels (dimension 1 of maps of four or more dimensions).
        normalisation: then divided by its ``"sum"`` or its ``"max"`` of absolute values; a map of
            zeros stays zero.

    Raises:
        ValueError: for another ``reduction`` or ``normalisation``.
    """

    stationary = False
    """Whether the gradient is zero at the clean input, so that a climb cannot start there."""
    ceiling = math.inf
    """The score that nothing exceeds: an example that reaches it is finished."""

    def __init__(
        self, reduction: Reduction = "none", normalisation: Normalisation = "none"
    ) -> None:
        self.reduction = check_choice("reduction", reduction, get_args(Reduction))
        self.normalisation = check_choice("normalisation", normalisation, get_args(Normalisation))

    def view(self, maps: Maps) -> Maps:
        """The maps as this objective reads them, ``(N, *)`` each."""
        if self.reduction.startswith("abs"):
            maps = tuple(part.abs() for part in maps)
        if self.reduction.endswith("sum"):
            maps = tuple(part.sum(1) if part.dim() > 3 else part for part in maps)
        if self.normalisation == "none":
            return maps
        whole = flatten(maps).abs()
        scale = whole.sum(1) if self.normalisation == "sum" else whole.amax(1)
        scale = torch.where(scale > 0, scale, 1)
        return tuple(part / scale.reshape(-1, *[1] * (part.dim() - 1)) for part in maps)

    def anchor(self, clean: Maps, explain: Explain) -> Tensor:
        """What stays fixed during the attack, ``(N, *)``, from the clean view; none by default."""
        return clean[0].new_empty(clean[0].shape[0], 0)

    def value(self, maps: Maps, anchor: Tensor) -> Tensor:
        """The differentiable value to raise, ``(N,)``, at views of perturbed maps."""
        raise NotImplementedError(f"{type(self).__name__} must define `value`.")

    def score(self, maps: Maps, clean: Maps, anchor: Tensor) -> Tensor:
        """The measure that picks the best iterate, ``(N,)``, larger for the attacker; ``value``."""
        return self.value(maps, anchor)


MapError = Literal["mean", "sum"]


def squared_error(maps: Maps, wanted: Tensor, error: MapError) -> Tensor:
    """Squares of the differences of maps, their mean or their sum over the features, ``(N,)``."""
    squares = (flatten(maps) - wanted).square()
    return squares.mean(1) if error == "mean" else squares.sum(1)


def like_map(name: str, value: Tensor, maps: Maps) -> Tensor:
    """Broadcasts ``value`` to one map and flattens it to ``(N, m)``."""
    if len(maps) != 1:
        raise ValueError(f"`{name}` fits attributions of one map, got {len(maps)} maps.")
    try:
        whole = value.to(maps[0].device).expand(maps[0].shape)
    except RuntimeError as error:
        raise ValueError(
            f"`{name}` must broadcast to the map {tuple(maps[0].shape)}, got {tuple(value.shape)}."
        ) from error
    return flatten((whole,))
