"""Balls and boxes: projections, steps and draws against their definitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_robust.robust.balls.box import Box
from captum_robust.robust.balls.draws import Draws
from captum_robust.robust.balls.l2 import BALLS, L2Ball
from captum_robust.robust.balls.linf import LinfBall

EVERY = slice(None)


@pytest.mark.parametrize("kind", ["Linf", "L2"])
@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**30), radius=st.just(0.0) | st.floats(1e-6, 10), stretched=st.booleans()
)
def test_projection_and_draws_lie_inside(kind, seed, radius, stretched):
    generator = torch.Generator().manual_seed(seed)
    radii = torch.full((1, 1), radius, dtype=torch.float64)
    if stretched:
        radii = radii * torch.rand(3, 6, generator=generator, dtype=torch.float64)
    free = torch.rand(3, 6, generator=generator) > 0.2
    ball = BALLS[kind](radii, free)
    delta = 20 * torch.randn(3, 6, generator=generator, dtype=torch.float64)
    draws = Draws(seed, [0, 1, 2], delta)
    for inside in (
        ball.project(delta, EVERY),
        ball.uniform(draws, EVERY, 0),
        ball.surface(draws, EVERY, 0),
    ):
        assert (ball.size(inside) <= 1 + 1e-12).all()
        assert (inside[~free] == 0).all()
        torch.testing.assert_close(ball.project(inside, EVERY), inside)


def test_the_steepest_step_beats_every_other():
    gradient = torch.randn(4, 5)
    size = torch.rand(1, 5) + 0.1
    for kind in BALLS.values():
        ball = kind(torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool))
        best = (ball.step(gradient, size, EVERY) * gradient).sum(1)
        others = torch.randn(1000, 1, 5)
        norm = others.abs().amax(2) if kind is LinfBall else others.norm(dim=2)
        others = size * others / norm.unsqueeze(2)
        assert (best >= (others * gradient).sum(2).amax(0) - 1e-6).all()


def test_uniform_l2_radii():
    """r^d of a uniform point of a d-ball is uniform: mean 1/2, sd sqrt(1/12)."""
    like = torch.zeros(4000, 3)
    free = torch.ones(1, 3, dtype=torch.bool)
    ball = L2Ball(torch.full((1, 1), 2.0), free)
    points = ball.uniform(Draws(0, range(4000), like), EVERY, 0)
    share = (points.norm(dim=1) / 2) ** 3
    assert abs(share.mean() - 0.5) < 4 * (1 / 12) ** 0.5 / 4000**0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_uniform_l2_draws_keep_their_type(dtype):
    like = torch.zeros(4, 3, dtype=dtype)
    ball = L2Ball(torch.ones(1, 1, dtype=dtype), torch.ones(1, 3, dtype=torch.bool))
    assert ball.uniform(Draws(0, range(4), like), EVERY, 0).dtype == dtype


def test_draws_belong_to_the_example():
    like = torch.zeros(4, 3)
    many, one = Draws(5, [7, 8, 9, 10], like), Draws(5, [9], like[:1])
    assert torch.equal(many.normal(EVERY, 3)[2:3], one.normal(EVERY, 3))
    assert torch.equal(many.normal(torch.tensor([2]), 3), one.normal(EVERY, 3))
    assert not torch.equal(one.normal(EVERY, 3), one.normal(EVERY, 4))


def test_tiny_gradients_still_give_whole_steps():
    ball = L2Ball(torch.ones(1, 1), torch.ones(1, 1, dtype=torch.bool))
    step = ball.step(torch.full((1, 4), 1e-30), torch.full((1, 1), 0.5), EVERY)
    torch.testing.assert_close(step.norm(), torch.tensor(0.5))


def test_box():
    clean = torch.tensor([[0.0, 1.0]])
    box = Box(torch.zeros(1, 1), torch.ones(1, 1), clean)
    assert box.clip(torch.tensor([[-1.0, 3.0]]), EVERY).tolist() == [[0.0, 1.0]]
    with pytest.raises(ValueError, match=r"1 features of example 0 do not \(by up to 0.5\)"):
        Box(torch.full((1, 1), 0.5), torch.ones(1, 1), clean)
    for bounds, name in (((torch.nan, 1.0), "lower"), ((0.0, torch.nan), "upper")):
        lower, upper = (torch.full((1, 1), bound) for bound in bounds)
        with pytest.raises(ValueError, match=f"`{name}_bound` must not be NaN"):
            Box(lower, upper, clean)
    # Rounding at the border is no error, and such an input may stay.
    assert Box(torch.full((1, 1), 1e-8), torch.ones(1, 1), clean).lower[0, 0] == 0
