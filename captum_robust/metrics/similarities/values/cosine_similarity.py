"""The cosine of the angle between two maps."""

from __future__ import annotations

from torch import Tensor

from captum_robust._base.vectors import Tensors
from captum_robust.metrics.similarities.shared.maps import Channels, Normalize, as_vectors
from captum_robust.metrics.similarities.shared.rows import cosine
from captum_robust.metrics.similarities.similarity import register_similarity


@register_similarity(low=-1, high=1)
def cosine_similarity(
    a: Tensors,
    b: Tensors,
    *,
    channels: Channels = None,
    normalize: Normalize = None,
) -> Tensor:
    r"""Cosine of the angle between two maps.

    .. math:: \cos(a, b) = \frac{a^\top b}{\|a\|_2 \|b\|_2}

    Joo et al. (2023), Definition 4; Wang & Kong (2024), appendix B.2. A zero map has cosine 0 with
    every other map and 1 with a zero map, both with gradient zero.

    Args:
        a, b: maps of equal shapes ``(N, *)``; a tuple is one concatenated vector.
        channels, normalize: preparation of the maps, see :mod:`captum_robust.metrics`.

    Returns:
        Exact values in [-1, 1], ``(N,)``, float64; higher is more robust.

    Raises:
        ValueError: if shapes differ, a batch is empty or a map is not finite.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import cosine_similarity
        >>> cosine_similarity(torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([0.6000], dtype=torch.float64)
    """
    return cosine(*as_vectors(a, b, channels, normalize))
