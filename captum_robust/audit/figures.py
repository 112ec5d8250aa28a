"""The figures, drawn on matplotlib's own objects: pyplot's global state stays untouched."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from captum_robust.audit.methods import METHODS
from captum_robust.audit.plan import AuditPlan, share_or_count_text
from captum_robust.audit.runner import MethodResult
from captum_robust.audit.subject import Subject
from captum_robust.audit.summary import safe_quartiles

FIGURES: Final = ("maps", "overlap", "cosine", "attacks")
SHOWN: Final = 12  # examples in the figure of maps

_DPI: Final = 160
_INK: Final = "#1f2933"
_FAINT: Final = "#8a94a0"
_MAP_COLOURS: Final = "viridis"  # perceptually uniform, readable without red and green
# Okabe and Ito (2008): told apart by readers with any colour vision; dashes serve print.
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
_LINES: Final = (
    ("#0072B2", "-"),
    ("#D55E00", (0, (6, 2))),
    ("#009E73", (0, (2, 1.5))),
    ("#CC79A7", (0, (7, 2, 1.5, 2))),
    ("#E69F00", "-"),
    ("#56B4E9", (0, (6, 2))),
    ("#000000", (0, (2, 1.5))),
)


def figures(
    plan: AuditPlan, subject: Subject, results: Sequence[MethodResult], document: dict[str, Any]
) -> dict[str, bytes]:
    """PNG images by name.

    ``maps``; ``overlap`` and ``cosine`` where a method is certified; ``attacks`` where one is
    attacked.
    """
    drawn = {"maps": maps_figure(subject, results)}
    certified = [method for method in document["methods"] if method["answers"]]
    if certified:
        top = f"certified overlap of the top {_features(plan)}"
        drawn["overlap"] = curve_figure("overlap", top, certified, document)
        drawn["cosine"] = curve_figure("cosine", "certified cosine similarity", certified, document)
    attacked = [method for method in document["methods"] if method["attacks"]]
    if attacked:
        top = f"overlap of the top {_features(plan)}"
        drawn["attacks"] = attack_figure(top, attacked, document)
    return {name: png(figure) for name, figure in drawn.items()}


def maps_figure(subject: Subject, results: Sequence[MethodResult]) -> Figure:
    """Inputs in the first row, each method's maps in one row below, a column an example."""
    count = min(SHOWN, len(subject.inputs))
    rows = 1 + len(results)
    label, side = 1.75, 0.78
    figure = Figure(figsize=(label + side * count, 0.66 + side * rows), dpi=_DPI, facecolor="white")
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
    pictures = subject.inputs.detach().cpu().mean(1)
    for column in range(count):
        axes[0][column].set_title(subject.labels[column], fontsize=8.5, color=_INK, pad=4)
        _picture(axes[0][column], pictures[column], "gray", 0.0, 1.0)
        for row, result in enumerate(results, start=1):
            one = result.maps[column]
            _picture(axes[row][column], one, _MAP_COLOURS, 0.0, float(one.max()) or 1.0)
    for row, title in enumerate(["Input", *(METHODS[result.name].title for result in results)]):
        _row_label(axes[row][0], title)
    _colour_scale(figure)
    return figure


def curve_figure(
    question: str, ylabel: str, methods: Sequence[dict[str, Any]], document: dict[str, Any]
) -> Figure:
    """The median over the examples against epsilon, in a band from quartile to quartile."""
    figure, axes = _plot_over_epsilon(ylabel, methods[0]["norm"], document)
    sizes = document["epsilons"]
    # Overlaps fall in steps; each is drawn back to the point before, where no less is certified.
    step: Any = "pre" if question == "overlap" else None
    for method, (colour, dashes) in zip(methods, _cycle(len(methods)), strict=True):
        low, median, high = safe_quartiles(method["answers"][question]["curve"])
        axes.fill_between(sizes, low, high, step=step, color=colour, alpha=0.14, linewidth=0)
        style = {"color": colour, "linestyle": dashes, "linewidth": 2, "label": method["title"]}
        axes.plot(sizes, median, drawstyle="default" if step is None else f"steps-{step}", **style)
    _mark_epsilon(axes, document["settings"]["epsilon"])
    axes.set_xlim(0, sizes[-1])
    _finish(figure, axes)
    return figure


