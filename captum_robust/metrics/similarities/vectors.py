"""Similarities of two maps as vectors: angle, correlation, distance. All carry gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_robust._base.checks import check_number
from captum_robust.metrics.similarities.maps import (
    Channels,
    Maps,
    Normalize,
    as_vectors,
    distance,
    ends,
    rescaled,
)


def cosine_similarity(
    a: Maps, b: Maps, *, channels: Channels = None, normalize: Normalize = None
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


@distance
def cosine_distance(
    a: Maps, b: Maps, *, channels: Channels = None, normalize: Normalize = None
) -> Tensor:
    r"""One less the cosine of the angle between two maps.

    .. math:: \mathrm{cosd}(a, b) = 1 - \frac{a^\top b}{\|a\|_2 \|b\|_2}

    Wang et al. (2020), appendix C1; its range is [0, 2], not the [-1, 1] of their section 5. Zero
    maps as in :func:`cosine_similarity`.

    Args:
        a, b, channels, normalize: as in :func:`cosine_similarity`.

    Returns:
        Exact values in [0, 2] ([0, 1] for non-negative maps), ``(N,)``, float64; lower is more
        robust.

    Raises:
        ValueError: as in :func:`cosine_similarity`.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import cosine_distance
        >>> cosine_distance(torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]]))
        tensor([2.], dtype=torch.float64)
    """
    return 1 - cosine_similarity(a, b, channels=channels, normalize=normalize)


def pearson_correlation(
    a: Maps, b: Maps, *, channels: Channels = None, normalize: Normalize = None
) -> Tensor:
    r"""Pearson's correlation of two maps, over features.

    .. math:: r = \frac{(a - \bar a)^\top (b - \bar b)}{\|a - \bar a\|_2 \|b - \bar b\|_2}

    The PCC of Joo et al. (2023), section Metrics. A constant map correlates 0 with every other map
    and 1 with a constant map, both with gradient zero.

    Args:
        a, b, channels, normalize: as in :func:`cosine_similarity`.

    Returns:
        Exact values in [-1, 1], ``(N,)``, float64, as :func:`scipy.stats.pearsonr`; higher is more
        robust.

    Raises:
        ValueError: as in :func:`cosine_similarity`.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import pearson_correlation
        >>> pearson_correlation(torch.tensor([[1.0, 2.0]]), torch.tensor([[9.0, 7.0]])).round()
        tensor([-1.], dtype=torch.float64)
    """
    first, second = as_vectors(a, b, channels, normalize)
    return correlation(first, second)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of prepared rows ``(N, m)``."""
    return cosine(_centred(a), _centred(b))


@distance
def lp_distance(
    a: Maps, b: Maps, p: float = 2, *, channels: Channels = None, normalize: Normalize = None
) -> Tensor:
    r"""The lp norm of the difference of two maps.

    .. math:: \|a - b\|_p = \Bigl(\sum_i |a_i - b_i|^p\Bigr)^{1/p}

    Its value depends on the scale of the maps (Joo et al., 2023, Lemma 3) unless ``normalize`` is
    given. The gradient where the maps agree is zero.

    Args:
        a, b, channels, normalize: as in :func:`cosine_similarity`.
        p: order of the norm, at least 1; ``math.inf`` is the largest difference.

    Returns:
        Exact values in [0, inf), in the maps' units, ``(N,)``, float64; lower is more robust.

    Raises:
        ValueError: as in :func:`cosine_similarity`, or if ``p`` is below 1.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import lp_distance
        >>> lp_distance(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([5.], dtype=torch.float64)
    """
    order = check_number("p", p, low=1)
    first, second = as_vectors(a, b, channels, normalize)
    return torch.linalg.vector_norm(first - second, order, dim=1)


@distance
def mse(a: Maps, b: Maps, *, channels: Channels = None, normalize: Normalize = None) -> Tensor:
    r"""Mean squared difference of two maps over their features.

    .. math:: \frac1m \sum_i (a_i - b_i)^2

    Dombrowski et al. (2019), section 5, on maps with ``normalize="sum"``.

    Args:
        a, b, channels, normalize: as in :func:`cosine_similarity`.

    Returns:
        Exact values in [0, inf), in squared units of the maps, ``(N,)``, float64; lower is more
        robust.

    Raises:
        ValueError: as in :func:`cosine_similarity`.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import mse
        >>> mse(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([12.5000], dtype=torch.float64)
    """
    first, second = as_vectors(a, b, channels, normalize)
    return (first - second).square().mean(1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of prepared rows ``(N, m)``; 0 with a zero row, 1 of two."""
    a, b = rescaled(a), rescaled(b)
    sizes = torch.linalg.vector_norm(a, dim=1), torch.linalg.vector_norm(b, dim=1)
    size = sizes[0] * sizes[1]
    cosine = torch.linalg.vecdot(a, b) / torch.where(size > 0, size, 1.0)
    undefined = ((sizes[0] == 0) & (sizes[1] == 0)).to(a.dtype)
    return torch.where(size > 0, cosine.clamp(-1, 1), undefined)


def _centred(vectors: Tensor) -> Tensor:
    """Rows less their mean; exactly zero for constant rows, whatever rounding does."""
    vectors = rescaled(vectors)
    low, high = ends(vectors)
    return (vectors - vectors.mean(1, keepdim=True)) * (low != high)
