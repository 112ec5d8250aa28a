"""One class out of several: hard or soft labels, for each input or each place of an output."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_robust._base.precision import at_least_single
from captum_robust.losses.tasks.task import Task


class Classes(Task):
    r"""Logits ``(N, classes, *)``; targets are classes ``(N, *)`` or shares ``(N, classes, *)``.

    Label smoothing, class weights and ``ignore_index`` are those of the given cross-entropy. The
    values of an output's places are averaged, those to be ignored left out. With class weights the
    loss of an example is :math:`w_y` times its cross-entropy: unlike torch's mean it is not divided
    by the weights of the batch, which would let examples see each other. The score explained is
    the true class's logit, or the mean logit under the shares.
    """

    takes = (nn.CrossEntropyLoss,)
    name = "cross_entropy"

    def __init__(self, base: nn.Module | None = None) -> None:
        super().__init__(nn.CrossEntropyLoss() if base is None else base)
        # Only who passes a loss knows of the index it ignores.
        self.ignored = None if base is None else self.base.ignore_index

    def check_target(self, target: Any, examples: int) -> Tensor:
        target = super().check_target(target, examples)
        soft = target.is_floating_point() and target.dim() > 1
        if not soft and (
            target.is_floating_point() or target.is_complex() or target.dtype == torch.bool
        ):
            raise TypeError(
                f"`target` must hold integers, or shares of the classes (N, classes), "
                f"got {target.dtype}."
            )
        return target if soft else target.long()

    def check_outputs(self, outputs: Any, examples: int, name: str) -> None:
        super().check_outputs(outputs, examples, name)
        if outputs.dim() < 2:
            raise ValueError(
                f"`{name}` must return logits of shape (N, classes), "
                f"got {tuple(outputs.shape)} for {examples} inputs."
            )
        if outputs.shape[1] < 2:  # the softmax of one logit is 1, whatever the net
            raise ValueError(
                f"`{name}` must have at least two classes, got logits of shape "
                f"{tuple(outputs.shape)}; give a binary net one logit a class, such as (0, z), or "
                "pass `base=nn.BCEWithLogitsLoss()`."
            )

    def check_pair(self, outputs: Tensor, target: Tensor) -> None:
        if target.is_floating_point():
            super().check_pair(outputs, target)
            return
        if target.shape != outputs[:, 0].shape:
            raise ValueError(
                f"`target` must have shape {tuple(outputs[:, 0].shape)}, one class an output, "
                f"got {tuple(target.shape)}."
            )
        classes, counted = outputs.shape[1], target[self._counted(target)]
        if bool(((counted < 0) | (counted >= classes)).any()):
            raise ValueError(
                f"`target` must be in [0, {classes - 1}] (the model's classes), "
                f"got values from {int(target.min())} to {int(target.max())}."
            )

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        logits, base = at_least_single(outputs), self.base
        values = functional.cross_entropy(
            logits,
            target.to(logits.dtype) if target.is_floating_point() else target,
            weight=None if base.weight is None else base.weight.to(logits),
            ignore_index=base.ignore_index,
            reduction="none",
            label_smoothing=base.label_smoothing,
        )
        return self._over_places(values, target)

    def score(self, outputs: Tensor, target: Tensor) -> Tensor:
        if target.is_floating_point():
            return self.reduced((outputs * target.to(outputs.dtype)).sum(1))
        chosen = outputs.gather(1, target.clamp(min=0).unsqueeze(1)).squeeze(1)
        return self._over_places(chosen, target)

    def divergence(self, outputs: Tensor, others: Tensor) -> Tensor:
        r"""The Kullback-Leibler divergence :math:`\sum_c p_c \log(p_c / q_c)`, in nats."""
        log_p, log_q = (
            functional.log_softmax(at_least_single(part), dim=1) for part in (outputs, others)
        )
        return self.reduced(
            functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
        )

    def average(self, outputs: Tensor) -> Tensor:
        """The logarithms of the mean probabilities."""
        log_p = at_least_single(outputs).log_softmax(2)
        return log_p.logsumexp(0) - math.log(len(outputs))

    def entropy(self, outputs: Tensor) -> Tensor:
        log_p = at_least_single(outputs).log_softmax(1)
        return self.reduced(-(log_p.exp() * log_p).sum(1))

    def classes(self, outputs: Tensor, target: Tensor) -> Tensor:
        if target.dim() == 1:
            return target
        if target.dim() == 2 and target.is_floating_point():
            return target.argmax(1)
        return super().classes(outputs, target)

    def selects(self, target: Tensor) -> bool:
        return target.dim() == 1

    def mass(self, outputs: Tensor, target: Tensor) -> Tensor:
        r"""The sum over c of :math:`a_c` in the loss :math:`-\sum_c a_c \log p_c`, ``(N,)``."""
        base, share = self.base, self.base.label_smoothing / outputs.shape[1]
        if target.is_floating_point():
            factors = (1 - base.label_smoothing) * target.to(outputs.dtype) + share
        else:
            hard = target.clamp(min=0).unsqueeze(1)
            factors = torch.full_like(outputs, share)
            factors = factors.scatter(1, hard, 1 - base.label_smoothing + share)
            factors = factors * self._counted(target).unsqueeze(1)
        return (factors if base.weight is None else factors * base.weight.to(factors)).sum(1)

    def _counted(self, target: Tensor) -> Tensor:
        return (
            torch.ones_like(target, dtype=torch.bool)
            if self.ignored is None
            else (target != self.ignored)
        )

    def _over_places(self, values: Tensor, target: Tensor) -> Tensor:
        """Values ``(N, *)`` of places, those to be ignored left out of the mean."""
        if target.is_floating_point():
            return self.reduced(values)
        counted = self._counted(target).reshape(len(values), -1)
        rows = torch.where(counted, values.reshape(counted.shape), 0.0)
        return rows.sum(1) if self.sums else rows.sum(1) / counted.sum(1).clamp(min=1)
