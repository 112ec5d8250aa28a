"""Wang and Kong (2024): uniformly smoothed attributions and their certified cosine."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from captum.attr import Attribution, IntegratedGradients, Saliency

from captum_robust.attr import UniformSmoothing, UnitNorm
from captum_robust.certificates import cosine_from_sine, radius_at_norm, smallest_radius
from captum_robust.noise import UniformBallNoise
from tests.benchmarks.nets import Case
from tests.benchmarks.papers import printed, uniform_checks
from tests.benchmarks.papers.experiment import Experiment, Row, Size, number, spread, verdict
from tests.benchmarks.papers.recipes import UNIFORM_NETS as NETS
from tests.benchmarks.papers.replay import Replay
from tests.benchmarks.papers.subjects import Bench
from tests.benchmarks.papers.uniform_checks import SM

RADII = printed.RADII
THRESHOLDS = (0.9, 0.8)
LAW = UniformBallNoise()
IMPOSSIBLE = "the printed number implies M/‖h‖ = {}, but ‖h‖ ≤ M always"


def crossing(epsilon: float, radius: float, dimension: int) -> float:
    """D: half of V_U / V_S, the total variation between two balls."""
    return float(LAW.total_variation(epsilon / radius * LAW.radius_in_stdevs(dimension), dimension))


def implied_ratio(epsilon: float, radius: float, cosine: float, dimension: int) -> float:
    """M/‖h‖ that the printed eq. (8) needs to give an epsilon."""
    return math.sqrt(1 / cosine**2 - 1) / (2 * crossing(epsilon, radius, dimension))


def largest_epsilon(radius: float, cosine: float, dimension: int) -> float:
    """The largest epsilon that any map can have certified: ‖h‖ = M."""
    shift = LAW.inverse_angle_shift(math.sqrt(1 - cosine**2), dimension)
    return float(shift) * radius / LAW.radius_in_stdevs(dimension)


def theorem(bench: Bench, size: Size) -> list[Row]:
    """Theorem 1 on a field of two vectors whose true cosine is known."""
    rows = []
    for share in (0.05, 0.1, 0.2, 0.3):
        norm = math.sqrt((1 - share) ** 2 + 3 * share**2)
        truth = math.sqrt(((1 - share) ** 2 - share**2) / norm**2)
        sine = 2 * share / norm
        rows.append(
            Row(
                f"crescent of {share:g} of the ball: true cosine, valid bound",
                f"{truth:.5f}, {float(cosine_from_sine(sine)):.5f}",
                f"at least {1 / math.hypot(1, sine):.5f}",
                "no",
                "the printed bound exceeds the truth; the valid one is attained",
            )
        )
    for dimension, found in ((784, 0.01975), (3072, 0.00998), (150_528, 0.00143)):
        limit = largest_epsilon(1.0, 0.9, dimension)
        least = min(
            eps / r
            for (data, cosine, net), values in printed.LARGEST.items()
            for eps, r in zip(values, RADII, strict=True)
            if printed.DIMENSIONS[data] == dimension and cosine == 0.9
        )
        rows.append(
            Row(
                f"largest epsilon/r that any map can have at T = 0.9, d = {dimension:,}",
                f"{limit:.5f} (derived by hand: {found})",
                f"{least:.5f} or more",
                "no",
                "every printed entry lies above what M = ‖h‖ allows"
                if least > limit
                else "some printed entries lie below",
            )
        )
    return rows


def _certified(
    case: Case, method: Attribution, radius: float, size: Size, replays: bool, **kwargs: Any
) -> dict[float, tuple[float, float]]:
    """Mean largest epsilon by the valid bound and by the printed one, for each threshold."""
    found: dict[float, list[tuple[float, float]]] = {cosine: [] for cosine in THRESHOLDS}
    for row in range(len(case.images)):
        base = Replay(method) if replays else method
        smooth = UniformSmoothing(base, transform=UnitNorm())
        valid, as_printed = (
            smooth.certify(
                case.images[row : row + 1],
                target=int(case.labels[row]),
                radius=radius,
                nt_samples=size.samples,
                nt_samples_batch_size=64 if replays else None,
                alpha=0.01,
                seed=0,
                example_ids=[row],
                published=published,
                **kwargs,
            )
            for published in (False, True)
        )
        for cosine, pairs in found.items():
            sizes = (each.certified_radius(cosine=cosine) for each in (valid, as_printed))
            pairs.append(tuple(float(each) for each in sizes))
    return {
        cosine: tuple(sum(column) / len(column) for column in zip(*pairs, strict=True))
        for cosine, pairs in found.items()
    }


def _largest_rows(
    full: bool,
    data: str,
    nets: dict[str, list[Case]],
    make: Callable[[Case], Attribution],
    radii: tuple[float, ...],
    size: Size,
    **kwargs: Any,
) -> list[Row]:
    """One line for a net, a threshold and a radius."""
    rows = []
    dimension = printed.DIMENSIONS[data]
    for name, cases in nets.items():
        for radius in radii:
            found = [
                _certified(case, make(case), radius, size, not full, **kwargs) for case in cases
            ]
            for cosine in THRESHOLDS:
                theirs = printed.LARGEST[data, cosine, name][RADII.index(radius)]
                ratio = implied_ratio(theirs, radius, cosine, dimension)
                valid, formula = zip(*[one[cosine] for one in found], strict=True)
                rows.append(
                    Row(
                        f"{data}, {name}, T = {cosine}, r = {radius}: valid epsilon; by the "
                        "formula as printed, M = 1",
                        f"{spread(valid, 4)}; {spread(formula, 4)}",
                        f"{theirs:.4f}",
                        "no" if ratio < 1 else "in part",
                        IMPOSSIBLE.format(f"{ratio:.2f}") if ratio < 1 else "",
                    )
                )
    return rows


def mnist_sizes(bench: Bench, size: Size) -> list[Row]:
    """Table 5: the largest epsilon on MNIST."""
    nets = {
        label: [bench.trained(name, seed, size.images) for seed in range(size.seeds)]
        for label, name in NETS.items()
    }
    radii = RADII if bench.full else (0.5, 2.0, 3.5)
    steps = 50 if bench.full else 5
    return _largest_rows(
        bench.full,
        "MNIST",
        nets,
        lambda case: IntegratedGradients(case.model),
        radii,
        size,
        n_steps=steps,
    )


def _gradient(case: Case) -> Saliency:
    return Saliency(case.model)


def cifar_sizes(bench: Bench, size: Size) -> list[Row]:
    """Table 6: the largest epsilon on CIFAR-10."""
    radii = RADII if bench.full else (0.5, 2.0, 3.5)
    nets = {"Standard": [bench.cifar(size.images)]}
    rows = _largest_rows(bench.full, "CIFAR-10", nets, _gradient, radii, size, abs=False)
    return [*rows, _not_trained("CIFAR-10, IG-NORM and IGR")]


def _not_trained(name: str) -> Row:
    return Row(
        name,
        "-",
        "see the paper",
        "not measured",
        "no such net is trained here; Theorem 1 fails whatever the net",
    )


def photo_sizes(bench: Bench, size: Size) -> list[Row]:
    """Table 7: the largest epsilon on photos."""
    radii = RADII if bench.full else (0.5, 3.5)
    nets = {"Standard": [bench.imagenet(size.images)]}
    return _largest_rows(
        bench.full, "ImageNet", nets, _gradient, radii, size, abs=False, eig_pairs=128
    )


def radii(bench: Bench, size: Size) -> list[Row]:
    """Table 9: the smallest smoothing radius."""
    cases = {
        "MNIST": bench.trained("mnist-standard", 0, size.images),
        "CIFAR-10": bench.cifar(size.images),
    }
    rows = []
    for (data, cosine, epsilon), theirs in printed.SMALLEST.items():
        dimension = printed.DIMENSIONS[data]
        least = float(radius_at_norm(1.0, 1.0, cosine, epsilon, dimension))
        ours = "-"
        if data in cases:
            case = cases[data]
            found = smallest_radius(
                UniformSmoothing(Saliency(case.model), transform=UnitNorm()),
                case.images,
                case.labels,
                epsilon=epsilon,
                cosine=cosine,
                nt_samples=size.samples,
                seed=0,
                abs=False,
            )
            ours = number(found.radius.median(), 1)
        rows.append(
            Row(
                f"{data}, T = {cosine}, epsilon = {epsilon}: median estimate; least for any map",
                f"{ours}; {least:.1f}",
                f"{theirs:.4f}",
                verdict(theirs >= least),
                "" if theirs >= least else "smaller than ‖h‖ = M would need",
            )
        )
    return rows


EXPERIMENTS = [
    Experiment(
        "WK24-theorem", "Theorem 1 and its limits", "Formulas alone.", Size(), Size(), theorem
    ),
    Experiment(
        "WK24-mnist",
        "Table 5: largest epsilon on MNIST",
        "Integrated gradients of 5 steps (the paper: not stated) on a small softplus net, "
        "unit maps, alpha = 0.01.",
        Size(images=5, samples=1024, seeds=3),
        Size(images=10_000, samples=100_000, seeds=1),
        mnist_sizes,
        lambda size: size.images * size.samples * size.seeds,
        0.01,
        tuple(NETS.values()),
    ),
    Experiment(
        "WK24-cifar",
        "Table 6: largest epsilon on CIFAR-10",
        f"ResNet-20, the gradient (the paper: integrated gradients). {SM}",
        Size(images=10, samples=1024),
        Size(images=10_000, samples=100_000),
        cifar_sizes,
        lambda size: size.images * size.samples,
        0.012,
    ),
    Experiment(
        "WK24-photos",
        "Table 7: largest epsilon at 224 x 224",
        f"EfficientNet-Lite0, the gradient. {SM}",
        Size(images=1, samples=512),
        Size(images=10_000, samples=100_000),
        photo_sizes,
        lambda size: size.images * size.samples,
        0.2,
    ),
    Experiment(
        "WK24-radii",
        "Table 9: smallest smoothing radius",
        SM,
        Size(images=10, samples=512),
        Size(images=10_000, samples=100_000),
        radii,
        lambda size: size.images * size.samples,
        0.012,
        ("mnist-standard",),
    ),
    *uniform_checks.EXPERIMENTS,
]
