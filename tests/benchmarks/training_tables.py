"""What training.py found, as tables in reStructuredText."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
from training_losses import BY_NAME

CHECKS = 4  # looks at accuracy and RPS in an epoch
BUDGETS = (1, 3, 10, 30, 100)  # of the per-second table, in trainings with cross-entropy
MEASURES = {
    "accuracy": "accuracy, %",
    "rps": "RPS",
    "insertion": "insertion",
    "adversarial_insertion": "adversarial insertion",
    "attacked_topk": "attacked top-k",
    "certified_overlap": "certified overlap",
    "sameness": "cosine between images",
}
Records = dict[str, list[dict[str, Any]]]


def table(title: str, head: list[str], rows: list[list[str]]) -> str:
    """A table in reStructuredText."""
    lines = [f".. csv-table:: {title}", f"   :header: {', '.join(map(quoted, head))}", ""]
    return "\n".join(lines + ["   " + ", ".join(map(quoted, row)) for row in rows]) + "\n"


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def spread(values: list[float], digits: int) -> str:
    """Mean and standard deviation over seeds."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return "-"
    sd = f" ± {statistics.stdev(finite):.{digits}f}" if len(finite) > 1 else ""
    return f"{statistics.mean(finite):.{digits}f}{sd}"


def epoch_table(records: Records, epoch: int) -> str:
    """Every measure at the end of an epoch."""
    rows = []
    for name, runs in records.items():
        looks = [
            run["looks"][CHECKS * epoch - 1] for run in runs if len(run["looks"]) >= CHECKS * epoch
        ]
        cells = [
            spread([look[key] for look in looks], 2 if key == "accuracy" else 3) for key in MEASURES
        ]
        rows.append([name, BY_NAME[name].setting, *cells])
    title = f"After epoch {epoch}: mean and sd over seeds"
    return table(title, ["loss", "setting", *MEASURES.values()], rows)


def second_table(records: Records) -> str:
    """Accuracy and RPS at the last look within each budget of training time."""
    if not all(run["looks"] for run in records.get("cross-entropy", [{"looks": []}])):
        return ""
    unit = statistics.mean(run["looks"][-1]["seconds"] for run in records["cross-entropy"])
    rows = []
    for name, runs in records.items():
        whole = [run["looks"][-1]["seconds"] for run in runs if run["looks"]]
        cells = []
        for budget in BUDGETS:
            within = [
                [look for look in run["looks"] if look["seconds"] <= 1.05 * budget * unit]
                for run in runs
            ]
            last = [looks[-1] for looks in within if looks]
            pair = [
                spread([look[key] for look in last], d) for key, d in (("accuracy", 1), ("rps", 3))
            ]
            cells.append(" / ".join(pair) if last else "-")
        rows.append([name, spread([seconds / unit for seconds in whole], 1), *cells])
    title = f"Accuracy / RPS within a training time, in trainings with cross-entropy ({unit:.1f} s)"
    return table(title, ["loss", "whole training", *[f"{budget} x" for budget in BUDGETS]], rows)


def failures(records: Records) -> str:
    lines = [
        f"* {run['loss']}, seed {run['seed']}, after look {len(run['looks'])}: {run['failed']}"
        for runs in records.values()
        for run in runs
        if run["failed"]
    ]
    return "\n".join(lines) + "\n" if lines else ""
