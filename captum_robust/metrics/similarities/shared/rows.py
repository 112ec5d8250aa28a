"""Rows of numbers: their scale, their angle and their correlation, all with gradients."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from captum_robust._base.checks import check_choice

Normalize = Literal["sum", "max", "l2"] | None


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of prepared rows ``(N, m)``; 0 with a zero row, 1 of two."""
    a, b = rescaled(a), rescaled(b)
    sizes = torch.linalg.vector_norm(a, dim=1), torch.linalg.vector_norm(b, dim=1)
    size = sizes[0] * sizes[1]
    cosine = torch.linalg.vecdot(a, b) / torch.where(size > 0, size, 1.0)
    undefined = ((sizes[0] == 0) & (sizes[1] == 0)).to(a.dtype)
    return torch.where(size > 0, cosine.clamp(-1, 1), undefined)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of prepared rows ``(N, m)``."""
    return cosine(_centred(a), _centred(b))


def normalized(vectors: Tensor, normalize: Normalize) -> Tensor:
    """Rows divided by their absolute sum, largest magnitude or l2 norm; zero rows stay zero."""
    if normalize is None:
        return vectors
    check_choice("normalize", normalize, ("sum", "max", "l2"))
    vectors = rescaled(vectors)
    size = torch.linalg.vector_norm(
        vectors, {"sum": 1.0, "max": torch.inf, "l2": 2.0}[normalize], dim=1, keepdim=True
    )
    return vectors / torch.where(size > 0, size, 1.0)


def ends(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Least and greatest entry of each row, ``(N, 1)``; on CPUs far faster than ``aminmax(1)``."""
    rows = vectors.detach()
    return rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)


def rescaled(vectors: Tensor) -> Tensor:
    """The rows, where their squares are safe; else over their largest magnitude, held constant."""
    low, high = ends(vectors)
    largest = high.maximum(-low)
    limits = torch.finfo(vectors.dtype)
    safe = (largest == 0) | ((largest > limits.tiny**0.25) & (largest < limits.max**0.25))
    return vectors if safe.all() else vectors / torch.where(safe, 1.0, largest)


def _centred(vectors: Tensor) -> Tensor:
    """Rows less their mean; exactly zero for constant rows, whatever rounding does."""
    vectors = rescaled(vectors)
    low, high = ends(vectors)
    return (vectors - vectors.mean(1, keepdim=True)) * (low != high)
