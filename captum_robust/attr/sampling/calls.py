"""Calls of the base method: a whole pass at once, or one row at a time."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust._base.captum_privates import _format_output, _is_tuple
from captum_robust.attr.method.probing.generators import generators_kept
from captum_robust.attr.sampling.plan import SamplingPlan

Maps = tuple[Tensor, ...]


def called(attribution: Attribution, plan: SamplingPlan, noisy: Maps, samples: range) -> Any:
    """What ``attribution.attribute`` gives for the noisy rows of one pass.

    Where the method draws random numbers and the plan has a seed, the global generators are seeded
    for the call from (seed, example, sample) of its first row, and put back afterwards.
    """
    if plan.one_row and len(noisy[0]) > 1:
        return _row_by_row(attribution, plan, noisy, samples)
    with _seeded(plan, noisy, 0, samples[0]):
        given = noisy if plan.is_tuple else noisy[0]
        return attribution.attribute(given, **plan.arguments_of(samples))


def _row_by_row(attribution: Attribution, plan: SamplingPlan, noisy: Maps, samples: range) -> Any:
    found: list[Maps] = []
    for row in range(len(noisy[0])):
        example, sample = divmod(row, len(samples))
        parts = tuple(
            part[row : row + 1].detach().requires_grad_(part.requires_grad) for part in noisy
        )
        with _seeded(plan, noisy, example, samples[sample]):
            output = attribution.attribute(
                parts if plan.is_tuple else parts[0], **plan.arguments_for(torch.tensor([example]))
            )
        found.append(output if isinstance(output, tuple) else (output,))
    maps = tuple(torch.cat([part.detach() for part in parts]) for parts in zip(*found, strict=True))
    return _format_output(_is_tuple(output), maps)


def _seeded(
    plan: SamplingPlan, noisy: Maps, example: int, sample: int
) -> AbstractContextManager[None]:
    seed = plan.draw_seed(example, sample) if plan.draws else None
    return nullcontext() if seed is None else generators_kept(noisy, seed)
