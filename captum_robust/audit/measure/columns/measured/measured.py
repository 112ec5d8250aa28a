"""A column that is measured: its value for an example, and how it is summarised."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from captum_robust.audit.measure import rounding
from captum_robust.audit.measure.columns.column import Column
from captum_robust.audit.measure.columns.measured.measurement import Measurement
from captum_robust.audit.measure.summary import finite
from captum_robust.metrics import bootstrap_interval

CONFIDENCE_LEVEL: Final = 0.95


@dataclass(frozen=True)
class Work:
    """What a column takes of each example.

    Attributes:
        shared_as: columns that share one piece of work name it alike; empty where it is its own.
        attacks: number of attacks.
        maps: maps that are compared.
    """

    shared_as: str = ""
    attacks: int = 0
    maps: int = 0


class MeasuredColumn(Column):
    """A measure of how robust the maps of one method are; its values are no certificates.

    Values of several examples are summarised by their mean and its bootstrap interval.

    Example:
        >>> from captum_robust.audit.measure.columns.measured.measured import MeasuredColumn
        >>> class Largest(MeasuredColumn):
        ...     name, title = "largest", "largest"
        ...     about = "the largest element of the map"
        ...
        ...     def value(self, measurement):
        ...         return measurement.clean.flatten(1).amax(1)
        >>> Largest().direction
        'higher'
    """

    @abstractmethod
    def value(self, measurement: Measurement) -> Tensor:
        """The value of each example, ``(N,)``."""

    def curve(self, measurement: Measurement) -> Tensor | None:
        """A value for each radius of attack, ``(N, R)``; ``None`` where it is not about them."""
        return None

    def work(self, measurement: Measurement) -> Work:
        """What it takes, for the forecast; one map where a subclass does not say."""
        return Work(maps=1)

    def summary(self, values: Sequence[float | None], seed: int) -> dict[str, Any]:
        """Values, their mean, and the ends of its interval where there are two values."""
        numbers = torch.tensor(
            [math.nan if value is None else value for value in values], dtype=torch.float64
        )
        interval = None
        if len(numbers) > 1:
            found = bootstrap_interval(numbers, confidence_level=CONFIDENCE_LEVEL, seed=seed)
            interval = [found.low, found.high]
        return {"values": list(values), "mean": finite(float(numbers.mean())), "interval": interval}

    def show(self, value: float | None) -> str:
        """Rounded to the nearest."""
        return rounding.estimate(value)

    def show_interval(self, ends: Sequence[float] | None) -> str:
        """Its interval as a reader sees it."""
        return rounding.interval(ends)
