"""What is audited, taken together from ``--model`` and ``--data``; examples come one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from captum_robust.audit.ask.fingerprint import module_digest
from captum_robust.audit.ask.plan import DIGITS, AuditPlan
from captum_robust.audit.ask.usage import Skipped, UsageError, printable
from captum_robust.audit.load.data import Data, TensorData, open_data
from captum_robust.audit.load.models import load_model, normalized
from captum_robust.audit.load.row_by_row import row_by_row
from captum_robust.audit.load.subject import Subject


@dataclass(frozen=True, eq=False)
class Source:
    """A model and examples of one shape.

    Attributes:
        title: one line for the report's head.
        model: in evaluation mode, on the plan's device.
        data: the examples.
        plan: says where they go, and which class is explained.
        model_digest: of what was loaded.
        shape: of an example, ``(C, H, W)``.
        facts: for the report.
    """

    title: str
    model: nn.Module
    data: Data
    plan: AuditPlan
    model_digest: str
    shape: tuple[int, ...]
    facts: dict[str, Any]

    def subject(self, position: int, model: nn.Module | None = None) -> Subject:
        """One example with its model, or with a stand-in of it.

        Raises:
            Skipped: if the example cannot be read or does not fit the others.
        """
        example = self.data.load(position)
        if tuple(example.inputs.shape[1:]) != self.shape:
            raise Skipped(
                f"its shape is {_shape(example.inputs.shape[1:])}, the first one's "
                f"{_shape(self.shape)}; --size makes images equal"
            )
        inputs = example.inputs.to(self.plan.device)
        scores = self.scores(inputs)
        target = self._target(example.truth, scores)
        return Subject(
            title=self.title,
            model=self.model if model is None else model,
            inputs=inputs,
            targets=torch.tensor([target], device=inputs.device),
            example_ids=(self.data.ids[position],),
            labels=(self._label(target),),
            unit=self.data.unit,
            bounds=self.data.bounds,
            facts=self.facts,
        )

    def scores(self, inputs: Tensor) -> Tensor:
        """The model's scores, without a graph."""
        with torch.no_grad():
            return self.model(inputs)

    def prediction(self, subject: Subject) -> int:
        """The class that the model predicts for a subject of one example."""
        return int(self.scores(subject.inputs).argmax(1))

    def name(self, position: int) -> str:
        """What the data call an example, fit to be printed."""
        return printable(self.data.name(position))

    def about(self) -> dict[str, Any]:
        """What the report needs to know, in JSON types."""
        return {
            "title": self.title,
            "unit": self.data.unit,
            "bounds": list(self.data.bounds),
            "shape": list(self.shape),
            "facts": self.facts,
            "examples": list(self.data.ids),
        }

    def _target(self, truth: int | None, scores: Tensor) -> int:
        wanted = self.plan.target or ("label" if self.data.labelled else "prediction")
        if wanted == "prediction":
            return int(scores.argmax(1))
        if truth is None:
            raise Skipped("it has no label; --target prediction explains the predicted class")
        if not 0 <= truth < scores.shape[1]:
            raise Skipped(f"its label is {truth}, the model has {scores.shape[1]} classes")
        return truth

    def _label(self, target: int) -> str:
        return f"digit {target}" if self.plan.data == DIGITS else f"class {target}"


def open_source(plan: AuditPlan) -> Source:
    """Model and data of a plan.

    Raises:
        UsageError: if one cannot be used, or no example can be read.
    """
    try:
        title, model, digest, data, facts = _pieces(plan)
    except ValueError as error:
        raise UsageError(f"{error} See captum-robust audit --help.") from None
    except OSError as error:  # names too long, files that may not be read
        raise UsageError(
            f"`--model` or `--data` cannot be read ({error.strerror or type(error).__name__})."
        ) from None
    if plan.target == "label" and not data.labelled:
        raise UsageError(
            "`--target` label needs labels, and the data have none. Try --target prediction, or "
            "name the labels of a folder by --labels."
        )
    model, first = normalized(model, plan), _first(data)
    model = row_by_row(model, first.to(plan.device))
    return Source(title, model, data, plan, digest, tuple(first.shape[1:]), facts)


def _pieces(plan: AuditPlan) -> tuple[str, nn.Module, str, Data, dict[str, Any]]:
    """Title, model, its digest, data and facts."""
    # Here, since scikit-learn is an extra.
    from captum_robust.audit.load.digits import digits_data, digits_model, digits_subject

    if plan.model == DIGITS == plan.data:
        subject = digits_subject(plan)
        data = TensorData(
            subject.inputs.cpu(),
            subject.targets.cpu(),
            subject.example_ids,
            title=subject.title,
            facts={},
        )
        return subject.title, subject.model, module_digest(subject.model), data, subject.facts
    own: Data = digits_data(plan) if plan.data == DIGITS else open_data(plan)
    if plan.model == DIGITS:
        model = digits_model(plan)
        facts: dict[str, Any] = {"model": "the digits' small convolutional network"}
        return f"{own.title}, the digits' network", model, module_digest(model), own, facts
    loaded = load_model(plan)
    facts = {**own.facts, **loaded.facts}
    return f"{own.title}, {loaded.title}", loaded.module, loaded.digest, own, facts


def _first(data: Data) -> Tensor:
    """The first example that can be read, ``(1, C, H, W)``."""
    reason = "there is none"
    for position in range(len(data.ids)):
        try:
            return data.load(position).inputs
        except Skipped as skipped:
            reason = f"{printable(data.name(position))}: {skipped}"
    raise UsageError(f"`--data` must hold an example that can be read, got none; {reason}.")


def _shape(shape: tuple[int, ...] | torch.Size) -> str:
    return " x ".join(map(str, shape))
