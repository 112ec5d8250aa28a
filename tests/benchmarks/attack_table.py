"""AutoTopKAttack beside the default attack, a paper's loop, a strong baseline and random search."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from captum.attr import Attribution
from strong_baseline import Explain, adam_attack, loss, projected, top
from torch import Tensor, nn

from captum_robust.attr.explainer import climbable, is_smoothed, on_twin
from captum_robust.robust import AutoTopKAttack, RandomAttack, TopKAttack, softplus_surrogate

Problem = tuple[nn.Module, Tensor, Tensor]
CELLS = (("Linf", 1 / 255), ("Linf", 8 / 255), ("L2", 0.1), ("L2", 0.5), ("L2", 1.0))
SHARE, RESTARTS, FRESH = 0.2, 5, 2_000_003


def explained(method: Attribution, kwargs: dict[str, Any]) -> Explain:
    """Absolute maps of a method, on any net in the place of its own where a graph is asked for."""
    smooth = climbable(method)

    def explain(
        function: Callable[..., Any], points: Tensor, targets: Tensor, graph: bool, number: int
    ) -> Tensor:
        chosen = smooth if graph else method
        seeded = {"seed": number} if is_smoothed(method) else {}
        leaf = points if points.requires_grad else points.detach().requires_grad_()
        with on_twin(chosen, function) if graph else nullcontext():
            maps = chosen.attribute(leaf, target=targets, **kwargs, **seeded)
        return maps.abs().flatten(1) if graph else maps.detach().abs().flatten(1)

    return explain


def kept(explain: Explain, problem: Problem, points: Tensor) -> Tensor:
    """Share of the top features still in the top, by draws that no attack has seen, ``(N,)``."""
    net, images, targets = problem
    before, after = (explain(net, each, targets, False, FRESH) for each in (images, points))
    count = math.ceil(SHARE * before.shape[1] - 1e-9)
    return (top(before, count) & top(after, count)).sum(1) / count


def ghorbani(
    explain: Explain, problem: Problem, norm: str, radius: float, steps: int, beta: float = 30.0
) -> Tensor:
    """The loop of Ghorbani et al. (2019): steps of an eighth of the radius on the mass."""
    net, images, targets = problem
    clean = explain(net, images, targets, False, 0)
    count = math.ceil(SHARE * clean.shape[1] - 1e-9)
    marks, twin = top(clean, count), softplus_surrogate(net, beta)
    best, least, delta = images.clone(), torch.ones(len(images)), torch.zeros_like(images)
    for step in range(steps):
        leaf = (images + delta).requires_grad_()
        value = -loss(explain(twin, leaf, targets, True, 1 + step), marks, count, "mass").sum()
        (slope,) = torch.autograd.grad(value, leaf)
        length = slope.flatten(1).norm(dim=1).clamp(min=1e-30)
        unit = slope / length.reshape(-1, *[1] * (slope.dim() - 1))
        move = radius / 8 * (slope.sign() if norm == "Linf" else unit)
        delta = (images + projected(delta + move, norm, radius)).clamp(0, 1) - images
        with torch.no_grad():
            valid = net(images + delta).argmax(1) == targets
        there = top(explain(net, images + delta, targets, False, 0), count)
        share = (there & marks).sum(1) / count
        better = valid & (share < least)
        best[better], least[better] = (images + delta)[better], share[better]
    return best


def rivals(
    problem: Problem,
    method: Attribution,
    kwargs: dict[str, Any],
    norm: str,
    radius: float,
    steps: int,
) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """What is compared, each with as many gradients: ``steps`` times ``RESTARTS``."""
    net, images, targets = problem
    explain = explained(method, kwargs)
    words = {"k": SHARE, "reduction": "abs", "norm": norm, "attribute_kwargs": kwargs}
    budget: dict[str, Any] = {"step_num": steps, "target": targets, "seed": 0}
    auto = AutoTopKAttack(net, method, 0, 1, **words)
    default = TopKAttack(net, method, 0, 1, **words)
    strong = {"share": SHARE, "norm": norm, "radius": radius, "steps": steps, "restarts": RESTARTS}
    random = RandomAttack.against(auto)
    many = {**budget, "step_num": 10 * RESTARTS * steps}
    yield "auto", lambda: auto.perturb(images, radius, **budget)
    yield "top-k", lambda: default.perturb(images, radius, restarts=RESTARTS, **budget)
    yield "loop", lambda: ghorbani(explain, problem, norm, radius, steps * RESTARTS)
    yield "Adam", lambda: adam_attack(net, explain, images, targets, **strong).points
    yield "random", lambda: random.perturb(images, radius, **many)


def table(
    name: str,
    problem: Problem,
    methods: dict[str, tuple[Attribution, dict[str, Any]]],
    arguments: argparse.Namespace,
) -> None:
    """A line for each cell: the mean share kept by each, and wins, ties and losses of ours."""
    wanted = arguments.cells or [_named(*cell) for cell in CELLS]
    for label, (method, kwargs) in methods.items():
        for norm, radius in (cell for cell in CELLS if _named(*cell) in wanted):
            explain = explained(method, kwargs)
            found, seconds = {}, {}
            for rival, attack in rivals(problem, method, kwargs, norm, radius, arguments.steps):
                start = time.process_time()
                found[rival] = kept(explain, problem, attack())
                seconds[rival] = time.process_time() - start
            ours = found.pop("auto")
            shown = (f"{rival} {_compared(share, ours)}" for rival, share in found.items())
            spent = " ".join(f"{rival} {value:.0f}" for rival, value in seconds.items())
            print(
                f"{name}, {label}, {norm} {radius:.4g}, {len(ours)} examples: kept by auto "
                f"{float(ours.mean()):.4f}; {', '.join(shown)}  [CPU seconds: {spent}]",
                flush=True,
            )


def _named(norm: str, radius: float) -> str:
    return f"{norm}:{radius:.4g}"


def _compared(share: Tensor, ours: Tensor) -> str:
    """The mean, and how often ours keeps less, as much and more."""
    gap = share - ours
    counts = (int(marked.sum()) for marked in (gap > 1e-6, gap.abs() <= 1e-6, gap < -1e-6))
    return f"{float(share.mean()):.4f} ({'/'.join(map(str, counts))})"
