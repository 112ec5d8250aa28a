"""The losses that training.py compares, with their settings, and the net that it trains.

Weights are the papers' where they carry over to a small net on MNIST (Joo et al., 2023, appendix A;
Chen et al., 2019; Zhang et al., 2019; Singh et al., 2020; Levine et al., 2019, code); radii and
numbers of steps are smaller than theirs, alike for all, so that a training takes minutes. The scale
of SmoothSurface brings its term to the size of the cross-entropy, as Wang et al. (2020) advise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_robust import losses

Step = Callable[[nn.Module, Tensor, Tensor], Tensor]
BOX = {"lower_bound": 0.0, "upper_bound": 1.0}
IG = {"attribute_kwargs": {"n_steps": 3}}


class Loss(NamedTuple):
    """A loss by its name in the tables, what it is set to, and how it is made from a teacher."""

    name: str
    setting: str
    make: Callable[[nn.Module | None], Step]
    taught: bool = False


def cross_entropy(model: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(model(inputs), target)


def attached(cosine: float, l2: float) -> Step:
    return losses.LocalGradientAlignment(cosine, l2, 0.1, detach_source=False)


def path(kind: type[losses.IGNorm], weight: float) -> Step:
    return kind(0.1, 3, 0.05, weight=weight, path_steps=6, approx_factor=2, **BOX)


LOSSES = [
    Loss("cross-entropy", "", lambda _: cross_entropy),
    Loss("GradientL2", "0.1, radius 4/255", lambda _: losses.GradientL2(0.1)),
    Loss(
        "LocalGradientAlignment",
        "cosine 1, l2 0.1, radius 4/255",
        lambda _: losses.LocalGradientAlignment(1.0, 0.1),
    ),
    Loss(
        "alignment, whole gradient",
        "cosine 1, l2 0.1, radius 0.1, detach_source=False",
        lambda _: attached(1.0, 0.1),
    ),
    Loss(
        "cosine alone",
        "cosine 1e5, l2 0, radius 0.1, detach_source=False",
        lambda _: attached(1e5, 0.0),
    ),
    Loss("HessianNorm", "1e-3", lambda _: losses.HessianNorm(1e-3)),
    Loss("SmoothSurface", "beta 0.3, s 0.1", lambda _: losses.SmoothSurface(0.3, 0.1)),
    Loss(
        "SaliencyConsistency",
        "200/784 on l2-normalised maps, radius 1.5, 5 steps, 1 restart",
        lambda _: losses.SaliencyConsistency(
            1.5, 200 / 784, steps=5, restarts=1, normalize="l2", **BOX
        ),
    ),
    Loss(
        "AdversarialTraining",
        "radius 0.1, 10 steps",
        lambda _: losses.AdversarialTraining(0.1, 10, **BOX),
    ),
    Loss("TRADES", "beta 1, radius 0.1, 10 steps", lambda _: losses.TRADES(0.1, 10, beta=1, **BOX)),
    Loss("IGNorm", "1, radius 0.1, 3 steps, 6 points (3)", lambda _: path(losses.IGNorm, 1.0)),
    Loss(
        "IGSumNorm",
        "0.1, radius 0.1, 3 steps, 6 points (3)",
        lambda _: path(losses.IGSumNorm, 0.1),
    ),
    Loss(
        "IGR",
        "1 on TRADES as above, 3 steps of IG",
        lambda _: losses.IGR(losses.TRADES(0.1, 10, beta=1, **BOX), 1.0, **IG),
    ),
    Loss(
        "AAT",
        "1, radius 0.1, 3 steps, 3 of IG",
        lambda _: losses.AAT(0.1, 3, **IG, **BOX),
    ),
    Loss(
        "AdvAAT",
        "1, radius 0.1, 3 steps, 3 of IG",
        lambda _: losses.AdvAAT(0.1, 3, **IG, **BOX),
    ),
    Loss("ART", "0.5, radius 0.1, 3 steps, k 30 %", lambda _: losses.ART(0.1, 3, k=0.3, **BOX)),
    Loss(
        "ATEX",
        "3, radius 0.32, grid of 11, teacher: the net of cross-entropy",
        lambda teacher: losses.ATEX(teacher, 0.32, 3.0, sampling="grid", along=11, stdevs=0.08),
        taught=True,
    ),
]
BY_NAME = {loss.name: loss for loss in LOSSES}


def make_net(seed: int) -> nn.Sequential:
    """Three convolutions and two linear layers with softplus units, beta 3."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.Softplus(3),
        nn.Conv2d(16, 32, 3, 2, 1), nn.Softplus(3),
        nn.Conv2d(32, 32, 3, 2, 1), nn.Softplus(3),
        nn.Flatten(), nn.Linear(1568, 64), nn.Softplus(3), nn.Linear(64, 10),
    )  # fmt: skip
