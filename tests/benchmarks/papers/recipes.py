"""The nets that experiments train: architecture, data and loss of each, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from captum.attr import InputXGradient
from torch import Tensor, nn
from torch.nn import functional

from captum_robust import losses
from tests.benchmarks.losses import lenet
from tests.benchmarks.nets import MnistCnn, Normalized

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]
Make = Callable[[bool, nn.Module | None], Loss]

MNIST_STD = 0.3081
BOX = {"lower_bound": 0.0, "upper_bound": 1.0}


@dataclass(frozen=True)
class Recipe:
    """How a net is trained.

    Attributes:
        data: ``"mnist"`` or ``"cifar"``.
        net: makes it, untrained.
        loss: makes the loss, given whether to take the paper's inner steps, and the teacher.
        epochs: of the paper.
        seconds: of one core for an image and an epoch, measured.
        rate, batch: of Adam.
        teacher: recipe of the net that ``loss`` needs beside the one trained.
    """

    data: str
    net: Callable[[], nn.Module]
    loss: Make
    epochs: int
    seconds: float
    rate: float = 3e-3
    batch: int = 50
    teacher: str = ""


def small(channels: int, side: int, unit: Callable[[], nn.Module]) -> nn.Module:
    """The net of Levine et al. (2019), Fig. 8: 9 and 15 filters, 20 hidden units.

    With averages for pooling, which the paper does not state: maxima would make kinks that no
    second derivative sees, and first-order bounds mean nothing there.
    """
    after = ((side - 2) // 2 - 2) // 2
    return nn.Sequential(
        nn.Conv2d(channels, 9, 3),
        unit(),
        nn.AvgPool2d(2),
        nn.Conv2d(9, 15, 3),
        unit(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(15 * after**2, 20),
        unit(),
        nn.Linear(20, 10),
    )


def cross_entropy(full: bool, teacher: nn.Module | None) -> Loss:
    """The plain loss."""
    return lambda model, images, labels: functional.cross_entropy(model(images), labels)


def _ball(full: bool) -> dict[str, float | int]:
    """Radius and steps of an inner maximisation: the papers' on MNIST with ``full``."""
    return {"radius": 0.3, "steps": 40, **BOX} if full else {"radius": 0.1, "steps": 3, **BOX}


def _path(full: bool) -> dict[str, int]:
    return {"path_steps": 50, "approx_factor": 5} if full else {"path_steps": 4, "approx_factor": 2}


def _integrated(full: bool) -> dict[str, dict[str, int]]:
    return {"attribute_kwargs": {"n_steps": 50 if full else 3}}


def consistency(weight: float) -> Make:
    """Levine et al. (2019): their weight is of a mean over 784 features."""

    def make(full: bool, teacher: nn.Module | None) -> Loss:
        steps, restarts = (15, 3) if full else (3, 1)
        return losses.SaliencyConsistency(
            10 * MNIST_STD,
            weight / 784,
            k=196,
            steps=steps,
            restarts=restarts,
            normalize="l2",
            **BOX,
        )

    return make


def smooth_surface(beta: float) -> Make:
    """Wang et al. (2020), SSR."""
    return lambda full, teacher: losses.SmoothSurface(beta)


def _mnist(loss: Make, seconds: float, epochs: int = 90) -> Recipe:
    return Recipe("mnist", lambda: small(1, 28, nn.Softplus), loss, epochs, seconds)


def _cifar(loss: Make, seconds: float, epochs: int = 25) -> Recipe:
    return Recipe("cifar", lambda: small(3, 32, nn.ReLU), loss, epochs, seconds)


def _lenet(loss: Make, seconds: float, teacher: str = "") -> Recipe:
    return Recipe("cifar", lenet, loss, 200, seconds, 1e-3, 100, teacher)


def _madry(full: bool, teacher: nn.Module | None) -> Loss:
    steps = 30 if full else 5
    return losses.AdversarialTraining(0.25, steps, norm="L2", **BOX)


