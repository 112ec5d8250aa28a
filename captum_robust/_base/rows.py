"""Rows of a batch that are worked on."""

from __future__ import annotations

from torch import Tensor

Rows = Tensor | slice


def pick(values: Tensor, rows: Rows) -> Tensor:
    """Rows of ``(N, *)``; a single row stands for all."""
    return values if values.shape[0] == 1 else values[rows]
