"""The most important features that two maps share."""

from __future__ import annotations

from torch import Tensor

from captum_robust._base.checks import feature_count
from captum_robust._base.vectors import Tensors, top_mask
from captum_robust.metrics.similarities.shared.maps import Channels, Normalize, as_vectors
from captum_robust.metrics.similarities.similarity import register_similarity


@register_similarity(low=0, high=1)
def topk_intersection(
    a: Tensors,
    b: Tensors,
    k: int | float = 0.2,
    *,
    absolute: bool = False,
    channels: Channels = None,
    normalize: Normalize = None,
) -> Tensor:
    r"""Share of the ``k`` largest features that two maps have in common.

    .. math:: \frac{|T_k(a) \cap T_k(b)|}{k}

    Ghorbani et al. (2019); Wang & Kong (2024), appendix B.2; what the code of Wang et al. (2020)
    reports as "k-in". Exactly ``k`` features of each map count: of tied ones, the first. A constant
    map, the zero map too, thus stands for its first ``k`` features.

    Args:
        a, b: maps of equal shapes ``(N, *)``; a tuple is one concatenated vector.
        k: number of features, or a share of them in (0, 1], rounded up.
        absolute: whether features are ordered by magnitude instead of by value.
        channels, normalize: preparation of the maps, see :mod:`captum_robust.metrics`.

    Returns:
        Exact values in [0, 1], ``(N,)``, float64; higher is more robust. No gradient.

    Raises:
        ValueError: if ``k`` is out of range, shapes differ, a batch is empty or a map is not
            finite.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import topk_intersection
        >>> a = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
        >>> topk_intersection(a, torch.tensor([[4.0, 0.0, 5.0, 0.0]]), k=2)
        tensor([0.5000], dtype=torch.float64)
    """
    first, second = as_vectors(a, b, channels, normalize)
    if absolute:
        first, second = first.abs(), second.abs()
    count = feature_count("k", k, first.shape[1])
    shared = top_mask(first, count) & top_mask(second, count)
    return shared.sum(1).to(first.dtype) / count
