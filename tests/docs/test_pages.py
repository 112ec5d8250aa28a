"""docs/: public names have entries, sources stand in the bibliography, examples and figures run."""

from __future__ import annotations

import argparse
import doctest
import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import captum_robust
from captum_robust.audit.command import add_options
from tests.helpers.members import new_members

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.rst") if "_build" not in path.parts)
NAMESPACES = [
    name for name in captum_robust.__all__ if name not in ("__version__", "register", "unregister")
]
PUBLIC_CLASSES = {
    member
    for namespace in NAMESPACES
    for member in vars(importlib.import_module(f"captum_robust.{namespace}")).values()
    if inspect.isclass(member)
}
SETUP = DOCS / "getting-started.rst"
GOES_ON = "in :doc:`../getting-started` first"
# "Levine et al. (2019)", "Wang & Kong (2024)", "(Kingma and Ba, 2015)".
NAME = r"[A-ZÀ-Þ][\w-]*[a-zß-ÿ]"
AUTHORS = rf"({NAME})(?:'s)?(?:,? et al\.|(?: and| &)(?: Van)? {NAME})?"
YEAR = r"((?:19|20)\d\d)"
CITED = re.compile(rf"{AUTHORS},? \({YEAR}\)|[(;] ?{AUTHORS}, {YEAR}(?=[);,])")


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_each_namespace_has_a_page_made_from_its_public_names(namespace: str) -> None:
    page = (DOCS / "api" / f"{namespace}.rst").read_text(encoding="utf-8")
    assert f".. automodule:: captum_robust.{namespace}\n" in page
    settings = (DOCS / "conf.py").read_text(encoding="utf-8")
    assert f'"{namespace}"' in settings  # the build checks that none of its names is missing


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = set()
    for index in PAGES:
        page = index.read_text(encoding="utf-8")
        for tree in re.findall(r"^\.\. toctree::\n(?:(?:   .*)?\n)*", page, re.M):
            for entry in re.findall(r"^   ([\w/-]+)$", tree, re.M):
                listed.add((index.parent / f"{entry}.rst").resolve())
    assert {page.resolve() for page in PAGES} - {DOCS.resolve() / "index.rst"} == listed


def bibliography() -> dict[str, str]:
    """The entries of the bibliography by their keys."""
    text = (DOCS / "references.bib").read_text(encoding="utf-8")
    return dict(re.findall(r"^@\w+\{(\w+),\n(.*?)^\}$", text, re.M | re.S))


def fields(entry: str) -> dict[str, str]:
    return dict(re.findall(r"^  (\w+) = \{(.*)\},?$", entry, re.M))


def citations(text: str) -> Iterator[tuple[str, str]]:
    """Names and years that a text cites in words."""
    for first, year, inside, year_inside in CITED.findall(re.sub(r"\s+", " ", text)):
        yield first or inside, year or year_inside


def test_citations_are_found_in_all_their_forms() -> None:
    text = (
        "Levine et al. (2019), Wang & Kong (2024) and Golub and Van\n  Loan (2013) as in Davies' "
    )
    text += (
        "Imhof's (1961) form (Kingma and Ba, 2015; Madry et al., 2018), since (June, then) (2020)."
    )
    assert list(citations(text)) == [
        ("Levine", "2019"),
        ("Wang", "2024"),
        ("Golub", "2013"),
        ("Imhof", "1961"),
        ("Kingma", "2015"),
        ("Madry", "2018"),
    ]


def test_every_source_cited_stands_in_the_bibliography() -> None:
    entries = [fields(entry) for entry in bibliography().values()]
    known = {
        (name, entry["year"])
        for entry in entries
        for name in re.findall(r"[^\W\d_][\w-]+", entry["author"])
    }
    sources = [*(ROOT / "captum_robust").rglob("*.py"), *PAGES, ROOT / "README.md"]
    sources += [*(ROOT / "tutorials").glob("*.ipynb"), *DOCS.glob("*.py"), ROOT / "NOTICE"]
    missing = {
        f"{name} ({year}) in {path.relative_to(ROOT)}"
        for path in sources
        for name, year in citations(path.read_text(encoding="utf-8"))
        if (name, year) not in known
    }
    assert not missing, "not in docs/references.bib: " + "; ".join(sorted(missing))


