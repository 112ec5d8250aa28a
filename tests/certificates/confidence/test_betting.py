"""kl, empirical Bernstein and betting bounds: literal forms, order, coverage of each tail."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from captum_robust.certificates import betting_lower, empirical_bernstein, hoeffding, kl_chernoff
from captum_robust.certificates.confidence.elementwise.kl_chernoff import kl_upper
from tests.helpers.coverage import ALPHA, covers

REPETITIONS = 1600


# -- kl ---------------------------------------------------------------------------------------


def divergence(p, q):
    p, q = mpmath.mpf(p), mpmath.mpf(q)
    terms = [a * mpmath.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0]
    return mpmath.fsum(terms)


@pytest.mark.parametrize("share", [0.0, 1e-12, 1e-4, 0.3, 0.5, 0.97, 1 - 1e-9])
@pytest.mark.parametrize("level", [1e-6, 1e-3, 0.1, 3.0])
def test_kl_upper_solves_its_equation_from_outside(share, level):
    bound = float(kl_upper(share, level))
    assert share <= bound <= 1.0
    if bound < 1.0:
        with mpmath.workdps(40):
            assert divergence(share, bound) >= level  # never inside
            if bound > share + 1e-9:
                assert divergence(share, max(bound - 3e-12, share)) <= level


def test_kl_is_inside_hoeffding_keeps_the_order_and_mirrors():
    means = np.linspace(0, 1, 101)
    for samples, alpha, m in ((10, 0.3, 1), (500, 0.05, 60), (8192, 1e-4, 150_528)):
        low, high = kl_chernoff(means, samples, alpha, m)
        wide_low, wide_high = hoeffding(means, samples, alpha, m)
        assert (wide_low <= low + 1e-15).all() and (high <= wide_high + 1e-15).all()
        assert (low <= means).all() and (means <= high).all()
        assert (np.diff(low) >= 0).all() and (np.diff(high) >= 0).all()
        np.testing.assert_allclose(low, 1 - high[::-1], atol=1e-15)
    assert kl_chernoff([0.0], 100, 0.1, 1)[0] == pytest.approx(0.0, abs=2e-12)
    assert kl_chernoff([1.0], 100, 0.1, 1)[1] == 1.0


@pytest.mark.parametrize("probability", [0.01, 0.5, 0.95])
@pytest.mark.parametrize("comparisons", [1, 40])
def test_each_tail_of_kl(probability, comparisons):
    rng, samples = np.random.default_rng(0), 200
    means = rng.binomial(samples, probability, (REPETITIONS, comparisons)) / samples
    low, high = kl_chernoff(means, samples, ALPHA, comparisons)
    assert covers((low > probability).any(1), ALPHA / 2)
    assert covers((high < probability).any(1), ALPHA / 2)
    if comparisons == 40 and probability == 0.5:  # without the m of the union
        low, high = kl_chernoff(means, samples, ALPHA, 1)
        assert not covers((low > probability).any(1), ALPHA / 2)
        assert not covers((high < probability).any(1), ALPHA / 2)


# -- empirical Bernstein ------------------------------------------------------------------------


def test_empirical_bernstein_is_the_printed_formula():
    means, variances = np.array([0.5, 0.02]), np.array([0.2, 0.0])
    samples, alpha, m = 400, 0.05, 30
    level = math.log(4 * m / alpha)
    half = np.sqrt(2 * variances * level / samples) + 7 * level / (3 * (samples - 1))
    low, high = empirical_bernstein(means, variances, samples, alpha, m)
    np.testing.assert_allclose(low, np.clip(means - half, 0, 1), atol=1e-11)
    np.testing.assert_allclose(high, np.clip(means + half, 0, 1), atol=1e-11)
    with pytest.raises(ValueError, match="`samples` must be at least 2"):
        empirical_bernstein(means, variances, 1, alpha, m)


@pytest.mark.parametrize("chance", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("comparisons", [1, 20])
def test_each_tail_of_empirical_bernstein(chance, comparisons):
    rng, samples = np.random.default_rng(1), 120
    bits = rng.random((REPETITIONS // 2, comparisons, samples)) < chance
    means, variances = bits.mean(2), bits.var(2, ddof=1)
    low, high = empirical_bernstein(means, variances, samples, ALPHA, comparisons)
    assert covers((low > chance).any(1), ALPHA / 2)
    assert covers((high < chance).any(1), ALPHA / 2)


def test_empirical_bernstein_needs_its_second_term_and_its_union():
    rng, samples = np.random.default_rng(2), 120
    rare = rng.random((REPETITIONS, samples)) < 0.01
    level = math.log(4 / ALPHA)
    first = rare.mean(1) + np.sqrt(2 * rare.var(1, ddof=1) * level / samples)
    assert not covers(first < 0.01, ALPHA / 2)  # a variance of 0 says nothing
    many = rng.random((200, 500, 400)) < 0.5
    half = np.sqrt(2 * many.var(2, ddof=1) * level / 400)
    assert not covers((many.mean(2) - half > 0.5).any(1), ALPHA / 2)


def test_empirical_bernstein_wins_where_values_vary_little():
    low, high = empirical_bernstein([0.5], [1e-4], 5000, 0.05, 1000)
    wide_low, wide_high = kl_chernoff([0.5], 5000, 0.05, 1000)
    assert wide_low < low and high < wide_high


# -- betting ------------------------------------------------------------------------------------


def literal_betting(values, alpha):
    """Wealth of every candidate on a grid, one value after the other."""
    refuted = 0.0
    size = len(values)
    for candidate in np.linspace(0.0005, 1, 2000):
        wealth, largest = 1.0, 0.0
        total, spread = 0.5, 0.25
        for index, value in enumerate(values):
            before = spread / (index + 1)
            bet = math.sqrt(2 * math.log(1 / alpha) / (size * before))
            wealth *= 1 + min(bet, 0.75 / candidate) * (value - candidate)
            largest = max(largest, wealth)
            total += value
            spread += (value - total / (index + 2)) ** 2
        if largest >= 1 / alpha:
            refuted = candidate
        else:
            break
    return refuted


@pytest.mark.parametrize("seed", range(6))
def test_betting_is_the_literal_gamble(seed):
    rng = np.random.default_rng(seed)
    values = rng.beta(*[(2, 2), (30, 10), (0.3, 0.3)][seed % 3], size=int(rng.integers(3, 60)))
    alpha = [0.05, 0.3][seed % 2]
    assert betting_lower(values, alpha) == pytest.approx(literal_betting(values, alpha), abs=6e-4)


@pytest.mark.parametrize("samples", [1, 2, 30, 300])
@pytest.mark.parametrize("name", ["bits", "rare", "frequent", "narrow", "constant"])
def test_betting_covers(samples, name):
    rng, shape = np.random.default_rng(samples), (REPETITIONS // 2, samples)
    rows, mean = {
        "bits": lambda: (rng.integers(0, 2, shape).astype(float), 0.5),
        "rare": lambda: ((rng.random(shape) < 0.02).astype(float), 0.02),
        "frequent": lambda: ((rng.random(shape) < 0.97).astype(float), 0.97),
        "narrow": lambda: (rng.beta(60, 40, shape), 0.6),
        "constant": lambda: (np.full(shape, 0.4), 0.4),
    }[name]()
    bounds = np.array([betting_lower(row, ALPHA) for row in rows])
    assert covers(bounds > mean)
    assert ((bounds >= 0) & (bounds <= 1)).all()
    if samples == 300 and name == "bits":
        assert (bounds > mean).mean() >= 0.15 * ALPHA  # and little is given away
        generous = np.array([betting_lower(row, 0.7) for row in rows])
        assert not covers(generous > mean)  # alpha is what decides


def test_bets_that_see_their_own_value_fail():
    # The share of the whole sample's variance and sign, known beforehand to nobody.
    rng, wrong = np.random.default_rng(5), []
    for _ in range(400):
        values = rng.integers(0, 2, 200).astype(float)
        bet = np.where(values > 0.5, 0.3, 0.0)  # bets on the values that win
        wrong.append(np.cumsum(np.log1p(bet * (values - 0.5))).max() >= math.log(1 / ALPHA))
    assert not covers(wrong)


def test_betting_is_monotone_and_narrow():
    values = np.random.default_rng(6).beta(60, 40, 500)
    assert betting_lower(values, 0.01) <= betting_lower(values, 0.1) <= values.mean()
    assert betting_lower(values, 0.05) > float(hoeffding(values.mean(), 500, 0.1, 1)[0])
    assert betting_lower(np.zeros(50), 0.05) == 0.0
    assert betting_lower(np.ones(10_000), 0.05) > 0.999
