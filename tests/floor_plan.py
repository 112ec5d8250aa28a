"""The structure of the package, computed from the source: who imports whom, at every level.

``python -m tests.floor_plan`` prints its figures, beside those of an earlier commit if git has it.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tarfile
import tempfile
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "captum_robust"
PACKAGE = ROOT.name
OPEN_TO_ALL = ("_base", "_version")  # private to the package, not to a room

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


# -- what the plan forbids ---------------------------------------------------------------------


def rooms() -> list[str]:
    """The dotted names of the package and of all folders within."""
    return sorted({".".join(p.parent.relative_to(ROOT.parent).parts) for p in modules().values()})


def files_of(room: str) -> list[str]:
    """The files of a room, without its ``__init__``."""
    folder = ROOT.parent.joinpath(*room.split("."))
    return sorted(path.name for path in folder.glob("*.py") if path.name != "__init__.py")


def upward_imports(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Imports of the house's rooms that go to a higher storey."""
    house = siblings(graph, PACKAGE)
    height = {name: level for level, name in enumerate(STOREYS)}
    return [(a, b) for a, targets in house.items() for b in targets if height[b] > height[a]]


def private_doors() -> list[tuple[str, str]]:
    """Imports of a private module of another room, or of a private name of any other file."""
    doors = []
    for name, path in modules().items():
        room = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE)):
                continue
            module = str(node.module)
            owner, dot, private = module.rpartition("._")
            if dot and not f"_{private}".startswith(OPEN_TO_ALL) and owner != room:
                doors.append((name, module))
            if not module.endswith("captum_privates"):
                doors += [
                    (name, f"{module}.{alias.name}")
                    for alias in node.names
                    if alias.name.startswith("_") and not alias.name.startswith("__")
                ]
    return doors


# -- figures -----------------------------------------------------------------------------------


def code_lines(source: str) -> int:
    """Lines of code: without blank lines, comments and docstrings."""
    quiet = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in (*quiet, tokenize.ENCODING, tokenize.ENDMARKER):
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def divides_alpha(source: str) -> bool:
    """Whether a file divides something called alpha, itself or in a sum or product."""

    def holds_alpha(node: ast.AST) -> bool:
        if isinstance(node, ast.BinOp):
            return holds_alpha(node.left) or holds_alpha(node.right)
        return getattr(node, "id", getattr(node, "attr", "")) == "alpha"

    return any(
        isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and holds_alpha(node.left)
        for node in ast.walk(ast.parse(source))
    )


def arguments_of_certify(attr: Path) -> int:
    """Named arguments of the method ``certify``, without ``self``; 0 where there is none."""
    for path in attr.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.FunctionDef) and node.name == "certify"
            if named and not any(getattr(d, "id", "") == "overload" for d in node.decorator_list):
                return len(node.args.args) + len(node.args.kwonlyargs) - 1
    return 0


def weight(tree: Path) -> dict[str, object]:
    """Figures of a checkout that need no import of it."""
    package = [path.read_text(encoding="utf-8") for path in (tree / PACKAGE).rglob("*.py")]
    tests = [path.read_text(encoding="utf-8") for path in (tree / "tests").rglob("*.py")]
    certified = [
        path for room in ("certificates", "attr") for path in (tree / PACKAGE / room).rglob("*.py")
    ]
    return {
        "named arguments of certify": arguments_of_certify(tree / PACKAGE / "attr"),
        "files that divide alpha": [
            str(path.relative_to(tree / PACKAGE))
            for path in sorted(certified)
            if "printed" not in path.parts and divides_alpha(path.read_text(encoding="utf-8"))
        ],
        "lines of code without docstrings": sum(map(code_lines, package)),
        "lines of tests and benchmarks": sum(len(text.splitlines()) for text in tests),
    }


def checkout(commit: str, folder: Path) -> Path:
    """Writes the package and the tests of a commit into a folder."""
    command = ["git", "-C", str(ROOT.parent), "archive", commit, PACKAGE, "tests"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder)
    return folder


def main(commit: str = "972a7d0") -> None:
    """Prints the figures of the house."""
    graph = import_graph()
    found = {room: circles(siblings(graph, room)) for room in rooms()}
    print(
        "import circles:", sum(map(len, found.values())), [c for cs in found.values() for c in cs]
    )
    print("imports upward:", len(upward_imports(graph)), upward_imports(graph))
    print("private doors:", len(private_doors()), private_doors())
    print("files in a room, at most:", max(len(files_of(room)) for room in rooms()))
    print("rooms:", len(rooms()), " files:", len(modules()))
    now = weight(ROOT.parent)
    try:
        with tempfile.TemporaryDirectory() as folder:
            before = weight(checkout(commit, Path(folder)))
    except subprocess.CalledProcessError:
        before = dict.fromkeys(now, "unknown")
    for name, value in now.items():
        print(f"{name}: {value} (at {commit}: {before[name]})")


if __name__ == "__main__":
    main(*sys.argv[1:])
