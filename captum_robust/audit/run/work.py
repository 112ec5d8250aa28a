"""The long part: one (method, example) after the other, each in the journal once it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch

from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.ask.usage import OF_USER_CODE, AuditFailure, Skipped
from captum_robust.audit.load.source import Source
from captum_robust.audit.load.subject import Subject
from captum_robust.audit.measure.memory import is_out_of_memory, rows_of_a_pass
from captum_robust.audit.measure.runner import run_example
from captum_robust.audit.run.journal import Journal
from captum_robust.audit.run.progress import Metered, Progress
from captum_robust.audit.run.record import (
    example_record,
    result_record,
    save_arrays,
    skipped_record,
)

_LOST: Final[Any] = getattr(torch, "AcceleratorError", ())  # not in older versions


@dataclass
class Work:
    """What is left of an audit in one process.

    Attributes:
        plan: of the audit.
        source: its model and examples.
        journal: where results go.
        progress: told of every pass and every result.
        check: called between passes; what it raises ends the work.
    """

    plan: AuditPlan
    source: Source
    journal: Journal
    progress: Progress
    check: Callable[[], object]

    def __post_init__(self) -> None:
        features = 1
        for side in self.source.shape:
            features *= side
        self._rows = self.plan.batch_size or rows_of_a_pass(features)
        self._model = Metered(self.source.model, self._tick)

    def run(self, positions: Sequence[int]) -> None:
        """Does every example, and of each every method that is not in the journal."""
        deterministic: Any = torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=_tf32()
        )
        with deterministic:
            for position in positions:
                self._example(position)

    def _example(self, position: int) -> None:
        number = self.source.data.ids[position]
        left = [name for name in self.plan.methods if not self.journal.settled(name, number)]
        try:
            with faults():
                subject = self.source.subject(position, self._model)
                record = example_record(self.source, position, subject)
        except Skipped as skipped:
            name = self.source.name(position)
            self.journal.write_example(
                number, {"name": name, **skipped_record(str(skipped), skipped.retry)}
            )
            self.progress.say(f"skipped {name}: {skipped}")
            for _ in left:
                self.progress.result()
            return
        self.journal.write_example(number, record)
        predicted = record["prediction"] == record["target"]
        for name in left:
            self._result(name, number, subject, predicted, record["name"])

    def _result(
        self, name: str, number: int, subject: Subject, predicted: bool, called: str
    ) -> None:
        """One method on one example."""
        try:
            with faults():
                result, self._rows = run_example(name, self.plan, subject, predicted, self._rows)
                record = result_record(result, self.plan, subject, self._rows)
        except Skipped as skipped:
            self.journal.write(name, number, skipped_record(str(skipped), skipped.retry))
            self.progress.say(f"skipped {called}, {name}: {skipped}")
        else:
            self.journal.write(name, number, record, partial(save_arrays, result))
        self.progress.result()

    def _tick(self, rows: int) -> None:
        self.check()
        self.progress.rows(rows)


@contextmanager
def faults() -> Iterator[None]:
    """Turns what one example does to the model, or the model to it, into a reason to skip it.

    Raises:
        Skipped: with the reason.
        AuditFailure: where the device is lost, and with it every example to come.
    """
    try:
        yield
    except _LOST as error:
        raise AuditFailure(f"the device failed: {_words(error)}") from None
    except OF_USER_CODE as error:
        raise Skipped(_words(error), retry=is_out_of_memory(error)) from error


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def shares(positions: Sequence[int], rank: int, size: int) -> list[int]:
    """The positions of one process, so that all have about as many.

    Example:
        >>> from captum_robust.audit.run.work import shares
        >>> shares([0, 3, 4, 7, 9], rank=1, size=2)
        [3, 7]
    """
    return list(positions[rank::size])


def _tf32() -> bool:
    return bool(torch.backends.cudnn.allow_tf32)
