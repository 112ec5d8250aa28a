"""Hundreds of small problems, every possible outcome enumerated."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from captum_robust.certificates import cosine_from_sine, displacement_shifts
from captum_robust.noise import GaussianNoise

DIMENSION = 5


def possible_tops(lower, upper, count):
    """Every set that is a top ``count`` of some point of the box; ties count as possible."""
    features = range(lower.size)
    for chosen in itertools.combinations(features, count):
        rest = [feature for feature in features if feature not in chosen]
        if not rest or upper[list(chosen)].min() >= lower[rest].max():
            yield set(chosen)


def problem(seed):
    """Random means and intervals of unequal widths around them; every fourth with ties."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 8))
    means = rng.uniform(0.05, 0.95, size)
    if seed % 4 == 0:
        means = np.round(means, 1)
    down, up = rng.uniform(0, rng.choice([0.02, 0.1, 0.4]), (2, size))
    count = int(rng.integers(1, size + 1))
    return means, np.clip(means - down, 0, 1), np.clip(means + up, 0, 1), count, rng


@pytest.mark.parametrize("block", range(6))
def test_reported_overlap_is_the_exact_worst_case_over_the_box(law, block):
    for seed in range(block * 50, block * 50 + 50):
        means, lower, upper, count, rng = problem(seed)
        shift = float(rng.choice([0.0, 0.05, 0.2, 0.6, 1.5]))
        limits = displacement_shifts(means, lower, upper, count, law, DIMENSION)
        certified = count - np.searchsorted(limits, shift, side="right")
        top = set(np.argsort(-means, kind="stable")[:count])
        after = law.lower(lower, shift, DIMENSION), law.upper(upper, shift, DIMENSION)
        truth = min(len(top & other) for other in possible_tops(*after, count))
        assert certified == truth  # never false, and nothing given away


def joint_outcomes(law, lower, upper, count, shift):
    """Overlaps of every pair of tops, at x and after the shift, that one map can have.

    At x every feature inside is at least s, every one outside at most s; thresholds s between the
    ends and the box's own corners are tried.
    """
    features = set(range(lower.size))
    for first in possible_tops(lower, upper, count):
        inside, outside = sorted(first), sorted(features - first)
        ends = max(lower[outside], default=0.0), min(upper[inside])
        corners = [value for value in (*lower, *upper) if ends[0] <= value <= ends[1]]
        for s in {*np.linspace(*ends, 9), *corners}:
            highest = np.where(np.isin(range(lower.size), inside), upper, np.minimum(upper, s))
            lowest = np.where(np.isin(range(lower.size), inside), np.maximum(lower, s), lower)
            after = law.lower(lowest, shift, DIMENSION), law.upper(highest, shift, DIMENSION)
            for second in possible_tops(*after, count):
                yield len(first & second)


@pytest.mark.parametrize("block", range(4))
def test_population_overlap_is_never_false(law, block):
    exact = total = 0
    for seed in range(1000 + block * 20, 1000 + block * 20 + 20):
        means, lower, upper, count, rng = problem(seed)
        if means.size > 5:
            continue
        shift = float(rng.choice([0.0, 0.05, 0.2, 0.6]))
        limits = displacement_shifts(means, lower, upper, count, law, DIMENSION, known_top=False)
        certified = count - np.searchsorted(limits, shift, side="right")
        truth = min(joint_outcomes(law, lower, upper, count, shift))
        assert certified <= truth
        exact, total = exact + (certified == truth), total + 1
    assert exact >= 0.8 * total  # order statistics of the bounds give little away


@pytest.mark.parametrize("block", range(3))
def test_redrawn_overlap_is_never_false_within_its_margin(law, block):
    for seed in range(2000 + block * 40, 2000 + block * 40 + 40):
        means, lower, upper, count, rng = problem(seed)
        error, shift = float(rng.choice([0.01, 0.05])), float(rng.choice([0.0, 0.1, 0.4]))
        limits = displacement_shifts(means, lower, upper, count, law, DIMENSION, margin=2 * error)
        certified = count - np.searchsorted(limits, shift, side="right")
        top = set(np.argsort(-means, kind="stable")[:count])
        after = (
            law.lower(lower, shift, DIMENSION) - error,
            law.upper(upper, shift, DIMENSION) + error,
        )
        assert certified == min(len(top & other) for other in possible_tops(*after, count))


