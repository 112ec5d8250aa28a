"""Joo et al. (2023): training for aligned gradients, its cost, and the bound on the criterion."""

from __future__ import annotations

import statistics
from functools import partial

import torch
from captum.attr import Attribution, InputXGradient, Saliency
from torch import Tensor

from captum_robust.estimates import criterion_bound
from captum_robust.metrics import adversarial_insertion, insertion, random_perturbation_similarity
from captum_robust.robust import ManipulateAttack, frame_target
from tests.benchmarks import losses
from tests.benchmarks.nets import Case
from tests.benchmarks.papers import printed
from tests.benchmarks.papers.experiment import Experiment, Row, Size, number, spread, verdict
from tests.benchmarks.papers.recipes import BOX
from tests.benchmarks.papers.subjects import Bench

NETS = {
    "CE": "lenet-ce",
    "Hessian": "lenet-hessian",
    "l2": "lenet-l2",
    "l2 + Cosd": "lenet-l2-cosd",
}
COSTLY = {"ATEX": "lenet-atex", "IGA": "lenet-iga"}  # trained with --full alone
CURVED = ("CE", "l2", "l2 + Cosd")
RADIUS = 4 / 255


def _methods(case: Case) -> dict[str, tuple[Attribution, dict[str, bool]]]:
    return {
        "Grad": (Saliency(case.model), {"abs": False}),
        "xGrad": (InputXGradient(case.model), {}),
    }


