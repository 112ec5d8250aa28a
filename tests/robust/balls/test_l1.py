"""The l1 ball: projections by SciPy, steps by linear programs, draws by their law."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from captum_robust.robust import L1Ball
from captum_robust.robust.balls.draws import Draws

EVERY = slice(None)


def nearest(delta, radii, low, high):
    """Quadratic programme over the positive and the negative part of each feature."""
    count = len(delta)

    def distance(parts):
        gap = parts[:count] - parts[count:] - delta
        return 0.5 * gap @ gap, np.concatenate([gap, -gap])

    weights = np.tile(1 / radii, 2)
    bounds = [(0, top) for top in np.concatenate([high, -low])]
    inside = {"type": "ineq", "fun": lambda z: 1 - weights @ z, "jac": lambda z: -weights}
    found = optimize.minimize(
        distance,
        np.zeros(2 * count),
        jac=True,
        bounds=bounds,
        constraints=[inside],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-15},
    )
    return found.x[:count] - found.x[count:]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**30), radius=st.floats(0.05, 20), walled=st.booleans())
def test_projection_is_the_nearest_point_of_the_ball_in_the_box(seed, radius, walled):
    generator = np.random.default_rng(seed)
    delta = 2 * generator.standard_normal((3, 5))
    radii = radius * generator.uniform(0.2, 2, (3, 5))
    width = 1.5 if walled else 100.0
    low, high = -generator.uniform(0, width, (3, 5)), generator.uniform(0, width, (3, 5))
    ball = L1Ball().of_radius(*(torch.tensor(x) for x in (radii, radii > 0, low, high)))
    found = ball.project(torch.tensor(delta)).numpy()
    for row in range(3):
        wanted = nearest(delta[row], radii[row], low[row], high[row])
        np.testing.assert_allclose(found[row], wanted, atol=2e-6)
    assert (np.abs(found) / radii).sum(1).max() <= 1 + 1e-12
    assert ((found >= low - 1e-12) & (found <= high + 1e-12)).all()


def test_projection_meets_the_optimality_conditions_on_a_large_map():
    """Soft thresholding by one number per example, which is 0 only inside (Duchi et al., 2008)."""
    generator = torch.Generator().manual_seed(0)
    delta = torch.randn(4, 20_000, generator=generator, dtype=torch.float64)
    found = L1Ball().of_radius(50.0).project(delta)
    for row, near in zip(delta, found, strict=True):
        moved = row.abs() - near.abs()
        threshold = moved[near != 0].mean()
        torch.testing.assert_close(moved[near != 0], threshold.expand(int((near != 0).sum())))
        assert (row.abs()[near == 0] <= threshold + 1e-12).all()
    torch.testing.assert_close(found.abs().sum(1), torch.full((4,), 50.0).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_projection_to_narrow_types_stays_inside(dtype):
    delta = (10 * torch.randn(5, 1000, generator=torch.Generator().manual_seed(1))).to(dtype)
    ball = L1Ball().of_radius(torch.full((1, 1), 3.0, dtype=dtype))
    sizes = ball.project(delta).double().abs().sum(1) / 3
    assert (sizes <= 1 + 4 * torch.finfo(dtype).eps).all()


def test_infinite_radii_are_no_limit():
    radii = torch.tensor([[torch.inf, 1.0, 1.0]])
    found = L1Ball().of_radius(radii).project(torch.tensor([[9.0, 3.0, 1.0], [-9.0, 0.5, 0.0]]))
    assert found.tolist() == [[9.0, 1.0, 0.0], [-9.0, 0.5, 0.0]]


@pytest.mark.parametrize("spread", [1, 3, 0.5])
def test_a_step_solves_its_linear_programme(spread):
    generator = np.random.default_rng(7)
    gradient, delta = generator.standard_normal((4, 6)), 0.3 * generator.uniform(-1, 1, (4, 6))
    size = generator.uniform(0.5, 2, (1, 6))
    low, high = np.full((4, 6), -0.4), np.full((4, 6), 0.4)
    ball = L1Ball(spread).of_radius(torch.ones(1, 1), None, torch.tensor(low), torch.tensor(high))
    step = ball.step(*map(torch.tensor, (gradient, size)), EVERY, torch.tensor(delta)).numpy()
    count = spread if isinstance(spread, int) else 3
    for row in range(4):
        most = size[0] / count
        bounds = [
            *((0, min(m, up)) for m, up in zip(most, high[row] - delta[row], strict=True)),
            *((0, min(m, down)) for m, down in zip(most, delta[row] - low[row], strict=True)),
        ]
        best = optimize.linprog(
            -np.concatenate([gradient[row], -gradient[row]]),
            A_ub=np.tile(1 / size[0], 2)[None],
            b_ub=[1],
            bounds=bounds,
        )
        assert step[row] @ gradient[row] == pytest.approx(-best.fun, abs=1e-9)
        assert (np.abs(step[row]) / size[0]).sum() <= 1 + 1e-12
        assert (np.abs(delta[row] + step[row]) <= 0.4 + 1e-12).all()


def test_nothing_moves_along_a_gradient_of_zeros():
    assert (L1Ball().of_radius(1.0).step(torch.zeros(2, 4), torch.ones(1, 1)) == 0).all()


def test_uniform_draws_have_the_moments_of_the_ball():
    r"""E|x_i| = 1/(d+1) and E x_i^2 = 2/((d+1)(d+2)) over the unit l1 ball of d dimensions."""
    number, d = 20_000, 4
    ball = L1Ball().of_radius(1.0)
    points = ball.uniform(Draws(0, range(number), torch.zeros(number, d)), EVERY, 0).double()
    squares = points.square()
    for found, wanted in (
        (points, 0.0),
        (points.abs(), 1 / (d + 1)),
        (squares, 2 / ((d + 1) * (d + 2))),
    ):
        error = 4.5 * found.std(0) / number**0.5
        assert ((found.mean(0) - wanted).abs() <= error).all()


def test_surface_draws_have_the_moments_of_the_simplex():
    """|x_i| is a part of a uniform point of the simplex: mean 1/d, second moment 2/(d (d+1))."""
    number, d = 20_000, 4
    like = torch.zeros(number, d)
    points = L1Ball().of_radius(1.0).surface(Draws(0, range(number), like), EVERY, 0).double()
    for found, wanted in ((points.abs(), 1 / d), (points.square(), 2 / (d * (d + 1)))):
        assert ((found.mean(0) - wanted).abs() <= 4.5 * found.std(0) / number**0.5).all()


def test_extreme_draws_move_few_features_or_many():
    number, d = 2000, 64
    like = torch.zeros(number, d)
    points = L1Ball().of_radius(1.0).extreme(Draws(0, range(number), like), EVERY, 0)
    moved = (points != 0).sum(1)
    assert moved.min() == 1 and moved.max() > d / 2
    # The whole part of a log-uniform number up to 64 is k with probability log64((k + 1) / k).
    wanted = sum(np.log(k) * np.log((k + 1) / k) for k in range(1, d)) / np.log(d)
    logs = moved.double().log()
    assert abs(logs.mean() - wanted) <= 4.5 * logs.std() / number**0.5


def test_the_draws_of_a_mask_use_what_is_free():
    free = torch.zeros(1, 50, dtype=torch.bool)
    free[0, 7] = True
    draws = Draws(3, range(20), torch.zeros(20, 50))
    points = L1Ball().of_radius(torch.full((1, 1), 2.0), free).extreme(draws, EVERY, 0)
    torch.testing.assert_close(points[:, 7].abs(), torch.full((20,), 2.0))
