"""The differential-privacy comparator against a fine search and the exact mechanism."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from scipy import optimize, special

from captum_robust.attr import SparsifiedSmoothGrad
from captum_robust.certificates.functionals.overlap import displacement_shifts
from captum_robust.certificates.printed.lecuyer import (
    LecuyerGaussianNoise,
    gaussian_mechanism_delta,
    lecuyer_floor,
    lecuyer_separation,
)
from captum_robust.examples import example_model
from captum_robust.noise import GaussianNoise

BUDGETS = np.geomspace(1e-5, 1.0, 200_001)


def slow_floor(z: float, t: float) -> float:
    delta = 1.25 * np.exp(-(BUDGETS**2) / (2 * t**2))
    return float((np.exp(-2 * BUDGETS) * (z - (1 + np.exp(BUDGETS)) * delta)).max())


@pytest.mark.parametrize(
    "shift, expected",
    [
        (0.06, (0.3294, 0.5369, 0.6420)),
        (0.15, (0.1896, 0.3196, 0.3872)),
        (0.30, (0.0781, 0.1403, 0.1744)),
    ],
)
def test_floor_has_the_values_of_the_comparison_table(shift, expected):
    assert lecuyer_floor([0.5, 0.8, 0.95], shift).round(4) == pytest.approx(expected)


def test_floor_is_void_at_large_shifts():
    assert (lecuyer_floor([0.5, 0.8, 0.95], 0.6) < 0).all()


def test_floor_without_a_shift_is_the_mean():
    assert lecuyer_floor([0.0, 0.4, 1.0], 0.0) == pytest.approx([0.0, 0.4, 1.0])


def test_floor_agrees_with_a_fine_search_and_is_never_above_it():
    rng = np.random.default_rng(0)
    for z, t in zip(rng.uniform(0, 1, 40), rng.uniform(0.001, 1.5, 40), strict=True):
        slow = slow_floor(z, t)
        assert lecuyer_floor(z, t) == pytest.approx(slow, abs=2e-7)


def test_floor_lies_below_the_neyman_pearson_floor_and_falls_with_the_shift():
    z, t = np.meshgrid(np.linspace(0.01, 0.99, 25), np.linspace(0.01, 1.0, 30))
    floor = lecuyer_floor(z, t)
    assert (floor <= special.ndtr(special.ndtri(z) - 2 * t)).all()
    assert (np.diff(floor, axis=0) <= 1e-9).all()
    assert (np.diff(floor, axis=1) >= -1e-9).all()


def test_mechanism_is_private_up_to_a_budget_of_one_and_not_beyond_two():
    # Exact: P(z > e/t - t/2) - exp(e) P(z > e/t + t/2), the curve of two shifted normals.
    e, t = np.meshgrid(np.linspace(0.001, 1.0, 300), np.geomspace(0.01, 50.0, 300))
    exact = special.ndtr(t / 2 - e / t) - np.exp(e) * special.ndtr(-t / 2 - e / t)
    assert (exact <= gaussian_mechanism_delta(e, t)).all()
    far = np.geomspace(2.0, 60.0, 200)
    exact = special.ndtr(far / 2 - 30 / far) - np.exp(30 + special.log_ndtr(-far / 2 - 30 / far))
    assert (exact > gaussian_mechanism_delta(30.0, far)).any()


def test_separation_is_the_root_of_the_condition():
    rng = np.random.default_rng(1)
    for _ in range(50):
        high, low = np.sort(rng.uniform(0.0, 1.0, 2))
        shift = float(lecuyer_separation(low, high))
        # The reference's grid of budgets is 6e-5 apart (relative), an error of second order.
        assert slow_floor(low, shift * (1 - 1e-7)) > high
        assert slow_floor(low, shift * (1 + 1e-6)) < high


def test_separation_with_a_margin_satisfies_the_condition_it_solves():
    low, high, margin = 0.9, 0.2, 0.15
    shift = float(lecuyer_separation(low, high, margin))

    def gap(t):
        delta = gaussian_mechanism_delta(BUDGETS, t)
        return (np.exp(-BUDGETS) * (low - delta) - np.exp(BUDGETS) * high - delta).max()

    assert gap(shift * (1 - 1e-9)) > margin
    assert gap(shift * (1 + 1e-4)) < margin
    assert shift < float(lecuyer_separation(low, high))


def test_separation_edges():
    assert lecuyer_separation([0.5, 0.4], [0.5, 0.6]).tolist() == [-np.inf, -np.inf]
    # l = 1, u = 0: (1 + e) delta(1) = 1 at the largest budget, or a smaller one if that is better
    slow = optimize.brentq(lambda t: slow_floor(1.0, t), 0.1, 2.0)
    assert lecuyer_separation(1.0, 0.0) == pytest.approx(slow, rel=1e-6)


def test_separation_never_exceeds_that_of_neyman_and_pearson():
    rng = np.random.default_rng(2)
    low, high = rng.uniform(0, 1, (2, 500))
    tight = GaussianNoise().separation(low, high, 10)
    assert (lecuyer_separation(low, high) <= tight).all()


def test_stands_in_for_the_gaussian_law_in_an_overlap():
    rng = np.random.default_rng(3)
    means = rng.uniform(0, 1, 60)
    lower, upper = np.clip(means - 0.03, 0, 1), np.clip(means + 0.03, 0, 1)
    ours = displacement_shifts(means, lower, upper, 12, LecuyerGaussianNoise(), 60)
    tight = displacement_shifts(means, lower, upper, 12, GaussianNoise(), 60)
    assert (np.diff(ours[ours > 0]) >= 0).all()
    assert (ours <= tight).all()
    assert np.array_equal(np.isinf(ours), np.isinf(tight))


def test_bounds_on_one_mean_are_valid_and_meet_at_no_shift():
    law, tight = LecuyerGaussianNoise(), GaussianNoise()
    means, shifts = np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1.5, 16))
    assert (law.lower(means, shifts, 9) <= tight.lower(means, shifts, 9) + 1e-12).all()
    assert (law.upper(means, shifts, 9) >= tight.upper(means, shifts, 9) - 1e-12).all()
    np.testing.assert_array_equal(law.lower(means[0], 0.0, 9), means[0])
    t, p = 0.05, 0.8
    slow = (np.exp(-BUDGETS) * (p - gaussian_mechanism_delta(BUDGETS, t))).max()
    assert float(law.lower(p, t, 9)) >= slow - 1e-9


@pytest.mark.parametrize("route", ["best", "lecuyer"])
@pytest.mark.parametrize("claim", ["reported", "redrawn"])
def test_pixels_and_their_radii_are_of_one_law(route, claim):
    smooth = SparsifiedSmoothGrad(Saliency(example_model()), keep=2)
    certificate = smooth.certify(
        torch.linspace(-1, 1, 12).reshape(3, 4),
        target=0, stdevs=0.5, nt_samples=3000, seed=0, route=route, claim=claim,
    )  # fmt: skip
    radii = certificate.pixel_radius()
    assert (radii > 0).any()
    for share in (0.5, 0.999, 1.001, 2.0):
        for size in radii[radii > 0].unique().tolist():
            decided = certificate.pixels(size * share) >= 0
            assert torch.equal(decided, radii > size * share)


def test_refuses_a_negative_shift():
    with pytest.raises(ValueError, match="`shift` must be >= 0"):
        lecuyer_floor(0.5, -0.1)
