"""How far the centre of a map's mass moves."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from captum_robust._base.checks import check_choice
from captum_robust._base.vectors import Tensors
from captum_robust.metrics.similarities.shared.maps import Channels, Normalize, as_images
from captum_robust.metrics.similarities.shared.rows import normalized
from captum_robust.metrics.similarities.similarity import register_similarity


@register_similarity(low=0, high=math.inf, higher_is_better=False)
def mass_center_dislocation(
    a: Tensors,
    b: Tensors,
    *,
    variant: Literal["pixels", "index"] = "pixels",
    channels: Channels = None,
    normalize: Normalize = None,
) -> Tensor:
    r"""How far the centre of a map's mass moves, in pixels.

    .. math:: \|c(a) - c(b)\|_2,\quad c(z) = \sum_u |z_u|\,u \Big/ \sum_u |z_u|

    over pixels :math:`u`; the magnitudes of a pixel's channels add up. Ghorbani et al. (2019) and
    the code of Wang et al. (2020). A zero map weighs every pixel alike: its centre is the image's.

    Wang et al. (2020), appendix C1, print the centre along the flattened map instead,

    .. math:: \Bigl|\sum_{i=1}^m (a_i - b_i)\, i\Bigr|,

    which is ``variant="index"``, with signs, and on the maps' own scale unless ``normalize`` is
    given.

    Args:
        a, b: maps of equal shapes ``(N, L)``, ``(N, H, W)`` or ``(N, C, *spatial)`` with four or
            more dimensions; one map, no tuple of several.
        variant: ``"pixels"``, or ``"index"`` for the printed formula above.
        channels, normalize: preparation of the maps, see :mod:`captum_robust.metrics`.

    Returns:
        Exact values in pixels, in [0, the image's diagonal], ``(N,)``, float64; lower is more
        robust. ``"index"`` has no upper end.

    Raises:
        ValueError: if shapes differ, a batch is empty, a map is not finite, or the maps are a
            tuple of several.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import mass_center_dislocation
        >>> a, b = torch.zeros(2, 1, 5, 5)
        >>> a[0, 0, 0], b[0, 3, 4] = 1.0, 1.0
        >>> mass_center_dislocation(a, b)
        tensor([5.], dtype=torch.float64)
    """
    check_choice("variant", variant, ("pixels", "index"))
    first, second = as_images("mass_center_dislocation", a, b, channels, normalize)
    if variant == "pixels":
        moved = _center_of_mass(first) - _center_of_mass(second)
        return torch.linalg.vector_norm(moved, dim=1)
    difference = (first - second).flatten(1)
    index = torch.arange(1, difference.shape[1] + 1, device=difference.device)
    return (difference * index).sum(1).abs()


def _center_of_mass(images: Tensor) -> Tensor:
    """Centres ``(N, spatial dimensions)`` of ``(N, C, *spatial)``, in pixels."""
    mass = images.abs().sum(1)
    flat = mass.flatten(1)
    empty = flat.amax(1, keepdim=True) == 0
    mass = normalized(torch.where(empty, 1.0, flat), "sum").reshape(mass.shape)
    others = [tuple({*range(1, mass.dim())} - {dim}) for dim in range(1, mass.dim())]
    return torch.stack([_mean_position(mass, dims) for dims in others], dim=1)


def _mean_position(mass: Tensor, others: tuple[int, ...]) -> Tensor:
    """Mean position of mass ``(N, *)`` along the one dimension that ``others`` leaves."""
    along = mass.sum(others) if others else mass
    return along @ torch.arange(along.shape[1], device=mass.device, dtype=mass.dtype)
