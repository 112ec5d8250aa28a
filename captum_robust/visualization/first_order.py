"""Is a first-order estimate to be trusted? Three pictures.

``visualize_local_linearity``, ``visualize_jacobian`` and ``visualize_margins`` draw what
:func:`~captum_robust.estimates.local_linearity_gap`,
:func:`~captum_robust.estimates.attribution_jacobian` and
:func:`~captum_robust.estimates.first_order_deviation` measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_robust._base.checks import check_count
from captum_robust.visualization.canvas import (
    INK,
    MARKERS,
    FigureAxis,
    canvas,
    check_length,
    line,
    show,
    style,
    titled,
)


def visualize_local_linearity(
    sizes: Sequence[float] | Tensor,
    gaps: Tensor | Mapping[str, Tensor],
    *,
    xlabel: str = "perturbation size ε",
    ylabel: str = "local-linearity gap η",
    plt_fig_axis: tuple[Figure, Any] | None = None,
    fig_size: tuple[float, float] = (5.0, 3.4),
    title: str | None = None,
    use_pyplot: bool = False,
) -> FigureAxis:
    """Draws how much a linearised map misses against the perturbation size, median and quartiles.

    Wang and Kong (2023), Fig. 3.

    Args:
        sizes: perturbation sizes, ``(R,)``.
        gaps: of :func:`~captum_robust.estimates.local_linearity_gap`, one column a size,
            ``(N, R)``; or several by name.
        xlabel, ylabel: name the values; say the norm and the unit.
        plt_fig_axis: a figure and an axis to draw on.
        fig_size: width and height in inches.
        title: over the picture.
        use_pyplot: makes the figure by pyplot and shows it; nothing pops up otherwise.

    Returns:
        The figure and its axis.

    Raises:
        ValueError: if gaps do not have one column for each size.

    Example:
        >>> import torch
        >>> from captum_robust.visualization import visualize_local_linearity
        >>> figure, axis = visualize_local_linearity([0.1, 0.2], torch.tensor([[0.25, 1.0]] * 3))
        >>> axis.lines[0].get_ydata().tolist()
        [0.25, 1.0]
    """
    places = torch.as_tensor(sizes, dtype=torch.float64).cpu().numpy()
    named = gaps if isinstance(gaps, Mapping) else {"": gaps}
    figure, (axes,) = canvas(plt_fig_axis, fig_size, use_pyplot)
    for place, (name, values) in enumerate(named.items()):
        check_length("gaps", values.shape[-1], len(places))
        quarters = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
        low, middle, high = values.double().cpu().quantile(quarters, dim=0).numpy()
        colour, dashes = line(place)
        axes.fill_between(places, low, high, color=colour, alpha=0.14, linewidth=0)
        axes.plot(
            places, middle, color=colour, linestyle=dashes, marker=MARKERS[place % 7], label=name
        )
    _finish(axes, xlabel, ylabel, title, legend=isinstance(gaps, Mapping))
    show(use_pyplot)
    return figure, axes


def visualize_jacobian(
    jacobian: Tensor,
    *,
    features: int | None = 100,
    cmap: str = "viridis",
    plt_fig_axis: tuple[Figure, Any] | None = None,
    fig_size: tuple[float, float] = (4.4, 3.8),
    title: str | None = None,
    use_pyplot: bool = False,
) -> FigureAxis:
    """Draws the absolute values of a map's Jacobian as a heat map.

    Wang and Kong (2023), Fig. 4 (the first 100 features) and Figs 5 to 7 (all).

    Args:
        jacobian: one example's matrix of :func:`~captum_robust.estimates.attribution_jacobian`,
            ``(m, d)``.
        features: only the first so many rows and columns; all where ``None``.
        cmap: matplotlib's name of the colours.
        plt_fig_axis: a figure and an axis to draw on.
        fig_size: width and height in inches.
        title: over the picture.
        use_pyplot: makes the figure by pyplot and shows it; nothing pops up otherwise.

    Returns:
        The figure and its axis.

    Raises:
        ValueError: if it is not one matrix.

    Example:
        >>> import torch
        >>> from captum_robust.visualization import visualize_jacobian
        >>> figure, axis = visualize_jacobian(torch.eye(4))
        >>> axis.images[0].get_array().shape
        (4, 4)
    """
    if jacobian.dim() != 2:
        raise ValueError(
            f"`jacobian` must be one example's matrix (m, d), got {tuple(jacobian.shape)}."
        )
    corner = None if features is None else check_count("features", features)
    sizes = jacobian.detach().double().abs().cpu()[:corner, :corner].numpy()
    figure, (axes,) = canvas(plt_fig_axis, fig_size, use_pyplot)
    image = axes.imshow(sizes, cmap=cmap, vmin=0.0, interpolation="nearest")
    axes.set(xlabel="input feature j", ylabel="map feature i")
    axes.tick_params(colors=INK)
    figure.colorbar(image, ax=axes, label="|∂g_i / ∂x_j|")
    titled(axes, title)
    show(use_pyplot)
    return figure, axes


def visualize_margins(
    bounds: Tensor | Mapping[str, Tensor],
    measured: Tensor,
    *,
    bins: int = 40,
    xlabel: str = "estimate less attacked deviation",
    plt_fig_axis: tuple[Figure, Any] | None = None,
    fig_size: tuple[float, float] = (5.0, 3.4),
    title: str | None = None,
    use_pyplot: bool = False,
) -> FigureAxis:
    """Draws the histogram of what an estimate leaves above an attack; violations lie left of zero.

    Wang and Kong (2023), Fig. 8. The legend says how many are violated.

    Args:
        bounds: estimates ``(N,)``, such as ``deviation`` of
            :func:`~captum_robust.estimates.first_order_deviation`; or several by name.
        measured: what attacks reached, ``(N,)``.
        bins: number of bars.
        xlabel: names the difference; say the unit.
        plt_fig_axis: a figure and an axis to draw on.
        fig_size: width and height in inches.
        title: over the picture.
        use_pyplot: makes the figure by pyplot and shows it; nothing pops up otherwise.

    Returns:
        The figure and its axis.

    Raises:
        ValueError: if the numbers of examples differ.

    Example:
        >>> import torch
        >>> from captum_robust.visualization import visualize_margins
        >>> figure, axis = visualize_margins(torch.ones(4), torch.tensor([0.1, 0.2, 0.3, 1.5]))
        >>> axis.get_legend().get_texts()[0].get_text()
        '1 of 4 violated'
    """
    named = bounds if isinstance(bounds, Mapping) else {"": bounds}
    margins = {}
    for name, values in named.items():
        check_length("bounds", len(values), len(measured))
        margins[name] = (values.detach().double().cpu() - measured.detach().double().cpu()).numpy()
    low = min(float(margin.min()) for margin in margins.values())
    high = max(float(margin.max()) for margin in margins.values())
    figure, (axes,) = canvas(plt_fig_axis, fig_size, use_pyplot)
    for place, (name, margin) in enumerate(margins.items()):
        label = f"{int((margin < 0).sum())} of {len(margin)} violated"
        axes.hist(
            margin,
            bins=check_count("bins", bins),
            range=(low, high),
            histtype="stepfilled",
            color=line(place)[0],
            alpha=0.5,
            label=f"{name}: {label}" if name else label,
        )
    axes.axvline(0.0, color=INK, linewidth=1.0)
    _finish(axes, xlabel, "examples", title, legend=True)
    show(use_pyplot)
    return figure, axes


def _finish(axes: Axes, xlabel: str, ylabel: str, title: str | None, legend: bool) -> None:
    style(axes)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    titled(axes, title)
    if legend:
        axes.legend(frameon=False, fontsize="small")
