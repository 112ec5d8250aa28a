"""An attack at a glance: image and map before, after, and what changed."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_robust._base.checks import feature_count
from captum_robust._base.vectors import top_mask
from captum_robust.metrics import topk_intersection
from captum_robust.visualization.canvas import CERTIFIED, INK, OPEN, FigureAxes, canvas, show
from captum_robust.visualization.pictures import draw_image, draw_map, outline, planes


def visualize_attack(
    image: Tensor,
    perturbed: Tensor,
    attribution: Tensor,
    perturbed_attribution: Tensor,
    *,
    k: int | float | None = None,
    sign: str = "absolute_value",
    outlier_perc: int | float = 2,
    cmap: str | None = None,
    plt_fig_axis: tuple[Figure, Any] | None = None,
    fig_size: tuple[float, float] = (6.4, 4.4),
    use_pyplot: bool = False,
) -> FigureAxes:
    """Draws an attack as a triptych: before, after, difference; image above, map below.

    The difference of the images is stretched to its own largest change, which stands over it: what
    is drawn large may be invisible. The outlines are the top k pixels of each map, and of the first
    map in both lower pictures.

    Args:
        image, perturbed: one example before and after, ``(H, W)``, ``(C, H, W)`` or
            ``(1, C, H, W)``.
        attribution, perturbed_attribution: its maps before and after, shaped like it.
        k: pixels to outline, a share in (0, 1] or a count, by the magnitude of the channels' sum;
            their overlap stands under the second map.
        sign, outlier_perc, cmap: as for :func:`captum.attr.visualization.visualize_image_attr`.
        plt_fig_axis: a figure and its six axes, row by row, to draw on.
        fig_size: width and height in inches.
        use_pyplot: makes the figure by pyplot and shows it; nothing pops up otherwise.

    Returns:
        The figure and its six axes, row by row.

    Raises:
        ValueError: if a shape is not that of an image, or two shapes differ.

    Example:
        >>> import torch
        >>> from captum_robust.visualization import visualize_attack
        >>> x, y = torch.rand(1, 8, 8), torch.rand(1, 8, 8)
        >>> figure, axes = visualize_attack(x, y, torch.randn(1, 8, 8), torch.randn(1, 8, 8), k=8)
        >>> [one.get_title() for one in axes[:2]]
        ['before', 'after']
    """
    before, after = planes("image", image), planes("perturbed", perturbed)
    maps = (
        planes("attribution", attribution),
        planes("perturbed_attribution", perturbed_attribution),
    )
    for name, one, two in (("perturbed", before, after), ("perturbed_attribution", *maps)):
        if one.shape != two.shape:
            raise ValueError(
                f"`{name}` must have the shape before the attack, {tuple(one.shape)}, "
                f"got {tuple(two.shape)}."
            )
    figure, axes = canvas(plt_fig_axis, fig_size, use_pyplot, 2, 3)
    change = after - before
    draw_image(axes[0], before, "before")
    draw_image(axes[1], after, "after")
    largest = float(change.abs().max())
    draw_image(axes[2], 0.5 + 0.5 * change / (largest or 1.0), f"difference, at most {largest:.2g}")
    options: dict[str, Any] = {"sign": sign, "outlier_perc": outlier_perc, "cmap": cmap}
    for place, one in zip((3, 4), maps, strict=True):
        draw_map(figure, axes[place], one, **options)
    draw_map(figure, axes[5], maps[1] - maps[0], sign="all", outlier_perc=outlier_perc)
    if k is not None:
        _outline_tops(axes[3], axes[4], maps, k)
    show(use_pyplot)
    return figure, axes


def _outline_tops(first: Axes, second: Axes, maps: tuple[Tensor, Tensor], k: int | float) -> None:
    """The top k pixels of each map, the first map's in both pictures, and their overlap."""
    sums = [one.sum(0).abs().reshape(1, -1) for one in maps]
    count = feature_count("k", k, sums[0].shape[1])
    tops = [top_mask(one, count).reshape(maps[0].shape[1:]) for one in sums]
    outline(first, tops[0], CERTIFIED)
    outline(second, tops[0], CERTIFIED)
    outline(second, tops[1], OPEN)
    shared = float(topk_intersection(sums[0], sums[1], k=count))
    second.set_xlabel(f"{shared:.0%} of the top {count} stayed", color=INK)
