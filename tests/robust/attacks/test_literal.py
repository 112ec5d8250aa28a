"""Each paper's loop, written out for one example, beside the library with the same budget.

The references take plain gradients with ``torch.autograd`` and share no code with the library but
the softplus twin, which ``test_surrogate`` checks.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr import IntegratedGradients, Saliency
from torch import Tensor

from captum_robust.robust import (
    FixedStep,
    L2TopKAttack,
    ManipulateAttack,
    MassCenterAttack,
    TargetedRegionAttack,
    TopKAttack,
    frame_target,
    softplus_surrogate,
)

BETA = 30.0
RADIUS = 0.1
PRINTED: dict[str, Any] = {"surrogate": BETA, "step_rule": FixedStep()}


def saliency(net, x: Tensor, target: int, graph: bool = False) -> Tensor:
    x = x if x.requires_grad else x.clone().requires_grad_()
    return torch.autograd.grad(net(x)[0, target], x, create_graph=graph)[0].abs()


def shares(h: Tensor) -> Tensor:
    return h / h.sum()


def ghorbani(net, twin, x, target, dissimilarity, measure, steps=30, alpha=RADIUS / 8):
    """Sign ascent in the Linf ball; the iterate with the lowest measure among unchanged labels."""
    point, lowest = x.clone(), float("inf")
    for _ in range(steps):
        leaf = point.clone().requires_grad_()
        value = dissimilarity(shares(saliency(twin, leaf, target, graph=True)))
        (slope,) = torch.autograd.grad(value, leaf)
        point = x + (point + alpha * slope.sign() - x).clamp(-RADIUS, RADIUS)
        point = point.clamp(0, 1)
        if net(point).argmax() == target:
            lowest = min(lowest, measure(saliency(net, point, target)).item())
    return lowest


def top(h: Tensor, k: int) -> Tensor:
    return torch.zeros(h.numel(), dtype=torch.bool).index_fill(0, h.flatten().topk(k).indices, True)


def centre(h: Tensor) -> Tensor:
    h = shares(h)[0, 0]
    index = torch.arange(28, dtype=h.dtype)
    return torch.stack([h.sum(1) @ index, h.sum(0) @ index])


def both(batch):
    images, targets = batch
    return [(image[None], int(target)) for image, target in zip(images, targets, strict=True)]


def test_ghorbani_top_k(net, batch):
    twin, k, expected = softplus_surrogate(net, BETA), 150, []
    for x, y in both(batch):
        wanted = top(saliency(net, x, y), k)
        expected.append(
            ghorbani(
                net,
                twin,
                x,
                y,
                lambda h, wanted=wanted: -h.flatten()[wanted].sum(),
                lambda h, wanted=wanted: (top(h, k) & wanted).sum().double() / k,
            )
        )
    kept = torch.tensor(expected, dtype=torch.float64)
    attack = TopKAttack(net, Saliency(net), 0, 1, k=k, boundary=0, **PRINTED)
    found = attack.search(batch[0], RADIUS, RADIUS / 8, 30, batch[1])
    assert (1 - found.score <= kept + 1e-9).all()
    found = TopKAttack(net, Saliency(net), 0, 1, k=k).search(batch[0], RADIUS, None, 30, batch[1])
    assert (1 - found.score <= kept + 1e-9).all()  # its own defaults are stronger
    assert 1 - found.score.mean() < kept.mean() - 0.015


def test_ghorbani_mass_center(net, batch):
    twin, expected = softplus_surrogate(net, BETA), []
    for x, y in both(batch):
        clean = centre(saliency(net, x, y))
        expected.append(
            -ghorbani(
                net,
                twin,
                x,
                y,
                lambda h, clean=clean: (centre(h) - clean.trunc()).square().sum(),
                lambda h, clean=clean: -(centre(h) - clean).norm(),
            )
        )
    attack = MassCenterAttack(net, Saliency(net), 0, 1, reference="pixel", **PRINTED)
    found = attack.search(batch[0], RADIUS, step_num=30, target=batch[1])
    assert (found.score >= torch.tensor(expected, dtype=torch.float64) - 1e-9).all()


def test_ghorbani_targeted(net, batch):
    region = torch.zeros(28, 28, dtype=torch.bool)
    region[:9, :9] = True
    twin = softplus_surrogate(net, BETA)
    expected = [
        -ghorbani(
            net,
            twin,
            x,
            y,
            lambda h: h[0, 0][region].sum(),
            lambda h: -shares(h)[0, 0][region].sum(),
        )
        for x, y in both(batch)
    ]
    attack = TargetedRegionAttack(net, Saliency(net), 0, 1, region=region, **PRINTED)
    found = attack.search(batch[0], RADIUS, step_num=30, target=batch[1])
    assert (found.score >= torch.tensor(expected, dtype=torch.float64) - 1e-9).all()


def algorithm_1(net, twin, x, target, k, draws, steps, rho):
    """Levine et al. (2019), Algorithm 1, with its starts given; their D, unnormalised."""
    wanted = top(saliency(net, x, target), k)
    objective = lambda f, z, graph=False: -saliency(f, z, target, graph).flatten()[wanted].sum()  # noqa: E731
    best = -float("inf")
    for start in draws:
        point = (x + start).clamp(0, 1)
        if net(point).argmax() != target:
            continue
        rate = None
        for p in range(1, steps + 1):
            leaf = point.clone().requires_grad_()
            (slope,) = torch.autograd.grad(objective(twin, leaf, True), leaf)
            rate = rho / slope.norm() if rate is None else rate
            for _ in range(60):
                delta = point + rate * slope - x
                moved = (x + delta * min(1, rho / delta.norm().item())).clamp(0, 1)
                if net(moved).argmax() == target:
                    point = moved
                    break
                rate = rate / 2
            best = max(best, objective(net, point).item())
            rate = rate * p / (p + 1)
    return best


def test_levine_algorithm_1(net, batch):
    k, rho, steps, restarts = 150, 2.0, 12, 2
    images, targets = batch
    twin = softplus_surrogate(net, BETA)
    attack = L2TopKAttack(
        net,
        Saliency(net),
        0,
        1,
        k=k,
        surrogate=BETA,
        normalisation="none",
        boundary=0,
        evaluation=lambda clean, moved: torch.stack(
            [m.flatten()[top(c, k)].sum() for c, m in zip(clean, moved, strict=True)]
        ),
    )
    found = attack.search(images, rho, step_num=steps, target=targets, restarts=restarts, seed=3)
    starts = _starts(images, rho, restarts, seed=3)
    for row, (x, y) in enumerate(both(batch)):
        draws = [start[row : row + 1] for start in starts]
        expected = algorithm_1(net, twin, x, y, k, draws, steps, rho)
        assert found.score[row] >= expected - 1e-7


def _starts(images: Tensor, rho: float, restarts: int, seed: int) -> list[Tensor]:
    """The library's own first draws: both loops begin at the same points."""
    from captum_robust.robust.balls.draws import Draws
    from captum_robust.robust.balls.l2 import L2Ball

    flat = images.flatten(1)
    ball = L2Ball().of_radius(flat.new_full((1, 1), rho))
    draws = Draws(seed, range(len(flat)), flat)
    return [
        ball.surface(draws, slice(None), 2 * restart * 1_000_000).reshape(images.shape)
        for restart in range(restarts)
    ]


