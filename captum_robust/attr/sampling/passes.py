"""One pass of the sampling loop, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Size, Tensor

from captum_robust._base.captum_privates import _format_tensor_into_tuples, _is_tuple
from captum_robust._base.vectors import feature_shapes, flatten
from captum_robust.attr.method.guards import refuse_non_finite
from captum_robust.attr.sampling.calls import called
from captum_robust.attr.sampling.plan import SamplingPlan
from captum_robust.noise.levels import NoiseLevel
from captum_robust.transforms.ranges import MapRange
from captum_robust.transforms.transform import Transform

Maps = tuple[Tensor, ...]


@dataclass(frozen=True)
class Pass:
    """What one pass gave.

    Attributes:
        maps: ``(N, b, *)``, transformed, at least float32.
        dtypes: of the maps as the base method gave them.
        is_tuple: whether it gave a tuple.
        deltas: ``(N, b, *)``.
        range: what is known of every map.
        base_shapes: one example's shapes of the base method's maps.
        level: the noise, as resolved at the inputs.
        labels: what the net predicts at each noisy copy, ``(N, b)``; None where that is not seen.
    """

    maps: Maps
    dtypes: tuple[torch.dtype, ...]
    is_tuple: bool
    deltas: list[Tensor]
    range: MapRange
    base_shapes: tuple[Size, ...]
    level: NoiseLevel
    labels: Tensor | None


class Smoother(Protocol):
    """A base method and a transform of its maps."""

    attribution_method: Any
    transform: Transform
    is_gradient_method: bool


def one_pass(
    smoother: Smoother, plan: SamplingPlan, samples: range, with_delta: bool, graph: bool
) -> Pass:
    """Noise, attribution and transform of some samples of every example.

    Args:
        smoother: the smoothed attribution.
        plan: what is sampled.
        samples: the numbers of the samples.
        with_delta: whether the base method gives convergence deltas too.
        graph: whether maps keep their graph.
    """
    noisy = plan.noisy_inputs(samples, graph)
    if smoother.is_gradient_method:
        noisy = tuple(tensor.requires_grad_() for tensor in noisy)
    if plan.watch is not None:
        plan.watch.await_rows(noisy)
    output = called(smoother.attribution_method, plan, noisy, samples)
    output, delta = output if with_delta else (output, None)
    given = _format_tensor_into_tuples(output)
    # A graph that nobody asked for would be kept over all passes.
    base = _full_precision(given if graph else tuple(part.detach() for part in given))
    transform = plan.applied(smoother.transform)
    rows = noisy[0].shape[0]
    _refuse_other_rows(base, rows)
    shape = (-1, len(samples))
    # Before the transform as well: a mask of undefined values would be finite.
    refuse_non_finite(tuple(part.unflatten(0, shape) for part in base), samples)
    transformed = transform(base)
    maps = tuple(part.unflatten(0, shape) for part in transformed)
    refuse_non_finite(maps, samples)
    declared = transform.range(MapRange(), feature_shapes(base))
    if samples.start == 0:
        _refuse_undeclared(transform, feature_shapes(base), transformed, declared)
    labels = None
    if plan.watch is not None:
        labels = plan.watch.labels(plan.arguments_of(samples).get("additional_forward_args"))
    return Pass(
        maps=maps,
        dtypes=tuple(part.dtype for part in given),
        is_tuple=_is_tuple(output),
        # Methods that average over baselines have several deltas a row.
        deltas=[] if delta is None else [delta.reshape(*shape, delta.numel() // rows)],
        range=declared,
        base_shapes=feature_shapes(base),
        level=plan.level,
        labels=None if labels is None else labels.unflatten(0, shape),
    )


def _refuse_other_rows(maps: Maps, rows: int) -> None:
    """Raises unless there is one map for each row of the noisy inputs."""
    if any(part.shape[:1] != (rows,) for part in maps):
        raise ValueError(
            "the base method must return one map for each row of its input "
            f"({rows}), got shapes {[tuple(part.shape) for part in maps]}."
        )


def _refuse_undeclared(
    transform: Transform, before: tuple[Size, ...], maps: Maps, declared: MapRange
) -> None:
    """Raises where a transform gives other shapes or values than it declares."""
    shapes = [tuple(shape) for shape in transform.shapes(before)]
    found = [tuple(part.shape[1:]) for part in maps]
    if shapes != found:
        raise ValueError(
            f"`{transform!r}` must return maps of the shapes it declares: its `shapes` says "
            f"{shapes}, and it gave {found} for one example; override `shapes`."
        )
    declared.refuse_outside(flatten(maps), repr(transform))


def _full_precision(maps: Maps) -> Maps:
    """Half-precision maps as float32, so that transforms and sums do not round."""
    return tuple(part.to(torch.promote_types(part.dtype, torch.float32)) for part in maps)
