"""Figure and axes, in and out, in the words of ``captum.attr.visualization``; and their style."""

from __future__ import annotations

from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK: Final = "#1f2933"
FAINT: Final = "#8a94a0"
# Okabe and Ito (2008): told apart by readers with any colour vision; dashes serve print.
LINES: Final[tuple[tuple[str, Any], ...]] = (
    ("#0072B2", "-"),
    ("#D55E00", (0, (6, 2))),
    ("#009E73", (0, (2, 1.5))),
    ("#CC79A7", (0, (7, 2, 1.5, 2))),
    ("#E69F00", "-"),
    ("#56B4E9", (0, (6, 2))),
    ("#000000", (0, (2, 1.5))),
)
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
CERTIFIED: Final = "#0072B2"
OPEN: Final = "#E69F00"

FigureAxis = tuple[Figure, Axes]
FigureAxes = tuple[Figure, list[Axes]]


def canvas(
    plt_fig_axis: tuple[Figure, Any] | None,
    fig_size: tuple[float, float],
    use_pyplot: bool,
    rows: int = 1,
    columns: int = 1,
) -> FigureAxes:
    """The caller's figure and axes, row by row, or new ones; pyplot learns of none unasked.

    Raises:
        ValueError: if the caller's axes are not as many as will be drawn on.
    """
    if plt_fig_axis is None:
        figure = _new_figure(fig_size, use_pyplot)
        return figure, list(figure.subplots(rows, columns, squeeze=False).flat)
    figure, given = plt_fig_axis
    axes = [given] if isinstance(given, Axes) else _flattened(given)
    if len(axes) != rows * columns:
        raise ValueError(
            f"`plt_fig_axis` must hold {rows * columns} axes ({rows} x {columns} pictures), "
            f"got {len(axes)}; leave it out to get a figure that fits."
        )
    return figure, axes


def show(use_pyplot: bool) -> None:
    """Shows pyplot's figures where the caller asked for pyplot."""
    if use_pyplot:
        from matplotlib import pyplot

        pyplot.show()


def style(axes: Axes) -> None:
    """A plot of curves: two spines, faint horizontal lines."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=INK, color=FAINT)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)


def line(place: int) -> tuple[str, Any]:
    """Colour and dashes of the curve at a place."""
    return LINES[place % len(LINES)]


def _new_figure(fig_size: tuple[float, float], use_pyplot: bool) -> Figure:
    if use_pyplot:
        from matplotlib import pyplot

        return pyplot.figure(figsize=fig_size, layout="constrained")
    return Figure(figsize=fig_size, layout="constrained")


def _flattened(given: Any) -> list[Axes]:
    """A list or an array of axes, of any depth, row by row."""
    flat: list[Axes] = []
    for one in given:
        flat += [one] if isinstance(one, Axes) else _flattened(one)
    return flat


def titled(axes: Axes, title: str | None, size: str = "medium") -> None:
    """A title, where there is one."""
    if title:
        axes.set_title(title, fontsize=size, color=INK)


def check_length(name: str, length: int, wanted: int) -> None:
    """Refuses a number of entries that is not what will be drawn."""
    if length != wanted:
        raise ValueError(f"`{name}` must have {wanted} entries, got {length}.")
