"""Levine et al. (2019): attacks on smoothed maps, and training for consistent ones."""

from __future__ import annotations

from functools import partial
from typing import Any

from captum.attr import Attribution, Saliency
from torch import Tensor

from captum_robust.attr import (
    QuadraticSmoothGrad,
    RelaxedSparsifiedSmoothGrad,
    ScaledSmoothGrad,
    SmoothedAttribution,
)
from captum_robust.metrics import attack_robustness, certified_overlap, topk_intersection
from captum_robust.robust import AttributionAttack, L2TopKAttack, RandomAttack, StepRule, TopKAttack
from tests.benchmarks.nets import Case
from tests.benchmarks.papers.experiment import Experiment, Row, Size, number, spread, verdict
from tests.benchmarks.papers.recipes import BOX, MNIST_STD
from tests.benchmarks.papers.subjects import Bench

CIFAR_STD = 0.226  # of a pixel in [0, 1]; attacks are in such units in the paper
PRINTED: dict[str, Any] = {"published": True, "route": "elementwise"}
# Algorithm 1 with the objective and the relaxed maps of the paper.
PRINTED_ATTACK: dict[str, Any] = {"normalisation": "none", "boundary": 0, "relaxation": "linear"}


def _smoothed(base: Saliency) -> dict[str, SmoothedAttribution]:
    return {
        "scaled SmoothGrad": ScaledSmoothGrad(base),
        "quadratic SmoothGrad": QuadraticSmoothGrad(base),
        "relaxed sparsified": RelaxedSparsifiedSmoothGrad(base, keep=0.1, clip=0.01),
    }


def attacked(bench: Bench, size: Size) -> list[Row]:
    """Figs 5 and 12: the overlap that an attack leaves, beside the certificate."""
    case = bench.cifar(size.images)
    rhos = (0.03, 0.1, 1.0, 10.0, 30.0) if bench.full else (0.1, 1.0, 10.0)
    radii = [rho * CIFAR_STD for rho in rhos]
    base = Saliency(case.model)
    left: dict[str, Tensor] = {}
    for label, smooth in _smoothed(base).items():
        left[label] = _kept(case, smooth, radii, size).mean(0)
    rows = [
        Row(f"{label}; rho = {number(rhos)} deviations", number(values), "a curve")
        for label, values in left.items()
    ]
    plain, quadratic, relaxed = (values.mean() for values in left.values())
    rows.append(
        Row(
            "relaxed sparsified holds better than SmoothGrad",
            number(relaxed - plain),
            "above 0",
            verdict(relaxed > plain),
            "mean overlap over rho, difference",
        )
    )
    rows.append(
        Row(
            "and about as well as quadratic SmoothGrad",
            number(relaxed - quadratic),
            "about 0",
            verdict(abs(relaxed - quadratic) < 0.1),
        )
    )
    return rows + _certified_beside(case, rhos, radii, left["relaxed sparsified"], size)


def _kept(case: Case, smooth: SmoothedAttribution, radii: list[float], size: Size) -> Tensor:
    """Overlap of the top quarter under Algorithm 1, ``(N, R)``."""
    terms = {"nt_samples": size.draws, "stdevs": 0.2}
    attack = L2TopKAttack(
        case.model, smooth, 0, 1, k=0.25, attribute_kwargs=terms, **PRINTED_ATTACK
    )
    return attack_robustness(
        partial(smooth.attribute, nt_samples=size.samples, stdevs=0.2),
        case.images,
        attack,
        partial(topk_intersection, k=0.25),
        radii=radii,
        attack_kwargs={"step_num": size.steps, "restarts": size.restarts},
        seed=0,
        target=case.labels,
    )


def _certified_beside(
    case: Case, rhos: tuple[float, ...], radii: list[float], left: Tensor, size: Size
) -> list[Row]:
    """Fig. 12: what is certified of the relaxed map at the radii attacked."""
    smooth = RelaxedSparsifiedSmoothGrad(Saliency(case.model), keep=0.1, clip=0.01)
    rows = []
    for label, how in (("Corollary 2", PRINTED), ("redrawn", {"claim": "redrawn"})):
        curves = certified_overlap(
            smooth,
            case.images,
            epsilons=radii,
            k=0.25,
            max_examples_per_batch=1,
            target=case.labels,
            stdevs=0.2,
            nt_samples=size.samples,
            alpha=0.05,
            seed=0,
            **how,
        ).values.mean(0)
        rows.append(
            Row(
                f"certified ({label}); rho = {number(rhos)}",
                number(curves),
                "loose",
                verdict((curves <= left + 1e-9).all()),
                "no attack reaches below" if label == "redrawn" else "of the expected map",
            )
        )
    return rows


class SignStep(StepRule):
    """A step of signs in any ball, as the attack that Levine et al. (2019) compare with."""

    def move(self, delta: Tensor, gradient: Tensor, rows: Tensor, step: int) -> Tensor:
        """Adds the signs of the gradient."""
        return delta + self.size * gradient.sign()


