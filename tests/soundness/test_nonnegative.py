"""Maps without negative elements: constants attained by two-orthant steps, beaten by nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize
from scipy.stats import norm

from captum_robust.noise import GaussianNoise, UniformBallNoise, UniformBoxNoise

SHIFTS = [0.01, 0.1, 0.3, 0.6, 1.0, 2.0, 4.0]
LAWS = [UniformBallNoise(), UniformBoxNoise()]
DIMENSION = 3


def grid(shift, cells=1200):
    """Masses of slices of the noise, before and after the shift."""
    edges = np.concatenate([[-np.inf], np.linspace(-6, 6 + shift, cells), [np.inf]])
    return np.diff(norm.cdf(edges)), np.diff(norm.cdf(edges - shift))


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_two_orthant_step_attains_the_gaussian_deviation(shift):
    # e1 beyond the middle, e2 before it.
    here, there = norm.sf(shift / 2), norm.sf(-shift / 2)
    moved = math.hypot(there - here, there - here)
    assert float(GaussianNoise().norm_shift(shift, DIMENSION, True)) == pytest.approx(moved)


def turned(masses):
    """sin(angle) ||h|| of a step from e2 to e1 whose mass of e1 goes from here to there."""
    here, there = masses
    before, after = np.array([here, 1 - here]), np.array([there, 1 - there])
    return abs(before[0] * after[1] - before[1] * after[0]) / np.linalg.norm(after)


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_two_orthant_step_attains_the_gaussian_angle_constant(shift):
    edges = np.linspace(-6, 6 + shift, 200_001)
    here, there = norm.sf(edges), norm.sf(edges - shift)
    angles = np.abs(here * (1 - there) - (1 - here) * there) / np.hypot(there, 1 - there)
    constant = float(GaussianNoise().angle_shift(shift, DIMENSION, True))
    assert angles.max() <= constant <= angles.max() + 2e-7  # attained
    best = int(angles.argmax())
    assert turned((here[best], there[best])) == pytest.approx(angles[best])
    signed = float(GaussianNoise().angle_shift(shift, DIMENSION, False))
    assert constant < signed
    if shift >= 0.6:  # dividing the signed constant by the root of 2 would be false
        assert angles.max() > signed / math.sqrt(2)


def test_values_of_the_design():
    law = GaussianNoise()
    for shift, value in ((0.1, 0.0564), (0.3, 0.1679), (0.6, 0.3279), (1.0, 0.5175), (2.0, 0.8320)):
        assert float(law.angle_shift(shift, DIMENSION, True)) == pytest.approx(value, abs=6e-5)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.6, 0.9])
def test_steps_on_crescents_attain_the_constants_of_bodies(law, share):
    shift = float(law.inverse_total_variation(share, DIMENSION))
    share = float(law.total_variation(shift, DIMENSION))
    # e2 on the one crescent, e1 on the other, e1 on a part of the lens.
    parts = np.linspace(0, 1 - share, 50_001)
    angles = np.array([parts, parts + share])
    turns = np.abs(angles[0] * (1 - angles[1]) - (1 - angles[0]) * angles[1])
    truth = (turns / np.hypot(angles[1], 1 - angles[1])).max()
    constant = float(law.angle_shift(shift, DIMENSION, True))
    assert truth - 1e-12 <= constant <= truth * (1 + 1e-6)
    moved = float(law.norm_shift(shift, DIMENSION, True))
    assert moved == pytest.approx(math.sqrt(2) * share, rel=1e-12)


@pytest.mark.parametrize("shift", [0.1, 0.6, 1.0, 2.0])
def test_linear_programs_over_all_functions_find_nothing_worse(shift):
    """A is the largest -w.h over fields with w.h~ >= 0 and unit w: w.G in [-a, b], any function."""
    here, there = grid(shift, 160)
    worst = 0.0
    for turn in np.linspace(0.05, math.pi / 2 - 0.05, 25):
        found = optimize.linprog(
            here, A_ub=[-there], b_ub=[0.0], bounds=(-math.sin(turn), math.cos(turn))
        )
        worst = max(worst, -found.fun)
    constant = float(GaussianNoise().angle_shift(shift, DIMENSION, True))
    assert 0.99 * constant <= worst <= constant


@pytest.mark.parametrize("block", range(4))
def test_random_fields_stay_within_the_constants(block):
    """Nonnegative fields, bent towards the worst by a few alternating steps."""
    law = GaussianNoise()
    for seed in range(60 * block, 60 * block + 60):
        rng = np.random.default_rng(seed)
        shift, size = rng.choice([0.1, 0.3, 1.0, 2.0]), int(rng.integers(2, 5))
        here, there = grid(shift, 80)
        fields = np.abs(rng.normal(size=(here.size, size)))
        fields /= np.maximum(np.linalg.norm(fields, axis=1, keepdims=True), 1e-12)
        moved_bound = float(law.norm_shift(shift, DIMENSION, True))
        turned_bound = float(law.angle_shift(shift, DIMENSION, True))
        moves = []
        for _ in range(8):
            before, after = here @ fields, there @ fields
            moves.append(np.linalg.norm(after - before))
            assert moves[-1] <= moved_bound + 1e-12
            length = np.linalg.norm(before)
            cosine = before @ after / length / np.linalg.norm(after)
            assert length * math.sqrt(max(1 - cosine**2, 0)) <= turned_bound + 1e-9
            # The field that moves furthest along this direction: w or -w, clipped to the orthant.
            along = (after - before) / moves[-1]
            gain = np.sign(there - here)[:, None] * along
            fields = np.maximum(gain, 0)
            fields /= np.maximum(np.linalg.norm(fields, axis=1, keepdims=True), 1e-12)
        assert moves == sorted(moves) or min(moves[1:]) > 0.5 * moved_bound
        assert moves[-1] >= 0.5 * moved_bound


@pytest.mark.parametrize("law", [GaussianNoise(), *LAWS])
def test_inverses_pass_their_own_forward_bound(law):
    for constant in (1e-6, 0.01, 0.3, 0.7071, 0.9, 0.999):
        for name in ("angle_shift", "norm_shift"):
            inverse = getattr(law, f"inverse_{name}")
            shift = float(inverse(constant, DIMENSION, True))
            reached = float(getattr(law, name)(shift, DIMENSION, True))
            assert reached <= constant * (1 + 1e-9)
            if constant > 1e-5:
                assert reached >= constant * (1 - 1e-5) - 1e-7
