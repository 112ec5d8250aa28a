"""Attacks on nets whose best perturbation is known."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Saliency
from torch import Tensor

from captum_robust.robust import (
    AdamStep,
    AttributionAttack,
    FixedStep,
    L2DeviationAttack,
    L2Objective,
    MomentumStep,
    TargetedRegionAttack,
    TopKAttack,
    TopKObjective,
)
from captum_robust.robust.balls.ball import ball_of
from captum_robust.robust.balls.draws import Draws

SIGNED = {"abs": False}


def quadratic(matrix: Tensor):
    """f(x) = x^T A x / 2, whose saliency is A x."""
    return lambda x: ((x @ matrix) * x).sum(1) / 2


def symmetric(size: int) -> Tensor:
    matrix = torch.randn(size, size, dtype=torch.float64)
    return matrix + matrix.T


@pytest.mark.parametrize(("norm", "dual"), [("Linf", 1), ("L2", 2)])
def test_top_k_of_a_quadratic(norm, dual):
    """D = -sum over B of (A x)_i is linear: its maximum adds r ||A 1_B|| in the dual norm."""
    matrix, x, radius = symmetric(6), torch.randn(5, 6, dtype=torch.float64), 0.3
    net = quadratic(matrix)
    attack = AttributionAttack(
        net,
        Saliency(net),
        objective=TopKObjective(2),
        # The similarity that grows as D falls: the best iterate is then the one with the largest D.
        evaluation=lambda clean, moved: (moved * _top_two(clean)).sum(1),
        norm=norm,
        surrogate=None,
        attribute_kwargs=SIGNED,
    )
    result = attack.search(x, radius, step_num=60, keep_prediction=False)
    clean = x @ matrix
    top = _top_two(clean)
    best = -(clean * top).sum(1) + radius * (top @ matrix).norm(p=dual, dim=1)
    torch.testing.assert_close(result.score, best, rtol=1e-6, atol=1e-6)


def _top_two(maps: Tensor) -> Tensor:
    return torch.zeros_like(maps).scatter(1, maps.topk(2, dim=1).indices, 1)


def test_l2_deviation_of_a_quadratic_is_its_largest_singular_value():
    matrix, x, radius = symmetric(6), torch.randn(4, 6, dtype=torch.float64), 0.5
    net = quadratic(matrix)
    attack = L2DeviationAttack(net, Saliency(net), surrogate=None, attribute_kwargs=SIGNED)
    result = attack.search(x, radius, step_num=300, keep_prediction=False, seed=0)
    largest = radius * torch.linalg.matrix_norm(matrix, 2)
    assert (result.score <= largest * (1 + 1e-9)).all()
    assert (result.score >= largest * 0.99).all()


def test_l2_deviation_in_a_box_ball():
    """A diagonal: every corner of the Linf ball is a maximum."""
    scale, x = torch.tensor([1.0, -2.0, 0.5, 3.0]), torch.randn(3, 4)
    net = quadratic(scale.diag())
    attack = L2DeviationAttack(
        net, Saliency(net), surrogate=None, norm="Linf", attribute_kwargs=SIGNED
    )
    result = attack.search(x, 0.2, keep_prediction=False, seed=0)
    torch.testing.assert_close(result.score, (0.2 * scale).norm().expand(3))


def test_per_feature_radii():
    """The Linf optimum of a linear objective moves every feature by its own radius."""
    matrix, x = symmetric(4), torch.randn(2, 4, dtype=torch.float64)
    radius = torch.tensor([0.1, 0.0, 0.3, 0.2], dtype=torch.float64)
    net = quadratic(matrix)
    attack = TopKAttack(
        net,
        Saliency(net),
        k=1,
        normalisation="none",
        boundary=0,
        surrogate=None,
        evaluation=lambda clean, moved: moved.gather(1, clean.argmax(1, keepdim=True))[:, 0],
        attribute_kwargs=SIGNED,
    )
    moved = attack.perturb(x, radius, step_num=20, keep_prediction=False) - x
    top = (x @ matrix).argmax(1)
    torch.testing.assert_close(moved, -radius * matrix[top].sign())


def test_the_box_limits_the_step():
    matrix, x = torch.eye(3), torch.tensor([[0.1, 0.5, 0.9]])
    net = quadratic(matrix)
    region = torch.tensor([True, False, False])
    attack = TargetedRegionAttack(
        net, Saliency(net), 0, 1, region=region, surrogate=None, attribute_kwargs=SIGNED
    )
    # The share of feature 0 in the map x grows as x0 rises and the others fall.
    moved = attack.perturb(x, 0.6, step_num=50, keep_prediction=False)
    torch.testing.assert_close(moved, torch.tensor([[0.7, 0.0, 0.3]]), atol=0.02, rtol=0)


def test_an_attack_on_a_linear_net_returns_the_input():
    weights = torch.randn(4, 3)
    net = lambda x: x @ weights  # noqa: E731
    x = torch.randn(2, 4)
    attack = AttributionAttack(
        net, Saliency(net), objective=TopKObjective(1), surrogate=None, step_rule=FixedStep()
    )
    with pytest.warns(UserWarning, match="second derivatives are zero"):
        result = attack.search(x, 0.1, target=net(x).argmax(1))
    assert torch.equal(result.perturbed, x)
    assert (result.gradients == 1).all()  # what does not move is not asked again


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_momentum_steps_follow_the_sum_of_gradients_and_shrink(norm):
    clean = torch.zeros(2, 2, dtype=torch.float64)
    ball = ball_of(norm).of_radius(torch.full((2, 1), 9.0))
    draws = Draws(0, range(2), clean)
    rule = MomentumStep(momentum=0.5).begin(ball, torch.full((2, 1), 0.8), draws, 0, steps=4)
    rows = torch.tensor([1])
    # Sums (3/4, -1/4), then half of it and (-1/2, -1/2), then half of that and nothing.
    sums = torch.tensor([[0.75, -0.25], [-0.125, -0.625], [-0.0625, -0.3125]], dtype=torch.float64)
    here = clean[rows]
    for step, gradient in enumerate(([6.0, -2.0], [-0.1, -0.1], [0.0, 0.0])):
        there = rule.move(here, torch.tensor([gradient], dtype=torch.float64), rows, step)
        along = sums[step].sign() if norm == "Linf" else sums[step] / sums[step].norm()
        torch.testing.assert_close(there - here, 0.8 * (1 - step / 4) * along[None])
        here = there
    assert (rule.total[0] == 0).all()  # the other example's memory is its own


def test_steps_begin_with_their_share_of_the_radius():
    net = quadratic(torch.eye(2))
    shares = {MomentumStep(): 1 / 4, FixedStep(): 1 / 8, FixedStep(0.3): 0.3, None: 1 / 4}
    for rule, share in shares.items():
        attack = AttributionAttack(net, Saliency(net), objective=L2Objective(), step_rule=rule)
        assert float(attack.default_step_size(torch.tensor(2.0))) == pytest.approx(2 * share)
    for wrong in (FixedStep, MomentumStep, AdamStep):
        with pytest.raises(ValueError, match=r"`relative_step` must be in \(0, inf\), got 0"):
            wrong(relative_step=0)
    with pytest.raises(ValueError, match=r"`momentum` must be in \[0, 1\], got 2"):
        MomentumStep(2)
