"""The command ``audit``: options in, report out."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from captum_robust.audit.attacks import attack_cost
from captum_robust.audit.document import audit_document
from captum_robust.audit.figures import FIGURES, figures
from captum_robust.audit.methods import METHODS
from captum_robust.audit.metrics import metric_cost
from captum_robust.audit.page import render_page
from captum_robust.audit.plan import SWITCHES, AuditPlan, flag
from captum_robust.audit.runner import cost, run_method
from captum_robust.audit.subject import Subject, check_fit
from captum_robust.audit.table import text_table
from captum_robust.audit.usage import UsageError, require

DESCRIPTION: Final = (
    "Smooths and certifies attributions of a small CNN on real handwritten digits and writes "
    "report.html, report.json and figures. Takes seconds, with --attacks and --metrics minutes; "
    "nothing is downloaded. Exit code 3: an attack contradicts a certificate."
)

_CONTRADICTED: Final = 3


@dataclass(frozen=True)
class Option:
    """One option: how its text is read, and what it means."""

    metavar: str
    read: Callable[[str], Any]
    help: str


def share_or_count(text: str) -> int | float:
    """Reads ``10%`` as a share and ``25`` as a count.

    Example:
        >>> share_or_count("10%"), share_or_count("25")
        (0.1, 25)
    """
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else int(text)
    except ValueError:
        raise ValueError(f"a share such as 10% or a count such as 25, got {text!r}.") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"a number, got {text!r}.") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"a whole number, got {text!r}.") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


OPTIONS: Final[dict[str, Option]] = {
    "methods": Option("NAMES", _names, f"comma-separated, of {', '.join(METHODS)}"),
    "noise": Option("SD", _number, "standard deviation of the noise in each pixel, of [0, 1]"),
    "nt_samples": Option("N", _whole, "noisy copies of each digit"),
    "alpha": Option("P", _number, "probability of error of each statement"),
    "epsilon": Option("E", _number, "size of the perturbations that the statements are about"),
    "k": Option("K", share_or_count, "features compared: a share such as 10%% or a count"),
    "keep": Option("K", share_or_count, "features the sparsified methods keep, as for --k"),
    "seed": Option("SEED", _whole, "of split, training and noise"),
    "out": Option("FOLDER", Path, "where the report goes"),
    "device": Option("DEVICE", str, "where the model runs, such as cpu or cuda"),
    "limit": Option("N", _whole, "number of digits"),
}

SWITCH_HELP: Final[dict[str, str]] = {
    "attacks": "also attack every method, and hold the result against its certificate",
    "metrics": "also measure every method by the metrics of the literature",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of ``audit``; their texts are read by :func:`read_plan`."""
    defaults = AuditPlan().as_text()
    for name, option in OPTIONS.items():
        default = defaults[name].replace("%", "%%")
        parser.add_argument(
            flag(name), metavar=option.metavar, help=f"{option.help} (default {default})"
        )
    for name in SWITCHES:
        parser.add_argument(flag(name), action="store_true", help=SWITCH_HELP[name])


def read_plan(arguments: argparse.Namespace) -> AuditPlan:
    """The plan that the options ask for.

    Raises:
        UsageError: naming the option, its rule, what came and an example that works.
    """
    plan, defaults = AuditPlan(), AuditPlan().as_text()
    for name, option in OPTIONS.items():
        text = getattr(arguments, name)
        if text is None:
            continue
        try:
            value = option.read(text)
        except ValueError as error:
            raise UsageError(
                f"`{flag(name)}` must be {error} Try {flag(name)} {defaults[name]}."
            ) from None
        try:
            plan = replace(plan, **{name: value})
        except (ValueError, TypeError) as error:
            raise UsageError(f"{error} Try {flag(name)} {defaults[name]}.") from None
    return replace(plan, **{name: getattr(arguments, name) for name in SWITCHES})


def run(arguments: argparse.Namespace) -> int:
    """Runs the audit, prints its tables and the report's path; returns the exit code.

    Raises:
        UsageError: for a wrong argument, a missing extra or a folder that cannot be written.
    """
    plan = read_plan(arguments)
    require(("jinja2", "sklearn"))
    check_writable(plan.out)
    document = write_report(plan, show_progress=True)
    print(text_table(document))
    print(f"\nReport: {plan.out / 'report.html'}")
    for error in document["errors"]:
        print(f"ERROR of the library, please report it: {error}", file=sys.stderr)
    return _CONTRADICTED if document["errors"] else 0


def check_writable(folder: Path) -> None:
    """Makes the folder and proves that files can be written there, before any work is done.

    Raises:
        UsageError: if they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"`--out` must be a folder that can be written, got {str(folder)!r} ({reason}). "
            "Try --out captum-robust-report."
        ) from None


def write_report(plan: AuditPlan, show_progress: bool = False) -> dict[str, Any]:
    """Trains, certifies and writes the report into ``plan.out``; returns its numbers.

    Raises:
        UsageError: if the plan does not fit the digits.
    """
    from captum_robust.audit.digits import digits_subject, one_thread  # scikit-learn is an extra

    with one_thread():
        try:
            subject = digits_subject(plan)
            check_fit(plan, subject)
        except ValueError as error:
            raise UsageError(f"{error} See captum-robust audit --help.") from None
        if show_progress:
            print_cost(plan, subject)
        results = [run_method(name, plan, subject, show_progress) for name in plan.methods]
    document = audit_document(plan, subject, results)
    write_files(plan.out, document, figures(plan, subject, results, document))
    return document


def print_cost(plan: AuditPlan, subject: Subject) -> None:
    """Says beforehand how much there is to compute."""
    steps = {"Certifying": cost(plan, subject)}
    if plan.attacks:
        steps["Attacking"] = attack_cost(plan, subject)
    if plan.metrics:
        steps["Measuring"] = metric_cost(plan, subject)
    for doing, count in steps.items():
        print(f"{doing} {plan.limit} digits: {count:,} gradients.", file=sys.stderr)


def write_files(folder: Path, document: dict[str, Any], images: dict[str, bytes]) -> None:
    """Writes the figures, ``report.json`` and ``report.html``; no figure of an older run stays."""
    for name in FIGURES:
        (folder / f"{name}.png").unlink(missing_ok=True)
    for name, image in images.items():
        (folder / f"{name}.png").write_bytes(image)
    numbers = json.dumps(document, indent=1, allow_nan=False)
    (folder / "report.json").write_text(numbers, encoding="utf-8")
    (folder / "report.html").write_text(render_page(document, images), encoding="utf-8")
