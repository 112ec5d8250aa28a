"""Region mass: closed forms against quadrature, exact arithmetic and the means that attain them."""

from __future__ import annotations

import math
from itertools import pairwise

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate
from scipy.stats import norm

from captum_robust.certificates.evidence.region import RegionEvidence
from captum_robust.certificates.shifts.moments import _inner, moment_shift, variance_shift
from captum_robust.noise import GaussianNoise, UniformBallNoise, UniformBoxNoise
from captum_robust.noise.shift import Shift

SHIFTS = [1e-6, 1e-3, 0.1, 0.5, 1.0, 2.0, 4.0, 6.0]


def quadrature(first, second, shift):
    """E_z min over s in [0, 1] of s L - first s + second s^2, literally."""

    def integrand(z):
        ratio = math.exp(shift * z - shift**2 / 2)
        s = min(max((first - ratio) / (2 * second), 0.0), 1.0)
        return norm.pdf(z) * (s * ratio - first * s + second * s * s)

    kinks = [
        math.log(ratio) / shift + shift / 2 for ratio in (first, first - 2 * second) if ratio > 0
    ]
    edges = sorted({-12.0, 12.0, *(kink for kink in kinks if abs(kink) < 12)})
    return sum(integrate.quad(integrand, *piece, epsabs=1e-12)[0] for piece in pairwise(edges))


@pytest.mark.parametrize("shift", [0.1, 0.5, 1.5])
def test_inner_expectation_is_the_integral(shift):
    rng = np.random.default_rng(0)
    for first, second in np.exp(rng.uniform(-2, 2, (12, 2))):
        wanted = quadrature(first, second, shift)
        assert _inner(first, second, shift) == pytest.approx(wanted, abs=1e-8)


def exactly(first, second, shift):
    """The closed form in 50 digits."""
    first, second, shift = (mpmath.mpf(float(value)) for value in (first, second, shift))

    def moments(ratio):
        if ratio <= 0:
            return [mpmath.mpf(0)] * 3
        end = mpmath.log(ratio) / shift + shift / 2
        growth = [mpmath.exp(mpmath.mpf(k * (k - 1)) * shift**2 / 2) for k in range(3)]
        return [factor * mpmath.ncdf(end - k * shift) for k, factor in enumerate(growth)]

    one, all_of_it = moments(first - 2 * second), moments(first)
    some = [whole - part for whole, part in zip(all_of_it, one, strict=True)]
    part = first**2 * some[0] - 2 * first * some[1] + some[2]
    return one[1] + (second - first) * one[0] - part / (4 * second)


@pytest.mark.parametrize("shift", SHIFTS)
def test_rounding_stays_below_what_is_taken_off(shift):
    rng = np.random.default_rng(1)
    with mpmath.workdps(50):
        for index, logs in enumerate(rng.uniform(-6, 6, (60, 2))):
            first, second = np.exp(logs)
            second = math.exp(-6) if index % 3 == 0 else second  # where the most digits cancel
            assert abs(_inner(first, second, shift) - exactly(first, second, shift)) < 5e-9


def test_variance_shift_is_attained_by_a_mean_linear_in_the_ratio():
    shift, lower = 0.5, 0.6
    growth = math.expm1(shift**2)
    slope = 0.02
    # s = p - a (L - 1): variance a^2 (e^{t^2} - 1), mean after the shift p - a (e^{t^2} - 1).
    bound = variance_shift(lower, slope**2 * growth, shift)
    assert bound == pytest.approx(lower - slope * growth, rel=1e-12)
    assert variance_shift(lower, 0.01, 27.0) == -math.inf
    assert variance_shift(lower, 0.0, 3.0) == lower


@pytest.mark.parametrize("shift", SHIFTS[2:6])
@pytest.mark.parametrize("lower", [0.3, 0.6, 0.9, 0.99])
def test_both_moments_are_worth_at_least_either(shift, lower):
    law = GaussianNoise()
    for variance in (lower * (1 - lower), 0.02, 0.002):
        bound = moment_shift(lower, lower, min(variance, 0.25), shift)
        either = max(
            float(law.lower(lower, shift, 1)), variance_shift(lower, min(variance, 0.25), shift)
        )
        assert bound >= either - 0.01 * max(either, 0.0) - 1e-3


def test_a_variance_that_cannot_bind_gives_neyman_and_pearson():
    law = GaussianNoise()
    for lower, shift in ((0.3, 0.2), (0.6, 1.0), (0.9, 0.5), (0.95, 2.0)):
        exact = float(law.lower(lower, shift, 1))
        bound = moment_shift(lower, lower, 0.25, shift)
        assert 0.99 * exact - 1e-3 <= bound <= exact


def test_monotone_in_everything():
    base = {"lower": 0.7, "upper": 0.75, "variance": 0.05, "shift": 0.6}
    bound = moment_shift(**base)
    slack = 1e-6  # of the optimiser
    for worse in ({"lower": 0.6}, {"upper": 0.85}, {"variance": 0.1}, {"shift": 0.8}):
        assert moment_shift(**(base | worse)) <= bound + slack
    assert moment_shift(**(base | {"shift": 0.0})) == 0.7
    shares = [RegionEvidence(0.7, 0.75, 0.05, 0.0, GaussianNoise(), 9).share(t) for t in SHIFTS]
    assert (np.diff(shares) <= slack).all() and 0.0 <= min(shares) <= max(shares) <= 0.7


@pytest.mark.parametrize("law", [GaussianNoise(), UniformBallNoise(), UniformBoxNoise()])
def test_inverse_passes_its_own_forward_bound(law):
    evidence = RegionEvidence(0.7, 0.75, 0.05, 0.02, law, 4)
    for share in (0.1, 0.6):
        shift = evidence.shift_of_share(share)
        assert evidence.share(shift) >= share > evidence.share(shift * (1 + 1e-6) + 1e-9)
    assert evidence.shift_of_share(0.9) == -math.inf
    assert evidence.shift_of_share(0.0) == math.inf


def test_bodies_take_total_variation_alone():
    law = UniformBoxNoise()
    evidence = RegionEvidence(0.7, 0.7, 1e-6, 0.0, law, 4)
    distance = float(law.total_variation(0.3, 4))
    assert evidence.share(0.3) == pytest.approx(0.7 - distance, abs=1e-11)
    # A variance says nothing there: the crescent may hold all of a sudden change.


def test_evidence_of_one_sample_knows_no_variance():
    evidence = RegionEvidence.of(
        np.array([1.0]), 0.1, Shift(GaussianNoise(), 3, torch.ones(1), False), redrawn=False
    )
    assert evidence.variance == 0.25 and 0 <= evidence.lower <= evidence.upper <= 1
