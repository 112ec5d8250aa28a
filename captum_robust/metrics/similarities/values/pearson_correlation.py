"""Pearson's correlation of two maps."""

from __future__ import annotations

from torch import Tensor

from captum_robust._base.vectors import Tensors
from captum_robust.metrics.similarities.shared.maps import Channels, Normalize, as_vectors
from captum_robust.metrics.similarities.shared.rows import correlation
from captum_robust.metrics.similarities.similarity import register_similarity


@register_similarity(low=-1, high=1)
def pearson_correlation(
    a: Tensors,
    b: Tensors,
    *,
    channels: Channels = None,
    normalize: Normalize = None,
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
