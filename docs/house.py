"""Draws the house for CONTRIBUTING, from the imports of the code: storeys, rooms and stairs.

    python docs/house.py

``tests/docs/test_house.py`` fails when the code has another plan than the drawing.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.floor_plan import PACKAGE, ROOT, STOREYS, import_graph, siblings

PICTURE = Path(__file__).parent / "images" / "house.png"
DOORS = ("_version", "_registry", "__main__")  # single files at the house's edge
COLOURS = ("#4c72b0", "#55a868", "#c44e52", "#8172b3", "#ccb974", "#64b5cd")
HEIGHT, LEFT, WALL, LANE = 1.0, 0.0, 11.2, 0.36


@dataclass(frozen=True)
class Storey:
    """One room of the house, as the drawing shows it.

    Attributes:
        name: of the folder or file.
        purpose: first sentence of its docstring.
        rooms: the folders within.
        below: the storeys it imports from.
    """

    name: str
    purpose: str
    rooms: tuple[str, ...]
    below: tuple[str, ...]


def storeys() -> list[Storey]:
    """The house from the ground up, computed from the source."""
    graph = siblings(import_graph(), PACKAGE)
    names = [name for name in STOREYS if name not in DOORS]
    return [_storey(name, graph[name], names) for name in names]


def _storey(name: str, imported: set[str], names: list[str]) -> Storey:
    folder = ROOT / name
    source = folder / "__init__.py" if folder.is_dir() else ROOT / f"{name}.py"
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return Storey(
        name,
        re.sub(r":\w+:|`", "", text.splitlines()[0]),
        tuple(sorted(path.parent.name for path in folder.glob("*/__init__.py"))),
        tuple(below for below in names if below in imported),
    )


def digest() -> str:
    """A fingerprint of all that the drawing shows."""
    shown = json.dumps([asdict(storey) for storey in storeys()], sort_keys=True)
    return hashlib.sha256(shown.encode()).hexdigest()


def draw(plan: list[Storey]) -> Figure:
    """The house: a floor for each storey, its rooms as boxes, and a flight of stairs each."""
    right = WALL + LANE * (len(plan) + 1)
    figure = Figure(figsize=(13, 0.62 * len(plan) + 1.5), dpi=120)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(-0.3, right + 0.2)
    axes.set_ylim(-0.9, len(plan) + 1.25)
    axes.set_axis_off()
    roof = [(-0.25, len(plan)), (right / 2, len(plan) + 1.05), (right + 0.1, len(plan))]
    axes.add_patch(Polygon(roof, facecolor="#7a4b3a", edgecolor="none"))
    title = "captum_robust: each storey stands on those below"
    axes.text(right / 2, len(plan) + 0.33, title, color="white", ha="center", fontsize=13)
    heights = {storey.name: level for level, storey in enumerate(plan)}
    for storey in plan:
        _draw_floor(axes, storey, heights[storey.name], right)
        _draw_stairs(axes, storey, heights, COLOURS[heights[storey.name] % len(COLOURS)])
    note = "White boxes: folders. Dots on a line: the storeys that the one at its top imports from."
    axes.text(0.1, -0.5, note, fontsize=9, color="#444444", va="center")
    return figure


def _draw_floor(axes: Axes, storey: Storey, level: int, right: float) -> None:
    shade = "#f7f3ea" if level % 2 else "#ece5d6"
    axes.add_patch(FancyBboxPatch(
        (LEFT, level), right, HEIGHT, boxstyle="square,pad=0", facecolor=shade, edgecolor="#b9ad97"
    ))  # fmt: skip
    axes.text(0.12, level + 0.5, storey.name, fontsize=12, weight="bold", va="center")
    height = 0.70 if storey.rooms else 0.5
    axes.text(1.75, level + height, storey.purpose, fontsize=8.5, va="center", color="#333333")
    left = 1.75
    for label in storey.rooms:
        width = 0.095 * len(label) + 0.16
        axes.add_patch(FancyBboxPatch(
            (left, level + 0.12), width, 0.32, boxstyle="round,pad=0.02", facecolor="white",
            edgecolor="#b9ad97",
        ))  # fmt: skip
        axes.text(left + width / 2, level + 0.28, label, fontsize=8, ha="center", va="center")
        left += width + 0.14


def _draw_stairs(axes: Axes, storey: Storey, heights: dict[str, int], colour: str) -> None:
    top = heights[storey.name]
    lane = WALL + LANE * (top + 0.5)
    axes.plot(lane, top + 0.5, "s", color=colour, markersize=7)
    if storey.below:
        lowest = min(heights[name] for name in storey.below)
        axes.plot([lane, lane], [top + 0.5, lowest + 0.5], color=colour, linewidth=1.8)
    for name in storey.below:
        axes.plot(lane, heights[name] + 0.5, "o", color=colour, markersize=6)


def main() -> None:
    """Writes the picture, with its fingerprint inside."""
    draw(storeys()).savefig(PICTURE, metadata={"Description": digest()})
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
