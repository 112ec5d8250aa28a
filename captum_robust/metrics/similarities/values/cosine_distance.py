"""One less the cosine of the angle between two maps."""

from __future__ import annotations

from torch import Tensor

from captum_robust._base.vectors import Tensors
from captum_robust.metrics.similarities.shared.maps import Channels, Normalize
from captum_robust.metrics.similarities.similarity import register_similarity
from captum_robust.metrics.similarities.values.cosine_similarity import cosine_similarity


@register_similarity(low=0, high=2, higher_is_better=False)
def cosine_distance(
    a: Tensors,
    b: Tensors,
    *,
    channels: Channels = None,
    normalize: Normalize = None,
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
