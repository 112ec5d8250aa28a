"""The tables that the command prints: one row a method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from captum_robust.audit.measure import rounding
from captum_robust.audit.measure.columns.attacked.attacked import AttackColumn
from captum_robust.audit.measure.columns.certified.certified import CertifiedColumn
from captum_robust.audit.measure.columns.registry import columns_of


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
    settings, about = document["settings"], document["columns"]
    radii = [column["radius_title"] for column in about if column["threshold"] is not None]
    rows: list[tuple[str, ...]] = [("method", *(column["title"] for column in about), *radii)]
    columns = columns_of(tuple(settings["columns"])).certified
    rows += [_row(method, columns) for method in document["methods"]]
    title = (
        f"Certified at epsilon = {settings['epsilon']:g}, medians over "
        f"{len(document['examples'])} examples, each statement with probability "
        f"{100 * (1 - settings['alpha']):g} %:"
    )
    return "\n".join([title, "", *_aligned(rows)])


def attack_table(document: dict[str, Any]) -> str:
    """What attacks left of the top features, beside what is certified of a redrawn map."""
    columns = columns_of(tuple(document["settings"]["columns"])).attacked
    titles = [column["title"] for column in document["attacks"]["columns"]]
    rows: list[tuple[str, ...]] = [("method", "norm", "epsilon", "certified", *titles)]
    for method in document["methods"]:
        found = method["attacks"] or {"norm": "", "outcomes": []}
        for outcome in found["outcomes"]:
            rows.append((method["title"], found["norm"], *_attack_cells(outcome, columns)))
    title = (
        f"Overlap of the top {document['k_count']} under attack, medians over "
        f"{len(document['examples'])} examples; certified between two maps of as many draws:"
    )
    return "\n".join([title, "", *_aligned(rows)])


def metric_table(document: dict[str, Any]) -> str:
    """The mean of every metric, and below it its interval."""
    about = document["metrics"]
    columns = columns_of(tuple(document["settings"]["columns"])).measured
    titles = (column["title"] for column in about["columns"])
    rows: list[tuple[str, ...]] = [("method", *titles)]
    rows.append(("better:", *(column.direction for column in columns)))
    for method in document["methods"]:
        if method["metrics"] is None:
            rows.append((method["title"], "not measured"))
            continue
        found = [(column, method["metrics"]["columns"][column.name]) for column in columns]
        rows.append((method["title"], *(column.show(one["mean"]) for column, one in found)))
        rows.append(("", *(column.show_interval(one["interval"]) for column, one in found)))
    title = (
        f"Measured, means over {len(document['examples'])} examples and their "
        f"{100 * about['confidence_level']:g} % bootstrap intervals:"
    )
    return "\n".join([title, "", *_aligned(rows)])


def _attack_cells(outcome: dict[str, Any], columns: Sequence[AttackColumn]) -> Iterator[str]:
    certified = outcome["certified"]
    yield f"{outcome['epsilon']:g}"
    yield "none" if certified is None else rounding.share(certified["median"])
    left = [column.show(outcome[column.name]["median"]) for column in columns]
    yield from left[:-1]
    yield left[-1] + (" ERROR" if outcome["contradicted"] else "")


def _row(method: dict[str, Any], columns: Sequence[CertifiedColumn]) -> tuple[str, ...]:
    answers = method["answers"]
    if answers is None:
        return method["title"], method["status"]
    return (
        method["title"],
        *(column.show(answers[column.name]["median"]) for column in columns),
        *(
            column.show_radius(answers[column.name]["radius"]["median"])
            for column in columns
            if column.threshold is not None
        ),
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
