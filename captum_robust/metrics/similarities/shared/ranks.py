"""Ranks of rows, ties included."""

from __future__ import annotations

import torch
from torch import Tensor


def dense_ranks(values: Tensor) -> Tensor:
    """Ranks from 0 of each row, equal values sharing one and leaving no gap."""
    ordered, order = values.sort(dim=1)
    return torch.empty_like(order).scatter_(1, order, group_numbers(ordered))


def mean_ranks(dense: Tensor) -> Tensor:
    """Twice the ranks from dense ones, ties sharing their mean; twice, to stay whole."""
    sizes = group_sizes(dense)
    return (2 * sizes.cumsum(dim=1) - sizes).gather(1, dense)


def group_numbers(ordered: Tensor) -> Tensor:
    """Numbers the runs of equal values in each sorted row from 0."""
    numbers = torch.zeros(ordered.shape, dtype=torch.int64, device=ordered.device)
    numbers[:, 1:] = (ordered[:, 1:] != ordered[:, :-1]).cumsum(dim=1)
    return numbers


def group_sizes(ids: Tensor) -> Tensor:
    """How often each number below m occurs in each row of ``(N, m)``."""
    return torch.zeros_like(ids).scatter_add_(1, ids, torch.ones_like(ids))
