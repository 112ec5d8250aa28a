"""The page: every experiment's table beside the paper's, as reStructuredText."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence

import torch

import captum_robust
from tests.benchmarks.papers.experiment import Experiment, Row
from tests.benchmarks.papers.store import Result

PAPERS = {
    "L19": ("Certified overlap and consistent training", "levine2019"),
    "WK24": ("Uniformly smoothed attributions", "wangkong2024"),
    "WK23": ("First-order deviations", "wangkong2023"),
    "W20": ("Smoothed geometry", "wang2020"),
    "J23": ("Aligned gradients", "joo2023"),
}
INTRODUCTION = """\
The papers' experiments, repeated
=================================

.. This page is written by ``python -m tests.benchmarks.papers``; do not edit it by hand.

Each table sets what this library finds beside what a paper prints. One command, from the root of
the repository, measures and writes this page:

.. code-block:: sh

   python -m tests.benchmarks.papers --data DIR --out docs/papers.rst

``DIR`` holds MNIST and CIFAR-10 (``mnist.npz``, ``cifar10_train_batch1.npz`` and
``cifar10_test.npz``, or torchvision's folders) and, where there are some, weights.
``--only L19 WK24-mnist`` chooses, ``--forecast`` says what it will cost, and what was measured
before is not measured again. The default is far smaller than the papers' experiments; ``--full``
takes their sizes. Each table states both.

**How to read a line.** *agrees* says whether the statement of the line, or the direction in which
the paper's numbers point, was found here: other nets, other images and fewer samples give other
numbers. A bound is compared with what it must bound. *no number* marks what the paper only draws,
or does not have. Formulas *as printed* are computed with ``published=True``; where they are not
valid, :doc:`concepts/printed-theorems` says why. Several trainings are summed up as mean and
standard deviation.

Written with captum-robust {version}, torch {torch}, Python {python}, on {threads} CPU thread(s).

{summary}
"""


def page(results: Sequence[tuple[Experiment, Result | None]]) -> str:
    """The whole page."""
    text = INTRODUCTION.format(
        version=captum_robust.__version__,
        torch=torch.__version__,
        python=platform.python_version(),
        threads=torch.get_num_threads(),
        summary=_summary(results),
    )
    parts = [text]
    for letters, (title, citation) in PAPERS.items():
        mine = [pair for pair in results if pair[0].key.startswith(f"{letters}-")]
        if mine:
            heading = f"{title} [{letters}]"
            parts.append(f"{heading}\n{'-' * len(heading)}\n\n:cite:t:`{citation}`.\n")
            parts += [_section(experiment, result) for experiment, result in mine]
    return "\n".join(parts)


def _summary(results: Sequence[tuple[Experiment, Result | None]]) -> str:
    """How many lines of each paper agree."""
    lines = []
    for letters in PAPERS:
        counts: Counter[str] = Counter()
        for experiment, result in results:
            if experiment.key.startswith(f"{letters}-"):
                counts.update(row.agrees for row in (result.rows if result else []))
        if counts:
            named = [f"{counts[word]} {word}" for word in counts]
            lines.append(f"* {letters}: {', '.join(sorted(named))}.")
    return "Lines that agree:\n\n" + "\n".join(lines) if lines else ""


def _section(experiment: Experiment, result: Result | None) -> str:
    """One experiment: what was run, and its table."""
    heading = f"{experiment.title}\n{'~' * len(experiment.title)}\n\n{experiment.setting}\n"
    again = f":again: ``--only {experiment.key}``\n"
    if result is None:
        return f"{heading}\n:here: not measured\n:paper: {experiment.paper}\n{again}"
    trained = f"; nets: {result.training}" if experiment.nets else ""
    sizes = f":here: {result.size}{trained}\n:paper: {experiment.paper}\n"
    return f"{heading}\n{sizes}{again}\n{table(result.rows)}"


def table(rows: Sequence[Row]) -> str:
    """A list-table of rows."""
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :widths: 32 22 18 8 20",
        "",
    ]
    for row in (None, *rows):
        cells = (
            ("what", "here", "paper", "agrees", "why")
            if row is None
            else (row.name, row.ours, row.paper, row.agrees, row.why)
        )
        lines += [
            f"   {'*' if at == 0 else ' '} - {_plain(cell)}".rstrip()
            for at, cell in enumerate(cells)
        ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text in which nothing is markup."""
    return text.replace("\\", "\\\\").replace("*", "\\*").replace("`", "\\`").replace("|", "\\|")