@pytest.mark.parametrize(
    ("variant", "error"),
    [("linf", None), ("rescaled", None), ("rescaled", "mean"), ("dombrowski", None)],
)
def test_manipulate(net, batch, variant, error):
    """Same weights, optimiser and steps; the last iterate of the reference, the best of ours."""
    images, targets = batch
    frame, steps = frame_target((28, 28), 4).double(), 25
    adam = variant != "linf"
    scale = (lambda h: h / h.max()) if variant == "rescaled" else shares
    weights = (0.5, 0.5) if variant == "rescaled" else (1e11, 1e6)
    outputs = (lambda z: z) if variant == "rescaled" else (lambda z: torch.softmax(z, 1))
    radius = None if variant == "dombrowski" else RADIUS
    total = Tensor.sum if (variant, error) == ("rescaled", None) else Tensor.mean
    size = {"linf": RADIUS / 8, "rescaled": RADIUS / 25, "dombrowski": 2e-3}[variant]
    twin = softplus_surrogate(net, BETA)
    expected = []
    for x, y in both(batch):
        point = x.clone().requires_grad_()
        optimiser = torch.optim.Adam([point], size)
        wanted = outputs(twin(x)).detach()
        for _ in range(steps):
            h = scale(saliency(twin, point, y, graph=True))
            loss = weights[0] * total((h - scale(frame)).square())
            loss = loss + weights[1] * (outputs(twin(point)) - wanted).square().mean()
            (slope,) = torch.autograd.grad(loss, point)
            if adam:
                point.grad = slope
                optimiser.step()
            with torch.no_grad():
                moved = point if adam else point - size * slope.sign()
                if radius is not None:
                    moved = x + (moved - x).clamp(-radius, radius)
                point.copy_(moved.clamp(0, 1))
        unchanged = net(point).argmax() == y
        distance = total((scale(saliency(net, point.detach(), y)) - scale(frame)).square())
        expected.append(-distance.item() if unchanged else -float("inf"))
    attack = ManipulateAttack(
        net, Saliency(net), 0, 1, target_map=frame, variant=variant, map_error=error, surrogate=BETA
    )
    found = attack.search(images, radius, size, steps, targets)
    assert (found.score >= torch.tensor(expected, dtype=torch.float64) - 1e-9).all()


def test_integrated_gradients_by_the_chain_rule(net, batch):
    """One step on integrated gradients: the derivative of sum_i alpha_i-weighted path gradients."""
    images, targets = batch
    twin, k, m = softplus_surrogate(net, BETA), 150, 4
    attack = TopKAttack(
        net,
        IntegratedGradients(net),
        0,
        1,
        k=k,
        reduction="abs",
        boundary=0,
        surrogate=BETA,
        attribute_kwargs={"n_steps": m, "method": "riemann_right"},
        evaluation=lambda clean, moved: torch.zeros(len(clean)),
    )
    # Every score is equal, so the objective decides whether the moved point counts.
    found = attack.perturb(images, RADIUS, RADIUS / 8, 1, targets)
    moved = 0
    for row, (x, y) in enumerate(both(batch)):

        def path(f, z, y=y):
            steps = (signed_saliency(f, i / m * z, y) for i in range(1, m + 1))
            return (z * sum(steps) / m).abs()

        wanted = top(path(net, x.clone().requires_grad_()).detach(), k)
        leaf = x.clone().requires_grad_()
        value = -shares(path(twin, leaf)).flatten()[wanted].sum()
        (slope,) = torch.autograd.grad(value, leaf)
        if not torch.equal(found[row : row + 1], x):
            moved += 1
            stepped = (x + RADIUS / 8 * slope.sign()).clamp(0, 1)
            torch.testing.assert_close(found[row : row + 1], stepped)
    assert moved > 3


def signed_saliency(net, z: Tensor, target: int) -> Tensor:
    return torch.autograd.grad(net(z)[0, target], z, create_graph=True)[0]
