"""A method made ready for one call: which net it explains, at which point, with which arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust._base.examples import usable
from captum_robust.attr.method.arguments import travelling
from captum_robust.attr.method.gradients import zeros_for_unused
from captum_robust.attr.sampling.fast_copy import sampling_on_copy
from captum_robust.attr.sampling.layer import explained_at
from captum_robust.attr.sampling.spec import Sampling


@contextmanager
def prepared(
    attribution: Attribution,
    spec: Sampling,
    inputs: Tensor | tuple[Tensor, ...],
    arguments: Mapping[str, Any],
    graph: bool,
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """What is sampled around, and the arguments that go with it, while the context is open.

    Args:
        attribution: the base method.
        spec: how it is sampled.
        inputs: of the net; copied where they were made in inference mode, as arguments are.
        arguments: keyword arguments of the base method's ``attribute``.
        graph: whether the maps' graph is kept.
    """
    with torch.inference_mode(False):
        inputs, arguments = usable(inputs), usable(dict(arguments))
    with (
        sampling_on_copy(attribution, spec.optimize_model, spec.layer, graph),
        zeros_for_unused(attribution),
        travelling(attribution, inputs, arguments) as carried,
        explained_at(attribution, spec.layer, inputs, carried, graph) as (point, given),
    ):
        yield point, given
