"""The structure of the package, computed from the source: who imports whom, at every level."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "captum_robust"
PACKAGE = ROOT.name

# The storeys of the house, from the ground up: a room imports only from rooms named before it.
STOREYS = (
    "_version",
    "_base",
    "examples",
    "noise",
    "transforms",
    "certificates",
    "attr",
    "robust",
    "metrics",
    "estimates",
    "losses",
    "visualization",
    "audit",
    "_registry",
    "__main__",
)


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name; a package's is that of its folder."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        dotted = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        found[dotted.removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules a file imports anywhere: in functions and for type checkers as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else node.module


def import_graph() -> dict[str, set[str]]:
    """Which modules each module imports."""
    known = modules()
    return {name: set(imports(path, known)) - {name} for name, path in known.items()}


def siblings(graph: dict[str, set[str]], room: str) -> dict[str, set[str]]:
    """The graph among the files and folders of one room; a folder stands for all within it."""
    prefix = f"{room}."

    def member(name: str) -> str | None:
        return name.removeprefix(prefix).split(".")[0] if name.startswith(prefix) else None

    among: dict[str, set[str]] = {}
    for name, targets in graph.items():
        source = member(name)
        if source is not None:
            found = {member(target) for target in targets} - {None, source}
            among.setdefault(source, set()).update(found)
    return among


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected parts of more than one member, by Tarjan's algorithm."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for target in graph.get(name, ()):
            if target not in order:
                visit(target)
            if target in stack:
                low[name] = min(low[name], low[target])
        if low[name] == order[name]:
            part = []
            while not part or part[-1] != name:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(sorted(part))

    for name in graph:
        if name not in order:
            visit(name)
    return found
