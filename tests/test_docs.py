"""docs/: every public name has an entry, every source cited stands in the references."""

from __future__ import annotations

import argparse
import doctest
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import captum_robust
from captum_robust.audit.command import add_options

ROOT = Path(__file__).parent.parent
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
CITED = re.compile(r"([^\W\d_][\w-]+)(?:'s)?(?:,? et al\.| and [^\W\d_][\w'-]+)?,? \((\d{4})\)")


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_each_namespace_has_a_page_made_from_its_public_names(namespace: str) -> None:
    page = (DOCS / "api" / f"{namespace}.rst").read_text(encoding="utf-8")
    assert f".. automodule:: captum_robust.{namespace}\n" in page
    settings = (DOCS / "conf.py").read_text(encoding="utf-8")
    assert f'"{namespace}"' in settings  # the build checks that none of its names is missing


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = set()
    for index in (DOCS / "index.rst", DOCS / "api" / "index.rst"):
        folder = index.parent
        for entry in re.findall(r"^   ([\w/-]+)$", index.read_text(encoding="utf-8"), re.M):
            listed.add((folder / f"{entry}.rst").resolve())
    assert {page.resolve() for page in PAGES} - {DOCS.resolve() / "index.rst"} == listed


def test_every_source_cited_stands_in_the_references() -> None:
    entries = re.split(r"^\* ", (DOCS / "references.rst").read_text(encoding="utf-8"), flags=re.M)
    missing = set()
    for path in (ROOT / "captum_robust").rglob("*.py"):
        for name, year in CITED.findall(re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))):
            if not any(name in entry and f"({year})" in entry for entry in entries):
                missing.add(f"{name} ({year}) in {path.relative_to(ROOT)}")
    assert not missing, "not in docs/references.rst: " + "; ".join(sorted(missing))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_example_of_a_page_prints_what_is_written(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert failed == 0


def test_the_first_pages_have_examples() -> None:
    with_examples = {page.stem for page in PAGES if ">>> " in page.read_text(encoding="utf-8")}
    assert {"getting-started", "certificates"} <= with_examples
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
    for namespace in NAMESPACES:
        page = (tmp_path / "api" / f"{namespace}.html").read_text(encoding="utf-8")
        module = importlib.import_module(f"captum_robust.{namespace}")
        public = list(module.__all__)
        name = f"captum_robust.{namespace}"
        described = public + [each for kind in public for each in private_methods(module, kind)]
        assert [each for each in described if f'id="{name}.{each}"' not in page] == []
