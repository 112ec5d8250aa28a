"""The tables that the command prints: one row a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from captum_robust.audit.report import rounding


def text_table(document: dict[str, Any]) -> str:
    """What was certified, attacked and measured, aligned for a terminal."""
    tables = [certified_table(document)]
    if document["attacks"]:
        tables.append(attack_table(document))
    if document["metrics"]:
        tables.append(metric_table(document))
    return "\n\n".join(tables)


def certified_table(document: dict[str, Any]) -> str:
    """The certified medians of every method."""
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


def attack_table(document: dict[str, Any]) -> str:
    """What attacks left of the top features, beside what is certified of a redrawn map."""
    head = ("method", "epsilon", "certified", "attack left", "random search left")
    rows: list[tuple[str, ...]] = [head]
    for method in document["methods"]:
        outcomes = method["attacks"]["outcomes"] if method["attacks"] else []
        rows += [_attack_row(method["title"], outcome) for outcome in outcomes]
    title = (
        f"Overlap of the top {document['k_count']} under l2 attack, medians over "
        f"{len(document['examples'])} examples; certified between two maps of as many draws:"
    )
    return "\n".join([title, "", *_aligned(rows)])


def metric_table(document: dict[str, Any]) -> str:
    """The mean of every metric, and below it its interval."""
    about = document["metrics"]
    columns = about["columns"]
    rows: list[tuple[str, ...]] = [("method", *(column["title"] for column in columns))]
    arrows = ("higher" if column["higher_is_better"] else "lower" for column in columns)
    rows.append(("better:", *arrows))
    for method in document["methods"]:
        if method["metrics"] is None:
            rows.append((method["title"], "not measured"))
            continue
        found = [method["metrics"]["columns"][column["name"]] for column in columns]
        rows.append((method["title"], *(rounding.estimate(one["mean"]) for one in found)))
        rows.append(("", *(rounding.interval(one["interval"]) for one in found)))
    title = (
        f"Measured, means over {len(document['examples'])} examples and their "
        f"{100 * about['confidence_level']:g} % bootstrap intervals:"
    )
    return "\n".join([title, "", *_aligned(rows)])


def _attack_row(title: str, outcome: dict[str, Any]) -> tuple[str, ...]:
    certified = outcome["certified"]
    return (
        title,
        f"{outcome['epsilon']:g}",
        "none" if certified is None else rounding.share(certified["median"]),
        rounding.measured_share(outcome["measured"]["median"]),
        rounding.measured_share(outcome["random"]["median"])
        + (" ERROR" if outcome["contradicted"] else ""),
    )


def _row(method: dict[str, Any]) -> tuple[str, ...]:
    answers = method["answers"]
    if answers is None:
        return method["title"], method["status"]
    return (
        method["title"],
        rounding.share(answers["overlap"]["median"]),
        rounding.cosine(answers["cosine"]["median"]),
        rounding.angle(answers["angle"]["median"]),
        rounding.radius(answers["overlap"]["radius"]["median"]),
        rounding.radius(answers["cosine"]["radius"]["median"]),
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
