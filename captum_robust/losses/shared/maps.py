"""Attribution maps inside a training step, with a graph of the model's parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from captum.attr import Attribution, IntegratedGradients
from torch import Tensor, nn

from captum_robust._base.captum_privates import TargetType, _format_tensor_into_tuples
from captum_robust._base.checks import check_number
from captum_robust._base.modes import evaluation_mode
from captum_robust._base.precision import at_least_single
from captum_robust._base.vectors import flatten
from captum_robust.attr.method.arguments import attributed
from captum_robust.attr.method.differentiable import differentiable
from captum_robust.losses.tasks.task import Net, Task
from captum_robust.robust.surrogate import SoftplusSurrogate

MakeAttribution = Callable[[Any], Attribution]


def map_rows(
    attribution: Attribution, net: Net, points: Tensor, target: TargetType, **kwargs: Any
) -> Tensor:
    """Maps as rows ``(N, m)``, in full precision, with a graph.

    The net is in evaluation mode meanwhile: its maps are then those that a user will see, of one
    example each, and points that are no data do not enter its statistics.

    Args:
        attribution: what :func:`~captum_robust.attr.differentiable` takes.
        net: the model that it explains, without a wrapper.
        points: inputs ``(N, *)``; the graph reaches them if they require gradients.
        target: classes explained.
        **kwargs: passed to ``attribute``.
    """
    if not points.requires_grad:
        points = points.detach().requires_grad_()
    with (
        evaluation_mode(net),
        torch.autocast(points.device.type, enabled=False),
        differentiable(attribution),
    ):
        maps = attributed(attribution, points, {"target": target, **kwargs})
    return at_least_single(flatten(_format_tensor_into_tuples(maps)))


class MapMaker:
    """Makes maps of whatever model it is given.

    Args:
        make: an attribution from a model: a class, or any function of the model.
        kwargs: passed to ``attribute``; for integrated gradients 10 steps by default.
    """

    def __init__(self, make: MakeAttribution, kwargs: Mapping[str, Any] | None) -> None:
        if isinstance(make, Attribution) or not callable(make):
            raise TypeError(
                "`attribution_method` must make an attribution of a model: a class or a function, "
                f"got an instance of {type(make).__name__}; pass the class, or "
                "lambda model: Method(model)."
            )
        self.make = make
        default = {"n_steps": 10} if make is IntegratedGradients else {}
        self.kwargs = dict(default if kwargs is None else kwargs)

    def __call__(self, task: Task, net: Net, points: Tensor, target: Tensor) -> Tensor:
        """Maps of the net's score as rows ``(N, m)``, see :func:`map_rows`."""
        explained, words = scored(task, net, target)
        return map_rows(self.make(explained), net, points, **words, **self.kwargs)


class Score(nn.Module):
    """A model that returns the score of each example, ``(N,)``, whatever the target is."""

    def __init__(self, task: Task, net: Net) -> None:
        super().__init__()
        self.task, self.net = task, net

    def forward(self, points: Tensor, target: Tensor) -> Tensor:
        """The score of the outputs at the points."""
        return self.task.score(self.net(points), target)


def scored(task: Task, net: Net, target: Tensor) -> tuple[Net, dict[str, Any]]:
    """What an attribution explains, and the words for its ``attribute``."""
    if task.selects(target):
        return net, {"target": target}
    return Score(task, net), {"target": None, "additional_forward_args": (target,)}


def check_sharpness(value: Any) -> float | None:
    """Returns the beta of a softplus twin, finite and > 0, or ``None``."""
    if value is None:
        return None
    infinity = float("inf")
    return check_number("surrogate", value, low=0, high=infinity, open_low=True, open_high=True)


def smooth_twin(net: Net, beta: float | None) -> Net:
    """The softplus twin to climb on, whose gradient maps have slopes; without beta the net."""
    return net if beta is None else SoftplusSurrogate(net, beta, strict=False)
