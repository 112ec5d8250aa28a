"""``verify``: whether a report still says what its certificates say, and nothing was changed."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from captum_robust.audit.ask.imported import file_digest
from captum_robust.audit.ask.option import flag, read_names
from captum_robust.audit.ask.plan import OPTIONS, SWITCHES, AuditPlan
from captum_robust.audit.ask.usage import ExitCode, UsageError, printable
from captum_robust.audit.measure.columns.registry import columns_of
from captum_robust.audit.report.document import audit_document, count_features, read_results
from captum_robust.audit.run.atomic import write_atomically
from captum_robust.audit.run.journal import Journal
from captum_robust.audit.run.record import epsilons
from captum_robust.certificates import Certificate

DESCRIPTION: Final = (
    "Recomputes what a report says from the certificates beside it, and compares every file with "
    "the digests of manifest.json."
)
EPILOG: Final = "Exit codes: 0 nothing was changed; 2 no report that can be verified; 5 changed."
MANIFEST: Final = "manifest.json"
MANIFEST_VERSION: Final = 1
_DIGITS: Final = 1e-9

# What differs between two writings of the same report.
_OF_THE_WRITING: Final = ("created", "versions", "command")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``verify``."""
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="of a report")
    parser.add_argument(
        "--columns", metavar="NAMES", default="", help="as for the audit; runs that code"
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints what was changed, one line each, or that nothing was; returns the exit code.

    Raises:
        UsageError: if the folder holds no report that can be verified.
    """
    faults = list(faults_of(arguments.folder, read_names(arguments.columns)))
    for fault in faults:
        print(printable(fault), file=sys.stderr)
    if not faults:
        digest = file_digest(arguments.folder / MANIFEST)
        print(f"Verified: nothing was changed. SHA-256 of {MANIFEST}: {digest}")
    return ExitCode.CHANGED if faults else ExitCode.DONE


def write_manifest(plan: AuditPlan, journal: Journal, files: list[str]) -> None:
    """Writes the digests of the model, the data, the code and every file of a report.

    The digest of the manifest itself stands for all of them: keep it elsewhere, or sign the file.

    Args:
        plan: of the audit.
        journal: of its results.
        files: of the report, as paths inside the folder.
    """
    known = journal.plan() or {"fingerprint": {}}
    records = [
        path for record in journal.records() for path in (record, record.with_suffix(".npz"))
    ]
    inside = [path.relative_to(plan.out).as_posix() for path in records if path.is_file()]
    content = {
        "manifest_version": MANIFEST_VERSION,
        "fingerprint": known["fingerprint"],
        "code": package_digest(),
        "files": {
            name: file_digest(plan.out / name) for name in sorted({"plan.json", *files, *inside})
        },
    }
    write_atomically(plan.out / MANIFEST, json.dumps(content, indent=1).encode())


def package_digest() -> str:
    """SHA-256 of the source of this package."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()} {file_digest(path)}\n".encode())
    return digest.hexdigest()


def faults_of(folder: Path, columns: tuple[str, ...] = ()) -> Iterator[str]:
    """What was changed in a folder, in words.

    Args:
        folder: of a report.
        columns: names of columns whose code may be run; a folder by itself makes none run.

    Raises:
        UsageError: if there is no report that can be verified.
    """
    manifest, report = (_read(folder / name) for name in (MANIFEST, "report.json"))
    journal = Journal(folder)
    known = journal.plan()
    if known is None:
        raise UsageError(f"`FOLDER` must hold a report with its plan.json, got {str(folder)!r}.")
    yield from _changed_files(folder, manifest)
    if known["fingerprint"] != manifest.get("fingerprint"):
        yield "plan.json: it is of another audit than manifest.json"
    plan = plan_of(known["fingerprint"], folder)
    if plan.columns != columns:
        raise UsageError(
            "`FOLDER` holds a report with columns of somebody's code. To run it, say "
            f"--columns {','.join(plan.columns) or '(none)'}."
        )
    for path in journal.records():
        fault = _fault_of_record(journal, path) or _fault_of_answers(plan, known["about"], path)
        if fault is not None:
            yield f"{path.relative_to(folder).as_posix()}: {fault}"
    again = audit_document(plan, read_results(journal, plan))
    again = json.loads(json.dumps(again))
    for name in report.keys() | again.keys():
        if name not in _OF_THE_WRITING and not _same(_told(report, name), _told(again, name)):
            yield f"report.json: {name!r} is not what the records say"


def plan_of(fingerprint: Mapping[str, str], folder: Path) -> AuditPlan:
    """The plan of a journal, from the texts of its options.

    Raises:
        UsageError: if they are none.
    """
    given: dict[str, Any] = {"out": folder}
    try:
        for name, option in OPTIONS.items():
            text = fingerprint.get(flag(name))
            if name in SWITCHES:
                given[name] = text is not None
            elif text is not None and name != "device":  # nothing is run
                given[name] = option.read(text)
            elif option.optional:
                given[name] = None
        return AuditPlan(**given)
    except (ValueError, TypeError) as error:
        raise UsageError(f"`FOLDER` {str(folder)!r} holds a plan that cannot be: {error}") from None


def _changed_files(folder: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    files = manifest.get("files")
    if manifest.get("manifest_version") != MANIFEST_VERSION or not isinstance(files, dict):
        raise UsageError(f"`FOLDER` {str(folder)!r} holds a {MANIFEST} of another version.")
    for name, digest in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            yield f"{name}: it is missing"
        elif file_digest(path) != digest:
            yield f"{name}: it was changed"


def _fault_of_record(journal: Journal, path: Path) -> str | None:
    found = _read(path)
    return journal.fault_of(path, found, thorough=True)


def _fault_of_answers(plan: AuditPlan, about: dict[str, Any], path: Path) -> str | None:
    """Whether a record says what its certificate says; None where it has none, or does."""
    found = _read(path)
    if found.get("certificate") is None or found.get("status") != "done":
        return None
    try:
        certificate = Certificate.load(path.with_suffix(".npz"))
    except (ValueError, OSError) as error:
        return f"its certificate cannot be read ({error})"
    sizes = epsilons(plan, count_features(about))
    for column in columns_of(plan.columns).certified:
        again = json.loads(json.dumps(column.record(certificate, plan, sizes)))
        if not _same(again, found["answers"].get(column.name)):
            return f"its {column.name} is not what its certificate says"
    return None


def _same(one: Any, other: Any) -> bool:
    """Equal but for the last digits, which differ between machines."""
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=_DIGITS, abs_tol=_DIGITS)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _told(report: Mapping[str, Any], name: str) -> Any:
    """A part of the report without what depends on the place and the time."""
    if name == "settings":
        return {key: value for key, value in report[name].items() if key not in ("out", "device")}
    return report.get(name)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(
            f"`FOLDER` must hold {path.name}, got none that can be read: {str(path)!r}."
        )
    return found
