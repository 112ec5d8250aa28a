"""Gradient maps of a training pass, whose graph a loss can be differentiated through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from captum_robust._base.attention import plain_attention
from captum_robust._base.precision import at_least_single
from captum_robust._base.vectors import flatten
from captum_robust.attr.method.gradients import refuse_without_graph
from captum_robust.losses.tasks.task import Net, Task


def pass_of(task: Task, model: Net, points: Tensor, target: Tensor) -> tuple[Tensor, Any]:
    """A leaf at the points, ``(N, *)``, and the model's outputs there."""
    leaf = points.detach().requires_grad_()
    return leaf, bendable_outputs(task, model, leaf, target)


def bendable_outputs(task: Task, model: Net, points: Tensor, target: Tensor) -> Any:
    """The model's outputs, of which second derivatives can be taken in the points."""
    with plain_attention():
        return task.outputs(model, points, target)


def score_map(
    task: Task, outputs: Any, target: Tensor, leaf: Tensor, *, create_graph: bool
) -> Tensor:
    r"""The gradient :math:`\nabla_x f_y(x)` of each example's score, shaped like the leaf."""
    scores = task.score(outputs, target)
    refuse_without_graph(scores)
    return gradient_of(scores.sum(), leaf, create_graph=create_graph)


def gradient_of(
    outputs: Tensor, leaf: Tensor, along: Tensor | None = None, *, create_graph: bool
) -> Tensor:
    """The gradient in the leaf of the outputs weighted by ``along``; keeps the pass's graph."""
    if not outputs.requires_grad:  # they depend on nothing, which autograd refuses
        return torch.zeros_like(leaf)
    with torch.autocast(leaf.device.type, enabled=False):  # each operation as in its forward pass
        (gradient,) = torch.autograd.grad(
            outputs,
            leaf,
            along,
            retain_graph=True,
            create_graph=create_graph,
            materialize_grads=True,
        )
    return gradient


def rows(maps: Tensor) -> Tensor:
    """Maps as ``(N, m)`` vectors, in float32 or wider."""
    return at_least_single(flatten((maps,)))


class SameDraws:
    """Lets a second pass drop the same units as the first, so that only the input differs.

    Made before the first pass; torch's global generators go on from where that pass left them. On
    devices other than CPU and CUDA the second pass drops units of its own.

    Args:
        like: a tensor on the model's device.
    """

    def __init__(self, like: Tensor) -> None:
        self._devices = [like.device] if like.is_cuda else []
        self._state = torch.get_rng_state()
        self._device_states = [torch.cuda.get_rng_state(device) for device in self._devices]

    @contextmanager
    def again(self) -> Iterator[None]:
        """The generators as they were, inside; as they are, afterwards."""
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._state)
            for device, state in zip(self._devices, self._device_states, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
