"""The noise laws against mpmath: shifts, their inverses, separations."""

from __future__ import annotations

import functools
import math

import mpmath
import mpmath as mp
import numpy as np
import pytest

from captum_robust.noise import GaussianNoise, UniformBallNoise, UniformBoxNoise

mp.mp.dps = 40

LAWS = [GaussianNoise(), UniformBallNoise(), UniformBoxNoise()]
DIMENSIONS = [1, 2, 3, 10, 784, 3072, 150_528, 10**6]
RATIOS = [1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.3, 0.7, 1.0, 1.5, 1.9, 1.99, 2.0]
names = [law.name for law in LAWS]


@functools.cache
def ball_distance(dimension: int, shift: float) -> mp.mpf:
    """Total variation of two balls: the marginal density integrated in pieces of its width.

    The hyperplane half-way between the centres cuts off a cap of each; the marginal of the uniform
    law on the unit ball is c (1 - u^2)^((d - 1)/2), and one minus two caps is twice its integral
    from 0 to eps / 2r.
    """
    d = mp.mpf(dimension)
    end = mp.mpf(shift) / (2 * mp.sqrt(d + 2))
    if end >= 1:
        return mp.mpf(1)
    density = mp.gamma(d / 2 + 1) / (mp.sqrt(mp.pi) * mp.gamma((d + 1) / 2))
    width = 1 / mp.sqrt(d)
    pieces = [mp.mpf(0)]
    while pieces[-1] < min(end, 14 * width):  # beyond 14 widths lies less than exp(-90)
        pieces.append(min(pieces[-1] + width, end))
    return 2 * density * mp.quad(lambda u: (1 - u * u) ** ((d - 1) / 2), pieces)


def gaussian_distance(shift: float) -> mp.mpf:
    return mp.erf(mp.mpf(shift) / mp.sqrt(8))


def box_distance(shift: float) -> mp.mpf:
    return min(mp.mpf(1), mp.mpf(shift) / (2 * mp.sqrt(3)))


def reference_distance(law, dimension: int, shift: float) -> mp.mpf:
    if isinstance(law, GaussianNoise):
        return gaussian_distance(shift)
    return (
        ball_distance(dimension, shift)
        if isinstance(law, UniformBallNoise)
        else box_distance(shift)
    )


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_ball_distance_to_ten_digits_for_every_dimension_and_ratio(dimension):
    law = UniformBallNoise()
    shifts = [ratio * law.radius_in_stdevs(dimension) for ratio in RATIOS]
    measured = law.total_variation(shifts, dimension)
    for shift, value in zip(shifts, measured, strict=True):
        reference = ball_distance(dimension, shift)
        assert abs(value - reference) <= 1e-10 * reference


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_ball_inverse_round_trips_and_never_rounds_up(dimension):
    law = UniformBallNoise()
    shifts = [ratio * law.radius_in_stdevs(dimension) for ratio in RATIOS[:-1]]
    for shift in shifts:
        distance = float(ball_distance(dimension, shift))
        back = float(law.inverse_total_variation(distance, dimension))
        if distance <= 0.75:
            assert abs(back / shift - 1) <= 1e-10
        assert back <= shift * (1 + 1e-12)  # what a certificate steps down by


def test_ball_distance_reference_values_of_the_literature():
    law = UniformBallNoise()
    for d, ratio, q in ((3072, 0.01, 0.218336924), (784, 0.01, 0.111375979)):
        shift = ratio * law.radius_in_stdevs(d)
        assert float(law.total_variation(shift, d)) == pytest.approx(q, abs=5e-10)
    shift = 0.001 * law.radius_in_stdevs(150_528)
    assert float(law.total_variation(shift, 150_528)) == pytest.approx(0.153816307, abs=6e-10)


def test_ball_in_one_dimension_is_an_interval():
    law = UniformBallNoise()
    ratios = np.linspace(0, 2.5, 26)
    distance = law.total_variation(ratios * law.radius_in_stdevs(1), 1)
    np.testing.assert_allclose(distance, np.minimum(ratios / 2, 1), rtol=1e-13)


def test_ball_in_many_dimensions_approaches_the_gaussian():
    shifts = np.linspace(0.01, 3, 20)
    ball = UniformBallNoise().total_variation(shifts, 10**6)
    np.testing.assert_allclose(ball, GaussianNoise().total_variation(shifts, 10**6), rtol=1e-5)


