"""Samples that are independent draws of one function, or a refusal that says why they are not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import torch
from captum.attr import Attribution, GradientAttribution
from torch import Tensor

from captum_robust._base.captum_privates import _run_forward
from captum_robust.attr.method.forward import innermost
from captum_robust.attr.method.guards import draws_row_by_row
from captum_robust.attr.method.outputs import checked_output
from captum_robust.attr.method.probing.generators import generators_kept
from captum_robust.attr.method.probing.probe import Seen, parts_of, probe, tolerance
from captum_robust.attr.method.refusals import refuse_memory, refuse_mixers, refuse_unsound_net
from captum_robust.attr.sampling.plan import SamplingPlan

_PURPOSE: Final = "for a certificate"


@contextmanager
def independent_samples(attribution: Attribution, plan: SamplingPlan) -> Iterator[None]:
    r"""Sees to it that samples are independent, and that the map is a function of its input.

    A certificate is about :math:`h(x) = E\,t(g(x+\eta))` and rests on independent samples of one
    function :math:`g`. Before sampling,
    :func:`~captum_robust.attr.method.probing.probe.probe` asks the
    net and the method for two rows: six outputs and six maps, whatever the number of samples;
    afterwards for one map again. A method that draws for all rows of a pass at once is repaired:
    it gets one row a pass, so that each sample has draws of its own. All else is refused.

    Args:
        attribution: the base method, in the place where it will be sampled.
        plan: what is sampled; told to run one row a pass where that is needed.

    Raises:
        RuntimeError: saying what was seen and what to do about it.
    """
    rows = ProbeRows(attribution, plan)
    refuse_unsound_net(attribution, probe(rows.outputs, attribution, plan.inputs), _PURPOSE)
    seen = probe(rows.maps, attribution, plan.inputs)
    plan.draws = seen.draws
    if not seen.sound:
        _refuse_or_repair(attribution, plan, rows, seen)
    start = rows.first
    yield
    if rows.moved_since(start):
        refuse_memory(attribution, "after the samples were drawn")


class ProbeRows:
    """The two rows that a method or its net is asked for: the first example, and another input.

    The second is the last example's, mirrored and halved, so that it differs from the first by
    more than the noise does.
    """

    def __init__(self, attribution: Attribution, plan: SamplingPlan) -> None:
        self._method, self._plan = attribution, plan
        examples = plan.inputs[0].shape[0]
        with torch.inference_mode(False), torch.no_grad():
            noisy = plan.noisy_inputs(range(1))
            self._rows = tuple(torch.cat([part[:1], _mirrored(part[-1:])]) for part in noisy)
        self._examples = torch.tensor([0, examples - 1])
        self.first: tuple[Tensor, ...] | None = None

    def maps(self, rows: list[int]) -> Any:
        """Maps of some of the rows."""
        arguments = self._plan.arguments_for(self._examples[rows])
        with torch.inference_mode(False), torch.no_grad():
            parts = tuple(part[rows] for part in self._rows)
            if isinstance(self._method, GradientAttribution):
                parts = tuple(part.requires_grad_() for part in parts)
            found = self._method.attribute(parts if self._plan.is_tuple else parts[0], **arguments)
        if rows == [0] and self.first is None:
            self.first = parts_of(found)
        return found

    def outputs(self, rows: list[int]) -> Any:
        """The net's outputs of some of the rows."""
        arguments = self._plan.arguments_for(self._examples[rows])
        extras = arguments.get("additional_forward_args")
        forward = innermost(self._method).forward_func
        with torch.inference_mode(False), torch.no_grad():
            parts = tuple(part[rows] for part in self._rows)
            return checked_output(_run_forward(forward, parts, None, extras))

    def moved_since(self, start: tuple[Tensor, ...] | None) -> bool:
        """Whether the first row has another map than at the beginning; never if it is random."""
        if start is None or self._plan.draws:
            return False
        with generators_kept(self._plan.inputs):
            parts = parts_of(self.maps([0]))
        scale = max(float(part.abs().max()) for part in start)
        gaps = (float((a - b).abs().max()) for a, b in zip(start, parts, strict=True))
        return max(gaps) > tolerance(start) * scale


def _mirrored(row: Tensor) -> Tensor:
    return 0.5 * (row.flip(-1) if row.dim() > 1 else row)


def _refuse_or_repair(
    attribution: Attribution, plan: SamplingPlan, rows: ProbeRows, seen: Seen
) -> None:
    """Runs one row a pass where only the method's draws are shared; refuses all else."""
    refuse_mixers(attribution, seen, _PURPOSE)
    if seen.changed:
        refuse_memory(attribution, "for one and the same input at different times")
    if not seen.draws:
        _refuse_method(attribution, seen)
    plan.one_row = not draws_row_by_row(attribution)


def _refuse_method(attribution: Attribution, seen: Seen) -> NoReturn:
    name = type(innermost(attribution)).__name__
    if seen.rows != 2:
        raise ValueError(
            "the base method must return one map for each row of its input: "
            f"{name} gave {seen.rows if seen.rows is not None else 'none'} for 2 rows."
        )
    raise RuntimeError(
        f"{name}'s map of a row changed by {seen.gap:.1%} with the other row of the pass: it "
        "mixes examples, so nothing can be certified of it; have it treat each row by itself."
    )
