"""What attacks and metrics found, over all examples, in JSON types."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import torch

from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.measure import attacks, metrics
from captum_robust.audit.measure.summary import finite, summary
from captum_robust.metrics import bootstrap_interval

CONFIDENCE_LEVEL: Final = 0.95

Record = dict[str, Any]


def about_attacks(plan: AuditPlan) -> dict[str, Any]:
    """How methods were attacked, the same for all."""
    return {
        "norm": attacks.NORM,
        "claim": "redrawn",
        "settings": asdict(attacks.SETTINGS),
        "points": attacks.SETTINGS.points,
        "epsilons": attacks.SETTINGS.epsilons(plan),
    }


def about_metrics() -> dict[str, Any]:
    """What was measured and how, the same for all methods."""
    return {
        "settings": asdict(metrics.SETTINGS),
        "confidence_level": CONFIDENCE_LEVEL,
        "columns": [{"name": name, **asdict(column)} for name, column in metrics.COLUMNS.items()],
    }


def attacked(records: Sequence[tuple[int, Record]]) -> dict[str, Any] | None:
    """One method's overlaps under attack, and what the redrawn claim certifies.

    ``measured`` and ``random`` bound the worst case from above, ``certified`` from below.

    Args:
        records: number of an example and what was found of it.
    """
    found = [(index, record["attacks"]) for index, record in records if record["attacks"]]
    if not found:
        return None
    pieces = [piece for _, piece in found]
    first = pieces[0]
    return {
        "seconds": sum(piece["seconds"] for piece in pieces),
        "examples": [index for index, _ in found],
        "redrawn": None
        if first["redrawn"] is None
        else summary([piece["redrawn"] for piece in pieces]),
        "curve": None if first["curve"] is None else [piece["curve"] for piece in pieces],
        "outcomes": [
            _outcome([piece["outcomes"][place] for piece in pieces], [index for index, _ in found])
            for place in range(len(first["outcomes"]))
        ],
    }


def _outcome(outcomes: Sequence[Record], examples: Sequence[int]) -> dict[str, Any]:
    """All examples within one radius."""
    certified = [outcome["certified"] for outcome in outcomes]
    return {
        "epsilon": outcomes[0]["epsilon"],
        "measured": summary([outcome["measured"] for outcome in outcomes], upper=True),
        "random": summary([outcome["random"] for outcome in outcomes], upper=True),
        "certified": None if certified[0] is None else summary(certified),
        "contradicted": [
            example
            for example, outcome in zip(examples, outcomes, strict=True)
            if outcome["contradicted"]
        ],
    }


def measured(records: Sequence[tuple[int, Record]], seed: int) -> dict[str, Any] | None:
    """One method's columns: values, their mean and its interval; curves where there are radii."""
    found = [(index, record["metrics"]) for index, record in records if record["metrics"]]
    if not found:
        return None
    pieces = [piece for _, piece in found]
    columns = {
        name: _column([piece["values"][name] for piece in pieces], seed)
        for name in pieces[0]["values"]
    }
    for name in pieces[0]["curves"]:
        columns[name]["by_radius"] = [piece["curves"][name] for piece in pieces]
    return {
        "seconds": sum(piece["seconds"] for piece in pieces),
        "examples": [index for index, _ in found],
        "columns": columns,
    }


def contradictions(
    title: str, records: Sequence[tuple[int, Record]], labels: Sequence[str]
) -> list[str]:
    """A sentence for each example of which an attack left less than is certified."""
    return [
        f"{title}, example {index} ({labels[index]}): "
        f"an attack within epsilon = {outcome['epsilon']:g} left "
        f"{100 * min(outcome['measured'], outcome['random']):.1f} % of the top features, "
        f"although {100 * outcome['certified']:.1f} % were certified."
        for index, record in records
        for outcome in (record["attacks"]["outcomes"] if record["attacks"] else [])
        if outcome["contradicted"]
    ]


def _column(values: Sequence[float | None], seed: int) -> dict[str, Any]:
    """Values, their mean, and the ends of its interval where there are two values."""
    numbers = torch.tensor(
        [math.nan if value is None else value for value in values], dtype=torch.float64
    )
    interval = None
    if len(numbers) > 1:
        found = bootstrap_interval(numbers, confidence_level=CONFIDENCE_LEVEL, seed=seed)
        interval = [found.low, found.high]
    return {"values": list(values), "mean": finite(float(numbers.mean())), "interval": interval}
