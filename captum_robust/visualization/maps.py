"""Rows of maps beside their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from captum_robust._base.checks import check_number
from captum_robust.visualization.canvas import FigureAxes, canvas, check_length, show
from captum_robust.visualization.pictures import draw_image, draw_map, planes


def visualize_maps(
    images: Tensor,
    maps: Mapping[str, Tensor],
    *,
    labels: Sequence[str] | None = None,
    sign: str = "absolute_value",
    outlier_perc: int | float = 2,
    cmap: str | None = None,
    plt_fig_axis: tuple[Figure, Any] | None = None,
    fig_size: tuple[float, float] | None = None,
    use_pyplot: bool = False,
) -> FigureAxes:
    """Draws a row for each example: the image, then the map of each method.

    With integrated gradients plain, smoothed by Gaussian and by uniform noise it is Wang and Kong
    (2024), Fig. 3. Each map is scaled to itself, so colours compare places within one map, not
    sizes between two.

    Args:
        images: examples ``(N, C, H, W)`` in [0, 1]; others are scaled from smallest to largest.
        maps: maps ``(N, C, H, W)`` by the name that stands over them; channels are summed.
        labels: a text left of each row.
        sign, outlier_perc, cmap: as for :func:`captum.attr.visualization.visualize_image_attr`.
        plt_fig_axis: a figure and its ``N * (1 + len(maps))`` axes, row by row, to draw on.
        fig_size: width and height in inches; 1.8 for each picture where ``None``.
        use_pyplot: makes the figure by pyplot and shows it; nothing pops up otherwise.

    Returns:
        The figure and its axes, row by row.

    Raises:
        ValueError: if a shape is not that of images, or there are more or fewer maps than images.

    Example:
        >>> import torch
        >>> from captum_robust.visualization import visualize_maps
        >>> images = torch.rand(2, 3, 8, 8)
        >>> maps = {"plain": torch.randn(2, 3, 8, 8), "smoothed": torch.randn(2, 3, 8, 8)}
        >>> figure, axes = visualize_maps(images, maps)
        >>> [one.get_title() for one in axes[:3]]
        ['image', 'plain', 'smoothed']
    """
    if not maps:
        raise ValueError("`maps` must hold at least one map, got none.")
    rows, columns = len(images), 1 + len(maps)
    for name, one in maps.items():
        check_length(f"maps[{name!r}]", len(one), rows)
    if labels is not None:
        check_length("labels", len(labels), rows)
    figure, axes = canvas(
        plt_fig_axis, fig_size or (1.8 * columns, 1.8 * rows), use_pyplot, rows, columns
    )
    options: dict[str, Any] = {"sign": sign, "outlier_perc": outlier_perc, "cmap": cmap}
    for row in range(rows):
        line = axes[row * columns : (row + 1) * columns]
        titles = ["image", *maps] if row == 0 else [None] * columns
        draw_image(line[0], planes("images", images[row]), titles[0])
        if labels is not None:
            line[0].set_ylabel(labels[row])
        for place, (name, one) in enumerate(maps.items(), start=1):
            values = planes(f"maps[{name!r}]", one[row])
            draw_map(figure, line[place], values, titles[place], **options)
    show(use_pyplot)
    return figure, axes


def visualize_radius_sweep(
    image: Tensor,
    maps: Sequence[Tensor],
    radii: Sequence[float],
    **options: Any,
) -> FigureAxes:
    """Draws one image and its smoothed maps at growing noise: Wang et al. (2020), Fig. 6.

    Args:
        image: one example, ``(H, W)``, ``(C, H, W)`` or ``(1, C, H, W)``.
        maps: its maps, one for each radius, shaped like it.
        radii: sizes of the noise, in input units; they stand over the maps.
        **options: of :func:`visualize_maps`.

    Returns:
        The figure and its axes: the image, then a map for each radius.

    Raises:
        ValueError: if the maps are not as many as the radii, or a radius is negative.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import UniGrad
        >>> from captum_robust.visualization import visualize_radius_sweep
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        >>> x, uniform = torch.rand(1, 1, 8, 8), UniGrad(Saliency(net))
        >>> maps = [uniform.attribute(x, target=3, radius=r) for r in (0.1, 0.3)]
        >>> figure, axes = visualize_radius_sweep(x, maps, (0.1, 0.3))
        >>> [one.get_title() for one in axes]
        ['image', 'r = 0.1', 'r = 0.3']
    """
    check_length("radii", len(radii), len(maps))
    sizes = [check_number("radii", radius, low=0) for radius in radii]
    named = {
        f"r = {size:g}": planes("maps", one).unsqueeze(0)
        for size, one in zip(sizes, maps, strict=True)
    }
    return visualize_maps(planes("image", image).unsqueeze(0), named, **options)