def test_boxes_of_unequal_widths_certify_nothing():
    # Order of the means is not order of the bounds: certificates.md section 8.
    means, half = np.array([0.5, 0.3, 0.3, 0.4]), np.array([0.01, 0.3, 0.3, 0.01])
    law = GaussianNoise()
    limits = displacement_shifts(means, means - half, means + half, 2, law, 4)
    assert 2 - np.searchsorted(limits, 0.0, side="right") == 0
    # Sorting the bounds of all features, l_[i] > u_[2K-i+1], would certify one for this map.
    lower, upper = np.sort(means - half)[::-1], np.sort(means + half)[::-1]
    assert sum(lower[i - 1] > upper[4 - i] for i in (1, 2)) == 1


@pytest.mark.parametrize("seed", range(5))
def test_reported_cosine_against_every_vector_of_the_ball(seed):
    # The functional alone: all vectors within A of the tip, by dense sampling of their sphere.
    rng = np.random.default_rng(seed)
    for _ in range(50):
        tip = rng.normal(size=3)
        length = np.linalg.norm(tip)
        reach = rng.uniform(0, 1.3) * length
        around = rng.normal(size=(4000, 3))
        around *= reach / np.linalg.norm(around, axis=1, keepdims=True)
        moved = tip + around
        cosines = moved @ tip / np.linalg.norm(moved, axis=1) / length
        bound = float(cosine_from_sine(reach / length))
        assert bound <= cosines.min() + 1e-12
        if reach < length:
            tangent = tip * (1 - (reach / length) ** 2)
            side = np.cross(tip, rng.normal(size=3))
            side *= reach * np.sqrt(1 - (reach / length) ** 2) / np.linalg.norm(side)
            widest = tangent + side
            assert np.linalg.norm(widest - tip) == pytest.approx(reach)
            widest = widest @ tip / np.linalg.norm(widest) / length
            assert bound == pytest.approx(widest, abs=1e-9) and bound <= widest


@pytest.mark.parametrize("seed", range(6))
def test_random_step_fields_never_beat_the_bounds(law, seed):
    """Random maps of norm at most 1 on three regions of known mass, the worst law can make."""
    rng = np.random.default_rng(seed)
    for _ in range(60):
        shift = rng.uniform(0.02, 1.5)
        here, there = region_masses(law, shift)
        values = rng.normal(size=(here.size, 3))
        values /= np.linalg.norm(values, axis=1, keepdims=True)
        values *= rng.choice([1.0, 1.0, 0.7], size=(here.size, 1))
        if rng.random() < 0.5:  # fields that turn with the likelihood ratio are the worst
            ratio = np.where(here > 0, there / np.where(here > 0, here, 1), 50)[:, None]
            values = rng.normal(size=3) + ratio * rng.normal(size=3)
            values /= np.linalg.norm(values, axis=1, keepdims=True)
        before, after = here @ values, there @ values
        length = np.linalg.norm(before)
        assert np.linalg.norm(after - before) <= law.norm_shift(shift, 3) + 1e-9
        bound = float(cosine_from_sine(law.angle_shift(shift, 3) / length))
        assert bound <= before @ after / length / np.linalg.norm(after) + 1e-9
        first, second = (1 + values[:, 0]) / 2, (1 + values[:, 1]) / 2  # [0, 1]-valued
        for s in (first, second):
            assert law.lower(here @ s, shift, 3) <= there @ s + 1e-9
            assert there @ s <= law.upper(here @ s, shift, 3) + 1e-9


def region_masses(law, shift):
    """Masses of regions under the law and under the moved law: slices, or lens and crescents."""
    if isinstance(law, GaussianNoise):
        from scipy.stats import norm

        edges = np.concatenate([[-np.inf], np.linspace(-4, 4 + shift, 40), [np.inf]])
        return np.diff(norm.cdf(edges)), np.diff(norm.cdf(edges - shift))
    share = float(law.total_variation(shift, 3))
    lens = np.full(4, (1 - share) / 4)
    crescent, nothing = np.array([0.3, 0.7]) * share, np.zeros(2)
    return np.concatenate([lens, crescent, nothing]), np.concatenate([lens, nothing, crescent])
