"""The table that the command prints: one row a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from captum_robust.audit import words


def text_table(document: dict[str, Any]) -> str:
    """The medians of every method, aligned for a terminal."""
    settings = document["settings"]
    rows: list[tuple[str, ...]] = [
        (
            "method",
            f"overlap, top {document['k_count']}",
            "cosine",
            "angle",
            "radius of overlap 50 %",
            "radius of cosine 0.9",
        )
    ]
    rows += [_row(method) for method in document["methods"]]
    title = (
        f"Certified at epsilon = {settings['epsilon']:g}, medians over "
        f"{len(document['examples'])} examples, each statement with probability "
        f"{100 * (1 - settings['alpha']):g} %:"
    )
    return "\n".join([title, "", *_aligned(rows)])


def _row(method: dict[str, Any]) -> tuple[str, ...]:
    answers = method["answers"]
    if answers is None:
        return method["title"], method["status"]
    return (
        method["title"],
        words.share(answers["overlap"]["median"]),
        words.cosine(answers["cosine"]["median"]),
        words.angle(answers["angle"]["median"]),
        words.radius(answers["overlap"]["radius"]["median"]),
        words.radius(answers["cosine"]["radius"]["median"]),
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows with their cells padded; a row of fewer cells lets its last one run on."""
    full = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(len(row[column]) for row in full) for column in range(len(rows[0]))]
    widths[0] = max(len(row[0]) for row in rows)
    lines = []
    for row in rows:
        first, *rest = row
        cells = [first.ljust(widths[0])]
        padded = len(row) == len(rows[0])
        cells += [
            cell.rjust(w) if padded else cell for cell, w in zip(rest, widths[1:], strict=padded)
        ]
        lines.append("  " + "   ".join(cells).rstrip())
    return lines
