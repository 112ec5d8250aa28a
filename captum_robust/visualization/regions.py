"""Certified regions over the photo, coloured by how far each is certain."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from captum_robust._base.checks import check_count, feature_count
from captum_robust._base.vectors import flatten, top_mask
from captum_robust.certificates import Certificate
from captum_robust.visualization.canvas import INK, FigureAxis, canvas, show, titled
from captum_robust.visualization.pictures import draw_image, outline, planes
from captum_robust.visualization.upsample import Upsample

_UNCERTAIN = "#ffffff"


def visualize_certified_regions(
    certificate: Certificate,
    image: Tensor,
    k: int | float = 0.2,
    *,
    example: int = 0,
    cmap: str = "viridis",
    plt_fig_axis: tuple[Figure, Any] | None = None,
    fig_size: tuple[float, float] = (4.8, 4.2),
    title: str | None = None,
    use_pyplot: bool = False,
) -> FigureAxis:
    r"""Draws the top k regions of a map over its image, coloured by how far each is certain.

    A region's colour is its :meth:`~captum_robust.certificates.Certificate.top_radius`: the size of
    perturbation up to which it stays in the top k. All of them hold jointly, with the certificate's
    probability. White outlines are top regions of which nothing is certified.

    Args:
        certificate: of a map of regions, such as ``Pool(grid=14)``, ``Segments(labels)`` or GradCAM
            give; coarse maps are brought to the size of the image.
        image: the example ``(C, H, W)``, drawn below in grey.
        k: regions in the top, a share in (0, 1] or a count.
        example: which example.
        cmap: colours of the radii, from Matplotlib.
        plt_fig_axis: a figure and an axis to draw on.
        fig_size: width and height in inches.
        title: over the picture.
        use_pyplot: makes the figure by pyplot and shows it; nothing pops up otherwise.

    Returns:
        The figure and its axis.

    Raises:
        ValueError: if ``example`` does not exist, or the map's features are no regions of one
            image.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import Abs, Pool, SparsifiedSmoothGrad, SumChannels
        >>> from captum_robust.visualization import visualize_certified_regions
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2))
        >>> regions = Abs() >> SumChannels() >> Pool(grid=4)
        >>> smooth = SparsifiedSmoothGrad(Saliency(net), keep=3, transform=regions)
        >>> image = torch.rand(1, 3, 8, 8)
        >>> certificate = smooth.certify(image, target=0, stdevs=0.3, nt_samples=200, seed=0)
        >>> figure, axes = visualize_certified_regions(certificate, image[0], k=3)
        >>> len(axes.collections)  # an outline a region
        3
    """
    shown = planes("image", image)
    picture = _picture(certificate, example, shown.shape[1:])
    count = feature_count("k", k, certificate.features)
    radii = _rows(certificate.top_radius(count))[example].cpu()
    top = top_mask(certificate.mean, count)[example].nonzero().flatten().tolist()
    figure, (axes,) = canvas(plt_fig_axis, fig_size, use_pyplot)
    draw_image(axes, shown.mean(0, keepdim=True))
    scale = Normalize(0.0, float(radii[top].max()) or 1.0)
    colours = ScalarMappable(scale, cmap)
    for region in sorted(top, key=lambda place: float(radii[place])):
        mask, certain = picture == region, float(radii[region])
        colour = colours.cmap(scale(certain)) if certain > 0.0 else _UNCERTAIN
        outline(axes, mask, colour)
        if certain > 0.0:
            tint = torch.zeros(*mask.shape, 4)
            tint[mask] = torch.tensor([*colour[:3], 0.35], dtype=tint.dtype)
            axes.imshow(tint.numpy())
    bar = figure.colorbar(colours, ax=axes, fraction=0.046, pad=0.03)
    word = certificate.words.plural
    bar.set_label(f"stays in the top {count} {word} up to this size", color=INK, fontsize="small")
    certified = sum(float(radii[region]) > 0.0 for region in top)
    axes.set_xlabel(f"{certified} of the top {count} {word} are certain at some size", color=INK)
    titled(axes, title)
    show(use_pyplot)
    return figure, axes


def _picture(certificate: Certificate, example: int, size: torch.Size) -> Tensor:
    """The region of each pixel of the image."""
    count = len(certificate.mean)
    if check_count("example", example, low=0) >= count:
        raise ValueError(f"`example` must be below {count}, got {example}.")
    picture = certificate.words.picture(example)
    if picture is None:
        raise ValueError(
            "the certificate's features must be regions of one image, with all channels of a pixel "
            "in one of them; certify with Abs() >> SumChannels() >> Pool(grid=14), for instance."
        )
    return Upsample((int(size[0]), int(size[1])))(picture)


def _rows(maps: Tensor | tuple[Tensor, ...]) -> Tensor:
    return flatten(maps if isinstance(maps, tuple) else (maps,))
