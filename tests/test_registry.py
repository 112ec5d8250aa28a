"""``register`` and ``unregister``: Captum's namespaces gain our names, and lose them again."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator

import captum.attr
import captum.metrics
import captum.robust
import pytest

import captum_robust

NAMESPACES = ["attr", "metrics", "robust"]


@pytest.fixture(autouse=True)
def unregistered() -> Iterator[None]:
    captum_robust.unregister()
    before = {name: dict(vars(_captums(name))) for name in NAMESPACES}
    listed = {name: list(_captums(name).__all__) for name in NAMESPACES}
    yield
    captum_robust.unregister()
    assert {name: dict(vars(_captums(name))) for name in NAMESPACES} == before
    assert {name: list(_captums(name).__all__) for name in NAMESPACES} == listed


def _captums(name):
    return importlib.import_module(f"captum.{name}")


def _ours(name):
    return importlib.import_module(f"captum_robust.{name}")


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_importing_changes_nothing_and_registering_adds_every_name(namespace):
    added = [name for name in _ours(namespace).__all__ if not hasattr(_captums(namespace), name)]
    assert added
    captum_robust.register()
    for name in added:
        assert getattr(_captums(namespace), name) is getattr(_ours(namespace), name)
        assert _captums(namespace).__all__.count(name) == 1


def test_registering_twice_is_registering_once():
    captum_robust.register()
    once = {name: list(_captums(name).__all__) for name in NAMESPACES}
    captum_robust.register()
    assert {name: list(_captums(name).__all__) for name in NAMESPACES} == once
    captum_robust.unregister()
    captum_robust.unregister()
    assert not hasattr(captum.attr, "UniformSmoothing")
    captum_robust.register()
    assert captum.attr.UniformSmoothing is captum_robust.attr.UniformSmoothing


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_no_name_of_captum_is_overwritten_or_taken_away(namespace, monkeypatch):
    name, theirs = _ours(namespace).__all__[0], object()
    monkeypatch.setattr(_captums(namespace), name, theirs, raising=False)
    monkeypatch.setattr(_captums(namespace), "__all__", [*_captums(namespace).__all__])
    captum_robust.register()
    assert getattr(_captums(namespace), name) is theirs
    captum_robust.unregister()
    assert getattr(_captums(namespace), name) is theirs
    monkeypatch.undo()


def test_a_name_that_someone_replaced_or_deleted_meanwhile_does_no_harm(monkeypatch):
    captum_robust.register()
    theirs = object()
    captum.attr.UniGrad = theirs
    del captum.attr.UniformSmoothing
    captum.attr.__all__.remove("Sparsify")
    captum_robust.unregister()
    assert captum.attr.UniGrad is theirs
    assert not hasattr(captum.attr, "UniformSmoothing") and not hasattr(captum.attr, "Sparsify")
    del captum.attr.UniGrad


def test_star_imports_pick_the_names_up():
    names: dict = {}
    exec("from captum.attr import *", names)
    assert "UniformSmoothing" not in names and "Saliency" in names
    captum_robust.register()
    exec("from captum.attr import *", names)
    assert names["UniformSmoothing"] is captum_robust.attr.UniformSmoothing
    assert names["Saliency"] is captum.attr.Saliency


def test_importing_the_package_alone_leaves_captum_as_it_is():
    program = (
        "import captum.attr, captum.metrics, captum.robust\n"
        "spaces = [captum.attr, captum.metrics, captum.robust]\n"
        "before = [(dict(vars(one)), list(one.__all__)) for one in spaces]\n"
        "import captum_robust\n"
        "after = [(dict(vars(one)), list(one.__all__)) for one in spaces]\n"
        "assert [(set(a), b) for a, b in before] == [(set(a), b) for a, b in after]\n"
        "assert all(a[0][name] is b[0][name] for a, b in zip(before, after) for name in a[0]\n"
        "           if not name.startswith('__'))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
