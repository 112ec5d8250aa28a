"""Every number of an audit in one dictionary: report.json, and what the pages and tables show."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from typing import Any, Final

from captum_robust._base.checks import feature_count
from captum_robust.audit.ask.fingerprint import package_versions
from captum_robust.audit.ask.methods import METHODS
from captum_robust.audit.ask.option import flag, write_share_or_count
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.images import Picture
from captum_robust.audit.measure.columns.registry import Columns, columns_of
from captum_robust.audit.report.findings import (
    Record,
    about_attacks,
    about_metrics,
    attacked,
    contradictions,
    measured,
)
from captum_robust.audit.run.journal import Journal, file_stem
from captum_robust.audit.run.record import epsilons

# 1: certificates. 2: adds `attacks`, `metrics` and `errors`, and the first two of each method too;
# null where they were not asked for. 3: results are of one example at a time. Adds `skipped`, and
# `examples` to each method, its attacks and its metrics: the indices that its lists of values are
# about. Examples gain `name`, `prediction` and `page`. `certificate` of a method becomes
# `certificates`, one an example; `statement`, of all examples together, is gone. The curves of maps
# of 10,000 features and more have 21 points. 4: adds `columns`, what the entries of `answers` mean,
# and `columns` to `attacks`; the norm of attacks moves from there to the attacks of each method.
SCHEMA_VERSION: Final = 4
UNSMOOTHED: Final = "no certificate: unsmoothed"
NOTHING: Final = "no example could be explained"


@dataclass(frozen=True)
class Results:
    """All that the journal holds, in the order of the plan.

    Attributes:
        about: the subject.
        examples: number, and record, of every example that was explained by some method.
        methods: of each method the index of an example and its record.
        skipped: what was left out, as the report lists it.
    """

    about: dict[str, Any]
    examples: list[tuple[int, Record]]
    methods: dict[str, list[tuple[int, Record]]]
    skipped: list[dict[str, Any]]

    def pictures(self, name: str) -> dict[int, Picture]:
        """A method's maps by the index of their example."""
        return {index: Picture.from_json(record["picture"]) for index, record in self.methods[name]}


def read_results(journal: Journal, plan: AuditPlan) -> Results:
    """Reads the journal of a plan; what is not in it yet is left out."""
    known = journal.plan() or {"about": {"examples": []}}
    results = Results(known["about"], [], {name: [] for name in plan.methods}, [])
    for number in known["about"]["examples"]:
        example = journal.read_example(number)
        if example is None:
            continue
        if example["status"] == "skipped":
            results.skipped.append(_skipped(number, example, None, example))
            continue
        records = {name: journal.read(name, number) for name in plan.methods}
        index = len(results.examples)
        for name, record in records.items():
            if record is not None and record["status"] == "skipped":
                results.skipped.append(_skipped(number, example, name, record))
            elif record is not None:
                results.methods[name].append((index, record))
        if any(record is not None and record["status"] == "done" for record in records.values()):
            results.examples.append((number, example))
    return results


def audit_document(plan: AuditPlan, results: Results) -> dict[str, Any]:
    """All numbers of an audit in JSON types; an infinite radius is ``None``.

    ``errors`` holds a sentence for every certificate that an attack contradicts, ``skipped`` an
    entry for every example, or method on it, that could not be done.
    """
    about = results.about
    features = count_features(about)
    sizes = epsilons(plan, features)
    examples = [
        _example(index, number, record) for index, (number, record) in enumerate(results.examples)
    ]
    labels = [example["label"] for example in examples]
    k_count = feature_count("k", plan.k, features)
    words = column_words(plan, k_count, features)
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": command(plan),
        "versions": versions(),
        "settings": plan.settings(),
        "subject": {
            "title": about["title"],
            "unit": about["unit"],
            "features": features,
            "facts": about["facts"],
        },
        "k_count": k_count,
        "keep_count": feature_count("keep", plan.keep, features),
        "examples": examples,
        "skipped": results.skipped,
        "epsilons": sizes,
        "columns": [column.describe(words) for column in columns_of(plan.columns).certified],
        "attacks": about_attacks(plan, words) if plan.attacks else None,
        "metrics": about_metrics(plan, words) if plan.metrics else None,
        "errors": [
            error
            for name, records in results.methods.items()
            for error in contradictions(METHODS[name].title, records, labels, plan)
        ],
        "methods": [_method(name, records, plan) for name, records in results.methods.items()],
    }


def column_words(plan: AuditPlan, k_count: int, features: int) -> dict[str, str]:
    """What stands for ``{k}``, ``{all}`` and ``{features}`` in the texts of columns."""
    share = write_share_or_count(plan.k).replace("%", " %")
    return {"k": str(k_count), "all": str(features), "features": share}


def count_features(about: dict[str, Any]) -> int:
    """Features of an example."""
    features = 1
    for side in about["shape"]:
        features *= side
    return features


def command(plan: AuditPlan) -> str:
    """The command that repeats the audit, quoted for a POSIX shell."""
    options = []
    for name, text in plan.as_text().items():
        options += [f"{flag(name)}={text}"] if text.startswith("-") else [flag(name), text]
    options += [flag(name) for name in plan.switched_on()]
    return shlex.join(["python", "-m", "captum_robust", "audit", *options])


def versions() -> dict[str, str]:
    """Versions of everything the numbers and pictures depend on."""
    return {
        **package_versions(),
        "matplotlib": metadata.version("matplotlib"),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
    }


def _example(index: int, number: int, record: Record) -> dict[str, Any]:
    return {
        "index": index,
        "id": number,
        "name": record["name"],
        "label": record["label"],
        "target": record["target"],
        "prediction": record["prediction"],
        "page": f"examples/{file_stem(number)}.html",
    }


def _skipped(number: int, example: Record, method: str | None, why: Record) -> dict[str, Any]:
    """One entry of the list of what was left out; every method where none is named."""
    return {
        "id": number,
        "name": example["name"],
        "method": None if method is None else METHODS[method].title,
        "reason": why["reason"],
    }


def _method(name: str, records: Sequence[tuple[int, Record]], plan: AuditPlan) -> dict[str, Any]:
    method = METHODS[name]
    about = {
        "name": name,
        "title": method.title,
        "about": method.about,
        "examples": [index for index, _ in records],
        "seconds": sum(record["seconds"] for _, record in records),
        "attacks": attacked(records, plan),
        "metrics": measured(records, plan),
    }
    certified = [record for _, record in records if record["certificate"] is not None]
    if not certified:
        status = UNSMOOTHED if records else NOTHING
        return about | {"status": status, "certificates": None, "answers": None}
    return about | {
        "status": certified[0]["kind"],
        "noise": certified[0]["noise"],
        "norm": certified[0]["norm"],
        "certificates": [record["certificate"] for record in certified],
        "answers": _answers([record["answers"] for record in certified], columns_of(plan.columns)),
        "statements": [record["statement"] for record in certified],
    }


def _answers(answers: Sequence[Record], columns: Columns) -> dict[str, Any]:
    """What the certificates of all examples say."""
    return {
        column.name: column.summary([answer[column.name] for answer in answers])
        for column in columns.certified
    }
