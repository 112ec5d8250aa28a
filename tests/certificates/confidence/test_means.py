"""Intervals against SciPy and the constants of the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from captum_robust.certificates import clopper_pearson, hoeffding, norm_radius
from captum_robust.certificates.confidence.elementwise.hoeffding import hoeffding_half_width


@pytest.mark.parametrize("samples, constant", [(50, 0.3951), (8192, 0.03087)])
def test_hoeffding_constants_of_the_paper(samples, constant):
    half = hoeffding_half_width(samples, 0.05, 150_528)
    assert half == pytest.approx(constant, abs=5e-5 if samples == 50 else 5e-6)


def test_hoeffding_clips_to_the_range_and_keeps_the_shape():
    means = np.array([[0.0, 0.4], [0.97, 1.0]])
    low, high = hoeffding(means, 500, 0.05, 4)
    half = math.sqrt(math.log(2 * 4 / 0.05) / 1000)
    np.testing.assert_allclose(low, np.clip(means - half, 0, 1), atol=2e-12)
    np.testing.assert_allclose(high, np.clip(means + half, 0, 1), atol=2e-12)
    assert low.shape == high.shape == means.shape
    assert (low <= np.clip(means - half, 0, 1)).all()
    assert (high >= np.clip(means + half, 0, 1)).all()


@pytest.mark.parametrize("samples", [1, 7, 100, 1000])
@pytest.mark.parametrize("alpha, comparisons", [(0.1, 1), (0.05, 10), (0.001, 150_528)])
def test_clopper_pearson_against_scipy(samples, alpha, comparisons):
    counts = np.unique(np.linspace(0, samples, min(samples, 20) + 1).astype(int))
    low, high = clopper_pearson(counts / samples, samples, alpha, comparisons)
    level = 1 - alpha / comparisons
    for count, lower, upper in zip(counts, low, high, strict=True):
        interval = stats.binomtest(int(count), samples).proportion_ci(level, method="exact")
        assert lower == pytest.approx(interval.low, rel=1e-6, abs=1e-9)
        assert upper == pytest.approx(interval.high, rel=1e-6, abs=1e-9)
    assert low[0] == 0.0 and high[-1] == 1.0 and high[0] > 0.0 and low[-1] < 1.0


@pytest.mark.parametrize("samples", [20, 8192])
@pytest.mark.parametrize("comparisons", [1, 150_528])
def test_clopper_pearson_is_rounded_outward(samples, comparisons):
    # At the bounds the tails have at most their share: checked by binomial tails, not quantiles.
    counts = np.arange(0, samples + 1, max(1, samples // 100))
    low, high = clopper_pearson(counts / samples, samples, 0.05, comparisons)
    side = 0.05 / (2 * comparisons)
    inner = counts > 0
    assert (stats.binom.sf(counts[inner] - 1, samples, low[inner]) <= side).all()
    inner = counts < samples
    assert (stats.binom.cdf(counts[inner], samples, high[inner]) <= side).all()


def test_clopper_pearson_is_monotone_and_inside_hoeffding_in_the_middle():
    means = np.arange(1001) / 1000
    low, high = clopper_pearson(means, 1000, 0.05, 100)
    assert (np.diff(low) > 0).all() and (np.diff(high) > 0).all()
    wide = hoeffding(means, 1000, 0.05, 100)
    assert (low[1:-1] >= wide[0][1:-1] - 1e-3).all() and (high[1:-1] <= wide[1][1:-1] + 1e-3).all()


def test_norm_radius():
    assert norm_radius(1.0, 100_000, 0.01) == pytest.approx(0.01276, abs=5e-6)
    assert norm_radius(3.0, 400, 0.1) == pytest.approx(3 / 20 * (1 + math.sqrt(2 * math.log(10))))
