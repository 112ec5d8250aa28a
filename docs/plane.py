"""Draws what can be seen in two dimensions: maps as arrows, and a theorem as a triangle.

    python docs/plane.py

Needs the ``audit`` extra. Takes about a minute.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from captum.attr import Attribution, IntegratedGradients, Saliency
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.datasets import make_moons
from torch import Tensor, nn
from torch.nn import functional

from captum_robust.attr import GaussianSmoothing
from captum_robust.certificates import cosine_from_sine
from captum_robust.losses import LocalGradientAlignment
from captum_robust.metrics import cosine_similarity, lp_distance

FOLDER = Path(__file__).parent / "images"
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
REGIONS = ["#e8def0", "#e0efdc"]
STEPS, RATE = 400, 0.02
Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def main() -> None:
    """Draws every picture of the plane."""
    points, classes = make_moons(400, noise=0.15, random_state=0)
    data = torch.tensor(points).float(), torch.tensor(classes)
    neighbourhoods(data).savefig(FOLDER / "plane-neighbourhoods.png", dpi=150)
    trainings(data).savefig(FOLDER / "plane-trainings.png", dpi=150)
    tangent().savefig(FOLDER / "tangent.png", dpi=150)


def neighbourhoods(data: tuple[Tensor, Tensor]) -> Figure:
    """Three maps at neighbouring points of a ReLU net: Wang et al. (2020), Fig. 1."""
    net = trained(nn.ReLU(), cross_entropy, data)
    figure = Figure(figsize=(7.2, 5.0), layout="constrained")
    axes = figure.subplots()
    _surface(axes, net, (-1.7, 2.7, -1.2, 1.7))
    integrated, saliency = IntegratedGradients(net), Saliency(net)
    methods: dict[str, tuple[Attribution, dict[str, Any], str]] = {
        "saliency": (saliency, {"abs": False}, "black"),
        "integrated gradients": (integrated, {"n_steps": 64}, ORANGE),
        "SmoothGrad": (
            GaussianSmoothing(saliency),
            {"abs": False, "stdevs": 0.3, "nt_samples": 4096, "seed": 0},
            BLUE,
        ),
    }
    offsets = 0.22 * torch.tensor([[-1.0, -0.6], [1.0, -0.6], [0.0, 1.0]])
    for name, center in {"A": (-0.02, 0.55), "B": (-1.1, 0.3), "C": (1.02, -0.35)}.items():
        near = torch.tensor(center) + offsets
        axes.annotate(name, (center[0] - 0.45, center[1] + 0.2), weight="bold")
        for label, (method, words, colour) in methods.items():
            maps = method.attribute(near, target=1, **words)
            wide = 0.009 if colour == "black" else 0.004  # arrows below others stay visible
            _arrows(axes, near, maps, colour, wide, label if name == "A" else None)
    axes.legend(loc="lower left", fontsize="small")
    return figure


def trainings(data: tuple[Tensor, Tensor]) -> Figure:
    """Gradients of two near points after four trainings: Joo et al. (2023), Fig. 1."""
    alignment = LocalGradientAlignment(weight_cosine=1.0, weight_l2=0.05, radius=0.4)
    nets = {
        "(a) ReLU": trained(nn.ReLU(), cross_entropy, data),
        "(b) softplus": trained(nn.Softplus(beta=3), cross_entropy, data),
        "(c) softplus, maximal entropy": trained(nn.Softplus(beta=3), spread_out, data),
        "(d) softplus, aligned gradients": trained(nn.Softplus(beta=3), alignment, data),
    }
    figure = Figure(figsize=(8.4, 7.0), layout="constrained")
    near = torch.tensor([[-0.2, 0.6], [0.2, 0.6]])
    for axes, (name, net) in zip(figure.subplots(2, 2).flat, nets.items(), strict=True):
        _surface(axes, net, (-0.6, 1.6, -0.6, 1.0))
        maps = Saliency(net).attribute(near, target=1, abs=False)
        axes.quiver(*near.T, *maps.T, color=[BLUE, ORANGE], angles="xy", width=0.008, scale=50)
        axes.plot(*near.T, "o", color="black", markersize=3)
        first, second = maps.split(1)
        distance, cosine = lp_distance(first, second, p=2), cosine_similarity(first, second)
        axes.set_title(f"{name}\ndistance {float(distance):.2f}, cosine {float(cosine):.2f}")
    return figure


def tangent() -> Figure:
    """The widest angle between a vector and a ball around its tip, and what print says it is."""
    figure = Figure(figsize=(9.2, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    norm, deviation = 1.0, 0.7
    angle = math.asin(deviation / norm)
    length = math.sqrt(norm**2 - deviation**2)
    left.add_patch(_circle(norm, deviation))
    ends = {
        "the map": ((norm, 0.0), "black"),
        "print: a right angle to the map": ((norm, deviation), ORANGE),
        "widest: the tangent": ((length * math.cos(angle), length * math.sin(angle)), BLUE),
    }
    for label, ((x, y), colour) in ends.items():
        left.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "->", "color": colour})
        left.plot([], [], color=colour, label=label)
    left.set(xlim=(-0.05, 1.8), ylim=(-0.8, 0.95), aspect="equal", xticks=[], yticks=[])
    left.legend(loc="lower left", fontsize="small", frameon=False)
    ratios = torch.linspace(0, 1, 201, dtype=torch.float64)
    right.plot(ratios, 1 / (1 + ratios**2).sqrt(), color=ORANGE, label="print")
    right.plot(ratios, cosine_from_sine(ratios), color=BLUE, label="valid")
    right.plot(*counterexamples(), "o", color="black", label="a map that attains it")
    right.set(
        xlabel="largest deviation / norm of the map", ylabel="smallest cosine", ylim=(0, 1.03)
    )
    right.legend(frameon=False)
    return figure


def counterexamples() -> tuple[list[float], list[float]]:
    """Deviation over norm, and true cosine, of four maps that break the printed theorem.

    On the overlap of two balls the map is w, on the crescents u and -u, with unit vectors whose
    product is q / (1 - q), where q is the share of a crescent.
    """
    ratios, cosines = [], []
    for share in (0.05, 0.1, 0.2, 0.3):
        product = share / (1 - share)
        w = torch.tensor([1.0, 0.0], dtype=torch.float64)
        u = torch.tensor([product, math.sqrt(1 - product**2)], dtype=torch.float64)
        here, there = (1 - share) * w + share * u, (1 - share) * w - share * u
        ratios.append(float(2 * share / here.norm()))
        cosines.append(float(torch.cosine_similarity(here, there, dim=0)))
    return ratios, cosines


def cross_entropy(net: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    """The usual loss."""
    return functional.cross_entropy(net(inputs), classes)


def spread_out(net: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy less the entropy of the prediction, which flattens the surface."""
    outputs = net(inputs)
    logs = outputs.log_softmax(1)
    return functional.cross_entropy(outputs, classes) + 0.6 * (logs.exp() * logs).sum(1).mean()


