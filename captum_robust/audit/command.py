"""The command ``audit``: options in, report out."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from captum_robust.audit.ask.fingerprint import fingerprint
from captum_robust.audit.ask.options import add_options, read_plan
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.ask.usage import AuditFailure, ExitCode, UsageError, require
from captum_robust.audit.load.source import Source, open_source
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure.columns.registry import columns_of
from captum_robust.audit.measure.memory import rows_of_a_pass
from captum_robust.audit.measure.runner import whole_cost
from captum_robust.audit.report.document import Results, audit_document, read_results
from captum_robust.audit.report.figures import figure_names, figures
from captum_robust.audit.report.page import render_examples, render_page
from captum_robust.audit.report.table import text_table
from captum_robust.audit.run.atomic import write_atomically
from captum_robust.audit.run.journal import Journal
from captum_robust.audit.run.lock import locked
from captum_robust.audit.run.processes import Processes
from captum_robust.audit.run.progress import Progress, duration, prompt_interrupt
from captum_robust.audit.run.trial import first_subject, seconds_of_a_gradient, trial
from captum_robust.audit.run.work import Work, shares
from captum_robust.audit.verify import MANIFEST, write_manifest

__all__ = ["DESCRIPTION", "EPILOG", "add_options", "run", "write_report"]

DESCRIPTION: Final = (
    "Smooths and certifies attributions and writes report.html, report.json, a page for each "
    "example and figures; without arguments of a small CNN on real handwritten digits, in seconds "
    "(with --attacks and --metrics minutes). Nothing is downloaded. Every finished result is kept "
    "at once: stopped for whatever reason, the same command goes on."
)
EPILOG: Final = (
    "Exit codes: 0 done; 1 stopped by the machine, such as a full disk; 2 a wrong argument; 3 an "
    "attack contradicts a certificate; 4 done, but some examples were skipped; 130 stopped by "
    "Ctrl-C. Start it by torchrun to share the examples among processes."
)


@dataclass(frozen=True)
class Voice:
    """What is printed: tables or JSON to standard output, all else to standard error.

    Attributes:
        json: the document alone on standard output.
        quiet: neither forecast, progress nor tables.
    """

    json: bool = False
    quiet: bool = False

    def say(self, text: str) -> None:
        """A line for a person who waits."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def results(self, document: dict[str, Any], plan: AuditPlan) -> None:
        """The tables, or the document."""
        if self.json:
            _print(json.dumps(document, allow_nan=False))
        elif not self.quiet:
            _print(f"{text_table(document)}\n\nReport: {plan.out / 'report.html'}")


def _print(text: str) -> None:
    """To standard output; a reader who has left, as ``| head`` does, is no error.

    Raises:
        AuditFailure: if it cannot be written, as on a full disk.
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        # Python would flush it again at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise AuditFailure(f"cannot write to standard output ({error.strerror})") from None


def run(arguments: argparse.Namespace) -> int:
    """Runs the audit, prints its tables and the report's path; returns the exit code.

    Raises:
        UsageError: for a wrong argument, a missing extra or a folder that cannot be written.
        AuditFailure: if the machine stops it; what was finished is kept.
    """
    plan = read_plan(arguments)
    columns_of(plan.columns)  # a wrong name is said at once
    require(("jinja2", "sklearn"))
    voice = Voice(arguments.json, arguments.quiet)
    with Processes(plan.device) as team:
        if not team.leads:
            voice = Voice(quiet=True)
        check_writable(plan.out)
        with locked(plan.out, voice.say) if team.leads else nullcontext():
            document = write_report(plan, voice, team, arguments.restart)
    if document is None:
        return ExitCode.DONE
    voice.results(document, plan)
    for error in document["errors"]:
        print(f"ERROR of the library, please report it: {error}", file=sys.stderr)
    if document["errors"]:
        return ExitCode.CONTRADICTED
    return ExitCode.INCOMPLETE if document["skipped"] else ExitCode.DONE


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


def write_report(
    plan: AuditPlan, voice: Voice, team: Processes, restart: bool = False
) -> dict[str, Any] | None:
    """Does what is left of the audit and writes the report into ``plan.out``; its numbers.

    Args:
        plan: of the audit; its folder may hold results of it already.
        voice: what is printed.
        team: the processes that share the work; all but its leader return None.
        restart: discards results that are there.

    Raises:
        UsageError: if the plan does not fit the model or the data, or the folder another plan.
        AuditFailure: if the machine stops it.
    """
    from captum_robust.audit.load.digits import threads  # scikit-learn is an extra

    with threads(plan.threads or (1 if plan.is_digits else None)):
        source = open_source(replace(plan, device=team.device))
        subject = first_subject(source)
        journal = _opened(plan, source, subject, team, restart)
        with _kept(journal, plan):
            _work(source, subject, journal, team, voice)
            team.done()
    if not team.leads:
        return None
    results = read_results(journal, plan)
    if not results.examples:
        first = results.skipped[0]
        # What the same command would try again lacked memory; all else lies in model or data.
        again = journal.pending(source.data.ids, plan.methods)
        raise (AuditFailure if again else UsageError)(
            f"no example could be explained; {first['name']}: {first['reason']}"
        )
    document = audit_document(plan, results)
    write_files(plan, results, document)
    return document


def _opened(
    plan: AuditPlan, source: Source, subject: Subject, team: Processes, restart: bool
) -> Journal:
    """The journal of this plan, the same for all processes."""
    import torch

    journal = Journal(plan.out)
    mine = fingerprint(plan, source.model_digest, source.data.digest())
    mine["threads"] = str(torch.get_num_threads())
    if team.leads:
        trial(source, source.plan, subject)
        if not journal.begin(mine, source.about(), restart):
            remove_report(plan)
    team.share(None)
    there = journal.plan()
    if there is None:
        raise AuditFailure(f"all processes must share the folder of --out, {str(plan.out)!r}")
    if there["fingerprint"] != mine:
        raise AuditFailure("the processes have not the same arguments, model, data or packages")
    return journal


def _work(
    source: Source, subject: Subject, journal: Journal, team: Processes, voice: Voice
) -> None:
    """This process's share of what is not in the journal."""
    plan, examples = source.plan, source.data.ids
    pending = team.share(journal.pending(examples, plan.methods) if team.leads else None)
    mine = shares(pending, team.rank, team.size)
    if not mine:
        return
    costs = {
        name: whole_cost(replace(plan, methods=(name,)), subject).values() for name in plan.methods
    }
    left = [
        sum(costs[name])
        for position in mine
        for name in plan.methods
        if not journal.settled(name, examples[position])
    ]
    if not voice.quiet:
        print_cost(source, subject, len(pending), team, voice)
    with Progress(left, not voice.quiet) as progress:
        Work(plan, source, journal, progress, team.check).run(mine)


