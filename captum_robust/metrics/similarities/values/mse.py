"""The mean squared difference of two maps."""

from __future__ import annotations

import math

from torch import Tensor

from captum_robust._base.vectors import Tensors
from captum_robust.metrics.similarities.shared.maps import Channels, Normalize, as_vectors
from captum_robust.metrics.similarities.similarity import register_similarity


@register_similarity(low=0, high=math.inf, higher_is_better=False)
def mse(
    a: Tensors,
    b: Tensors,
    *,
    channels: Channels = None,
    normalize: Normalize = None,
) -> Tensor:
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
