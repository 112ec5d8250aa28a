"""The figures, drawn on matplotlib's own objects: pyplot's global state stays untouched."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.ask.option import write_share_or_count
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.images import MAP_COLOURS, Picture
from captum_robust.audit.measure.columns.registry import Columns
from captum_robust.audit.measure.summary import safe_quartiles
from captum_robust.audit.report.document import Results
from captum_robust.visualization.canvas import FAINT, INK, MARKERS, line, style

SHOWN: Final = 12  # examples in the figure of maps

_DPI: Final = 160
_MAPS_DPI, _FEW = 120, 96  # the maps' own resolution and number of colours
_SCALE: Final = 2.4  # inches that the colour scale takes


def figures(plan: AuditPlan, results: Results, document: dict[str, Any]) -> dict[str, bytes]:
    """PNG images by name.

    ``maps``; one of each certified column with a curve, where a method is certified; ``attacks``
    where one is attacked.
    """
    drawn = {"maps": maps_figure(results)}
    certified = [method for method in document["methods"] if method["answers"]]
    if certified:
        for column in document["columns"]:
            if column["axis"]:
                drawn[column["name"]] = curve_figure(column, certified, document)
    attacked = [method for method in document["methods"] if method["attacks"]]
    if attacked:
        top = f"overlap of the top {write_share_or_count(plan.k).replace('%', ' %')}"
        drawn["attacks"] = attack_figure(top, attacked, document)
    return {name: png(figure, _FEW if name == "maps" else None) for name, figure in drawn.items()}


def figure_names(columns: Columns) -> list[str]:
    """The names of all figures that an audit with these columns may have."""
    return ["maps", "attacks", *(column.name for column in columns.certified if column.axis)]


def maps_figure(results: Results) -> Figure:
    """Inputs in the first row, each method's maps in one row below, a column an example."""
    count = min(SHOWN, len(results.examples))
    rows = 1 + len(results.methods)
    label, side = 1.75, 0.78
    width = label + max(side * count, _SCALE)
    figure = Figure(figsize=(width, 0.66 + side * rows), dpi=_MAPS_DPI, facecolor="white")
    height = figure.get_figheight()
    grid = figure.add_gridspec(
        rows,
        count,
        left=label / figure.get_figwidth(),
        right=0.995,
        top=1 - 0.28 / height,
        bottom=0.38 / height,
        wspace=0.05,
        hspace=0.05,
    )
    axes = [
        [figure.add_subplot(grid[row, column]) for column in range(count)] for row in range(rows)
    ]
    for place, (_, example) in zip(axes[0], results.examples[:count], strict=True):
        place.set_title(example["label"], fontsize=8.5, color=INK, pad=4)
        _picture(place, Picture.from_json(example["picture"]).pixels, "gray")
    for row, name in enumerate(results.methods, start=1):
        maps = results.pictures(name)
        for index, place in enumerate(axes[row]):
            if index in maps:
                _picture(place, maps[index].pixels, MAP_COLOURS)
            else:
                _blank(place)
    for row, title in enumerate(["Input", *(METHODS[name].title for name in results.methods)]):
        _row_label(axes[row][0], title)
    _colour_scale(figure)
    return figure


def curve_figure(
    column: dict[str, Any], methods: Sequence[dict[str, Any]], document: dict[str, Any]
) -> Figure:
    """The median over the examples against epsilon, in a band from quartile to quartile."""
    norms = [method["norm"] for method in methods]
    figure, axes = _plot_over_epsilon(column["axis"], norms, document)
    sizes, upper = document["epsilons"], not column["higher_is_better"]
    # Bounds that fall in steps are drawn back to the point before, where no less is certified.
    step: Any = "pre" if column["steps"] else None
    for method, (colour, dashes) in zip(methods, _cycle(len(methods)), strict=True):
        curves = method["answers"][column["name"]]["curve"]
        low, median, high = safe_quartiles(curves, upper)
        axes.fill_between(sizes, low, high, step=step, color=colour, alpha=0.14, linewidth=0)
        label = _labelled(method["title"], method["norm"], norms)
        style = {"color": colour, "linestyle": dashes, "linewidth": 2, "label": label}
        axes.plot(sizes, median, drawstyle="default" if step is None else f"steps-{step}", **style)
    _mark_epsilon(axes, document["settings"]["epsilon"])
    axes.set_xlim(0, sizes[-1])
    _finish(figure, axes)
    return figure


