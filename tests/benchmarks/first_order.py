"""First-order deviation: its cost beside the dense Jacobian, and how often an attack exceeds it.

    python tests/benchmarks/first_order.py dense --data DIR
    python tests/benchmarks/first_order.py products
    python tests/benchmarks/first_order.py violations --data DIR --examples 200 [--picture FILE]

``dense``: d = 784 and 3,072, interleaved with the dense way. ``products``: a ResNet-18 at
d = 150,528. ``violations``: PGD-20 against the estimate on softplus nets trained here for a minute
each. DIR holds mnist.npz, cifar10_train_batch1.npz and cifar10_test.npz.
``--picture docs/images/first-order.png`` draws the documentation's figure.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from captum.attr import Attribution, InputXGradient, IntegratedGradients, Saliency
from torch import Tensor, nn
from torch.nn import functional

from captum_robust.estimates import (
    FirstOrderDeviation,
    attribution_jacobian,
    diagonal_share,
    first_order_deviation,
    local_linearity_gap,
)
from captum_robust.robust import FixedStep, L2DeviationAttack, softplus_surrogate

SIZES = (0.1, 0.3)
EPOCHS = 6


class Case(NamedTuple):
    """A trained net with correctly classified test images in [0, 1]."""

    name: str
    net: nn.Module
    images: Tensor
    labels: Tensor
    accuracy: float


def lenet(channels: int, side: int) -> nn.Module:
    """LeNet with average pooling and softplus of sharpness 1: smooth everywhere."""
    torch.manual_seed(0)
    after = ((side - 4) // 2 - 4) // 2
    return nn.Sequential(
        nn.Conv2d(channels, 16, 5),
        nn.Softplus(),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 5),
        nn.Softplus(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * after**2, 120),
        nn.Softplus(),
        nn.Linear(120, 10),
    )


def trained(name: str, folder: Path, count: int) -> Case:
    """The net after a few epochs on 10,000 images, and test images it gets right."""
    images, labels, tests, answers = LOADERS[name](folder)
    net = lenet(images.shape[1], images.shape[2])
    optimiser = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images)).split(64):
            optimiser.zero_grad()
            functional.cross_entropy(net(images[rows]), labels[rows]).backward()
            optimiser.step()
    net.eval().requires_grad_(False)
    right = net(tests).argmax(1) == answers
    return Case(
        name, net, tests[right][:count], answers[right][:count], float(right.float().mean())
    )


def mnist(folder: Path) -> tuple[Tensor, ...]:
    with np.load(folder / "mnist.npz") as data:
        arrays = [data[key] for key in ("x_train", "y_train", "x_test", "y_test")]
    images, labels, tests, answers = (torch.from_numpy(one[:10_000]) for one in arrays)
    return images[:, None] / 255.0, labels.long(), tests[:, None] / 255.0, answers.long()


def cifar(folder: Path) -> tuple[Tensor, ...]:
    with np.load(folder / "cifar10_train_batch1.npz") as data:
        images, labels = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    with np.load(folder / "cifar10_test.npz") as data:
        tests, answers = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    pixels = [(part.permute(0, 3, 1, 2) / 255.0).contiguous() for part in (images, tests)]
    return pixels[0], labels.long(), pixels[1], answers.long()


LOADERS: dict[str, Callable[[Path], tuple[Tensor, ...]]] = {"mnist": mnist, "cifar": cifar}


def dense_norm(method: Attribution, x: Tensor, y: Tensor, **kwargs: Any) -> float:
    """The largest singular value from the whole Jacobian; from its eigenvalues where symmetric."""
    jacobian = attribution_jacobian(method, x, y, **kwargs)[0]
    if isinstance(method, Saliency):
        return float(torch.linalg.eigvalsh(jacobian).abs().max())
    return float(torch.linalg.eigvalsh(jacobian.T @ jacobian).max().sqrt())


def dense(folder: Path, repeats: int) -> None:
    """Time and value beside the dense way, one after the other in turn."""
    for name in LOADERS:
        case = trained(name, folder, 1)
        x, y = case.images, case.labels
        for method, kwargs in (
            (Saliency(case.net), {"abs": False}),
            (InputXGradient(case.net), {}),
        ):
            times: dict[str, list[float]] = {"dense": [], "free": []}
            for _ in range(repeats):
                start = time.perf_counter()
                truth = dense_norm(method, x, y, **kwargs)
                middle = time.perf_counter()
                found = first_order_deviation(method, x, y, epsilon=0.1, **kwargs)
                times["dense"].append(middle - start)
                times["free"].append(time.perf_counter() - middle)
            slow, fast = (statistics.median(times[way]) for way in ("dense", "free"))
            off = abs(float(found.singular_value) / truth - 1)
            print(
                f"d={x.numel():5d} {type(method).__name__:15s} dense {slow:7.2f} s, matrix-free "
                f"{fast:6.3f} s, {slow / fast:6.1f} times; products {int(found.products)}, "
                f"residual {float(found.residual):.1e}, off by {off:.1e}",
                flush=True,
            )


def products(repeats: int) -> None:
    """Products and residual on a ResNet-18 at 224 x 224, of random weights, on random images."""
    import torchvision

    torch.manual_seed(0)
    net = torchvision.models.resnet18().eval().requires_grad_(False)
    x = torch.randn(repeats, 3, 224, 224)
    for beta in (1.0, 10.0):
        twin = softplus_surrogate(net, beta)
        y = twin(x).argmax(1)
        start = time.perf_counter()
        found = first_order_deviation(Saliency(twin), x, y, epsilon=0.1, abs=False)
        seconds = (time.perf_counter() - start) / repeats
        print(
            f"d={x[0].numel()} softplus {beta:g}: products {found.products.tolist()}, residuals "
            f"{[f'{value:.1e}' for value in found.residual.tolist()]}, {seconds:.1f} s an example",
            flush=True,
        )


def violations(folder: Path, examples: int, picture: Path | None) -> None:
    """Shares of attacked maps beyond T_e and T'_e."""
    print("net    method               epsilon  points  T_e    T'_e   attack  > T_e  > T'_e  by")
    drawn: list[Any] = []
    for name in LOADERS:
        case = trained(name, folder, examples)
        print(f"{name}: accuracy {case.accuracy:.3f}", flush=True)
        methods: tuple[tuple[Attribution, dict[str, Any]], ...] = (
            (Saliency(case.net), {"abs": False}),
            (InputXGradient(case.net), {}),
            (IntegratedGradients(case.net), {"n_steps": 10}),
        )
        for method, kwargs in methods:
            part = case
            if isinstance(method, IntegratedGradients):  # ten times as dear
                few = max(1, examples // 4)
                part = case._replace(images=case.images[:few], labels=case.labels[:few])
            found = first_order_deviation(
                method, part.images, part.labels, epsilon=SIZES[0], **kwargs
            )
            for epsilon in SIZES:
                margins = one_cell(part, method, kwargs, found, epsilon)
                drawn.append((part, method, kwargs, found, epsilon, margins))
    if picture is not None:
        draw(picture, drawn)


def one_cell(
    case: Case, method: Attribution, kwargs: Any, found: FirstOrderDeviation, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One line of the table: T_e, T'_e and what the attack reached."""

    def maps(points: Tensor) -> Tensor:
        got = method.attribute(points.detach().requires_grad_(), target=case.labels, **kwargs)
        return got.detach().flatten(1).double()

    here = maps(case.images)

    def deviation(points: Tensor) -> Tensor:
        return (maps(points) - here).norm(dim=1)

    attack = L2DeviationAttack(
        case.net, method, surrogate=None, step_rule=FixedStep(), attribute_kwargs=kwargs
    )
    perturbed = attack.perturb(case.images, radius=epsilon, target=case.labels, seed=0)
    reached = deviation(perturbed)
    bound = found.rate * epsilon
    ends = [deviation(case.images + sign * epsilon * found.direction) for sign in (1, -1)]
    corrected = bound.maximum(ends[0]).maximum(ends[1])
    excess = (reached / bound - 1).clamp(min=0)
    print(
        f"{case.name:6s} {type(method).__name__:20s} {epsilon:7g}  {len(bound):6d}  "
        f"{float(bound.mean()):.3f}  {float(corrected.mean()):.3f}  {float(reached.mean()):.3f}   "
        f"{float((reached > bound).double().mean()):6.1%} "
        f"{float((reached > corrected).double().mean()):6.1%}  {float(excess.max()):.1%}",
        flush=True,
    )
    return bound, corrected, reached


def draw(picture: Path, drawn: list[Any]) -> None:
    """Margins, local-linearity gaps and a Jacobian, of the first net."""
    from matplotlib.figure import Figure

    from captum_robust.visualization.first_order import (
        visualize_jacobian,
        visualize_local_linearity,
        visualize_margins,
    )

    figure = Figure(figsize=(12.5, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    *_, (bound, corrected, reached) = drawn[0]
    visualize_margins(
        {"T": bound, "T'": corrected},
        reached,
        plt_fig_axis=(figure, left),
        title="gradient, ε = 0.1",
    )
    sizes, gaps = (0.05, 0.1, 0.2, 0.3, 0.5), {}
    for case, method, kwargs, found, epsilon, _ in drawn[: 3 * len(SIZES)]:
        if epsilon != SIZES[0]:
            continue
        x, y, v = case.images[:30], case.labels[:30], found.direction[:30]
        gaps[type(method).__name__] = torch.stack(
            [
                local_linearity_gap(method, x, x + size * v, y, **kwargs) / found.map_norm[:30]
                for size in sizes
            ],
            dim=1,
        )
    visualize_local_linearity(
        sizes,
        gaps,
        ylabel="η along v / length of the map",
        xlabel="perturbation size ε (l2)",
        plt_fig_axis=(figure, middle),
        title="local-linearity gap",
    )
    case, method, kwargs = drawn[2 * len(SIZES)][:3]
    jacobian = attribution_jacobian(method, case.images[:1], case.labels[:1], **kwargs)
    share = float(diagonal_share(jacobian))
    centre = jacobian[0, 342:442, 342:442]  # the border of a digit is blank
    visualize_jacobian(
        centre, plt_fig_axis=(figure, right), title=f"integrated gradients, diagonal {share:.0%}"
    )
    figure.savefig(picture, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("dense", "products", "violations"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--examples", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="Input Tensor")
    torch.set_num_threads(1)
    if options.what == "products":
        products(options.repeats)
    elif options.what == "dense":
        dense(options.data, options.repeats)
    else:
        violations(options.data, options.examples, options.picture)


if __name__ == "__main__":
    main()
