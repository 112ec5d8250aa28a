"""What attacks and metrics found, over all examples, in JSON types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.measure import attacks, metrics
from captum_robust.audit.measure.columns.attacked.attacked import AttackColumn
from captum_robust.audit.measure.columns.measured.measured import CONFIDENCE_LEVEL
from captum_robust.audit.measure.columns.registry import columns_of
from captum_robust.audit.measure.summary import summary

Record = dict[str, Any]


def about_attacks(plan: AuditPlan, words: Mapping[str, str]) -> dict[str, Any]:
    """How methods were attacked, the same for all.

    Args:
        plan: of the audit.
        words: what stands for ``{k}`` and the like in the columns' texts.
    """
    return {
        "claim": "redrawn",
        "settings": asdict(attacks.SETTINGS),
        "points": attacks.SETTINGS.points,
        "epsilons": attacks.SETTINGS.epsilons(plan.epsilon),
        "columns": [column.describe(words) for column in columns_of(plan.columns).attacked],
    }


def about_metrics(plan: AuditPlan, words: Mapping[str, str]) -> dict[str, Any]:
    """What was measured and how, the same for all methods; arguments as above."""
    return {
        "settings": asdict(metrics.SETTINGS),
        "confidence_level": CONFIDENCE_LEVEL,
        "columns": [column.describe(words) for column in columns_of(plan.columns).measured],
    }


def attacked(records: Sequence[tuple[int, Record]], plan: AuditPlan) -> dict[str, Any] | None:
    """One method's overlaps under attack, and what the redrawn claim certifies.

    What an attack leaves bounds the worst case from above, ``certified`` from below.

    Args:
        records: number of an example and what was found of it.
        plan: of the audit.
    """
    found = [(index, record["attacks"]) for index, record in records if record["attacks"]]
    if not found:
        return None
    pieces = [piece for _, piece in found]
    first, examples = pieces[0], [index for index, _ in found]
    columns = columns_of(plan.columns).attacked
    return {
        "seconds": sum(piece["seconds"] for piece in pieces),
        # Records of version 1 are all of l2 attacks.
        "norm": first.get("norm", attacks.UNSMOOTHED_NORM),
        "examples": examples,
        "redrawn": None
        if first["redrawn"] is None
        else summary([piece["redrawn"] for piece in pieces]),
        "curve": None if first["curve"] is None else [piece["curve"] for piece in pieces],
        "outcomes": [
            _outcome([piece["outcomes"][place] for piece in pieces], examples, columns)
            for place in range(len(first["outcomes"]))
        ],
    }


def _outcome(
    outcomes: Sequence[Record], examples: Sequence[int], columns: Sequence[AttackColumn]
) -> dict[str, Any]:
    """All examples within one radius."""
    certified = [outcome["certified"] for outcome in outcomes]
    return {
        "epsilon": outcomes[0]["epsilon"],
        **{
            column.name: column.summary([outcome[column.name] for outcome in outcomes])
            for column in columns
        },
        "certified": None if certified[0] is None else summary(certified),
        "contradicted": [
            example
            for example, outcome in zip(examples, outcomes, strict=True)
            if outcome["contradicted"]
        ],
    }


def measured(records: Sequence[tuple[int, Record]], plan: AuditPlan) -> dict[str, Any] | None:
    """One method's columns: values, their mean and its interval; curves where there are radii."""
    found = [(index, record["metrics"]) for index, record in records if record["metrics"]]
    if not found:
        return None
    pieces = [piece for _, piece in found]
    columns = {
        column.name: column.summary([piece["values"][column.name] for piece in pieces], plan.seed)
        for column in columns_of(plan.columns).measured
    }
    for name in pieces[0]["curves"]:
        columns[name]["by_radius"] = [piece["curves"][name] for piece in pieces]
    return {
        "seconds": sum(piece["seconds"] for piece in pieces),
        "examples": [index for index, _ in found],
        "columns": columns,
    }


def contradictions(
    title: str, records: Sequence[tuple[int, Record]], labels: Sequence[str], plan: AuditPlan
) -> list[str]:
    """A sentence for each example of which an attack left less than is certified."""
    names = [column.name for column in columns_of(plan.columns).attacked]
    return [
        f"{title}, example {index} ({labels[index]}): "
        f"an attack within epsilon = {outcome['epsilon']:g} left "
        f"{100 * min(outcome[name] for name in names):.1f} % of the top features, "
        f"although {100 * outcome['certified']:.1f} % were certified."
        for index, record in records
        for outcome in (record["attacks"]["outcomes"] if record["attacks"] else [])
        if outcome["contradicted"]
    ]
