"""The generalised chi-square against closed forms, and the coverage of intervals made from it."""

from __future__ import annotations

import time

import mpmath
import numpy as np
import pytest
from scipy import integrate, stats

from captum_robust.certificates.printed.chi_square import (
    QuadraticForm,
    norm_lower_asymptotic,
    published_cosine_interval,
    published_norm_interval,
)

NEARLY = 1 + 1e-12  # one weight apart from the rest, so that the closed form is not taken


@pytest.mark.parametrize("features", [2, 3, 4, 7, 40, 1000])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_equal_variances_are_a_noncentral_chi_square(features, scale):
    rng = np.random.default_rng(features)
    means = rng.normal(size=features) * np.sqrt(scale)
    variances = np.full(features, scale)
    values = scale * (features + (means**2).sum() / scale) * np.array([0.3, 0.8, 1.0, 1.4, 3.0])
    exact = stats.ncx2.cdf(values / scale, features, (means**2).sum() / scale)
    assert QuadraticForm(means, variances).cdf(values) == pytest.approx(exact, abs=1e-12)
    variances[0] *= NEARLY
    assert QuadraticForm(means, variances).cdf(values) == pytest.approx(exact, abs=2e-9)


def test_two_variances_agree_with_a_convolution():
    weights, means = np.array([2.0, 0.3]), np.array([0.7, -1.1])
    shares = means**2 / weights
    for value in (0.5, 2.0, 6.0, 15.0):

        def inner(z, value=value):
            rest = (value - (means[0] + z * weights[0] ** 0.5) ** 2) / weights[1]
            return stats.norm.pdf(z) * stats.ncx2.cdf(max(rest, 0.0), 1, shares[1])

        ends = (np.array([-1, 1]) * value**0.5 - means[0]) / weights[0] ** 0.5
        exact = integrate.quad(inner, *ends, epsabs=1e-11, limit=500)[0]
        assert QuadraticForm(means, weights).cdf(value) == pytest.approx(exact, abs=1e-6)


def test_agrees_with_mpmath_on_a_central_form():
    # Pairs of equal weights: a sum of exponentials, P(Q > x) = sum_k c_k exp(-x / (2 w_k)).
    weights = [mpmath.mpf(w) for w in ("0.3", "1", "2.5", "4")]
    for value in (1.0, 5.0, 20.0, 60.0):
        tail = mpmath.mpf(0)
        for i, w in enumerate(weights):
            others = (w / (w - v) for j, v in enumerate(weights) if j != i)
            tail += mpmath.fprod(others) * mpmath.e ** (-value / (2 * w))
        form = QuadraticForm(np.zeros(8), np.repeat([float(w) for w in weights], 2))
        assert form.cdf(value) == pytest.approx(float(1 - tail), abs=2e-9)


def test_fixed_features_only_move_the_form():
    means, variances = np.array([1.0, 2.0, 0.5]), np.array([0.5, 0.0, 2.0])
    moved = QuadraticForm(means, variances)
    alone = QuadraticForm(means[[0, 2]], variances[[0, 2]])
    assert moved.cdf(np.array([3.9, 5.0, 9.0])) == pytest.approx(
        alone.cdf(np.array([-0.1, 1.0, 5.0])), abs=1e-9
    )
    assert moved.cdf(4.0) == 0.0


def test_agrees_with_simulation_where_variances_differ():
    rng = np.random.default_rng(0)
    means, variances = rng.normal(size=30), rng.gamma(0.3, 1.0, 30)
    form, draws = QuadraticForm(means, variances), 200_000
    values = ((means + np.sqrt(variances) * rng.normal(size=(draws, 30))) ** 2).sum(1)
    assert form.mean == pytest.approx(values.mean(), abs=4 * form.stdev / draws**0.5)
    for share in (0.05, 0.5, 0.9):
        value = np.quantile(values, share)
        assert form.cdf(value) == pytest.approx(share, abs=4 * 0.5 / draws**0.5)


def test_quantile_inverts_the_distribution_function():
    form = QuadraticForm([0.3, 1.0, 0.0, 2.0], [0.5, 1.0, 2.0, 0.1])
    for probability in (1e-4, 0.05, 0.5, 0.995):
        assert form.cdf(form.quantile(probability)) == pytest.approx(probability, abs=1e-8)


def test_an_image_takes_seconds():
    rng = np.random.default_rng(0)
    means, variances = rng.normal(0, 1e-3, 150_528), 1e-6 * rng.gamma(0.5, 1.0, 150_528)
    start = time.perf_counter()
    low, high = published_norm_interval(means, variances, samples=100, alpha=0.01)
    assert time.perf_counter() - start < 10
    # With very many features the form is normal to 1 / sqrt(m).
    form = QuadraticForm(means, variances / 100)
    normal = form.mean + form.stdev * stats.norm.ppf([0.005, 0.995])
    assert [low**2, high**2] == pytest.approx(normal, abs=0.1 * form.stdev)


