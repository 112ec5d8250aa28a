"""Checks of arguments that several modules share; every message names the rule and what came."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

import torch
from torch import Tensor

Choice = TypeVar("Choice")


def check_number(
    name: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    open_high: bool = False,
) -> float:
    """Returns ``value`` as a float inside the interval, refusing bool, NaN and the rest."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"`{name}` must be a number, got {type(value).__name__}.")
    number = float(value)
    above = number > low if open_low else number >= low
    below = number < high if open_high else number <= high
    if math.isnan(number) or not (above and below):
        interval = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
        raise ValueError(f"`{name}` must be in {interval}, got {value}.")
    return number


def check_count(name: str, value: Any, *, low: int = 1) -> int:
    """Returns ``value`` as an int of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"`{name}` must be an int, got {type(value).__name__}.")
    if value < low:
        raise ValueError(f"`{name}` must be at least {low}, got {value}.")
    return int(value)


def check_share_or_count(name: str, value: Any) -> int | float:
    """Checks a number of features given as a share in (0, 1] or as a count of at least 1."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return check_count(name, value)
    return check_number(name, value, low=0, high=1, open_low=True)


def feature_count(name: str, value: int | float, features: int) -> int:
    """Turns a share (rounded up) or a count into a number of features in ``[1, features]``."""
    value = check_share_or_count(name, value)
    if isinstance(value, int):
        if value > features:
            raise ValueError(
                f"`{name}` must be in [1, {features}] (the number of features), got {value}."
            )
        return value
    # 1e-9 undoes the rounding of shares such as 0.07 * 100 = 7.000000000000001.
    return max(1, math.ceil(value * features - 1e-9))


def check_choice(name: str, value: Choice, choices: Sequence[str]) -> Choice:
    """Returns ``value`` if it is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, choices))}, got {value!r}.")
    return value


def check_inputs(inputs: tuple[Tensor, ...]) -> int:
    """Checks floating-point, finite, aligned and non-empty ``inputs``; returns the batch size."""
    for index, tensor in enumerate(inputs):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"`inputs[{index}]` must be a Tensor, got {type(tensor).__name__}.")
        if not tensor.is_floating_point():
            raise TypeError(
                f"`inputs[{index}]` must be floating point to carry noise, got {tensor.dtype}; "
                "convert it, or explain a layer behind the embedding."
            )
        if tensor.dim() == 0 or tensor.numel() == 0:
            raise ValueError(
                f"`inputs[{index}]` must hold at least one example and one feature, "
                f"got shape {tuple(tensor.shape)}."
            )
        if tensor.shape[0] != inputs[0].shape[0]:
            raise ValueError(
                "all `inputs` must have the same batch size, "
                f"got {inputs[0].shape[0]} and {tensor.shape[0]}."
            )
        if not torch.isfinite(tensor).all():
            raise ValueError(f"`inputs[{index}]` must be finite, got NaN or infinity.")
    if not inputs:
        raise ValueError("`inputs` must hold at least one tensor, got an empty tuple.")
    return inputs[0].shape[0]
