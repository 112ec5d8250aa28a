"""Spearman's rank correlation of two maps."""

from __future__ import annotations

from torch import Tensor

from captum_robust._base.vectors import Tensors
from captum_robust.metrics.similarities.shared.maps import Channels, Normalize, as_vectors
from captum_robust.metrics.similarities.shared.ranks import dense_ranks, mean_ranks
from captum_robust.metrics.similarities.shared.rows import correlation
from captum_robust.metrics.similarities.similarity import register_similarity


@register_similarity(low=-1, high=1)
def spearman_rho(
    a: Tensors,
    b: Tensors,
    *,
    channels: Channels = None,
    normalize: Normalize = None,
) -> Tensor:
    r"""Spearman's rank correlation of two maps, over features.

    .. math:: \rho = r\bigl(\mathrm{rank}(a), \mathrm{rank}(b)\bigr)

    Pearson's correlation of the ranks, ties sharing their mean rank: the "cor" of Wang et al.
    (2020), appendix C1. A constant map correlates 0 with every other map and 1 with a constant map.

    Args:
        a, b: maps of equal shapes ``(N, *)``; a tuple is one concatenated vector.
        channels, normalize: preparation of the maps, see :mod:`captum_robust.metrics`.

    Returns:
        Exact values in [-1, 1], ``(N,)``, float64, as :func:`scipy.stats.spearmanr`; higher is more
        robust. No gradient.

    Raises:
        ValueError: if shapes differ, a batch is empty or a map is not finite.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import spearman_rho
        >>> spearman_rho(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 9.0, 8.0]]))
        tensor([0.5000], dtype=torch.float64)
    """
    first, second = as_vectors(a, b, channels, normalize)
    dtype = first.dtype
    first, second = (dense_ranks(part.detach()) for part in (first, second))
    return correlation(mean_ranks(first).to(dtype), mean_ranks(second).to(dtype))