@pytest.mark.parametrize("shift", [1e-8, 1e-4, 0.03, 0.3, 1.0, 3.0, 8.0])
def test_gaussian_functions_to_ten_digits(shift):
    law = GaussianNoise()
    t = mp.mpf(shift)
    assert float(law.total_variation(shift, 7)) == pytest.approx(
        float(gaussian_distance(shift)), rel=1e-12
    )
    assert float(law.angle_shift(shift, 7)) == pytest.approx(float(2 * mp.ncdf(t) - 1), rel=1e-10)
    assert float(law.norm_shift(shift, 7)) == pytest.approx(
        float(2 * gaussian_distance(shift)), rel=1e-12
    )
    for p in (1e-9, 0.05, 0.3, 0.5, 0.8, 0.999):
        quantile = mp.sqrt(2) * mp.erfinv(2 * mp.mpf(p) - 1)
        assert float(law.lower(p, shift, 7)) == pytest.approx(
            float(mp.ncdf(quantile - t)), rel=1e-10
        )
        assert float(law.upper(p, shift, 7)) == pytest.approx(
            float(mp.ncdf(quantile + t)), rel=1e-10
        )


def test_gaussian_floor_of_the_paper():
    # Levine et al. (2019): 0.8 falls to 0.5955 after two shifts of 0.15 / 0.5 standard deviations.
    assert float(GaussianNoise().lower(0.8, 0.6, 784)) == pytest.approx(0.5955, abs=5e-5)


@pytest.mark.parametrize("law", LAWS, ids=names)
@pytest.mark.parametrize("dimension", [1, 3, 784, 10**6])
@pytest.mark.parametrize("pair", ["total_variation", "norm_shift", "angle_shift"])
def test_inverses_round_trip_and_are_not_rounded_up(law, dimension, pair):
    shifts = np.array([1e-7, 1e-3, 0.05, 0.3, 0.6, 0.9, 1.15])
    forward, inverse = getattr(law, pair), getattr(law, f"inverse_{pair}")
    values = forward(shifts, dimension)
    kept = values <= 0.75 * values.max() / max(values.max(), 1e-300) * 2
    back = inverse(values, dimension)
    np.testing.assert_allclose(back[kept], shifts[kept], rtol=1e-6)
    assert (forward(back * (1 - 1e-12), dimension) <= values).all()


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_extremes_of_the_inverse_stay_on_the_safe_side(law):
    for distance in (1.0, np.nextafter(1, 0), 1 - 1e-12, 1 - 1e-7, 0.9):
        shift = float(law.inverse_total_variation(distance, 50))
        if math.isfinite(shift):
            assert reference_distance(law, 50, shift * (1 - 1e-12)) <= distance
        else:
            assert distance == 1.0  # the Gaussian never parts completely
    assert float(law.inverse_total_variation(0.0, 50)) == 0.0
    assert float(law.total_variation(0.0, 50)) == 0.0


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_bounds_of_a_mean_are_ordered_monotone_and_mirror_each_other(law):
    p = np.linspace(0, 1, 41)
    shifts = np.linspace(0, 4, 17)[:, None]
    lower, upper = law.lower(p, shifts, 12), law.upper(p, shifts, 12)
    assert ((lower >= 0) & (upper <= 1) & (lower <= p + 1e-15) & (upper >= p - 1e-15)).all()
    assert (np.diff(lower, axis=0) <= 1e-15).all() and (np.diff(upper, axis=0) >= -1e-15).all()
    assert (np.diff(lower, axis=1) >= 0).all() and (np.diff(upper, axis=1) >= 0).all()
    np.testing.assert_allclose(upper, 1 - law.lower(1 - p, shifts, 12), atol=1e-12)
    np.testing.assert_allclose(lower[0], p, atol=1e-15)


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_means_of_zero_and_one(law):
    # Under Gaussian noise a sure event stays sure; under noise with a body it need not.
    stays = isinstance(law, GaussianNoise)
    assert float(law.lower(0.0, 1.0, 5)) == 0.0
    assert float(law.upper(1.0, 1.0, 5)) == 1.0
    assert (float(law.lower(1.0, 1.0, 5)) == 1.0) == stays
    assert (float(law.upper(0.0, 1.0, 5)) == 0.0) == stays


@pytest.mark.parametrize("law", LAWS, ids=names)
@pytest.mark.parametrize("margin", [0.0, 0.02, 0.2])
def test_separation_is_exactly_the_supremum(law, margin):
    rng = np.random.default_rng(0)
    low, high = rng.uniform(0, 1, (2, 400))
    separation = law.separation(low, high, 12, margin)

    def holds(shift):
        return law.lower(low, shift, 12) > law.upper(high, shift, 12) + margin

    ordered = low > high + margin
    assert (np.isneginf(separation) == ~ordered).all()
    found = ordered & np.isfinite(separation)
    separation = np.where(found, separation, 0.0)
    assert found.sum() > 100
    before, after = separation * (1 - 1e-9), separation * (1 + 1e-5) + 1e-9
    assert holds(before)[found].all()
    assert not holds(after)[found].any()
    for share in (0.0, 0.3, 0.7):  # for all shifts below, not only just below
        assert holds(share * separation)[found].all()