def test_every_entry_of_the_bibliography_is_complete_and_shown() -> None:
    sections = re.findall(r'topic % "(\w+)"', (DOCS / "references.rst").read_text("utf-8"))
    text = (DOCS / "references.bib").read_text(encoding="utf-8")
    assert len(bibliography()) == len(re.findall(r"^@", text, re.M)) > 30
    for key, entry in bibliography().items():
        found = fields(entry)
        assert {"author", "title", "year", "topic"} <= set(found), key
        assert key.endswith(found["year"]) and found["topic"] in sections, key


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that a reader of the first page has, whom how-to pages go on with."""
    names: dict[str, Any] = {"__name__": "begun"}
    lines = [
        example.source
        for example in doctest.DocTestParser().get_examples(SETUP.read_text(encoding="utf-8"))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("begun"))
        exec(compile("".join(lines), SETUP.name, "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_example_of_a_page_prints_what_is_written(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    text = page.read_text(encoding="utf-8")
    if ">>> " not in text:
        return
    if page.parent.name == "howto" or page == SETUP:
        pytest.importorskip("sklearn")
    names = dict(request.getfixturevalue("begun")) if GOES_ON in text else None
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    with new_members() if page.stem == "extending" else nullcontext():
        failed, _ = doctest.testfile(
            str(page), module_relative=False, encoding="utf-8", globs=names, optionflags=flags
        )
    assert failed == 0


def test_the_first_pages_have_examples() -> None:
    with_examples = {page.stem for page in PAGES if ">>> " in page.read_text(encoding="utf-8")}
    assert {"getting-started", "certificates"} <= with_examples
    assert {page.stem for page in PAGES if page.parent.name == "howto"} <= with_examples
    assert not any("code-block:: python" in page.read_text(encoding="utf-8") for page in PAGES)


def test_every_option_of_the_audit_is_described() -> None:
    page = (DOCS / "api" / "audit.rst").read_text(encoding="utf-8")
    options = argparse.ArgumentParser(add_help=False)
    add_options(options)
    offered = re.findall(r"^  (--[\w-]+)", options.format_help(), re.M)
    assert sorted(re.findall(r"^``(--[\w-]+)", page, re.M)) == sorted(offered)


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_public_name_has_a_docstring(namespace: str) -> None:
    module = importlib.import_module(f"captum_robust.{namespace}")
    assert module.__doc__
    undescribed = [name for name in module.__all__ if not getattr(module, name).__doc__]
    assert undescribed == []


def private_methods(module: ModuleType, name: str) -> list[str]:
    """What a public class gets from this library's classes that have no entry of their own."""
    kind = getattr(module, name)
    private = [
        base
        for base in (kind.__mro__[1:] if inspect.isclass(kind) else ())
        if base.__module__.startswith("captum_robust.") and base not in PUBLIC_CLASSES
    ]
    members = {member for base in private for member in vars(base) if member[0] != "_"}
    return [f"{name}.{member}" for member in members if inspect.getdoc(getattr(kind, member))]


@pytest.mark.slow
def test_the_build_passes_and_lists_every_public_name(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(DOCS), str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    modules = {name: importlib.import_module(f"captum_robust.{name}") for name in NAMESPACES}
    pages = {
        name: (tmp_path / "api" / f"{name}.html").read_text(encoding="utf-8") for name in NAMESPACES
    }
    for module in modules.values():
        for public in module.__all__:
            # A name that namespaces share is described once.
            homes = [
                name
                for name, other in modules.items()
                if public in other.__all__
                and getattr(other, public) is getattr(module, public)
                and f'id="captum_robust.{name}.{public}"' in pages[name]
            ]
            assert len(homes) == 1, public
            page = pages[homes[0]]
            for each in private_methods(module, public):
                assert f'id="captum_robust.{homes[0]}.{each}"' in page, each
    # Two clicks: from the first page to a page of names, and to the name on it.
    first = (tmp_path / "index.html").read_text(encoding="utf-8")
    for namespace in NAMESPACES:
        assert f'href="api/{namespace}.html"' in first


def test_every_picture_is_drawn_by_code_here() -> None:
    scripts = [*DOCS.glob("*.py"), *(ROOT / "tests" / "benchmarks").glob("*.py")]
    drawn = "".join(path.read_text(encoding="utf-8") for path in scripts)
    shown = {
        Path(name).name
        for page in PAGES
        for name in re.findall(r"^\.\. image:: (\S+)$", page.read_text(encoding="utf-8"), re.M)
    }
    assert {path.name for path in (DOCS / "images").glob("*.png")} == shown
    assert {name for name in shown if name not in drawn} == set()


@pytest.mark.slow
def test_several_processes_certify_what_one_does(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    words = {"cwd": tmp_path, "capture_output": True, "text": True, "check": False}
    printed = [
        subprocess.run(
            [*command, str(processes), str(DOCS / "many_gpus.py")],
            env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
            **words,
        )
        for processes in (1, 2)
    ]
    assert [run.returncode for run in printed] == [0, 0], printed[-1].stderr
    assert len(printed[0].stdout.splitlines()) == 7
    assert printed[0].stdout == printed[1].stdout