def _insertion(
    case: Case, method: Attribution, size: Size, *, attacked: bool, **kwargs: bool
) -> tuple[Tensor, Tensor]:
    """Mean and curve over shares, of the images in order of the clean or the attacked map."""
    terms = {"forward_func": case.model, "target": case.labels, "return_curve": True}
    if not attacked:
        found = insertion(method.attribute, case.images, **terms, **kwargs)
        return found.values.mean(), found.curve.mean(0)
    side = case.images.shape[-1]
    attack = ManipulateAttack(
        case.model,
        method,
        *BOX.values(),
        target_map=frame_target((side, side), width=5 * side // 32),
        variant="rescaled",
        attribute_kwargs=kwargs,
        surrogate=None,
    )
    found = adversarial_insertion(
        method.attribute,
        case.images,
        attack,
        radius=RADIUS,
        attack_kwargs={"step_num": size.steps},
        seed=0,
        **terms,
        **kwargs,
    )
    return found.values.mean(), found.curve.mean(0)


def robustness(bench: Bench, size: Size) -> list[Row]:
    """Table 1: accuracy, similarity under random perturbations, insertion."""
    rows: list[Row] = []
    similar: dict[str, float] = {}
    nets = {**NETS, **COSTLY} if bench.full else NETS
    for label, name in nets.items():
        accuracy = [bench.accuracy(name, seed) for seed in range(size.seeds)]
        values: dict[str, list[list[float]]] = {}
        for seed in range(size.seeds):
            case = bench.trained(name, seed, size.images)
            for short, (method, kwargs) in _methods(case).items():
                rps = random_perturbation_similarity(
                    method.attribute,
                    case.images,
                    perturb_radius=16 / 255,
                    seed=0,
                    target=case.labels,
                    **kwargs,
                )
                clean, _ = _insertion(case, method, size, attacked=False, **kwargs)
                moved, _ = _insertion(case, method, size, attacked=True, **kwargs)
                found = [float(rps.mean()), 100 * float(clean), 100 * float(moved)]
                values.setdefault(short, []).append(found)
        similar[label] = statistics.mean(one[0] for one in values["Grad"])
        rows += _table_rows(label, accuracy, values)
    ours, plain = similar["l2 + Cosd"], similar["CE"]
    rows.append(
        Row(
            "RPS, Grad: l2 + Cosd above all others",
            number(list(similar.values()), 3),
            number([printed.ALIGNED[label][1][0] for label in similar], 3),
            "yes" if ours == max(similar.values()) else "in part" if ours > plain else "no",
            f"order: {', '.join(similar)}",
        )
    )
    why = "ATEX and IGA are costly and trained with --full alone; no other such net at hand"
    rows.append(
        Row(
            "ATEX; IGA; ResNet-18; ImageNet100; GBP; LRP", "-", "see the paper", "not measured", why
        )
    )
    return rows


def _table_rows(
    label: str, accuracy: list[float], values: dict[str, list[list[float]]]
) -> list[Row]:
    """A line for each attribution of one net."""
    printed_accuracy, *theirs = printed.ALIGNED[label]
    rows = []
    for (short, found), there in zip(values.items(), theirs, strict=True):
        ours = [
            spread(column, digits)
            for column, digits in zip(zip(*found, strict=True), (3, 1, 1), strict=True)
        ]
        held = statistics.mean(one[2] - one[1] for one in found) <= 0
        rows.append(
            Row(
                f"{label}, {short}: accuracy; RPS, Ins, A-Ins",
                f"{spread(accuracy, 1)}; {', '.join(ours)}",
                f"{printed_accuracy}; {there[0]}, {there[1]}, {there[2]}",
                verdict(held),
                "3 epochs instead of 200; agrees where the attack lowers insertion"
                if short == "Grad"
                else "",
            )
        )
    return rows


def curves(bench: Bench, size: Size) -> list[Row]:
    """Fig. 2a: probability against the share put in."""
    rows, lines = [], {}
    shares = (2, 4, 8, 12, 20)
    for label in CURVED:
        case = bench.trained(NETS[label], 0, size.images)
        method = Saliency(case.model)
        for kind, attacked in (("insertion", False), ("adversarial insertion", True)):
            _, curve = _insertion(case, method, size, attacked=attacked, abs=False)
            lines[label, attacked] = curve
            rows.append(
                Row(
                    f"{label}, {kind}; shares {number([share / 20 for share in shares])}",
                    number(curve[list(shares)]),
                    "a curve",
                )
            )
    above = lines["l2 + Cosd", True][1:-1] >= lines["CE", True][1:-1]
    rows.append(
        Row(
            "attacked: l2 + Cosd lies above CE; share of the points",
            number(above.double().mean()),
            "everywhere",
            "yes" if bool(above.all()) else "in part" if above.double().mean() > 0.5 else "no",
            "the paper draws ResNet-18",
        )
    )
    return rows


def bound(bench: Bench, size: Size) -> list[Row]:
    """Fig. 3b: the first-order bound beside the criterion."""
    rows = []
    torch.manual_seed(0)
    for label in ("l2", "l2 + Cosd"):
        case = bench.trained(NETS[label], 0, size.images)
        direction = torch.randn_like(case.images)
        direction /= direction.flatten(1).norm(dim=1)[:, None, None, None]
        for epsilon in (0.1, 0.5, 1.0):
            found = criterion_bound(
                Saliency(case.model),
                case.images,
                case.images + epsilon * direction,
                case.labels,
                abs=False,
            )
            holds = float((found.measured <= found.sharp).double().mean())
            rows.append(
                Row(
                    f"{label}, ‖delta‖ = {epsilon}: criterion; sharp, spectral bound; leading term",
                    f"{float(found.measured.mean()):.4f}; {float(found.sharp.mean()):.3f}, "
                    f"{float(found.spectral.mean()):.3f}; {float(found.leading.mean()):.4f}",
                    "well aligned",
                    "in part" if holds == 1 else "no",
                    "the bound holds, but it is linear in ‖delta‖ where the criterion is quadratic"
                    if holds == 1
                    else "max-pooling makes kinks, which a bound of first order does not see",
                )
            )
    return rows


def cost(bench: Bench, size: Size) -> list[Row]:
    """Table 2, time: steps of a loss in steps of cross-entropy."""
    torch.manual_seed(0)
    model = losses.lenet()
    inputs, target = (
        torch.rand(size.images, 3, 32, 32),
        torch.randint(losses.CLASSES, (size.images,)),
    )
    steps = losses.criteria(model)
    rows = []
    wanted = [name for net, name in losses.PRINTED if net == "lenet"]
    measure = partial(losses.seconds, model=model, inputs=inputs, target=target)
    for name in wanted:
        for step in (steps["cross-entropy"], steps[name]):
            measure(step)  # warms up
        ratios = [
            measure(steps[name])[0] / measure(steps["cross-entropy"])[0] for _ in range(size.steps)
        ]
        theirs = losses.PRINTED["lenet", name]
        ours = statistics.median(ratios)
        rows.append(
            Row(
                f"LeNet, {name}",
                f"{ours:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                f"{theirs:.2f}",
                verdict(0.5 <= ours / theirs <= 2),
                "within a factor of 2" if 0.5 <= ours / theirs <= 2 else "another device and code",
            )
        )
    return rows


LENET = "LeNet with softplus units, CIFAR-10, trained here; the paper: 200 epochs of 50,000 images."
EXPERIMENTS = [
    Experiment(
        "J23-robustness",
        "Table 1: regularisers beside each other",
        f"{LENET} Attack: frame, 4/255.",
        Size(images=20, steps=20, seeds=1),
        Size(images=10_000, steps=100, seeds=1),
        robustness,
        lambda size: size.images * size.seeds * (size.steps + 10),
        0.15,
        tuple(NETS.values()),
    ),
    Experiment(
        "J23-cost",
        "Table 2: time of a step",
        "Random images in a batch, 3 x 32 x 32; ``tests/benchmarks/losses.py`` has all losses. "
        "Steps are rounds.",
        Size(images=16, steps=5),
        Size(images=128, steps=7),
        cost,
        lambda size: size.images * size.steps,
        0.2,
    ),
    Experiment(
        "J23-curves",
        "Figure 2a: insertion curves",
        LENET,
        Size(images=20, steps=20),
        Size(images=10_000, steps=100),
        curves,
        lambda size: size.images * size.steps,
        0.05,
        tuple(NETS[label] for label in CURVED),
    ),
    Experiment(
        "J23-bound",
        "Figure 3b: the bound on the cosine criterion",
        LENET,
        Size(images=10),
        Size(images=1000),
        bound,
        lambda size: size.images,
        2.0,
        ("lenet-l2", "lenet-l2-cosd"),
    ),
]
