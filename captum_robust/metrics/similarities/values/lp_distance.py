"""The lp norm of the difference of two maps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from captum_robust._base.checks import check_number
from captum_robust._base.vectors import Tensors
from captum_robust.metrics.similarities.shared.maps import Channels, Normalize, as_vectors
from captum_robust.metrics.similarities.similarity import register_similarity


@register_similarity(low=0, high=math.inf, higher_is_better=False)
def lp_distance(
    a: Tensors,
    b: Tensors,
    p: float = 2,
    *,
    channels: Channels = None,
    normalize: Normalize = None,
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
