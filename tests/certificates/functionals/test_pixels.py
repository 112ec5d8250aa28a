"""Pixel decisions: literal Holm, the papers' numbers, and what the inequalities mean."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from captum_robust.certificates import holm_decisions, pixel_decisions


def literal_holm(means, samples, alpha, threshold):
    """One p-value after the other, as Holm (1979) writes it."""
    tests = []
    for j, mean in enumerate(means):
        count = round(mean * samples)
        high = stats.binomtest(count, samples, threshold, alternative="greater").pvalue
        low = stats.binomtest(count, samples, 1 - threshold, alternative="less").pvalue
        tests += [(high, j, 1), (low, j, 0)]
    decisions = [-1] * len(means)
    for index, (pvalue, j, decision) in enumerate(sorted(tests, key=lambda test: test[0])):
        if pvalue > alpha / (len(tests) - index):
            break
        decisions[j] = decision
    return decisions


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_literal_procedure(seed):
    rng = np.random.default_rng(seed)
    samples, threshold = int(rng.integers(5, 200)), float(rng.choice([0.5, 0.6, 0.75, 0.95]))
    truth = rng.choice([0.0, 0.02, 0.2, 0.5, 0.8, 0.97, 1.0], int(rng.integers(1, 12)))
    means = rng.binomial(samples, truth) / samples
    alpha = float(rng.choice([0.3, 0.05, 1e-4]))
    wanted = literal_holm(means, samples, alpha, threshold)
    assert holm_decisions(means, samples, alpha, threshold).tolist() == wanted


def fewest(samples, tests, alpha, threshold):
    """The fewest agreeing samples at which a first of so many hypotheses is rejected."""
    counts = np.arange(samples + 1)
    passes = stats.binom.sf(counts - 1, samples, threshold) <= alpha / tests
    return int(counts[passes].min())


def test_numbers_of_the_papers():
    # Anani et al. and Fischer et al.; one-sided tests, Bonferroni.
    assert fewest(90, 50_176, 0.001, 0.75) == 88
    assert fewest(900, 1, 0.001, 0.75) == 715
    assert fewest(900, 2_097_152, 1e-4, 0.75) == 756
    # The library has two hypotheses a feature: one feature is one of two tests.
    first = fewest(900, 2, 0.001, 0.75)
    assert holm_decisions([first / 900], 900, 0.001, 0.75).tolist() == [1]
    assert holm_decisions([(first - 1) / 900], 900, 0.001, 0.75).tolist() == [-1]


def test_decides_at_least_what_bonferroni_decides():
    rng = np.random.default_rng(0)
    samples, alpha, threshold = 60, 0.05, 0.6
    means = rng.binomial(samples, rng.choice([0.02, 0.75, 0.99], 40)) / samples
    counts = np.rint(means * samples)
    high = stats.binom.sf(counts - 1, samples, threshold) <= alpha / 80
    low = stats.binom.cdf(counts, samples, 1 - threshold) <= alpha / 80
    holm = holm_decisions(means, samples, alpha, threshold)
    assert (holm[high] == 1).all() and (holm[low] == 0).all()
    assert (holm >= 0).sum() > (high | low).sum()


def test_mirrored_maps_are_decided_in_mirror():
    rng = np.random.default_rng(1)
    means = rng.binomial(50, rng.random(30)) / 50
    first = holm_decisions(means, 50, 0.1, 0.7)
    second = holm_decisions(1 - means, 50, 0.1, 0.7)
    np.testing.assert_array_equal(np.where(first < 0, -1, 1 - first), second)


def test_a_certain_threshold_decides_nothing():
    assert (holm_decisions([0.0, 0.5, 1.0], 1000, 0.5, 1.0) == -1).all()


def test_decisions_are_strict_about_one_half():
    decisions = pixel_decisions([0.5, 0.5 + 1e-12, 0.0, 0.0], [1.0, 1.0, 0.5, 0.5 - 1e-12])
    assert decisions.tolist() == [-1, 1, -1, 0]
    assert decisions.dtype == np.int8
    assert pixel_decisions(np.full((2, 3), 0.6), np.ones((2, 3))).shape == (2, 3)
