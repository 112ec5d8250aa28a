"""Kendall's rank correlation of two maps."""

from __future__ import annotations

from typing import Final, Literal

import scipy
import torch
from torch import Tensor

from captum_robust._base.checks import check_choice
from captum_robust._base.vectors import Tensors
from captum_robust.metrics.similarities.shared.maps import Channels, Normalize, as_vectors
from captum_robust.metrics.similarities.shared.ranks import dense_ranks, group_numbers, group_sizes
from captum_robust.metrics.similarities.similarity import register_similarity

# From so many features on, SciPy's tree beats counting by bits on one CPU core.
_SCIPY_FEATURES: Final = 1000


@register_similarity(low=-1, high=1)
def kendall_tau(
    a: Tensors,
    b: Tensors,
    *,
    variant: Literal["b", "concordant"] = "b",
    channels: Channels = None,
    normalize: Normalize = None,
) -> Tensor:
    r"""Kendall's rank correlation of two maps, over features.

    .. math:: \tau_b = \frac{P - Q}{\sqrt{(P + Q + T_a)(P + Q + T_b)}}

    with :math:`P` concordant and :math:`Q` discordant pairs and :math:`T_a`, :math:`T_b` the pairs
    tied in one map only (Kendall, 1945). A constant map correlates 0 with every other map and 1
    with a constant map.

    Wang & Kong (2024), appendix B.2, print under this name the share of pairs

    .. math:: \tbinom m2^{-1} \sum_i \sum_{j>i} 1\{a_i > a_j\} 1\{b_i > b_j\},

    which misses the pairs ordered the other way in both maps; it is ``variant="concordant"``, and
    compares with nothing but itself: the share of a map with itself is seldom 1.

    Takes :math:`O(m \log m)` on any device.

    Args:
        a, b, channels, normalize: as in :func:`spearman_rho`.
        variant: ``"b"``, or ``"concordant"`` for the printed formula above.

    Returns:
        Exact values, in [-1, 1] as :func:`scipy.stats.kendalltau`, or in [0, 1] for
        ``"concordant"``, ``(N,)``, float64; higher is more robust. No gradient.

    Raises:
        ValueError: as in :func:`spearman_rho`, or for an unknown variant.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import kendall_tau
        >>> kendall_tau(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 9.0, 8.0]]))
        tensor([0.3333], dtype=torch.float64)
    """
    check_choice("variant", variant, ("b", "concordant"))
    first, second = as_vectors(a, b, channels, normalize)
    first, second = first.detach(), second.detach()
    if variant == "concordant":
        return _descending_share(first, second)
    if first.device.type == "cpu" and first.shape[1] >= _SCIPY_FEATURES:
        return _tau_b_by_scipy(first, second)
    return _tau_b(first, second)


def _tau_b_by_scipy(a: Tensor, b: Tensor) -> Tensor:
    """Tau-b of rows on the CPU; SciPy leaves constant rows undefined."""
    constant_a, constant_b = (part.amax(1) == part.amin(1) for part in (a, b))
    tau = (constant_a & constant_b).to(a.dtype)
    for row in (~constant_a & ~constant_b).nonzero().flatten().tolist():
        result = scipy.stats.kendalltau(a[row].numpy(), b[row].numpy(), method="asymptotic")
        tau[row] = float(result.statistic)
    return tau


def _tau_b(a: Tensor, b: Tensor) -> Tensor:
    """Tau-b of rows by Knight's method: discordant pairs are inversions of b in the order of a."""
    ranks_a, ranks_b = dense_ranks(a), dense_ranks(b)
    features = a.shape[1]
    joint = (ranks_a * features + ranks_b).sort(dim=1).values
    discordant = _inversions(joint % features)
    tied_a, tied_b, tied_both = (
        _tied_pairs(ids) for ids in (ranks_a, ranks_b, group_numbers(joint))
    )
    total = features * (features - 1) // 2
    difference = (total - tied_a - tied_b + tied_both - 2 * discordant).to(a.dtype)
    # Two roots, since the product of the two counts overflows 64 bits.
    size = (total - tied_a).to(a.dtype).sqrt() * (total - tied_b).to(a.dtype).sqrt()
    both_constant = ((tied_a == total) & (tied_b == total)).to(a.dtype)
    tau = (difference / torch.where(size > 0, size, 1.0)).clamp(-1, 1)
    return torch.where(size > 0, tau, both_constant)


def _descending_share(a: Tensor, b: Tensor) -> Tensor:
    """Share of pairs i < j that descend in both rows.

    With ties ordered by position every pair either descends or not, so that the pairs that
    descend in exactly one row are the discordant ones, and |A and B| = (|A| + |B| - |A xor B|) / 2.
    """
    order = a.argsort(dim=1, stable=True)
    ranks_a, ranks_b = _places(order), _places(b.argsort(dim=1, stable=True))
    either = _inversions(ranks_a) + _inversions(ranks_b)
    both = (either - _inversions(ranks_b.gather(1, order))) // 2
    features = a.shape[1]
    return both.to(a.dtype) / max(features * (features - 1) // 2, 1)


def _places(order: Tensor) -> Tensor:
    """The inverse of each row's permutation."""
    positions = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, positions)


def _tied_pairs(ids: Tensor) -> Tensor:
    sizes = group_sizes(ids)
    return (sizes * (sizes - 1) // 2).sum(dim=1)


def _inversions(values: Tensor) -> Tensor:
    """Pairs i < j with ``values[i] > values[j]`` of each row, for ints in [0, m).

    A radix sort from the highest bit: within each group of equal higher bits, every 0 that stands
    behind a 1 is an inversion; then the group is split by that bit, order kept.
    """
    rows, features = values.shape
    bits = max(features - 1, 1).bit_length()
    position = torch.arange(features, device=values.device).expand_as(values)
    below = torch.zeros(rows, (1 << bits) + 1, dtype=torch.int64, device=values.device)
    below.scatter_add_(1, values + 1, torch.ones_like(values))
    below = below.cumsum(dim=1)  # below[v]: how many are smaller than v
    total = torch.zeros(rows, dtype=torch.int64, device=values.device)
    for bit in reversed(range(bits)):
        one = (values >> bit) & 1
        start = below.gather(1, values >> (bit + 1) << (bit + 1))
        ones = one.cumsum(dim=1) - one
        ones = ones - ones.gather(1, start)  # ones before, in the group
        total += (ones * (1 - one)).sum(dim=1)
        place = below.gather(1, values >> bit << bit)
        place = place + torch.where(one == 1, ones, position - start - ones)
        values = torch.empty_like(values).scatter_(1, place, values)
    return total
