"""tests/benchmarks/table.py: it races, it fits growth, and docs/speed.rst is the page it writes."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests" / "benchmarks" / "table.py"
PAGE = ROOT / "docs" / "speed.rst"


def titles() -> dict[str, str]:
    """The sections of the table, by their names on the command line."""
    for node in ast.parse(TABLE.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TITLES":
            return ast.literal_eval(node.value)
    raise AssertionError("table.py has no TITLES.")


def rows(text: str) -> list[list[str]]:
    return [re.findall(r'"([^"]*)"', line) for line in text.splitlines() if line[:4] == '   "']


def test_the_page_has_every_section_and_no_cost_that_grows_too_fast() -> None:
    text = PAGE.read_text(encoding="utf-8")
    missing = [
        title for title in titles().values() if f"\n{title}\n{'-' * len(title)}\n" not in text
    ]
    assert missing == []
    assert "TOO STEEP" not in text
    ratios = [float(cells[-1].split()[0]) for cells in rows(text) if "to" in cells[-1].split()]
    assert len(ratios) > 50 and min(ratios) > 0


def test_every_loss_that_the_documentation_prices_is_a_row() -> None:
    page = PAGE.read_text(encoding="utf-8")
    described = (ROOT / "docs" / "api" / "losses.rst").read_text(encoding="utf-8")
    table = described.split(":header: loss, penalises")[1].split("SmoothSurface needs")[0]
    priced = re.findall(r":class:`(\w+)`", table)
    assert len(priced) >= 14
    assert [name for name in priced if f'"{name} / cross-entropy"' not in page] == []


@pytest.mark.slow
def test_the_command_measures_and_writes(tmp_path: Path) -> None:
    out = tmp_path / "speed.rst"
    command = [sys.executable, str(TABLE), "--repeats", "1", "--out", str(out)]
    run = subprocess.run(
        [*command, "--only", "memory", "certificates", "attacks"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    found = rows(out.read_text(encoding="utf-8"))
    names = {cells[0] for cells in found}
    assert {"memory / NoiseTunnel", "attack step / double backward"} < names
    for name, _, ours, other, ratio in found:
        assert float(ratio.split()[0]) > 0, name
        assert ours.split()[1] == other.split()[1]  # of one unit