def _ig_norm_cifar(full: bool, teacher: nn.Module | None) -> Loss:
    steps = 7 if full else 3
    path = {"path_steps": 50, "approx_factor": 10} if full else _path(False)
    return losses.IGNorm(8 / 255, steps, 2 / 255, weight=0.1, **path, **BOX)


def _atex(full: bool, teacher: nn.Module | None) -> Loss:
    if teacher is None:
        raise ValueError("`teacher` must be a trained net for ATEX, got None.")
    return losses.ATEX(teacher, radius=0.08)


def _advaat(full: bool, teacher: nn.Module | None) -> Loss:
    """The map compared is not stated in print; integrated gradients cost four times as much."""
    if full:
        return losses.AdvAAT(**_ball(full), **_integrated(full))
    return losses.AdvAAT(**_ball(full), attribution_method=InputXGradient)


RECIPES: dict[str, Recipe] = {
    "mnist-cnn": Recipe(
        "mnist", lambda: Normalized(MnistCnn(), [0.1307], [MNIST_STD]), cross_entropy, 10, 5e-4
    ),
    "mnist-standard": _mnist(cross_entropy, 1.5e-4),
    "mnist-at": _mnist(lambda full, _: losses.AdversarialTraining(**_ball(full)), 7e-4),
    "mnist-ig-norm": _mnist(lambda full, _: losses.IGNorm(**_ball(full), **_path(full)), 3e-3),
    "mnist-advaat": _mnist(_advaat, 3e-3),
    "mnist-art": _mnist(lambda full, _: losses.ART(**_ball(full)), 2.5e-3),
    "mnist-trades": _mnist(lambda full, _: losses.TRADES(**_ball(full), beta=1.0), 8e-4),
    "mnist-igr": _mnist(
        lambda full, _: losses.IGR(losses.TRADES(**_ball(full), beta=1.0), **_integrated(full)),
        3.5e-3,
    ),
    "mnist-consistency-200": _mnist(consistency(200), 3e-3, 30),
    "mnist-consistency-1000": _mnist(consistency(1000), 3e-3, 30),
    "cifar-standard": _cifar(cross_entropy, 2e-4),
    "cifar-madry": _cifar(_madry, 1.3e-3),
    "cifar-ig-norm": _cifar(_ig_norm_cifar, 4e-3, 50),
    **{f"cifar-ssr-{beta}": _cifar(smooth_surface(beta), 2e-3) for beta in (0.3, 0.5, 0.7, 0.9)},
    "lenet-ce": _lenet(cross_entropy, 2.5e-3),
    "lenet-atex": _lenet(_atex, 2.7e-2, "lenet-ce"),
    "lenet-iga": _lenet(lambda full, _: losses.IGA(**BOX), 4e-2),
    "lenet-hessian": _lenet(lambda full, _: losses.HessianNorm(1e-3), 1.4e-2),
    "lenet-l2": _lenet(lambda full, _: losses.GradientL2(0.1, squared=True), 8e-3),
    "lenet-l2-cosd": _lenet(
        lambda full, _: losses.LocalGradientAlignment(1.0, 0.1, squared=True), 8e-3
    ),
}


# The nets of Wang and Kong (2024), by the name in their tables.
UNIFORM_NETS = {"Standard": "mnist-standard", "IG-NORM": "mnist-ig-norm", "IGR": "mnist-igr"}


def fit(
    recipe: Recipe,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    seed: int,
    full: bool,
    teacher: nn.Module | None = None,
) -> nn.Module:
    """A net trained by Adam."""
    torch.manual_seed(seed)
    net = recipe.net().train()
    loss = recipe.loss(full, teacher)
    optimiser = torch.optim.Adam(net.parameters(), recipe.rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(recipe.batch):
            optimiser.zero_grad()
            loss(net, images[rows], labels[rows]).backward()
            optimiser.step()
    return net
