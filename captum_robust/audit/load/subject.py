"""What an audit is about: a model, examples, and what a reader should know of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from captum_robust._base.checks import feature_count
from captum_robust.audit.ask.option import flag
from captum_robust.audit.ask.plan import AuditPlan


@dataclass(frozen=True, eq=False)
class Subject:
    """A model with the examples to be explained.

    Attributes:
        title: one line for the report's head.
        model: in evaluation mode, on the plan's device.
        inputs: examples ``(N, C, H, W)``, on the plan's device.
        targets: classes explained, ``(N,)``.
        example_ids: rows of the data set; with the seed they fix each example's noise.
        labels: what each example is called in the report.
        unit: of the inputs, of ``noise`` and of ``epsilon``.
        bounds: smallest and largest valid feature, which attacks respect.
        facts: anything else worth a line in the report, in JSON types.
    """

    title: str
    model: nn.Module
    inputs: Tensor
    targets: Tensor
    example_ids: tuple[int, ...]
    labels: tuple[str, ...]
    unit: str
    bounds: tuple[float, float]
    facts: dict[str, Any]

    @property
    def features(self) -> int:
        """Number of features of one example."""
        return self.inputs[0].numel()


def check_fit(plan: AuditPlan, subject: Subject) -> None:
    """Raises where the plan counts more features than an example has.

    Raises:
        ValueError: naming the option and the number of features.
    """
    for name in ("k", "keep"):
        feature_count(flag(name), getattr(plan, name), subject.features)
