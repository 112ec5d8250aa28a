"""What has to hold before hours are spent: every method works on the model."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace
from typing import Final

import torch

from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.ask.usage import OF_USER_CODE, Skipped, UsageError, first_line
from captum_robust.audit.load.source import Source
from captum_robust.audit.load.subject import Subject, check_fit
from captum_robust.audit.measure.attacks import top_attack
from captum_robust.audit.measure.memory import halving, is_out_of_memory
from captum_robust.audit.measure.runner import run_method

_FEW: Final = 2  # samples of a trial
_FLAT: Final = "the net's second derivatives are zero"


def trial(source: Source, plan: AuditPlan, subject: Subject) -> None:
    """Tries every method, attacks included, on one example and a few samples.

    Raises:
        UsageError: naming the methods that do not work, why, and those that do.
    """
    try:
        check_fit(plan, subject)
    except ValueError as error:
        raise UsageError(f"{error} See captum-robust audit --help.") from None
    reasons = {name: _fault_of(name, plan, subject) for name in plan.methods}
    working = [name for name, reason in reasons.items() if reason is None]
    if len(working) < len(reasons):
        said = " ".join(
            f"{', '.join(name for name in reasons if reasons[name] == reason)}: {reason}"
            for reason in dict.fromkeys(reasons.values())
            if reason is not None
        )
        asked = "`--attacks` and `--metrics`" if _hard(plan) else "`--methods`"
        raise UsageError(
            f"{asked} must work on the model. {said} Working: {', '.join(working) or 'none'}."
            + (" Without --attacks and --metrics no ReLU is replaced." if _hard(plan) else "")
        )


def seconds_of_a_gradient(subject: Subject, rows: int) -> float | None:
    """Wall time of a gradient in a pass of so many rows, measured after one to warm up.

    None where memory does not suffice for a single row.
    """
    try:
        seconds, rows = halving(lambda size: _timed(subject, size), rows)
    except Skipped:
        return None
    return seconds / rows


def _timed(subject: Subject, rows: int) -> float:
    """Seconds of the second of two passes."""
    inputs = subject.inputs.expand(rows, *subject.inputs.shape[1:]).clone().requires_grad_()
    for _ in range(2):
        begun = time.perf_counter()
        score = subject.model(inputs)[:, int(subject.targets[0])].sum()
        torch.autograd.grad(score, inputs)[0].sum().item()  # waits for the device
        seconds = time.perf_counter() - begun
    return seconds


def first_subject(source: Source) -> Subject:
    """The first example that can be read.

    Raises:
        UsageError: if none can.
    """
    reason = "there is none"
    for position in range(len(source.data.ids)):
        try:
            return source.subject(position)
        except Skipped as skipped:
            reason = f"{source.name(position)}: {skipped}"
    raise UsageError(f"`--data` must hold an example that can be explained, got none; {reason}")


def _fault_of(name: str, plan: AuditPlan, subject: Subject) -> str | None:
    """Why a method does not work; None where it does, or where only this example is at fault."""
    brief = replace(plan, nt_samples=_FEW, batch_size=_FEW, attacks=False, metrics=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=_FLAT)  # an attack would stand still
            run_method(name, brief, subject)
            if _hard(plan):
                _one_step(name, brief, subject)
    except UserWarning:
        return "the net is piecewise linear and its ReLUs cannot be replaced where they stand."
    except OF_USER_CODE as error:
        if is_out_of_memory(error) or "must be finite" in str(error):
            return None
        return first_line(error)
    return None


def _one_step(name: str, plan: AuditPlan, subject: Subject) -> None:
    """One step of an attack, which goes through the map's own gradient.

    On the predicted class: an example that is not predicted as its label is not attacked at all.
    """
    with torch.no_grad():
        predicted = subject.model(subject.inputs).argmax(1)
    attack = top_attack(name, plan, replace(subject, targets=predicted))
    attack.perturb(subject.inputs, radius=plan.epsilon or 0.01, step_num=1, target=predicted)


def _hard(plan: AuditPlan) -> bool:
    return plan.attacks or plan.metrics