def attack_figure(
    ylabel: str, methods: Sequence[dict[str, Any]], document: dict[str, Any]
) -> Figure:
    """Points where attacks came to, over the lines below which certificates let nobody come."""
    norms = [method["attacks"]["norm"] for method in methods]
    figure, axes = _plot_over_epsilon(ylabel, norms, document)
    [first, *_] = document["attacks"]["columns"]
    sizes, reached = document["epsilons"], np.array(document["attacks"]["epsilons"])
    width = 1.25 * float(reached[-1]) or sizes[-1]
    # Certified methods first, so that each has its colour of the other figures.
    ordered = sorted(methods, key=lambda method: method["attacks"]["curve"] is None)
    for place, (method, (colour, dashes)) in enumerate(
        zip(ordered, _cycle(len(ordered)), strict=True)
    ):
        found = method["attacks"]
        title = _labelled(method["title"], found["norm"], norms)
        if found["curve"] is not None:
            median = safe_quartiles(found["curve"])[1]
            style = {"color": colour, "linestyle": dashes, "linewidth": 2}
            axes.plot(sizes, median, drawstyle="steps-pre", label=f"{title}, certified", **style)
        medians = [outcome[first["name"]]["median"] for outcome in found["outcomes"]]
        # Side by side: equal medians would hide each other.
        beside = reached + 0.022 * width * (place - (len(ordered) - 1) / 2)
        style = {"color": colour, "linestyle": "none", "marker": MARKERS[place % len(MARKERS)]}
        axes.plot(beside, medians, markersize=6, label=f"{title}, attacked", **style)
    axes.set_xlim(0, width)
    _finish(figure, axes)
    return figure


def _plot_over_epsilon(
    ylabel: str, norms: Sequence[str], document: dict[str, Any]
) -> tuple[Figure, Axes]:
    """An empty plot of shares against perturbation size, in norms that may differ."""
    norm = norms[0] if len({*norms}) == 1 else "each method's own norm"
    figure = Figure(figsize=(5.6, 3.9), dpi=_DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(f"perturbation size ε ({norm}, {document['subject']['unit']})")
    axes.set_ylabel(ylabel)
    return figure, axes


def _finish(figure: Figure, axes: Axes) -> None:
    axes.set_ylim(0, 1.02)
    figure.legend(frameon=False, fontsize=9, labelcolor=INK, loc="outside lower center", ncols=2)
    _style(axes)


def _mark_epsilon(axes: Axes, epsilon: float) -> None:
    axes.axvline(epsilon, color=FAINT, linewidth=1, zorder=0)
    axes.annotate(
        f"ε = {epsilon:g}",
        (epsilon, 1.0),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8.5,
        color=INK,
    )


def png(figure: Figure, colours: int | None = None) -> bytes:
    """The figure as a PNG file, of so many colours: maps are noise, which compresses badly."""
    written = io.BytesIO()
    FigureCanvasAgg(figure).print_png(written)
    if colours is None:
        return written.getvalue()
    smaller = io.BytesIO()
    with Image.open(written) as image:
        image.convert("RGB").quantize(colours).save(smaller, "PNG", optimize=True)
    return smaller.getvalue()


def _labelled(title: str, norm: str, norms: Sequence[str]) -> str:
    """The title of a method, with its norm where several are in one plot."""
    return title if len({*norms}) == 1 else f"{title} ({norm})"


def _cycle(count: int) -> list[tuple[str, Any]]:
    return [line(index) for index in range(count)]


def _picture(axes: Axes, pixels: NDArray[np.uint8], colours: str) -> None:
    axes.imshow(pixels, cmap=colours, vmin=0, vmax=255, interpolation="nearest")
    _bare(axes)


def _blank(axes: Axes) -> None:
    """The place of a map that could not be made."""
    _bare(axes)
    axes.text(0.5, 0.5, "skipped", ha="center", va="center", fontsize=7, color=FAINT)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _row_label(axes: Axes, title: str) -> None:
    axes.text(
        -0.12, 0.5, title, transform=axes.transAxes, ha="right", va="center", fontsize=9, color=INK
    )


def _colour_scale(figure: Figure) -> None:
    """A slim scale under the maps; each map is scaled to its own largest value."""
    from matplotlib.cm import ScalarMappable

    width, height = figure.get_size_inches()
    axes = figure.add_axes((1 - 2.15 / width, 0.15 / height, 1.0 / width, 0.09 / height))
    scale = figure.colorbar(
        ScalarMappable(cmap=MAP_COLOURS), cax=axes, orientation="horizontal", ticks=[]
    )
    scale.outline.set_visible(False)
    text: dict[str, Any] = {"transform": axes.transAxes, "va": "center", "fontsize": 8}
    axes.text(-0.06, 0.5, "0", ha="right", color=INK, **text)
    axes.text(1.06, 0.5, "the map's largest", ha="left", color=INK, **text)


def _style(axes: Axes) -> None:
    """The style of all curves, at the size of the report."""
    style(axes)
    axes.tick_params(labelsize=9)
    axes.xaxis.label.set_fontsize(9.5)
    axes.yaxis.label.set_fontsize(9.5)
