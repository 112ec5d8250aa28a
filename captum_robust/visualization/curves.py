"""Certified curves over a data set with their bands, and what attacks measured below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from captum_robust._base.checks import check_number
from captum_robust.metrics import CertifiedCurves
from captum_robust.visualization.canvas import INK, MARKERS, FigureAxis, canvas, line, show, style

Measured = Mapping[str, tuple[Sequence[float], Tensor]]


def visualize_curves(
    curves: CertifiedCurves | Mapping[str, CertifiedCurves],
    *,
    measured: Measured | None = None,
    percentiles: tuple[float, float, float] = (25.0, 50.0, 75.0),
    ylabel: str = "certified value",
    xlabel: str = "perturbation size ε",
    plt_fig_axis: tuple[Figure, Any] | None = None,
    fig_size: tuple[float, float] = (5.6, 3.9),
    title: str | None = None,
    use_pyplot: bool = False,
) -> FigureAxis:
    """Draws certified values against the perturbation size: a line and a band over the examples.

    For overlaps it is Levine et al. (2019), Fig. 4, whose percentiles are ``(48, 60, 72)``. Between
    two sizes a line has the value of the larger one, which holds there too; a straight line would
    promise more.

    Args:
        curves: of :func:`~captum_robust.metrics.certified_overlap` and its siblings, one or by
            name.
        measured: what attacks left, by name: sizes ``(R,)`` and values ``(N, R)``, such as
            :func:`~captum_robust.metrics.attack_robustness` gives. Drawn as points, with the same
            percentiles as bars. Only a certificate with ``claim="redrawn"`` speaks of them.
        percentiles: of the examples: lower end of the band, line, upper end, in [0, 100].
        ylabel, xlabel: name the values and the sizes; say the norm and the unit.
        plt_fig_axis: a figure and an axis to draw on.
        fig_size: width and height in inches.
        title: over the picture.
        use_pyplot: makes the figure by pyplot and shows it; nothing pops up otherwise.

    Returns:
        The figure and its axis.

    Raises:
        ValueError: if percentiles do not increase, or values do not fit their sizes.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import CertifiedCurves
        >>> from captum_robust.visualization import visualize_curves
        >>> sizes = torch.tensor([0.0, 0.1, 0.2])
        >>> curves = CertifiedCurves(sizes, torch.tensor([[1.0, 0.75, 0.25], [1.0, 0.25, 0.0]]))
        >>> figure, axis = visualize_curves(curves, ylabel="certified overlap")
        >>> [float(value) for value in axis.lines[0].get_ydata()]
        [1.0, 0.5, 0.125]
    """
    levels = [check_number("percentiles", level, low=0, high=100) for level in percentiles]
    if len(levels) != 3 or levels != sorted(levels):
        raise ValueError(f"`percentiles` must be three increasing numbers, got {percentiles}.")
    named = {"": curves} if isinstance(curves, CertifiedCurves) else dict(curves)
    figure, (axes,) = canvas(plt_fig_axis, fig_size, use_pyplot)
    beside = _side_by_side(named, measured or {})
    places = {name: place for place, name in enumerate(dict.fromkeys([*named, *(measured or ())]))}
    for name, one in named.items():
        _certified(axes, one, levels, places[name], name)
    for name, (sizes, values) in (measured or {}).items():
        if values.dim() != 2 or values.shape[1] != len(sizes):
            raise ValueError(
                f"`measured[{name!r}]` must have values (N, {len(sizes)}), one column a size, "
                f"got {tuple(values.shape)}."
            )
        label = f"{name}, attacked" if name in named else name
        found = CertifiedCurves(torch.as_tensor(sizes, dtype=torch.float64), values.double())
        _points(axes, found, levels, places[name], label, beside[name])
    _finish(axes, xlabel, ylabel, title)
    show(use_pyplot)
    return figure, axes


def _certified(
    axes: Axes, curves: CertifiedCurves, levels: list[float], place: int, label: str
) -> None:
    """A line of steps in its band."""
    sizes = curves.epsilons.detach().cpu().numpy()
    low, middle, high = curves.band(levels).detach().cpu().numpy()
    colour, dashes = line(place)
    axes.fill_between(sizes, low, high, step="pre", color=colour, alpha=0.14, linewidth=0)
    axes.plot(sizes, middle, drawstyle="steps-pre", color=colour, linestyle=dashes, label=label)


def _points(
    axes: Axes,
    found: CertifiedCurves,
    levels: list[float],
    place: int,
    label: str,
    beside: float,
) -> None:
    """A point at each size, moved aside, from percentile to percentile."""
    low, middle, high = found.band(levels).cpu().numpy()
    axes.errorbar(
        found.epsilons.cpu().numpy() + beside,
        middle,
        yerr=[middle - low, high - middle],
        color=line(place)[0],
        marker=MARKERS[place % len(MARKERS)],
        linestyle="none",
        capsize=2.0,
        label=label,
    )


def _side_by_side(curves: Mapping[str, CertifiedCurves], measured: Measured) -> dict[str, float]:
    """How far each name's points are moved along the axis: equal ones would hide each other."""
    ends = [float(max(sizes)) for sizes, _ in measured.values()]
    ends += [float(one.epsilons.max()) for one in curves.values()]
    middle = (len(measured) - 1) / 2
    return {name: 0.012 * max(ends) * (place - middle) for place, name in enumerate(measured)}


def _finish(axes: Axes, xlabel: str, ylabel: str, title: str | None) -> None:
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title or "")
    axes.set_xlim(left=0.0)
    if axes.get_ylim()[0] >= -0.2:
        axes.set_ylim(bottom=0.0)
    labels = [text for text in axes.get_legend_handles_labels()[1] if text]
    if labels:
        axes.legend(frameon=False, fontsize="small", labelcolor=INK)
    style(axes)