def print_cost(source: Source, subject: Subject, left: int, team: Processes, voice: Voice) -> None:
    """Says beforehand how much there is to compute, and about how long that takes."""
    plan = source.plan
    rows = plan.batch_size or rows_of_a_pass(subject.features)
    seconds = seconds_of_a_gradient(subject, rows)
    there = len(source.data.ids) - left
    if there:
        voice.say(f"{there} of {len(source.data.ids)} examples are in {plan.out} already.")
    for doing, count in whole_cost(plan, subject).items():
        time = "" if seconds is None else f", about {duration(seconds * left * count / team.size)}"
        shared = f" in {team.size} processes" if team.size > 1 else ""
        voice.say(f"{doing} {left} examples: {left * count:,} gradients{time}{shared}.")


@contextmanager
def _kept(journal: Journal, plan: AuditPlan) -> Iterator[None]:
    """Says what is kept where the work is stopped.

    Raises:
        AuditFailure: in the place of one, with that added.
        KeyboardInterrupt: with that as its text.
    """

    def kept() -> str:
        return (
            f"{journal.count()} results are kept in {str(plan.out)!r}; "
            "the same command goes on from there"
        )

    try:
        with prompt_interrupt(lambda: f"captum-robust: stopped; {kept()}."):
            yield
    except AuditFailure as failure:
        raise AuditFailure(f"{failure}; {kept()}") from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(kept()) from None


def write_files(plan: AuditPlan, results: Results, document: dict[str, Any]) -> None:
    """Writes figures, ``report.json`` and the pages; none of an older report stays.

    Raises:
        AuditFailure: if they cannot be written.
    """
    folder = plan.out
    images = figures(plan, results, document)
    pages = dict(render_examples(document, results))
    for name, image in images.items():
        write_atomically(folder / f"{name}.png", image)
    for page, content in pages.items():
        write_atomically(folder / page, content.encode())
    write_atomically(folder / "report.json", json.dumps(document, allow_nan=False).encode())
    write_atomically(folder / "report.html", render_page(document, images).encode())
    files = ["report.json", "report.html", *pages, *_png(images)]
    write_manifest(plan, Journal(folder), files)
    remove_report(plan, kept={MANIFEST, *files})


def remove_report(plan: AuditPlan, kept: Collection[str] = ()) -> None:
    """Removes the files of a report but those to be kept, and nothing else in the folder."""
    pages = (path for path in (plan.out / "examples").glob("*.html") if path.stem.isdigit())
    images = _png(figure_names(columns_of(plan.columns)))
    names = [
        "report.html",
        "report.json",
        MANIFEST,
        *images,
        *(f"examples/{path.name}" for path in pages),
    ]
    for name in set(names) - set(kept):
        (plan.out / name).unlink(missing_ok=True)


def _png(names: Iterable[str]) -> list[str]:
    return [f"{name}.png" for name in names]
