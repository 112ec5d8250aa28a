"""Inputs in half precision: every point stays in the ball and in the box, measured in float32."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Saliency
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from captum_robust._base.examples import Examples
from captum_robust.robust import L2TopKAttack, RandomAttack, TopKAttack
from captum_robust.robust.balls.draws import Draws
from captum_robust.robust.template.region import Region

HALVES = [torch.bfloat16, torch.float16]
EVERY = slice(None)


def length(delta, norm):
    wide = delta.double()
    return wide.abs().amax(1) if norm == "Linf" else wide.norm(p=int(norm[1]), dim=1)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**30),
    radius=st.floats(1e-3, 3.0),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
    boxed=st.booleans(),
)
def test_no_point_leaves_the_ball(norm, dtype, seed, radius, scale, boxed):
    generator = torch.Generator().manual_seed(seed)
    clean = (scale * torch.randn(4, 7, generator=generator)).to(dtype)
    bound = float(clean.abs().max()) if boxed else torch.inf
    region = Region.around(Examples(clean, None, None), radius, (-bound, bound), norm)
    draws = Draws(seed, range(4), region.clean)
    for points in (
        region.start("uniform", draws, EVERY, 0),
        region.start("surface", draws, EVERY, 1),
        region.limit(2 * radius * torch.randn(4, 7, generator=generator), EVERY),
        region.limit(radius / 9 * torch.randn(4, 7, generator=generator), EVERY),
    ):
        assert torch.equal(points.to(dtype).float(), points)  # what the user gets is the same
        size = length(points - clean.float(), norm)
        assert (size <= torch.tensor(radius, dtype=torch.float32)).all()
        assert (points.abs() <= bound).all()


def test_rounding_is_to_the_nearest_value_where_that_is_inside():
    """One ulp is 2^-7 here, and moves of more than half of one must not be lost."""
    clean = torch.ones(1, 3, dtype=torch.bfloat16)
    for norm in ("Linf", "L2", "L1"):
        region = Region.around(Examples(clean, None, None), 0.1, (-torch.inf, torch.inf), norm)
        moved = region.limit(torch.full((1, 3), 0.6 * 2**-7), EVERY)
        assert torch.equal(moved, torch.full((1, 3), 1 + 2**-7))
    tight = Region.around(Examples(clean, None, None), 0.7 * 2**-7, (-torch.inf, torch.inf), "Linf")
    assert torch.equal(tight.limit(torch.ones(1, 3), EVERY), torch.ones(1, 3))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("norm", ["Linf", "L2", "L1"])
def test_whole_attacks(norm, dtype):
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).to(dtype).eval()
    inputs = torch.rand(5, 6).to(dtype)
    targets = net(inputs).argmax(1)
    for kind in (TopKAttack, L2TopKAttack, RandomAttack):
        attack = kind(net, Saliency(net), 0, 1, norm=norm)
        points = attack.perturb(inputs, 0.1, step_num=4, target=targets, restarts=2, seed=0)
        assert points.dtype == dtype
        size = length(points.float() - inputs.float(), norm)
        assert (size <= torch.tensor(0.1)).all()
        assert torch.equal(net(points).argmax(1), targets)


def test_inputs_of_two_types():
    """Each keeps its own type, and together they stay in one ball."""
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    joined = lambda a, b: net(torch.cat([a, b.float()], 1))  # noqa: E731
    first, second = torch.rand(4, 2), torch.rand(4, 4).bfloat16()
    targets = joined(first, second).argmax(1)
    attack = RandomAttack(joined, Saliency(joined), norm="L2")
    found = attack.perturb((first, second), 0.3, step_num=20, target=targets, seed=0)
    assert [part.dtype for part in found] == [torch.float32, torch.bfloat16]
    delta = torch.cat([found[0] - first, found[1].float() - second.float()], 1)
    assert (delta.norm(dim=1) <= 0.3 * (1 + 1e-6)).all() and delta.abs().amax() > 0


def test_bounds_that_round_in_half_precision():
    """A clean value at a bound is outside it by its own rounding, which is no error."""
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).bfloat16()
    inputs = torch.full((2, 3), 0.3).bfloat16()
    attack = RandomAttack(net, Saliency(net), 0, 0.3)
    attack.perturb(inputs, 0.1, step_num=2, target=net(inputs).argmax(1), seed=0)
