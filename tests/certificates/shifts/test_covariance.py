"""The spread of maps: closed forms against SciPy, literal formulas, limits and inverses."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from scipy import optimize, special

from captum_robust.certificates.confidence.bousquet import bousquet_radius
from captum_robust.certificates.confidence.pac_bayes import pac_bayes_radius
from captum_robust.certificates.confidence.spread import (
    mean_lower,
    mean_upper,
    pair_limit,
    top_eigenvalue_upper,
    trace_upper,
)
from captum_robust.certificates.shifts.covariance import hcr_shift, inverse_hcr_shift


def divergence(p, q):
    return float(special.rel_entr(p, q) + special.rel_entr(1 - p, 1 - q))


def excess(q, p, level):
    return divergence(p, q) - level


@pytest.mark.parametrize("samples", [4, 100, 5000])
@pytest.mark.parametrize("alpha", [0.3, 0.05, 1e-6])
def test_mean_upper_is_the_root_of_its_equation(samples, alpha):
    level = math.log(1 / alpha) / samples
    for share in (0.001, 0.1, 0.5, 0.9):
        if -math.log(1 - share) < 1e-12 or divergence(share, 1 - 1e-15) <= level:
            continue
        root = optimize.brentq(excess, share, 1 - 1e-15, args=(share, level), xtol=1e-15)
        bound = mean_upper(3.0 * share, 3.0, samples, alpha)
        assert root * 3 <= bound <= 3 * root + 1e-10
    assert mean_upper(0.0, 3.0, samples, alpha) == pytest.approx(3 * -math.expm1(-level), abs=1e-10)
    assert mean_upper(3.0, 3.0, samples, alpha) == 3.0
    assert mean_upper(-1e-9, 3.0, samples, alpha) >= 0.0  # rounding may leave the range


def test_mean_lower_mirrors_the_upper():
    for average in (-0.9, 0.0, 0.4):
        lower = mean_lower(average, -1.0, 1.0, 50, 0.1)
        assert lower == pytest.approx(-mean_upper(1 - average, 2.0, 50, 0.1) + 1.0)
        assert -1.0 <= lower <= average


def test_values_of_pairs_reach_their_limit_and_do_not_pass_it():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(500, 2, 3))
    maps *= 1.5 / np.linalg.norm(maps, axis=2, keepdims=True)
    for vectors, nonnegative in ((maps, False), (np.abs(maps), True)):
        values = ((vectors[:, 0] - vectors[:, 1]) ** 2).sum(1) / 2
        assert values.max() <= pair_limit(1.5, nonnegative)
    opposite, crossed = 2 * 1.5**2, 1.5**2
    assert (pair_limit(1.5, False), pair_limit(1.5, True)) == (opposite, crossed)


def test_both_spectra_bounds_are_the_mean_bound_at_their_limit():
    for nonnegative in (False, True):
        limit = pair_limit(0.7, nonnegative)
        wanted = mean_upper(0.2, limit, 64, 0.05)
        assert trace_upper(0.2, 64, 0.05, 0.7, nonnegative) == wanted
        assert top_eigenvalue_upper(0.2, 64, 0.05, 0.7, nonnegative) == wanted


@pytest.mark.parametrize("nonnegative", [False, True])
def test_bousquet_radius_is_the_printed_formula(nonnegative):
    trace, eigenvalue, samples, alpha, norm = 0.8, 0.03, 700, 0.02, 1.3
    spread = norm * (math.sqrt(2) if nonnegative else 2)
    mean = math.sqrt(trace / samples)
    level = math.log(1 / alpha)
    wanted = (
        mean
        + math.sqrt(2 * (eigenvalue + 2 * spread * mean) * level / samples)
        + spread * level / (3 * samples)
    )
    radius = bousquet_radius(trace, eigenvalue, samples, alpha, norm, nonnegative)
    assert radius == pytest.approx(wanted, rel=1e-11) and radius >= wanted


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("samples", [50, 700, 8192])
def test_pac_bayes_radius_is_the_smallest_of_its_family(samples, nonnegative):
    """Against a grid of both parameters, the bound written out."""
    trace, eigenvalue, alpha, norm = 0.8, 0.03, 0.02, 1.3
    big = norm * (math.sqrt(2) if nonnegative else 2)
    mu, beta = np.meshgrid(np.geomspace(1e-3, 30, 400), np.geomspace(1e-3, 1e4, 400))
    largest = mu * big + mu**2 * big**2 / (2 * beta)
    with np.errstate(over="ignore"):
        excess = 2 * (np.exp(largest) - 1 - largest) / largest**2
    whole = (
        mu * trace / (2 * beta)
        + excess * mu / 2 * (math.sqrt(eigenvalue) + mu * big * math.sqrt(trace) / (2 * beta)) ** 2
        + (beta / 2 + math.log(1 / alpha)) / (samples * mu)
    )
    radius = pac_bayes_radius(trace, eigenvalue, samples, alpha, norm, nonnegative)
    assert radius == pytest.approx(whole.min(), rel=2e-3)


@pytest.mark.parametrize("radius_of", [bousquet_radius, pac_bayes_radius])
def test_monotone_in_everything(radius_of):
    base = {"trace": 0.5, "eigenvalue": 0.05, "samples": 400, "alpha": 0.05, "norm": 1.0}
    radius = radius_of(**base)
    for wider in ({"trace": 0.6}, {"eigenvalue": 0.1}, {"alpha": 0.01}, {"norm": 1.1}):
        assert radius_of(**(base | wider)) > radius
    assert radius_of(**(base | {"samples": 800})) < radius
    assert radius_of(**base, nonnegative=True) < radius


def test_a_mean_bound_tightens_with_samples():
    sizes = [mean_upper(0.1, 1.0, samples, 0.05) for samples in (10, 100, 1000)]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] > 0.1


@pytest.mark.parametrize("shift", [1e-8, 1e-3, 0.5, 2.0, 5.0])
def test_hcr_and_its_inverse(shift):
    eigenvalues = np.array([1e-8, 0.01, 1.0])
    moved = hcr_shift(shift, eigenvalues)
    np.testing.assert_allclose(moved, np.sqrt(eigenvalues * np.expm1(shift**2)), rtol=1e-14)
    np.testing.assert_allclose(inverse_hcr_shift(moved, eigenvalues), shift, rtol=1e-12)


def test_hcr_at_its_ends_says_nothing_and_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sizes = np.array([0.0, 1.0, 27.0, 400.0, np.inf])
        assert np.isinf(hcr_shift(sizes, np.inf)).all()  # no covariance known
        assert np.isinf(hcr_shift(sizes, 0.1)[2:]).all()  # the exponential overflows
        assert hcr_shift(0.0, 0.1) == 0.0
        assert inverse_hcr_shift(1.0, np.inf) == 0.0
        assert inverse_hcr_shift(-1.0, 0.5) == 0.0
