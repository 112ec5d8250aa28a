"""A map's mass on the most important features of another."""

from __future__ import annotations

from torch import Tensor

from captum_robust._base.checks import feature_count
from captum_robust._base.vectors import Tensors, top_mask
from captum_robust.metrics.similarities.shared.maps import Channels, Normalize, as_vectors
from captum_robust.metrics.similarities.shared.rows import normalized
from captum_robust.metrics.similarities.similarity import register_similarity


@register_similarity(low=0, high=1)
def topk_mass(
    a: Tensors,
    b: Tensors,
    k: int | float = 0.2,
    *,
    channels: Channels = None,
    normalize: Normalize = None,
) -> Tensor:
    r"""Share of the second map's mass on the first map's ``k`` largest features.

    .. math:: \sum_{i \in K} n(b)_i,\quad n(z) = |z| / \textstyle\sum_j |z_j|,
              \quad K = T_k\bigl(n(a)\bigr)

    The "k-in" that Wang et al. (2020), appendix C1, print; their code reports
    :func:`topk_intersection`. Not symmetric: ``a`` is the original map. A zero ``b`` has no mass,
    value 0; ties of ``a`` as in :func:`topk_intersection`.

    Args:
        a, b, channels, normalize: as in :func:`topk_intersection`.
        k: number of features, or a share of them in (0, 1], rounded up.

    Returns:
        Exact values in [0, 1], ``(N,)``, float64; higher is more robust, and that of two equal
        maps is the mass of their top ``k``, not 1.

    Raises:
        ValueError: as in :func:`topk_intersection`.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import topk_mass
        >>> a = torch.tensor([[4.0, -3.0, 2.0, 1.0]])
        >>> topk_mass(a, torch.tensor([[1.0, 1.0, -1.0, 1.0]]), k=2)
        tensor([0.5000], dtype=torch.float64)
    """
    first, second = as_vectors(a, b, channels, normalize)
    top = top_mask(first.detach().abs(), feature_count("k", k, first.shape[1]))
    return (normalized(second.abs(), "sum") * top).sum(1).clamp(0, 1)
