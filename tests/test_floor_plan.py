"""The floor plan holds: no circle, no import upward, no crowded room, no private doors."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from tests.floor_plan import (
    PACKAGE,
    ROOT,
    STOREYS,
    circles,
    files_of,
    import_graph,
    private_doors,
    rooms,
    siblings,
    upward_imports,
)

ROOMS = rooms()
MOST_FILES = 12


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return import_graph()


@pytest.mark.parametrize("room", ROOMS)
def test_no_circle_among_the_members_of_a_room(graph, room):
    assert circles(siblings(graph, room)) == []


def test_every_room_of_the_house_imports_downward(graph):
    house = siblings(graph, PACKAGE)
    assert set(house) == set(STOREYS)
    assert upward_imports(graph) == []


def test_no_file_imports_the_package_it_lies_in(graph):
    """A room's ``__init__`` shows what is inside; inside, files name each other."""
    knots = [
        (name, target)
        for name, targets in graph.items()
        for target in targets
        if name.startswith(f"{target}.")
    ]
    assert knots == [("captum_robust.__main__", "captum_robust")] or knots == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_at_most_twelve_files(room):
    files = files_of(room)
    assert len(files) <= MOST_FILES, f"{room} holds {len(files)} files: {files}"


def test_no_private_module_or_name_of_another_room_is_imported():
    assert private_doors() == []


@pytest.mark.slow
def test_the_package_imports_in_any_order():
    rooms = [room for room in STOREYS if not room.startswith("_")]
    orders = [rooms, rooms[::-1], *itertools.islice(itertools.permutations(rooms), 1, 200, 40)]
    for order in orders:
        lines = "\n".join(f"import {PACKAGE}.{room}" for room in order)
        bare = f"import sys, types\nroot = types.ModuleType('{PACKAGE}')\n"
        bare += f"root.__path__ = [{str(ROOT)!r}]\nsys.modules['{PACKAGE}'] = root\n"
        subprocess.run([sys.executable, "-c", bare + lines], check=True)
