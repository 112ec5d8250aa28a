"""Balls and boxes: projections, steps and draws against their definitions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from captum_robust.robust import Ball, L1Ball, L2Ball, LinfBall
from captum_robust.robust.balls.ball import ball_of
from captum_robust.robust.balls.box import Box
from captum_robust.robust.balls.draws import MOST_STEPS, Draws, start_number, step_number

EVERY = slice(None)
LENGTHS = {
    "Linf": lambda delta: delta.abs().amax(-1),
    "L2": lambda delta: delta.norm(dim=-1),
    "L1": lambda delta: delta.abs().sum(-1),
}


@pytest.mark.parametrize("kind", ["Linf", "L2", "L1"])
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
    ball = ball_of(kind).of_radius(radii, free)
    delta = 20 * torch.randn(3, 6, generator=generator, dtype=torch.float64)
    draws = Draws(seed, [0, 1, 2], delta)
    inside = [ball.project(delta, EVERY), ball.uniform(draws, EVERY, 0)]
    border = [ball.surface(draws, EVERY, 0), ball.extreme(draws, EVERY, 0)]
    for points in inside + border:
        assert (ball.size(points) <= 1 + 1e-12).all()
        assert (points[~free] == 0).all()
        torch.testing.assert_close(ball.project(points, EVERY), points)
    mobile = ball.free.any(1)
    for points in border:
        torch.testing.assert_close(ball.size(points)[mobile], torch.ones(3).double()[mobile])


@pytest.mark.parametrize("ball", [LinfBall(), L2Ball(), L1Ball(spread=1)], ids=repr)
def test_the_steepest_step_beats_every_other(ball):
    gradient = torch.randn(4, 5)
    size = torch.rand(1, 5) + 0.1
    sized = ball.of_radius(1.0)
    best = (sized.step(gradient, size) * gradient).sum(1)
    others = torch.randn(1000, 1, 5)
    if isinstance(ball, L1Ball):  # corners as well
        others = torch.cat([others, torch.eye(5).unsqueeze(1), -torch.eye(5).unsqueeze(1)])
    others = size * others / LENGTHS[ball.name](others).unsqueeze(2)
    assert (best >= (others * gradient).sum(2).amax(0) - 1e-6).all()


def test_uniform_l2_radii():
    """r^d of a uniform point of a d-ball is uniform: mean 1/2, sd sqrt(1/12)."""
    like = torch.zeros(4000, 3)
    ball = L2Ball().of_radius(2.0)
    points = ball.uniform(Draws(0, range(4000), like), EVERY, 0)
    share = (points.norm(dim=1) / 2) ** 3
    assert abs(share.mean() - 0.5) < 4 * (1 / 12) ** 0.5 / 4000**0.5


@pytest.mark.parametrize("kind", ["L1", "L2"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_uniform_draws_keep_their_type(kind, dtype):
    like = torch.zeros(4, 3, dtype=dtype)
    ball = ball_of(kind).of_radius(torch.ones(1, 1, dtype=dtype))
    assert ball.uniform(Draws(0, range(4), like), EVERY, 0).dtype == dtype


def test_draws_belong_to_the_example():
    like = torch.zeros(4, 3)
    many, one = Draws(5, [7, 8, 9, 10], like), Draws(5, [9], like[:1])
    assert torch.equal(many.normal(EVERY, 3)[2:3], one.normal(EVERY, 3))
    assert torch.equal(many.normal(torch.tensor([2]), 3), one.normal(EVERY, 3))
    assert not torch.equal(one.normal(EVERY, 3), one.normal(EVERY, 4))


def test_no_two_draws_of_a_call_share_a_number():
    last = MOST_STEPS - 1
    places = [(restart, index) for restart in range(3) for index in (0, 1, 2, last)]
    numbers = [number(*place) for number in (start_number, step_number) for place in places]
    assert len(set(numbers)) == len(numbers)


def test_tiny_gradients_still_give_whole_steps():
    step = L2Ball().of_radius(1.0).step(torch.full((1, 4), 1e-30), torch.full((1, 1), 0.5))
    torch.testing.assert_close(step.norm(), torch.tensor(0.5))


def test_a_ball_is_asked_for_by_name_class_or_object():
    for norm in ("L1", L1Ball, L1Ball(0.05)):
        assert repr(ball_of(norm)) == "L1Ball(spread=0.05)"
    with pytest.raises(ValueError, match="'L1', 'L2', 'Linf', or a Ball, got 'L3'"):
        ball_of("L3")
    with pytest.raises(TypeError, match="a Ball class or an object of one, got int"):
        ball_of(2)


def test_a_name_belongs_to_one_ball():
    with pytest.raises(ValueError, match="`name` must be new, got 'L2', the name of L2Ball"):
        type("Mine", (Ball,), {"name": "L2"})
    assert Ball.names["L2"] is L2Ball


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
