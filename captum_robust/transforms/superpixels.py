"""Superpixels of images as labels of regions; needs scikit-image (the extra ``regions``)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from captum_robust._base.checks import check_count, check_number

Labels = NDArray[np.int64]


def superpixels(images: Tensor, regions: int = 64, *, compactness: float = 20.0) -> Tensor:
    """Cuts each image into regions of similar colour, by scikit-image's SLIC.

    The regions come from the clean images, so they are fixed before sampling; give the labels to
    :class:`~captum_robust.attr.Segments`, or to a method's ``feature_mask``. SLIC finds about as
    many regions as asked for. All images get as many as the one with the fewest: in the others the
    smallest region is merged into the neighbour with which it shares most of its border, until they
    agree.

    Args:
        images: ``(N, C, H, W)``, of one or three channels, any scale.
        regions: wanted in each image, from 1 to the number of pixels.
        compactness: how much closeness counts against colour, > 0.

    Returns:
        Labels ``(N, 1, H, W)`` from 0, int64, in the order in which regions first appear.

    Raises:
        ValueError: if a shape is not that of images, or more regions than pixels are wanted.
        ImportError: without scikit-image.

    Example:
        >>> import torch
        >>> from captum_robust.attr import Abs, Segments, SumChannels, superpixels
        >>> images = torch.zeros(1, 3, 8, 8)
        >>> images[..., 4:] = 1.0
        >>> labels = superpixels(images, regions=4)
        >>> labels.shape, int(labels.max()) + 1
        (torch.Size([1, 1, 8, 8]), 4)
        >>> what = Abs() >> SumChannels() >> Segments(labels)
    """
    if images.dim() != 4 or images.shape[1] not in (1, 3) or not images.is_floating_point():
        raise ValueError(
            "`images` must be floating point of shape (N, 1 or 3, H, W), got "
            f"{images.dtype} of shape {tuple(images.shape)}."
        )
    check_number("compactness", compactness, low=0, open_low=True)
    pixels = images.shape[2] * images.shape[3]
    if check_count("regions", regions) > pixels:
        raise ValueError(
            f"`regions` must be in [1, {pixels}] (the number of pixels), got {regions}."
        )
    found = [_cut(image, regions, compactness) for image in images.detach().cpu().double()]
    fewest = min(int(one.max()) + 1 for one in found)
    agreed = np.stack([_numbered(_merged(one, fewest)) for one in found])
    return torch.from_numpy(agreed).unsqueeze(1).to(images.device)


def _cut(image: Tensor, regions: int, compactness: float) -> Labels:
    """SLIC's labels of one image, more compact ones where it finds less than three quarters."""
    low, high = image.min(), image.max()
    scaled = (image - low) / (high - low) if high > low else torch.zeros_like(image)
    for factor in (1.0, 3.0, 10.0, 100.0, 1e4):
        labels = _slic(scaled, regions, compactness * factor)
        if 4 * (int(labels.max()) + 1) >= 3 * regions:
            break
    return labels


def _slic(image: Tensor, regions: int, compactness: float) -> Labels:
    """SLIC's labels of one image ``(C, H, W)`` in [0, 1]."""
    try:
        from skimage.segmentation import slic  # an extra: only where used
    except ImportError as error:
        raise ImportError(
            "`superpixels` needs scikit-image: pip install captum-robust[regions]."
        ) from error
    grey = len(image) == 1
    labels: Any = slic(
        image[0].numpy() if grey else image.permute(1, 2, 0).numpy(),
        n_segments=regions,
        compactness=compactness * (0.01 if grey else 1.0),  # colours go to 100 there
        start_label=0,
        channel_axis=None if grey else -1,
    )
    return _numbered(labels.astype(np.int64))


def _merged(labels: Labels, count: int) -> Labels:
    """Labels with the smallest regions merged into a neighbour until ``count`` are left."""
    labels = labels.copy()
    while len(sizes := np.bincount(labels.ravel())) > 0 and (sizes > 0).sum() > count:
        smallest = int(np.where(sizes > 0, sizes, sizes.max() + 1).argmin())
        pairs = [(labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])]
        beside = [b[a == smallest] for one, two in pairs for a, b in ((one, two), (two, one))]
        around = np.concatenate(beside)
        labels[labels == smallest] = np.bincount(around[around != smallest]).argmax()
    return labels


def _numbered(labels: Labels) -> Labels:
    """Labels from 0 in the order in which they first appear, row by row."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first.argsort().argsort()[inverse].reshape(labels.shape)
