"""Several labels at once, each present or not; one logit for two classes among them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from captum_robust._base.precision import at_least_single
from captum_robust.losses.tasks.task import Task


class Labels(Task):
    """Logits and targets in [0, 1] of one shape ``(N, *)``.

    The score explained is the sum of the logits of the labels present, weighted by the target; of a
    net with one logit, that logit. The divergence is that of Kullback and Leibler, label by label.
    """

    takes = (nn.BCEWithLogitsLoss,)
    name = "binary_cross_entropy"

    def check_target(self, target: Any, examples: int) -> Tensor:
        target = super().check_target(target, examples)
        if target.is_complex() or bool(((target < 0) | (target > 1)).any()):
            raise ValueError(
                "`target` must lie in [0, 1], 1 where a label is present, got values from "
                f"{float(target.min()):g} to {float(target.max()):g}."
            )
        return target.float() if not target.is_floating_point() else target

    def check_pair(self, outputs: Tensor, target: Tensor) -> None:
        super().check_pair(outputs, as_outputs(target, outputs))

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        logits, base = at_least_single(outputs), self.base
        weights = (
            part if part is None else part.to(logits) for part in (base.weight, base.pos_weight)
        )
        weight, pos_weight = weights
        values = functional.binary_cross_entropy_with_logits(
            logits,
            as_outputs(target, logits).to(logits.dtype),
            weight=weight,
            pos_weight=pos_weight,
            reduction="none",
        )
        return self.reduced(values)

    def score(self, outputs: Tensor, target: Tensor) -> Tensor:
        rows = outputs.reshape(len(outputs), -1)
        if rows.shape[1] == 1:
            return rows[:, 0]
        return (rows * target.reshape(rows.shape).to(rows.dtype)).sum(1)

    def divergence(self, outputs: Tensor, others: Tensor) -> Tensor:
        first, second = at_least_single(outputs), at_least_single(others)
        share = first.sigmoid()
        present = functional.logsigmoid(first) - functional.logsigmoid(second)
        absent = functional.logsigmoid(-first) - functional.logsigmoid(-second)
        return self.reduced(share * present + (1 - share) * absent)

    def average(self, outputs: Tensor) -> Tensor:
        """The logits of the mean probabilities."""
        logits = at_least_single(outputs)
        present, absent = (functional.logsigmoid(sign * logits).logsumexp(0) for sign in (1, -1))
        return present - absent

    def entropy(self, outputs: Tensor) -> Tensor:
        logits = at_least_single(outputs)
        share, sure = logits.sigmoid(), functional.logsigmoid(logits)
        return self.reduced(-share * sure - (1 - share) * functional.logsigmoid(-logits))


def as_outputs(target: Tensor, outputs: Tensor) -> Tensor:
    """A target ``(N,)`` as ``(N, 1)`` where the net has one output, which would broadcast."""
    return target.unsqueeze(1) if outputs.dim() == 2 and target.dim() == 1 else target
