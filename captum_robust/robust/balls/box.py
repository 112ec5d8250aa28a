"""The box of valid inputs."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from captum_robust._base.rows import Rows, pick


class Box:
    """The valid inputs: ``lower <= x <= upper`` feature by feature.

    Args:
        lower, upper: bounds, ``(N or 1, d or 1)``.
        clean: the inputs, ``(N, d)``.

        rounding: relative rounding error of the inputs' types; the slack where it is larger.

    Raises:
        ValueError: if a bound is NaN, or an input lies outside by more than rounding.
    """

    slack: ClassVar[float] = 1e-5

    def __init__(self, lower: Tensor, upper: Tensor, clean: Tensor, rounding: float = 0.0) -> None:
        for name, bound in (("lower_bound", lower), ("upper_bound", upper)):
            if bool(torch.isnan(bound).any()):
                raise ValueError(f"`{name}` must not be NaN, got one; use -inf or inf for none.")
        excess = torch.maximum(lower - clean, clean - upper)
        outside = excess > max(self.slack, rounding) * clean.abs().clamp(min=1)
        if bool(outside.any()):
            example = int(outside.any(1).nonzero()[0])
            raise ValueError(
                "`inputs` must lie in [`lower_bound`, `upper_bound`]; "
                f"{int(outside[example].sum())} features of example {example} do not "
                f"(by up to {float(excess[example].max()):.4g})."
            )
        # A clean value that rounding put outside may stay where it is.
        self.lower, self.upper = torch.minimum(lower, clean), torch.maximum(upper, clean)

    def clip(self, points: Tensor, rows: Rows) -> Tensor:
        """Moves ``(n, d)`` points to the nearest valid ones."""
        return points.clamp(pick(self.lower, rows), pick(self.upper, rows))
