"""The package as it is installed: metadata, files, and what importing it does and does not do."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import HeaderParser
from importlib import import_module
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import captum_robust

ROOT = Path(__file__).parent.parent
SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")
EXTRAS = ["audit", "dev", "docs", "lrp", "regions", "test", "tutorials"]


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Message:
    """What ``setup.py`` writes for an installer."""
    out = tmp_path_factory.mktemp("metadata")
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return HeaderParser().parsestr((out / "captum_robust.egg-info" / "PKG-INFO").read_text("utf-8"))


# -- metadata -------------------------------------------------------------------------------


def test_version_is_written_once(metadata: Message) -> None:
    assert metadata["Version"] == captum_robust.__version__
    assert captum_robust.__version__ not in SETUP


def test_name_licence_and_python(metadata: Message) -> None:
    assert metadata["Name"] == "captum-robust"
    assert metadata["Requires-Python"] == ">=3.10"
    assert "BSD-3-Clause" in (metadata["License-Expression"] or metadata["License"])


def test_requirements_and_extras(metadata: Message) -> None:
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    names = {re.split(r"[^\w-]", line)[0] for line in required}
    assert names == {*("captum", "torch", "torchvision", "numpy", "scipy", "matplotlib", "tqdm")}
    assert "captum>=0.8" in required
    assert "torch>=2.3" in required
    assert sorted(metadata.get_all("Provides-Extra")) == EXTRAS


def test_each_library_of_an_extra_has_its_reason_beside_it() -> None:
    lists = [
        node.value.elts
        for node in ast.parse(SETUP).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)
    ]
    lines = [SETUP.splitlines()[entry.lineno - 1] for entry in chain(*lists)]
    assert len(lines) >= 10
    assert [line for line in lines if not line.partition("#")[2].strip()] == []


def test_citation_names_this_version() -> None:
    """The fields that the Citation File Format 1.2.0 requires, and the version."""
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    fields = dict(re.findall(r"^([a-z-]+): *(.*)$", text, re.M))
    assert {"cff-version", "message", "title", "authors"} <= set(fields)
    assert fields["cff-version"] == "1.2.0"
    assert fields["version"] == captum_robust.__version__
    assert fields["license"] == "BSD-3-Clause"
    assert re.search(r"^authors:\n  - name: \S", text, re.M)


# -- files ----------------------------------------------------------------------------------


def test_types_are_announced() -> None:
    assert files("captum_robust").joinpath("py.typed").is_file()


def test_every_data_file_is_installed(tmp_path: Path) -> None:
    """All that is not python in the package's folders reaches a build."""
    base, out = tmp_path / "base", tmp_path / "out"
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path)]
    command += ["build", "--build-base", str(base), "--build-lib", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    built = {path.relative_to(out) for path in out.rglob("*") if path.is_file()}
    source = {
        path.relative_to(ROOT)
        for path in (ROOT / "captum_robust").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert source - built == set()
    assert any(
        path.parts[:4] == ("captum_robust", "audit", "report", "templates") for path in built
    )


def test_the_source_distribution_holds_what_a_reader_needs(tmp_path: Path) -> None:
    build = "import sys, setuptools.build_meta as build; print(build.build_sdist(sys.argv[1]))"
    command = [sys.executable, "-c", build, str(tmp_path)]
    copy = tmp_path / "copy"  # building leaves files beside setup.py
    ignored = shutil.ignore_patterns(".git", "*.egg-info", "build", "_build", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignored)
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    [archive] = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        held = {name.partition("/")[2] for name in files.getnames()}
    for wanted in (
        "captum_robust/py.typed", "tests/test_common.py", "docs/index.rst",
        "docs/images/house.png", "tutorials/01-drop-in-smoothing.ipynb", "CHANGELOG.md",
        "LICENSE", "NOTICE", "SECURITY.md",
    ):  # fmt: skip
        assert wanted in held
    assert not any("__pycache__" in name for name in held)


def test_an_editable_install_is_a_path_that_type_checkers_follow(tmp_path: Path) -> None:
    build = "import sys, setuptools.build_meta as build; print(build.build_editable(sys.argv[1]))"
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "captum_robust", copy / "captum_robust")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-c", build, str(tmp_path)]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as held:
        [path] = [name for name in held.namelist() if name.endswith(".pth")]
        assert Path(held.read(path).decode().strip()) == copy
        assert not any("conftest" in name or name.startswith("tests") for name in held.namelist())


# -- importing ------------------------------------------------------------------------------

IMPORTS = """
import json, sys, captum, captum.attr, captum.metrics, captum.robust, torch

def state():
    names = {m.__name__: sorted(vars(m)) for m in (captum.attr, captum.metrics, captum.robust)}
    listed = [captum.attr.__all__[:], captum.metrics.__all__[:], captum.robust.__all__[:]]
    tunnel = captum.attr.NoiseTunnel.attribute.__module__
    generator = torch.get_rng_state().tolist()
    return [names, listed, tunnel, generator, str(torch.get_default_dtype())]

def libraries():
    return {name.partition(".")[0] for name in sys.modules}

before, loaded = state(), libraries()
import captum_robust
print(json.dumps({"unchanged": state() == before, "new": sorted(libraries() - loaded)}))
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, Any]:
    """What importing the package does to an interpreter that has imported Captum."""
    command = [sys.executable, "-c", IMPORTS]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_importing_changes_nothing_in_captum_or_torch(imported: dict[str, Any]) -> None:
    assert imported["unchanged"]


def test_importing_loads_no_library_before_it_is_used(imported: dict[str, Any]) -> None:
    """torchvision is required, the others are extras or come with Captum."""
    late = {"torchvision", "sklearn", "jinja2", "matplotlib", "skimage", "zennit", "pytest"}
    assert sorted(set(imported["new"]) & late) == []


@pytest.mark.parametrize("name", captum_robust.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert hasattr(captum_robust, name)


@pytest.mark.parametrize("namespace", ["attr", "certificates", "noise", "robust"])
def test_public_names_are_sorted_unique_and_present(namespace: str) -> None:
    module = import_module(f"captum_robust.{namespace}")
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert [name for name in module.__all__ if name.startswith("_")] == []
