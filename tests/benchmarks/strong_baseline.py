"""A strong attack written without the library's: Adam through softplus, restarts that differ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from captum_robust.robust import softplus_surrogate

SHARPNESSES = (10.0, 30.0, 100.0, 30.0, 10.0)
OBJECTIVES = ("soft", "mass", "soft", "soft", "mass")
Explain = Callable[[Callable[..., Any], Tensor, Tensor, bool, int], Tensor]


class Found(NamedTuple):
    """The best valid points ``(N, *)`` and the share of the top k displaced there, ``(N,)``."""

    points: Tensor
    score: Tensor


def top(maps: Tensor, count: int) -> Tensor:
    """Marks of the ``count`` largest of each row."""
    return torch.zeros_like(maps, dtype=torch.bool).scatter_(1, maps.topk(count).indices, True)


def loss(maps: Tensor, marks: Tensor, count: int, kind: str) -> Tensor:
    """What falls when the old top k loses: its mass, or a soft count of what stays in the top."""
    maps = maps / maps.abs().sum(1, keepdim=True).clamp(min=1e-30)
    if kind == "mass":
        return (maps * marks).sum(1)
    threshold = maps.detach().topk(count + 1).values[:, -2:].mean(1, keepdim=True)
    width = 0.1 * (maps.detach() - threshold).abs().mean(1, keepdim=True)
    inside = torch.sigmoid((maps - threshold) / width.clamp(min=1e-30))
    return (inside * marks).sum(1) / count - (inside * ~marks).sum(1) / count


def projected(delta: Tensor, norm: str, radius: float) -> Tensor:
    """Perturbations in the ball."""
    if norm == "Linf":
        return delta.clamp(-radius, radius)
    length = delta.flatten(1).norm(dim=1).reshape(-1, *[1] * (delta.dim() - 1))
    return delta * (radius / length.clamp(min=radius))


def adam_attack(
    net: Callable[..., Any],
    explain: Explain,
    images: Tensor,
    targets: Tensor,
    *,
    share: float,
    norm: str,
    radius: float,
    steps: int = 100,
    restarts: int = 5,
    seed: int = 0,
) -> Found:
    """The best of several climbs by Adam, each of so many steps.

    Args:
        net: the attacked net, outputs ``(N, classes)``.
        explain: the map ``(N, m)`` of a function at points, with a graph where asked for one; the
            last argument numbers the noise draws, 0 being those that judge.
        images: in [0, 1], ``(N, *)``.
        targets: explained and predicted classes, ``(N,)``.
        share: of the features that count as the top.
        norm: ``"Linf"`` or ``"L2"``, of a ball of this ``radius``.
        steps: of each climb.
        restarts: climbs; sharpness, objective and start differ.
        seed: of the starts.
    """
    clean = explain(net, images, targets, False, 0)
    count = math.ceil(share * clean.shape[1] - 1e-9)
    marks = top(clean, count)
    best, score = images.clone(), torch.zeros(len(images), dtype=clean.dtype)
    generator = torch.Generator().manual_seed(seed)
    rate = radius / 8 if norm == "Linf" else radius / math.sqrt(images[0].numel())
    plans = itertools.islice(
        zip(itertools.cycle(SHARPNESSES), itertools.cycle(OBJECTIVES)), restarts
    )
    for restart, (beta, kind) in enumerate(plans):
        twin = softplus_surrogate(net, beta)
        start = torch.randn(images.shape, generator=generator) if restart else torch.zeros(())
        delta = projected(radius * start * torch.ones_like(images), norm, radius)
        delta = ((images + delta).clamp(0, 1) - images).requires_grad_()
        optimiser = torch.optim.Adam([delta], rate)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = rate * (1 - step / steps)
            maps = explain(twin, images + delta, targets, True, 1 + restart * steps + step)
            value = loss(maps, marks, count, kind)
            (delta.grad,) = torch.autograd.grad(value.sum(), delta)
            scale = delta.grad.flatten(1).norm(dim=1).clamp(min=1e-30)
            delta.grad /= scale.reshape(-1, *[1] * (delta.dim() - 1))
            optimiser.step()
            with torch.no_grad():
                delta.copy_((images + projected(delta, norm, radius)).clamp(0, 1) - images)
                kept = net(images + delta).argmax(1) == targets
            there = top(explain(net, images + delta.detach(), targets, False, 0), count)
            reached = 1 - (there & marks).sum(1) / count
            better = kept & (reached > score)
            best[better] = (images + delta.detach())[better]
            score[better] = reached[better].to(score)
    return Found(best, score)


def saliency(
    function: Callable[..., Any], points: Tensor, targets: Tensor, graph: bool, number: int
) -> Tensor:
    """Absolute gradients of the target's output, ``(N, m)``."""
    leaf = points if points.requires_grad else points.detach().requires_grad_()
    chosen = function(leaf).gather(1, targets[:, None]).sum()
    (found,) = torch.autograd.grad(chosen, leaf, create_graph=graph)
    return found.abs().flatten(1)
