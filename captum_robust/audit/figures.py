"""The figures, drawn on matplotlib's own objects: pyplot's global state stays untouched."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from captum_robust.audit.document import safe_quartiles
from captum_robust.audit.methods import METHODS
from captum_robust.audit.plan import AuditPlan, share_or_count_text
from captum_robust.audit.runner import MethodResult
from captum_robust.audit.subject import Subject

FIGURES: Final = ("maps", "overlap", "cosine")
SHOWN: Final = 12  # examples in the figure of maps

_DPI: Final = 160
_INK: Final = "#1f2933"
_FAINT: Final = "#8a94a0"
_MAP_COLOURS: Final = "viridis"  # perceptually uniform, readable without red and green
# Okabe and Ito (2008): told apart by readers with any colour vision; dashes serve print.
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
    """PNG images by name: ``maps``, and ``overlap`` and ``cosine`` where a method is certified."""
    drawn = {"maps": maps_figure(subject, results)}
    certified = [method for method in document["methods"] if method["answers"]]
    if certified:
        top = f"certified overlap of the top {_features(plan)}"
        drawn["overlap"] = curve_figure("overlap", top, certified, document)
        drawn["cosine"] = curve_figure("cosine", "certified cosine similarity", certified, document)
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
    figure = Figure(figsize=(5.6, 3.9), dpi=_DPI, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    sizes = document["epsilons"]
    # Overlaps fall in steps; each is drawn back to the point before, where no less is certified.
    step: Any = "pre" if question == "overlap" else None
    for method, (colour, dashes) in zip(methods, _cycle(len(methods)), strict=True):
        low, median, high = safe_quartiles(method["answers"][question]["curve"])
        axes.fill_between(sizes, low, high, step=step, color=colour, alpha=0.14, linewidth=0)
        style = {"color": colour, "linestyle": dashes, "linewidth": 2, "label": method["title"]}
        axes.plot(sizes, median, drawstyle="default" if step is None else f"steps-{step}", **style)
    epsilon = document["settings"]["epsilon"]
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
    axes.set_xlim(0, sizes[-1])
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(f"perturbation size ε ({methods[0]['norm']}, {document['subject']['unit']})")
    axes.set_ylabel(ylabel)
    figure.legend(frameon=False, fontsize=9, labelcolor=_INK, loc="outside lower center", ncols=2)
    _style(axes)
    return figure


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
