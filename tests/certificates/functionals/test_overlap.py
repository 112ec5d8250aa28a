"""Displacement shifts against a literal loop, and the corners of K."""

from __future__ import annotations

import math

import numpy as np
import pytest

from captum_robust.certificates import displacement_shifts
from captum_robust.certificates.functionals.overlap import top_indices
from captum_robust.certificates.printed.formulas import published_displacement_shifts
from captum_robust.noise import GaussianNoise, UniformBallNoise, UniformBoxNoise

LAWS = [GaussianNoise(), UniformBallNoise(), UniformBoxNoise()]
names = [law.name for law in LAWS]


def slow_overlap(means, lower, upper, count, law, dimension, shift):
    """K - max{n : n = 0 or lower(l_(n)) <= upper(u_[n])}, word for word."""
    order = sorted(range(len(means)), key=lambda index: (-means[index], index))
    inside, outside = order[:count], order[count:]
    smallest = sorted(lower[index] for index in inside)
    largest = sorted((upper[index] for index in outside), reverse=True)
    lost = 0
    for n in range(1, min(count, len(means) - count) + 1):
        low = float(law.lower(smallest[n - 1], shift, dimension))
        high = float(law.upper(largest[n - 1], shift, dimension))
        if low <= high:
            lost = n
    return count - lost


@pytest.mark.parametrize("law", LAWS, ids=names)
@pytest.mark.parametrize("seed", range(4))
def test_against_the_literal_loop(law, seed):
    rng = np.random.default_rng(seed)
    for _ in range(40):
        size = int(rng.integers(1, 12))
        means = np.round(rng.uniform(0, 1, size), int(rng.integers(1, 4)))
        half = rng.uniform(0, 0.15, size)
        lower, upper = np.clip(means - half, 0, 1), np.clip(means + half, 0, 1)
        for count in range(1, size + 1):
            limits = displacement_shifts(means, lower, upper, count, law, 6)
            assert limits.size == min(count, size - count)
            assert (np.diff(limits[np.isfinite(limits)]) >= 0).all()
            for shift in (0.0, 0.07, 0.3, 0.9):
                certified = count - np.searchsorted(limits, shift, side="right")
                assert certified == slow_overlap(means, lower, upper, count, law, 6, shift)


def test_oracle_of_the_index():
    h = [0.95, 0.9, 0.1, 0.05]
    law = GaussianNoise()
    # 2 rho / sigma = 0.2: rank i against 2K - i + 1 certifies 2, against 2K - i as printed 1.
    right = displacement_shifts(h, h, h, 2, law, 4)
    printed = published_displacement_shifts(h, h, h, 2, law, 4)
    assert 2 - np.searchsorted(right, 0.1, side="right") == 2
    assert 2 - np.searchsorted(printed, 0.1, side="right") == 1
    assert printed[0] == -math.inf  # full overlap can never be certified


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_corners_of_k(law):
    h = np.array([0.9, 0.7, 0.4, 0.2])
    assert displacement_shifts(h, h, h, 4, law, 3).size == 0  # K = m: nothing can leave
    one = displacement_shifts(h, h, h, 1, law, 3)
    assert one == law.separation(0.9, 0.7, 3)
    most = displacement_shifts(h, h, h, 3, law, 3)  # K > m / 2: one at most can leave
    assert most.size == 1 and most[0] == law.separation(0.4, 0.2, 3)
    single = np.array([0.5])
    assert displacement_shifts(single, single, single, 1, law, 3).size == 0


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_ties_certify_nothing_and_break_to_the_lower_index(law):
    h = np.full(4, 0.5)
    assert (displacement_shifts(h, h, h, 2, law, 3) == -np.inf).all()
    assert sorted(top_indices([0.5, 0.9, 0.5, 0.5], 2)) == [0, 1]
    assert sorted(top_indices([0.0, 0.0, 0.0], 2)) == [0, 1]


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_margin_and_unknown_top_cost(law):
    rng = np.random.default_rng(1)
    means = rng.uniform(0, 1, 30)
    half = rng.uniform(0, 0.05, 30)
    bounds = np.clip(means - half, 0, 1), np.clip(means + half, 0, 1)
    plain = displacement_shifts(means, *bounds, 10, law, 8)
    margin = displacement_shifts(means, *bounds, 10, law, 8, margin=0.05)
    assert (margin <= plain).all() and (margin < plain).any()
    # Equal widths keep the order of the means: then both routes are the same formula.
    equal = means - 0.01, means + 0.01
    known = displacement_shifts(means, *equal, 10, law, 8)
    unknown = displacement_shifts(means, *equal, 10, law, 8, known_top=False)
    np.testing.assert_allclose(known, unknown)
