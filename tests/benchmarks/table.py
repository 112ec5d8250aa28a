"""Every claim of speed and memory in one table: pairs of ways to the same result, timed in turn.

    python tests/benchmarks/table.py [--only smoothing scaling ...] [--repeats 9] [--threads 1]
    python tests/benchmarks/table.py --out docs/speed.rst     (writes the documentation's page)

A row is a ratio of times, ours over the other way's, of the same round: median, least and greatest
over the rounds. Nets have random weights, which cost the same as trained ones; nothing is
downloaded. Where CUDA is at hand, rows that can run there have a second line; else that column
says "not measured". Scaling rows fit time = c * size^p and print p.
"""

from __future__ import annotations

import argparse
import math
import platform
import statistics
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rows import ON_CUDA, PAIRS, Growth, Pair, Run, growths, rise, rises

import captum_robust

TITLES = {
    "smoothing": "Smoothing: against NoiseTunnel and the bare loop of forward and backward passes",
    "memory": "Peak memory, each call in a process of its own",
    "certificates": "Certificates: against the formulas written out",
    "similarities": "Similarities: against SciPy or scikit-image, torchmetrics and Quantus",
    "insertion": "Insertion: against loops over examples and shares",
    "attacks": "Attacks: a step without its evaluation, against the bare double backward",
    "first-order": "First order: against the dense Jacobian",
    "losses": "Training: a step, in steps of cross-entropy",
    "scaling": "How costs grow",
}
HEADER = ("what", "size", "ours", "the other way", "ratio: median (least to greatest)")
PAGE = """\
Speed and memory
================

.. This page is written by ``python tests/benchmarks/table.py``; do not edit it by hand.

Two ways to the same result, in turn in one process, so that a busy machine slows both alike. A
ratio is that of the times of one round, ours over the other way's: below 1, ours is the faster.
Nets have random weights. One command measures all rows and writes this page::

    python tests/benchmarks/table.py --out docs/speed.rst

Written with captum-robust {version}, torch {torch}, Python {python}, {machine}, {threads} CPU
thread(s), {repeats} rounds. CUDA: {cuda}.
"""


class Section(NamedTuple):
    """A table: its columns' names, its rows, and what could not be compared."""

    name: str
    device: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str]


def seconds(run: Run, device: str) -> float:
    """Wall time of one call, with what it left running on the device."""
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def race(pair: Pair, repeats: int, device: str) -> tuple[str, ...]:
    """The row of a pair: each way goes first every other round."""
    ways = (pair.ours, pair.other)
    times: tuple[list[float], list[float]] = ([], [])
    for run in ways:
        seconds(run, device)
    for turn in range(repeats):
        for way in (0, 1) if turn % 2 else (1, 0):
            times[way].append(seconds(ways[way], device))
    ratios = [a / b for a, b in zip(*times, strict=True)]
    medians = [f"{1e3 * statistics.median(each):.1f} ms" for each in times]
    return (pair.name, pair.size, *medians, spread(ratios))


def exponent(growth: Growth, repeats: int) -> tuple[str, ...]:
    """The row of a growth: the slope of log time over log size, least squares over medians."""
    spent = []
    for size in growth.sizes:
        run = growth.run(size)
        run()
        spent.append(statistics.median(seconds(run, "cpu") for _ in range(repeats)))
    slope = float(np.polyfit(np.log(growth.sizes), np.log(spent), 1)[0])
    shown = ", ".join(f"{1e3 * value:.1f}" for value in spent)
    verdict = "as wanted" if slope <= growth.wanted else "TOO STEEP"
    sizes = ", ".join(f"{size:,}" for size in growth.sizes)
    return (growth.name, sizes, f"{shown} ms", f"{slope:.2f}", f"{growth.wanted} ({verdict})")


def timed(name: str, device: str, repeats: int) -> Section:
    """A section of pairs."""
    section = Section(name, device, HEADER, [], [])
    for pair in PAIRS[name](device):
        if isinstance(pair, str):
            section.notes.append(pair)
        else:
            section.rows.append(race(pair, repeats, device))
            print(" | ".join(section.rows[-1]), flush=True)
    return section


def remembered(repeats: int) -> Section:
    """The section of peaks; a process each, so three rounds do."""
    section = Section("memory", "cpu", HEADER, [], [])
    for one in rises():
        pairs = [(rise(one.ours), rise(one.other)) for _ in range(min(repeats, 3))]
        medians = [f"{statistics.median(each):.1f} MiB" for each in zip(*pairs, strict=True)]
        section.rows.append((one.name, one.size, *medians, spread([a / b for a, b in pairs])))
        print(" | ".join(section.rows[-1]), flush=True)
    return section


def scaled(repeats: int) -> Section:
    """The section of exponents."""
    header = ("what", "sizes", "times", "exponent", "at most")
    section = Section("scaling", "cpu", header, [], [])
    for growth in growths():
        section.rows.append(exponent(growth, math.ceil(repeats / 3)))
        print(" | ".join(section.rows[-1]), flush=True)
    return section


def measured(wanted: list[str], repeats: int) -> Iterator[Section]:
    """Every section asked for, on every device it can run on."""
    for name in wanted:
        print(f"\n{TITLES[name]}", flush=True)
        if name == "memory":
            yield remembered(repeats)
        elif name == "scaling":
            yield scaled(repeats)
        else:
            yield timed(name, "cpu", repeats)
            if name in ON_CUDA and torch.cuda.is_available():
                yield timed(name, "cuda", repeats)


def page(sections: list[Section], chosen: argparse.Namespace) -> str:
    """The documentation's page."""
    text = PAGE.format(
        version=captum_robust.__version__,
        torch=torch.__version__,
        python=platform.python_version(),
        machine=platform.machine(),
        threads=chosen.threads,
        repeats=chosen.repeats,
        cuda=torch.cuda.get_device_name() if torch.cuda.is_available() else "not measured",
    )
    parts = [text]
    for section in sections:
        title = TITLES[section.name] + (", on CUDA" if section.device == "cuda" else "")
        names = _quoted(section.header)
        rows = "\n".join(f"   {_quoted(row)}" for row in section.rows)
        table = f".. csv-table::\n   :header: {names}\n\n{rows}\n"
        parts.append(f"{title}\n{'-' * len(title)}\n\n{table}")
        if section.notes:
            parts.append("Not compared: " + "; ".join(section.notes) + ".\n")
    return "\n".join(parts)


def _quoted(row: tuple[str, ...]) -> str:
    """A line of comma-separated values."""
    return ", ".join(f'"{cell}"' for cell in row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=list(TITLES), default=list(TITLES))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="page to write")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    print(f"torch {torch.__version__}, {chosen.threads} thread(s), {chosen.repeats} rounds")
    print("ours, the other way, ours / other: median (least to greatest)")
    if not torch.cuda.is_available():
        print("cuda: not measured")
    sections = list(measured(chosen.only, chosen.repeats))
    if chosen.out:
        chosen.out.write_text(page(sections, chosen), encoding="utf-8")
        print(chosen.out)


if __name__ == "__main__":
    main()