def test_constant_maps_have_a_known_norm():
    assert published_norm_interval([3.0, 4.0], [0.0, 0.0], 10, 0.1) == (5.0, 5.0)


def test_cosine_interval_is_the_printed_bound_at_both_ends():
    arguments = ([3.0, 4.0], [1.0, 2.0], 50, 0.1)
    ends = published_norm_interval(*arguments)
    cosines = published_cosine_interval(*arguments, deviation=2.0)
    assert cosines == pytest.approx([end / (end**2 + 4.0) ** 0.5 for end in ends])


# -- coverage ------------------------------------------------------------------------------------


def moving_together(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """16 features that share one noise; the expected map has norm 4."""
    return np.tile(1.0 + rng.normal(size=(100, 1)), (1, 16)), 4.0


def mostly_noise(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """300 independent noisy features; the expected map has norm 1."""
    maps = rng.normal(size=(100, 300))
    maps[:, 0] += 1.0
    return maps, 1.0


def published_covers(maps: np.ndarray, norm: float) -> bool:
    low, high = published_norm_interval(maps.mean(0), maps.var(0, ddof=1), len(maps), alpha=0.1)
    return low <= norm <= high


def test_published_interval_is_too_narrow_where_features_move_together():
    rng = np.random.default_rng(0)
    share = np.mean([published_covers(*moving_together(rng)) for _ in range(200)])
    # P(|Z| < 1.645 / 4) = 0.32 of a nominal 0.90
    assert share == pytest.approx(0.32, abs=4 * (0.32 * 0.68 / 200) ** 0.5)


def test_published_interval_misses_always_where_noise_prevails():
    rng = np.random.default_rng(0)
    assert not any(published_covers(*mostly_noise(rng)) for _ in range(100))


def test_published_interval_covers_where_its_assumptions_hold():
    # Independent features far above the noise: the tr / N that it forgets is small.
    rng, norm, covered = np.random.default_rng(0), 5.0, 0
    for _ in range(200):
        maps = np.array([3.0, 4.0]) + rng.normal(size=(400, 2))
        covered += published_covers(maps, norm)
    assert covered / 200 > 0.9 - 4 * (0.09 / 200) ** 0.5


@pytest.mark.parametrize("draw", [moving_together, mostly_noise])
@pytest.mark.parametrize("size", [1, 4])
def test_asymptotic_lower_bound_covers_in_both_cases(draw, size):
    rng, repetitions, failures = np.random.default_rng(1), 400, 0
    for _ in range(repetitions):
        maps, norm = draw(rng)
        blocks = maps.reshape(100 // size, size, -1)
        found = norm_lower_asymptotic(
            blocks.sum(1), np.square(blocks).sum((1, 2)), size=size, alpha=0.1
        )
        failures += found.lower > norm
    assert failures / repetitions <= 0.1 + 3 * (0.09 / repetitions) ** 0.5
    assert failures > 0


def test_squared_norm_is_the_mean_product_over_pairs_without_bias():
    rng = np.random.default_rng(2)
    maps = rng.normal(0.3, 1.0, (12, 5))
    found = norm_lower_asymptotic(maps, np.square(maps).sum(1), size=1, alpha=0.05)
    pairs = [maps[i] @ maps[j] for i in range(12) for j in range(12) if i != j]
    assert found.square == pytest.approx(np.mean(pairs))
    without = []
    for left in range(12):
        rest = np.delete(maps, left, axis=0)
        without.append(np.mean([rest[i] @ rest[j] for i in range(11) for j in range(11) if i != j]))
    stderr = (11 / 12 * np.square(without - np.mean(without)).sum()) ** 0.5
    assert found.stderr == pytest.approx(stderr)
    wanted = max(found.square - stats.t.ppf(0.95, 11) * stderr, 0) ** 0.5
    assert found.lower == pytest.approx(wanted)


def test_asymptotic_bound_of_constant_maps_is_their_norm():
    maps = np.tile([3.0, 4.0], (6, 1))
    assert norm_lower_asymptotic(maps, [25.0] * 6, 1, 0.1).lower == pytest.approx(5.0)


def test_refuses():
    with pytest.raises(ValueError, match="`variances` must be finite"):
        QuadraticForm([1.0], [-1.0])
    with pytest.raises(ValueError, match="`alpha` must be in"):
        published_norm_interval([1.0], [1.0], 10, 1.0)
    with pytest.raises(ValueError, match="at least 2 blocks"):
        norm_lower_asymptotic(np.ones((1, 3)), [3.0], 10, 0.1)
    with pytest.raises(ValueError, match="`deviation` must be in"):
        published_cosine_interval([1.0], [1.0], 10, 0.1, deviation=-1.0)
