"""The structural similarity of two maps."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from captum_robust._base.checks import check_count, check_number
from captum_robust._base.vectors import Tensors
from captum_robust.metrics.similarities.shared.maps import Channels, Normalize, as_images
from captum_robust.metrics.similarities.similarity import register_similarity

_CACHED_PIXELS: Final = 2**17  # pieces of so many pixels keep SSIM's moments in a CPU's cache


@register_similarity(low=-1, high=1)
def ssim(
    a: Tensors,
    b: Tensors,
    *,
    data_range: float | None = None,
    win_size: int | None = None,
    gaussian_weights: bool = False,
    sigma: float = 1.5,
    use_sample_covariance: bool = True,
    k1: float = 0.01,
    k2: float = 0.03,
    channels: Channels = None,
    normalize: Normalize = None,
) -> Tensor:
    r"""Mean structural similarity of two maps.

    .. math:: \frac{(2\mu_a\mu_b + c_1)(2\sigma_{ab} + c_2)}
              {(\mu_a^2 + \mu_b^2 + c_1)(\sigma_a^2 + \sigma_b^2 + c_2)},\quad c_i = (k_i R)^2

    averaged over the windows that lie inside the image, and over channels (Wang et al., 2004).
    Words and defaults are those of :func:`skimage.metrics.structural_similarity`, but for
    ``data_range``: :math:`R` is by default the range of each example's two maps together, so that
    the value does not depend on the order of the maps, on the rest of the batch or on a common
    scale. Two equal maps have SSIM 1, constant or zero ones too.

    Args:
        a, b: maps of equal shapes ``(N, L)``, ``(N, H, W)`` or ``(N, C, *spatial)`` with four or
            more dimensions; one map, no tuple of several.
        data_range: :math:`R` > 0, in the maps' units.
        win_size: side of the window in pixels, odd; 7, or with ``gaussian_weights`` what 3.5
            ``sigma`` on either side take.
        gaussian_weights: whether windows are weighted by a Gaussian of ``sigma`` pixels.
        sigma: in pixels, > 0.
        use_sample_covariance: whether variances divide by one less than the window's pixels.
        k1, k2: constants > 0.
        channels, normalize: preparation of the maps, see :mod:`captum_robust.metrics`.

    Returns:
        Exact values in [-1, 1], ``(N,)``, float64; higher is more robust. Carries gradients.

    Raises:
        ValueError: if a constant is out of range, the window is larger than the image, or as in
            :func:`mass_center_dislocation`.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import ssim
        >>> a = torch.arange(64.0).reshape(1, 8, 8)
        >>> ssim(a, a), ssim(a, a.flip(1)) < 0.5
        (tensor([1.], dtype=torch.float64), tensor([True]))
    """
    first, second = as_images("ssim", a, b, channels, normalize)
    c1 = check_number("k1", k1, low=0, open_low=True)
    c2 = check_number("k2", k2, low=0, open_low=True)
    window = _window(win_size, gaussian_weights, sigma, min(first.shape[2:]))
    pixels = len(window) ** (first.dim() - 2)
    unbias = pixels / (pixels - 1) if use_sample_covariance and pixels > 1 else 1.0
    first, second, spread = _scaled(first, second, data_range)
    rows = len(first) if first.is_cuda else max(1, _CACHED_PIXELS // first[0].numel())
    pieces = zip(first.split(rows), second.split(rows), spread.split(rows), strict=True)
    return torch.cat(
        [_mean_ssim(a, b, window, (c1 * r) ** 2, (c2 * r) ** 2, unbias) for a, b, r in pieces]
    )


def _mean_ssim(
    a: Tensor, b: Tensor, window: list[float], c1: Tensor, c2: Tensor, unbias: float
) -> Tensor:
    """SSIM of images ``(N, C, *)``, averaged over windows and channels."""
    moments = torch.stack([a, b, a * a, b * b, a * b])
    for dim in range(3, moments.dim()):
        moments = _correlate(moments, window, dim)
    mean_a, mean_b, square_a, square_b, product = moments
    means = mean_a * mean_b
    mean_squares = mean_a.square() + mean_b.square()
    variances = unbias * (square_a + square_b - mean_squares)
    covariance = unbias * (product - means)
    similarity = (2 * means + c1) / (mean_squares + c1) * (2 * covariance + c2) / (variances + c2)
    return similarity.flatten(1).mean(1)


def _correlate(values: Tensor, window: list[float], dim: int) -> Tensor:
    """Weighted sums over the windows inside, along one dimension."""
    length = values.shape[dim] - len(window) + 1
    total = values.narrow(dim, 0, length) * window[0]
    for offset, weight in enumerate(window[1:], start=1):
        total.add_(values.narrow(dim, offset, length), alpha=weight)
    return total


def _scaled(a: Tensor, b: Tensor, data_range: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """The maps and the range R of each example, ``(N, 1, ...)``; 1 for two equal constant maps.

    Without a given range both maps are divided by their largest magnitude, held constant, so that
    the squares of tiny maps do not underflow.
    """
    shape = (-1, *[1] * (a.dim() - 1))
    if data_range is not None:
        given = check_number("data_range", data_range, low=0, open_low=True)
        return a, b, a.new_full((len(a),), given).reshape(shape)
    both = torch.cat([a.flatten(1), b.flatten(1)], dim=1)
    largest = both.detach().abs().amax(1)
    scale = torch.where(largest > 0, largest, 1.0).reshape(shape)
    spread = (both.amax(1) - both.amin(1)).reshape(shape) / scale
    return a / scale, b / scale, torch.where(spread > 0, spread, 1.0)


def _window(win_size: int | None, gaussian: bool, sigma: float, side: int) -> list[float]:
    """Weights of the window along one dimension, summing to 1."""
    sigma = check_number("sigma", sigma, low=0, open_low=True)
    if gaussian:
        size = 2 * int(3.5 * sigma + 0.5) + 1
    else:
        size = 7 if win_size is None else check_count("win_size", win_size)
    if size % 2 == 0 or size > side:
        raise ValueError(
            f"`win_size` must be odd and in [1, {side}] (the smaller side of the maps), got {size}."
        )
    offsets = torch.arange(size, dtype=torch.float64) - size // 2
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2) if gaussian else torch.ones_like(offsets)
    return (weights / weights.sum()).tolist()
