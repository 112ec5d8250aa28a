"""tutorials/: each notebook is clean, runs, and shows a picture; each asks and answers."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
# What a notebook imports beyond the library's own requirements, by the extra that brings it.
NEEDED = {
    "01-drop-in-smoothing": ("sklearn", "efficientnet_lite_pytorch"),
    "07-auditing-from-the-command-line": ("sklearn", "jinja2"),
}


def cells(notebook: Path, kind: str) -> list[dict[str, Any]]:
    document = json.loads(notebook.read_text(encoding="utf-8"))
    return [cell for cell in document["cells"] if cell["cell_type"] == kind]


def text(notebook: Path) -> str:
    return "\n".join("".join(cell["source"]) for cell in cells(notebook, "markdown"))


def test_there_are_the_seven_tutorials() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{number:02d}" for number in range(1, 8)]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_stored_clean(notebook: Path) -> None:
    document = json.loads(notebook.read_text(encoding="utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert document["metadata"]["kernelspec"]["name"] == "python3"
    identities = [cell["id"] for cell in document["cells"]]
    assert len(set(identities)) == len(identities)
    for cell in cells(notebook, "code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_asks_and_answers(notebook: Path) -> None:
    written = text(notebook)
    assert len(re.findall(r"^# ", written, re.M)) == 1
    assert "**The question:**" in written and "## The answer" in written
    assert written.index("**The question:**") < written.index("## The answer")


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_shows_a_picture(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for module in NEEDED.get(notebook.stem, ("sklearn",)):
        pytest.importorskip(module)
    monkeypatch.setenv("SMOKE_TEST", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    monkeypatch.setenv("PYTHONPATH", path)
    document = nbformat.read(notebook, as_version=4)
    nbformat.validate(document)
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(document, timeout=600, kernel_name="python3", resources=place).execute()
    outputs = [output for cell in document.cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