def test_gaussian_separation_is_never_above_the_exact_one():
    """Against 30 digits, means close to 0 and 1 among them."""
    rng = np.random.default_rng(0)
    tails = 10.0 ** rng.uniform(-15, -0.5, (2, 400))
    means = np.concatenate([rng.uniform(0, 1, (2, 400)), [1 - tails[0], tails[1]]], axis=1)
    high, low = np.sort(means, axis=0)
    with mpmath.workdps(30):
        first, second = (
            [mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(float(mean)) - 1) for mean in side]
            for side in (low, high)
        )
        exact = [(a - b) / 2 for a, b in zip(first, second, strict=True)]
        found = GaussianNoise().separation(low, high, 5)
        assert all(one <= truth for one, truth in zip(found.tolist(), exact, strict=True))
        np.testing.assert_allclose(found, [float(one) for one in exact], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_separation_at_the_corners(law):
    assert float(law.separation(0.5, 0.5, 4)) == -math.inf  # a tie certifies nothing
    assert float(law.separation(0.3, 0.5, 4)) == -math.inf
    assert float(law.separation(0.0, 0.0, 4)) == -math.inf
    assert float(law.separation(1.0, 1.0, 4)) == -math.inf
    assert float(law.separation(0.6, 0.5, 4, margin=0.2)) == -math.inf
    sure = float(law.separation(1.0, 0.0, 4))
    assert sure == math.inf if isinstance(law, GaussianNoise) else sure > 0


def test_ball_and_box_separate_until_the_bodies_do():
    for law, reach in ((UniformBallNoise(), 1 / math.sqrt(6)), (UniformBoxNoise(), None)):
        half = float(law.inverse_total_variation(0.5, 4))
        assert float(law.separation(1.0, 0.0, 4)) == pytest.approx(half, rel=1e-12)
        if reach is None:
            assert half == pytest.approx(math.sqrt(3))


@pytest.mark.parametrize(
    "deltas", [(1.0,), (0.4, 0.3, 0.2), (2.0, 1.5), (3.4, 0.1, 0.1), (0.1,) * 8]
)
def test_box_distance_bounds_the_exact_one_and_is_attained_by_one_coordinate(deltas):
    width = 2 * math.sqrt(3)
    exact = 1 - math.prod(max(0.0, 1 - delta / width) for delta in deltas)
    bound = float(UniformBoxNoise().total_variation(sum(deltas), len(deltas)))
    assert bound >= exact - 1e-15
    if len(deltas) == 1:
        assert bound == pytest.approx(exact)


def test_box_noise_would_not_answer_for_l2_perturbations():
    # A diagonal shift of the same l2 norm parts two boxes further than the l1 formula says.
    d, norm = 100, 1.0
    exact = 1 - (1 - norm / math.sqrt(d) / (2 * math.sqrt(3))) ** d
    assert exact > 2 * float(UniformBoxNoise().total_variation(norm, d))
    assert UniformBoxNoise().norm == "l1"
    assert exact <= float(UniformBoxNoise().total_variation(norm * math.sqrt(d), d))


def test_gaussian_angle_constant_lies_below_the_norm_shift():
    shifts = np.linspace(0, 5, 51)
    law = GaussianNoise()
    assert (law.angle_shift(shifts, 3) <= law.norm_shift(shifts, 3) + 1e-15).all()


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_negative_and_undefined_shifts_are_refused(law):
    for shift in (-0.1, math.nan):
        with pytest.raises(ValueError, match=r"`shift` must be >= 0"):
            law.lower(0.5, shift, 3)
        with pytest.raises(ValueError, match=r"`shift` must be >= 0"):
            law.total_variation(shift, 3)


def test_gaussian_noise_has_no_radius():
    with pytest.raises(ValueError, match=r"`radius` needs a noise law with a body, got Gaussian"):
        GaussianNoise().radius_in_stdevs(3)


def test_laws_are_values():
    assert GaussianNoise() == GaussianNoise() and GaussianNoise() != UniformBallNoise()
    assert len({GaussianNoise(), GaussianNoise(), UniformBoxNoise()}) == 2
    assert repr(UniformBoxNoise()) == "UniformBoxNoise()"