def attack_figure(
    ylabel: str, methods: Sequence[dict[str, Any]], document: dict[str, Any]
) -> Figure:
    """Points where attacks came to, over the lines below which certificates let nobody come."""
    figure, axes = _plot_over_epsilon(ylabel, document["attacks"]["norm"], document)
    sizes, reached = document["epsilons"], np.array(document["attacks"]["epsilons"])
    width = 1.25 * float(reached[-1]) or sizes[-1]
    # Certified methods first, so that each has its colour of the other figures.
    ordered = sorted(methods, key=lambda method: method["attacks"]["curve"] is None)
    for place, (method, (colour, dashes)) in enumerate(
        zip(ordered, _cycle(len(ordered)), strict=True)
    ):
        found, title = method["attacks"], method["title"]
        if found["curve"] is not None:
            median = safe_quartiles(found["curve"])[1]
            style = {"color": colour, "linestyle": dashes, "linewidth": 2}
            axes.plot(sizes, median, drawstyle="steps-pre", label=f"{title}, certified", **style)
        medians = [outcome["measured"]["median"] for outcome in found["outcomes"]]
        # Side by side: equal medians would hide each other.
        beside = reached + 0.022 * width * (place - (len(ordered) - 1) / 2)
        style = {"color": colour, "linestyle": "none", "marker": _MARKERS[place % len(_MARKERS)]}
        axes.plot(beside, medians, markersize=6, label=f"{title}, attacked", **style)
    axes.set_xlim(0, width)
    _finish(figure, axes)
    return figure


def _plot_over_epsilon(ylabel: str, norm: str, document: dict[str, Any]) -> tuple[Figure, Axes]:
    """An empty plot of shares against perturbation size."""
    figure = Figure(figsize=(5.6, 3.9), dpi=_DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(f"perturbation size ε ({norm}, {document['subject']['unit']})")
    axes.set_ylabel(ylabel)
    return figure, axes


def _finish(figure: Figure, axes: Axes) -> None:
    axes.set_ylim(0, 1.02)
    figure.legend(frameon=False, fontsize=9, labelcolor=_INK, loc="outside lower center", ncols=2)
    _style(axes)


def _mark_epsilon(axes: Axes, epsilon: float) -> None:
    axes.axvline(epsilon, color=_FAINT, linewidth=1, zorder=0)
    axes.annotate(
        f"ε = {epsilon:g}",
        (epsilon, 1.0),
        xycoords=axes.get_xaxis_transform(),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8.5,
        color=_INK,
    )


def png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    written = io.BytesIO()
    FigureCanvasAgg(figure).print_png(written)
    return written.getvalue()


def _features(plan: AuditPlan) -> str:
    return share_or_count_text(plan.k).replace("%", " %")


def _cycle(count: int) -> list[tuple[str, Any]]:
    return [_LINES[index % len(_LINES)] for index in range(count)]


def _picture(axes: Axes, image: Tensor, colours: str, low: float, high: float) -> None:
    axes.imshow(image.numpy(), cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _row_label(axes: Axes, title: str) -> None:
    axes.text(
        -0.12, 0.5, title, transform=axes.transAxes, ha="right", va="center", fontsize=9, color=_INK
    )


def _colour_scale(figure: Figure) -> None:
    """A slim scale under the maps; each map is scaled to its own largest value."""
    from matplotlib.cm import ScalarMappable

    width, height = figure.get_size_inches()
    axes = figure.add_axes((1 - 2.15 / width, 0.15 / height, 1.0 / width, 0.09 / height))
    scale = figure.colorbar(
        ScalarMappable(cmap=_MAP_COLOURS), cax=axes, orientation="horizontal", ticks=[]
    )
    scale.outline.set_visible(False)
    text: dict[str, Any] = {"transform": axes.transAxes, "va": "center", "fontsize": 8}
    axes.text(-0.06, 0.5, "0", ha="right", color=_INK, **text)
    axes.text(1.06, 0.5, "the map's largest", ha="left", color=_INK, **text)


def _style(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_FAINT)
    axes.tick_params(colors=_INK, labelsize=9, color=_FAINT)
    axes.xaxis.label.set(color=_INK, fontsize=9.5)
    axes.yaxis.label.set(color=_INK, fontsize=9.5)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
