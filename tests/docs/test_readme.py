"""README.md: its python blocks run one after the other and print what stands below them."""

from __future__ import annotations

import re
from code import InteractiveConsole
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
TOLERANCE = 0.01  # between machines; certified shares move in steps of a whole feature


class Block(NamedTuple):
    """A fenced block: its language, its text and the marker comment above it."""

    language: str
    text: str
    marker: str | None


def blocks(markdown: str) -> Iterator[Block]:
    """The fenced blocks of a page, in their order."""
    fence = re.compile(r"(?:<!-- ci: (\w+) -->\n)?^```(\w+)\n(.*?)^```$", re.M | re.S)
    for match in fence.finditer(markdown):
        yield Block(match[2], match[3], match[1])


def difference(printed: str, written: str) -> str | None:
    """What differs between two texts beyond white space and the tolerance of decimal fractions."""
    words = [" ".join(NUMBER.sub("#", text).split()) for text in (printed, written)]
    if words[0] != words[1]:
        return "other words are printed than are written"
    pairs = zip(NUMBER.findall(printed), NUMBER.findall(written), strict=True)
    for here, there in pairs:
        allowed = TOLERANCE if "." in here + there else 0.0
        if abs(float(here) - float(there)) > allowed:
            return f"printed {here} where {there} is written"
    return None


def test_blocks_and_comparison_on_a_page_of_their_own() -> None:
    page = "<!-- ci: go -->\n```sh\nls\n```\ntext\n```python\nprint(1)\n```\n"
    assert list(blocks(page)) == [Block("sh", "ls\n", "go"), Block("python", "print(1)\n", None)]
    assert difference("a 1.001\n", "a  1.0") is None
    assert difference("a 1.02", "a 1.0") is not None
    assert difference("12 of 13", "11 of 13") is not None
    assert difference("a", "b") is not None


def test_every_python_block_runs_and_prints_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "readme"}
    page = [*blocks(README), Block("", "", None)]
    ran = 0
    for block, below in pairwise(page):
        if block.language == "python":
            printed = StringIO()
            with redirect_stdout(printed):
                exec(compile(block.text, "README.md", "exec"), names)
            written = below.text if below.language == "text" else ""
            if found := difference(printed.getvalue(), written):
                pytest.fail(f"README.md: {found}. The block printed:\n{printed.getvalue()}")
            ran += 1
    assert ran >= 3


class Shell(InteractiveConsole):
    """The plain Python shell, which reads and does not run."""

    errors = 0

    def runcode(self, code: Any) -> None:
        pass

    def showsyntaxerror(self, *_: Any, **__: Any) -> None:
        self.errors += 1


def test_every_block_can_be_pasted_into_the_plain_python_shell() -> None:
    for block in blocks(README):
        if block.language == "python":
            shell = Shell()
            unfinished = [shell.push(line) for line in block.text.splitlines()][-1]
            assert not shell.errors and not unfinished, block.text


def test_continuous_integration_finds_each_of_its_commands() -> None:
    commands = {block.marker: block.text for block in blocks(README) if block.marker}
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    run = re.findall(r"^run_block (\w+)", script, re.M)
    assert sorted(commands) == sorted(run) == ["audit", "install", "test"]
    assert all(block.marker for block in blocks(README) if block.language == "sh")
    assert "pip install" in commands["install"]
    assert "python -m captum_robust audit" in commands["audit"]
    assert commands["test"].startswith("pytest")


def test_every_link_inside_the_repository_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    inside = [link for link in links if "://" not in link]
    assert {"LICENSE", "CITATION.cff", "docs/images/report.png"} <= set(inside)
    assert [link for link in inside if not (ROOT / link).exists()] == []
