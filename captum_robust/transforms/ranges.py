"""What is known of a map before it is computed; the admissible certificates follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from captum_robust._base.checks import check_number

_ROUNDING = 1e-4  # of a value; sums of thousands of float32 values are no more exact


@dataclass(frozen=True)
class MapRange:
    """Bounds that hold for a map at every input.

    Attributes:
        low: no element is below it.
        high: no element is above it.
        norm: the l2 norm of the map, all its tensors together, is at most this.
        binary: every element is 0 or 1.
        total: the sum of the elements is at most this; infinity where elements may be negative.

    Example:
        >>> from captum_robust.transforms import MapRange
        >>> MapRange(low=-1.0, high=0.5).magnitude
        1.0
    """

    low: float = -math.inf
    high: float = math.inf
    norm: float = math.inf
    binary: bool = False
    total: float = math.inf

    @property
    def nonnegative(self) -> bool:
        """Whether no element can be negative."""
        return self.low >= 0.0

    @property
    def magnitude(self) -> float:
        """No element is larger than this in absolute value."""
        return max(abs(self.low), abs(self.high))

    @property
    def bounded(self) -> bool:
        """Whether the elements lie in a finite interval."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def limited(self, norm_bound: float | None, features: int) -> MapRange:
        """Adds a proven bound, what the norm says of the elements, and they of the norm."""
        norm = min(self.norm, self.magnitude * math.sqrt(features))
        if norm_bound is not None:
            norm = min(
                norm,
                check_number("norm_bound", norm_bound, low=0, high=math.inf, open_low=True),
            )
        total = min(self.total, math.sqrt(features) * norm) if self.nonnegative else math.inf
        return MapRange(max(self.low, -norm), min(self.high, norm), norm, self.binary, total)

    def refuse_outside(self, rows: Tensor, name: str) -> None:
        """Raises where maps ``(n, m)`` are not in this range, up to rounding.

        Args:
            rows: maps that ``name`` gave.
            name: of the transform that declared the range.

        Raises:
            ValueError: naming the bound that does not hold, and the value beyond it.
        """
        values = rows.detach()
        least, most = float(values.min()), float(values.max())
        sums = float(values.double().sum(1).max()) if math.isfinite(self.total) else -math.inf
        beyond = {
            f"values >= {self.low:g}": (self.low - least, least),
            f"values <= {self.high:g}": (most - self.high, most),
            f"sums <= {self.total:g}": (sums - self.total, sums),
        }
        for rule, (excess, value) in beyond.items():
            if excess > _ROUNDING * max(1.0, abs(value)):
                raise ValueError(
                    f"`{name}` must return maps of the range it declares: its `range` says "
                    f"{rule}, and it gave {value:g}; correct its `range`."
                )
        if self.binary and not bool(((values == 0) | (values == 1)).all()):
            raise ValueError(
                f"`{name}` must return maps of the range it declares: its `range` says that every "
                "value is 0 or 1, and it gave others; correct its `range`."
            )
