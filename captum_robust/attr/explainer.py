"""Maps of the real net, to judge by, and maps with a graph on the twin, to climb on."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import reduce
from typing import Any, Final

import torch
from captum.attr import Attribution, InputXGradient, Saliency
from torch import Tensor

from captum_robust._base.captum_privates import _format_tensor_into_tuples
from captum_robust._base.examples import Examples, Maps
from captum_robust._base.rows import Rows
from captum_robust.attr.method.arguments import attributed
from captum_robust.attr.method.differentiable import differentiable
from captum_robust.attr.method.forward import explaining
from captum_robust.attr.smoothed import SmoothedAttribution
from captum_robust.transforms.marks import Relax, Sparsify
from captum_robust.transforms.soft_marks import SoftSparsify
from captum_robust.transforms.transform import Transform

_CLIP: Final = 0.01


class Explainer:
    """Asks one attribution method for maps of rows of examples.

    Args:
        attribution: the method, and ``kwargs`` for its ``attribute``.
        examples: the call's inputs.
        seed: makes the draws of smoothed maps; example j's depend on (seed, ``example_ids[j]``).
    """

    def __init__(
        self,
        attribution: Attribution,
        kwargs: Mapping[str, Any],
        examples: Examples,
        seed: int,
        example_ids: Sequence[int],
    ) -> None:
        self.attribution = attribution
        self.kwargs = kwargs
        self.examples = examples
        self.seed = seed
        self.example_ids = example_ids

    def maps(self, points: Tensor, rows: Rows, seed: int | None = None) -> Maps:
        """Maps at ``(n, d)`` points, without a graph."""
        leaves = tuple(part.detach().requires_grad_() for part in self.examples.inputs(points))
        maps = self.maps_of(leaves, self.examples.targets(rows), rows, seed)
        return tuple(part.detach() for part in maps)

    def maps_of(self, inputs: Maps, target: Any, rows: Rows, seed: int | None = None) -> Maps:
        """Maps at inputs that need not be among the examples, with whatever graph they carry."""
        kwargs = self.examples.keywords(self.kwargs, rows)
        extras = self.examples.extras(rows)
        if extras is not None:
            kwargs["additional_forward_args"] = extras
        if is_smoothed(self.attribution):
            kwargs.setdefault("seed", self.seed if seed is None else seed)
            kwargs.setdefault("example_ids", self._ids(rows))
        if target is not None:
            kwargs["target"] = target
        given = inputs if self.examples.in_tuple else inputs[0]
        method = attribution_of_rows(self.attribution, rows)
        return _format_tensor_into_tuples(attributed(method, given, kwargs))

    def asks_once(self, forward_func: Any) -> bool:
        """Whether a map costs one pass of this net, which can give the prediction as well."""
        method = self.attribution
        return type(method) in (Saliency, InputXGradient) and method.forward_func is forward_func

    def maps_and_outputs(self, points: Tensor, rows: Rows) -> tuple[Maps, Any]:
        """Maps at ``(n, d)`` points and what the net gave there, where a method asks it once."""
        outputs: list[Any] = []

        def heard(*inputs: Any) -> Any:
            outputs.append(forward_func(*inputs))
            return outputs[-1]

        forward_func = self.attribution.forward_func
        self.attribution.forward_func = heard
        try:
            maps = self.maps(points, rows)
        finally:
            self.attribution.forward_func = forward_func
        (output,) = outputs
        return maps, output.detach() if isinstance(output, Tensor) else output

    @property
    def is_random(self) -> bool:
        """Whether maps depend on draws that ``seed`` makes."""
        return is_smoothed(self.attribution) and "seed" not in self.kwargs

    def _ids(self, rows: Rows) -> list[int]:
        if isinstance(rows, slice):
            return list(self.example_ids)
        return [self.example_ids[row] for row in rows.tolist()]


def is_smoothed(attribution: Attribution) -> bool:
    """Whether the method is a smoothing of this library: seeded draws, and a graph on request."""
    return isinstance(attribution, SmoothedAttribution)


def attribution_of_rows(attribution: Attribution, rows: Rows) -> Attribution:
    """The method for some of a call's examples, whose regions may be their own."""
    if isinstance(rows, slice) or not isinstance(attribution, SmoothedAttribution):
        return attribution
    return attribution.of_rows(rows)


def explaining_rows(explain: Callable[..., Any], rows: Tensor) -> Callable[..., Any]:
    """The ``attribute`` of a smoothing for some examples; any other function as it is."""
    owner = getattr(explain, "__self__", None)
    if not isinstance(owner, SmoothedAttribution) or owner.transform.examples == 1:
        return explain
    return owner.of_rows(rows).attribute


def climbable(attribution: Attribution, relaxation: str = "sigmoid") -> Attribution:
    """The method to climb on, with smooth marks in the place of a :class:`Sparsify`."""
    if not isinstance(attribution, SmoothedAttribution) or attribution.transform.differentiable:
        return attribution
    links = getattr(attribution.transform, "links", (attribution.transform,))
    relax = RELAXATIONS[relaxation]
    relaxed = [relax(link) if isinstance(link, Sparsify) else link for link in links]
    twin = copy.copy(attribution)
    twin.transform = reduce(operator.rshift, relaxed)
    return twin


def _relaxed(transform: Sparsify) -> Relax:
    """The relaxed map of Levine et al. (2019), section 3.2.

    A tenth of the kept features are clipped where 0.01 is too many.
    """
    keep = transform.keep
    return Relax(keep, max(1, keep // 10) if isinstance(keep, int) else min(_CLIP, keep / 10))


RELAXATIONS: Final[Mapping[str, Callable[[Sparsify], Transform]]] = {
    "sigmoid": SoftSparsify,
    "linear": _relaxed,
}


@contextmanager
def on_twin(attribution: Attribution, twin: Callable[..., Any] | None) -> Iterator[Attribution]:
    """Makes ``attribution`` explain ``twin`` with a graph, and undoes both after.

    Args:
        attribution: a method that :func:`~captum_robust.attr.differentiable` takes.
        twin: called in place of the method's ``forward_func``; ``None`` leaves it.
    """
    exchanged = nullcontext() if twin is None else explaining(attribution, twin)
    with torch.enable_grad(), differentiable(attribution), exchanged:
        yield attribution
