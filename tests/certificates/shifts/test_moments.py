"""Moment bounds at extreme shifts, and for every shift up to the one that is asked about."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from captum_robust.certificates import hcr_shift, moment_shift, variance_shift
from captum_robust.certificates.shifts.covariance import inverse_hcr_shift
from captum_robust.certificates.shifts.moments import _inner


def test_no_shift_is_too_far():
    for shift in (26.0, 27.0, 40.0, 1e6):
        assert moment_shift(0.6, 0.7, 0.02, shift) == 0.0
        assert variance_shift(0.6, 0.02, shift) == -math.inf or shift <= 26.0
    assert variance_shift(0.6, 0.0, 30.0) == 0.6


def test_a_map_without_covariance_never_moves():
    np.testing.assert_array_equal(hcr_shift([0.0, 1.0, 30.0, 1e6], 0.0), 0.0)
    assert float(hcr_shift(30.0, 1e-300)) == np.inf
    assert float(hcr_shift(0.5, np.inf)) == np.inf
    assert float(inverse_hcr_shift(0.0, 0.0)) == np.inf
    assert float(inverse_hcr_shift(0.3, np.inf)) == 0.0


@pytest.mark.parametrize(
    "first, second", [(0.3, 0.1), (1.0, 0.1), (1.0, 1.0), (3.0, 3.0), (9, 0.5)]
)
def test_the_dual_does_not_grow_with_the_shift(first, second):
    """So a bound at one shift covers all smaller ones: Jensen, at fixed multipliers."""
    values = [_inner(first, second, shift) for shift in np.linspace(1e-3, 6, 200)]
    assert (np.diff(values) <= 1e-9).all()


def test_it_holds_at_every_smaller_shift():
    """Steps s = a + (b - a) [z > c], whose mean after any shift is known."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        low, high = np.sort(rng.uniform(size=2))
        share = rng.uniform(0.05, 0.95)
        mean = low + (high - low) * share
        variance = (high - low) ** 2 * share * (1 - share)
        largest = rng.uniform(0.2, 2.0)
        bound = moment_shift(mean, mean, variance, largest)
        for shift in np.linspace(0, largest, 7):
            worst = low + (high - low) * norm.cdf(norm.ppf(share) - shift)
            assert bound <= worst + 1e-9