def trained(activation: nn.Module, loss: Loss, data: tuple[Tensor, Tensor]) -> nn.Module:
    """A net of one hidden layer, the same start for every activation and loss."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(2, 24), activation, nn.Linear(24, 2))
    optimiser = torch.optim.Adam(net.parameters(), lr=RATE)
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss(net, *data).backward()
        optimiser.step()
    return net.eval().requires_grad_(False)


def _surface(axes: Axes, net: nn.Module, box: tuple[float, float, float, float]) -> None:
    """The two predictions as areas, the score of class 1 as level curves."""
    across = torch.linspace(box[0], box[1], 200), torch.linspace(box[2], box[3], 200)
    x, y = torch.meshgrid(*across, indexing="xy")
    scores = net(torch.stack([x, y], dim=-1).reshape(-1, 2)).reshape(200, 200, 2)
    margin = scores[..., 1] - scores[..., 0]
    axes.contourf(x, y, margin, levels=[-1e9, 0, 1e9], colors=REGIONS)
    axes.contour(x, y, scores[..., 1], levels=14, colors="0.6", linewidths=0.7)
    axes.set(xlim=box[:2], ylim=box[2:], aspect="equal", xticks=[], yticks=[])


def _arrows(
    axes: Axes, points: Tensor, maps: Tensor, colour: str, width: float, label: str | None
) -> None:
    """Directions alone: every arrow has the same length."""
    unit = 0.3 * functional.normalize(maps.float(), dim=1)
    words = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": width, "zorder": 3}
    axes.quiver(*points.T, *unit.T, color=colour, label=label, **words)


def _circle(x: float, radius: float) -> Any:
    from matplotlib.patches import Circle

    return Circle((x, 0.0), radius, facecolor="#eef2f6", edgecolor="0.5")


if __name__ == "__main__":
    main()
