"""Draws one image or one map; maps by Captum's own function."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from captum.attr import visualization as captum_visualization
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from captum_robust._base.checks import check_choice, check_number
from captum_robust.visualization.canvas import titled

_LEAST_OUTLIERS: Final = 1e-9  # at 0 the rounding of its sums leaves Captum without a threshold


def planes(name: str, values: Tensor) -> Tensor:
    """One image or map as ``(C, H, W)``, detached, on the CPU, at least float32.

    Raises:
        TypeError: if it is no tensor.
        ValueError: if its shape is none of an image, or a value is not finite.
    """
    if not isinstance(values, Tensor):
        raise TypeError(f"`{name}` must be a Tensor, got {type(values).__name__}.")
    found = values.detach().cpu()
    if found.dim() == 4 and found.shape[0] == 1:
        found = found[0]
    if found.dim() == 2:
        found = found.unsqueeze(0)
    if found.dim() != 3 or 0 in found.shape:
        raise ValueError(
            f"`{name}` must be one image of shape (H, W), (C, H, W) or (1, C, H, W), "
            f"got {tuple(values.shape)}."
        )
    if not torch.isfinite(found).all():
        raise ValueError(f"`{name}` must be finite, got NaN or infinity.")
    return found.to(torch.promote_types(found.dtype, torch.float32))


def draw_image(axes: Axes, image: Tensor, title: str | None = None) -> None:
    """An image ``(C, H, W)``: colours of three channels, else the grey of their mean.

    Values in [0, 1] are shown as they are; others are scaled from their smallest to their largest.
    """
    low, high = float(image.min()), float(image.max())
    if low < 0.0 or high > 1.0:
        image = (image - low) / (high - low or 1.0)
    if image.shape[0] == 3:
        axes.imshow(image.permute(1, 2, 0).numpy())
    else:
        axes.imshow(image.mean(0).numpy(), cmap="gray", vmin=0.0, vmax=1.0)
    bare(axes)
    titled(axes, title)


def draw_map(
    figure: Figure,
    axes: Axes,
    values: Tensor,
    title: str | None = None,
    *,
    sign: str = "absolute_value",
    outlier_perc: int | float = 2,
    cmap: str | None = None,
) -> None:
    """A map ``(C, H, W)`` by :func:`captum.attr.visualization.visualize_image_attr`.

    Scaled by its largest magnitude beforehand, which changes no picture but spares Captum's
    warning about small gradients; a map of zeros, which Captum refuses, is drawn as zeros.
    """
    summed = values.sum(0)
    check_choice("sign", sign, ("absolute_value", "all", "negative", "positive"))
    outliers = check_number("outlier_perc", outlier_perc, low=0, high=100, open_high=True)
    halves = {"positive": summed.clamp(min=0), "negative": summed.clamp(max=0)}
    largest = float(halves.get(sign, summed).abs().max())
    if largest == 0.0:
        axes.imshow(np.zeros(summed.shape), cmap="Greys", vmin=0.0, vmax=1.0)
    else:
        captum_visualization.visualize_image_attr(
            (summed / largest).double().numpy(),
            plt_fig_axis=(figure, axes),
            sign=sign,
            outlier_perc=max(outliers, _LEAST_OUTLIERS),
            cmap=cmap,
            use_pyplot=False,
        )
    bare(axes)
    titled(axes, title)


def bare(axes: Axes) -> None:
    """No ticks and no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def outline(axes: Axes, mask: Tensor, color: Any, width: float = 1.4) -> None:
    """The border of a set of pixels ``(H, W)``, along their edges."""
    padded = torch.nn.functional.pad(mask.to(torch.int8), (1, 1, 1, 1))
    rows, columns = padded.diff(dim=0).nonzero(), padded.diff(dim=1).nonzero()
    edges = [[(x - 1.5, y - 0.5), (x - 0.5, y - 0.5)] for y, x in rows.tolist()]
    edges += [[(x - 0.5, y - 1.5), (x - 0.5, y - 0.5)] for y, x in columns.tolist()]
    axes.add_collection(LineCollection(edges, colors=color, linewidths=width))