def attacks(bench: Bench, size: Size) -> list[Row]:
    """Fig. 7: Algorithm 1 beside sign steps and random points."""
    case = bench.cifar(size.images)
    plain = Saliency(case.model)
    smooth, terms = ScaledSmoothGrad(plain), {"nt_samples": size.draws, "stdevs": 0.2}
    rows = []
    for label, method, kwargs in (("gradient", plain, {}), ("SmoothGrad", smooth, terms)):
        ours = L2TopKAttack(
            case.model, method, 0, 1, k=0.25, attribute_kwargs=kwargs, **PRINTED_ATTACK
        )
        signs = TopKAttack(
            case.model,
            method,
            0,
            1,
            k=0.25,
            boundary=0,
            norm="L2",
            step_rule=SignStep(),
            attribute_kwargs=kwargs,
        )
        climb = {"step_num": size.steps, "restarts": size.restarts}
        for rho in (1.0, 10.0):
            radius = rho * CIFAR_STD
            kept = [
                _overlap(case, method, attack, radius, how, kwargs)
                for attack, how in (
                    (ours, climb),
                    (signs, {"step_num": 5 * size.steps, "step_size": radius / (25 * size.steps)}),
                    (RandomAttack.against(ours), {"step_num": 1}),
                )
            ]
            rows.append(
                Row(
                    f"{label}, rho = {rho:g}: Algorithm 1, sign steps, a random point",
                    number(kept),
                    "in this order",
                    verdict(kept[0] <= kept[1] <= kept[2]),
                    "overlap of the top quarter; lower is a stronger attack",
                )
            )
    return rows


def _overlap(
    case: Case,
    method: Attribution,
    attack: AttributionAttack,
    radius: float,
    how: dict[str, Any],
    kwargs: dict[str, Any],
) -> float:
    """Mean overlap that one attack leaves."""
    return float(
        attack_robustness(
            partial(method.attribute, **kwargs),
            case.images,
            attack,
            partial(topk_intersection, k=0.25),
            radii=radius,
            attack_kwargs=how,
            seed=0,
            target=case.labels,
        ).mean()
    )


TRAINED = {0: "mnist-standard", 200: "mnist-consistency-200", 1000: "mnist-consistency-1000"}


def training(bench: Bench, size: Size) -> list[Row]:
    """Fig. 6: accuracy and overlap under attack against the weight of the consistency term."""
    radius = 10 * MNIST_STD
    kept: dict[int, list[float]] = {weight: [] for weight in TRAINED}
    accuracy: dict[int, list[float]] = {weight: [] for weight in TRAINED}
    for weight, name in TRAINED.items():
        for seed in range(size.seeds):
            case = bench.trained(name, seed, size.images)
            method = Saliency(case.model)
            attack = L2TopKAttack(case.model, method, *BOX.values(), k=196, **PRINTED_ATTACK)
            how = {"step_num": size.steps, "restarts": size.restarts}
            kept[weight].append(_overlap(case, method, attack, radius, how, {}))
            accuracy[weight].append(bench.accuracy(name, seed))
    rows = [
        Row(
            f"lambda = {weight}: overlap of 196 features under attack; accuracy, %",
            f"{spread(kept[weight])}; {spread(accuracy[weight], 1)}",
            "a point of a curve",
        )
        for weight in TRAINED
    ]
    means = {weight: sum(values) / len(values) for weight, values in kept.items()}
    lost = sum(accuracy[0]) / size.seeds - sum(accuracy[1000]) / size.seeds
    rows.append(
        Row(
            "a larger weight makes maps more robust",
            number([means[weight] for weight in TRAINED]),
            "rises",
            verdict(means[0] < means[200] and means[0] < means[1000]),
        )
    )
    rows.append(
        Row("accuracy hardly falls, lambda = 1000", number(lost, 1), "slight", verdict(lost < 3))
    )
    return rows


EXPERIMENTS = [
    Experiment(
        "L19-attacked",
        "Figures 5 and 12: overlap under attack",
        "ResNet-20 on CIFAR-10; the paper: ResNet-18. K = n/4, sigma = 0.2 of the pixels' range, "
        "rho in standard deviations of a pixel (0.226).",
        Size(images=5, samples=512, draws=16, steps=8, restarts=1),
        Size(images=40, samples=8192, draws=512, steps=20, restarts=5),
        attacked,
        lambda size: size.images * (size.steps * size.restarts * size.draws + size.samples),
        0.066,
    ),
    Experiment(
        "L19-attacks",
        "Figure 7: attacks beside each other",
        "ResNet-20 on CIFAR-10; the paper: ResNet-18. K = n/4.",
        Size(images=5, draws=16, steps=10, restarts=2),
        Size(images=40, draws=64, steps=20, restarts=5),
        attacks,
        lambda size: size.images * size.steps * size.restarts * size.draws,
        0.1,
    ),
    Experiment(
        "L19-training",
        "Figure 6: training for consistent maps",
        "The paper's net on MNIST, rho = 10 standard deviations.",
        Size(images=20, steps=8, restarts=1, seeds=3),
        Size(images=10_000, steps=15, restarts=3, seeds=1),
        training,
        lambda size: size.images * size.steps * size.restarts * size.seeds,
        0.01,
        tuple(TRAINED.values()),
    ),
]
