"""Coverage at alpha = 0.1: failures over many repetitions, and what a missing term would do.

A check passes where the failures stay below alpha plus three binomial standard errors; every
mutation removes one term of a bound and has to fail the same check.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from captum_robust.certificates import (
    MapRange,
    PublishedFormulaWarning,
    clopper_pearson,
    cosine_from_sine,
    displacement_shifts,
    hoeffding,
    norm_radius,
)
from captum_robust.certificates.confidence.elementwise.hoeffding import hoeffding_half_width
from captum_robust.noise import GaussianNoise
from captum_robust.transforms.transform import Transform
from tests.helpers.coverage import ALPHA, covers

REPETITIONS = 400


# -- intervals ------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [hoeffding, clopper_pearson])
@pytest.mark.parametrize("probability", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("comparisons", [1, 60])
def test_each_tail_alone(bound, probability, comparisons):
    rng, samples = np.random.default_rng(0), 300
    means = rng.binomial(samples, probability, (4 * REPETITIONS, comparisons)) / samples
    lower, upper = bound(means, samples, ALPHA, comparisons)
    # Each tail alone has half of alpha.
    assert covers((lower > probability).any(1), ALPHA / 2)
    assert covers((upper < probability).any(1), ALPHA / 2)


@pytest.mark.parametrize("probability", [0.3, 0.5])
def test_clopper_pearson_is_tight_and_needs_its_union(probability):
    rng, samples, comparisons = np.random.default_rng(1), 1000, 60
    means = rng.binomial(samples, probability, (4 * REPETITIONS, comparisons)) / samples
    lower, upper = clopper_pearson(means, samples, ALPHA, comparisons)
    failures = ((lower > probability) | (upper < probability)).any(1)
    assert failures.mean() >= 0.5 * ALPHA and covers(failures)  # little is given away
    lower, upper = clopper_pearson(means, samples, ALPHA, 1)
    assert not covers((lower > probability).any(1))  # without the m of the union
    lower, upper = clopper_pearson(means, samples, 2 * ALPHA, comparisons)
    assert not covers(((lower > probability) | (upper < probability)).any(1), 0.8 * ALPHA)


def test_hoeffding_needs_its_union_and_its_two():
    rng, samples, comparisons = np.random.default_rng(2), 400, 200
    means = rng.binomial(samples, 0.5, (2 * REPETITIONS, comparisons)) / samples
    lower, upper = hoeffding(means, samples, ALPHA, comparisons)
    assert covers(((lower > 0.5) | (upper < 0.5)).any(1))
    lower, _ = hoeffding(means, samples, ALPHA, 1)
    assert not covers((lower > 0.5).any(1))  # without the m of the union
    half = math.sqrt(math.log(2 * comparisons / ALPHA) / (4 * samples))  # 4N in the place of 2N
    assert not covers((np.abs(means - 0.5) > half).any(1))


@pytest.mark.parametrize("dimension", [1, 2, 500])
@pytest.mark.parametrize("alpha", [ALPHA, 0.9])
def test_norm_radius(dimension, alpha):
    assert covers(norm_errors(dimension, 40) > norm_radius(1.0, 40, alpha), alpha)


def norm_errors(dimension, samples, repetitions=REPETITIONS):
    """||mean - expectation|| of uniform unit vectors."""
    rng = np.random.default_rng(dimension)
    errors = np.empty(repetitions)
    for index in range(repetitions):
        vectors = rng.normal(size=(samples, dimension))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        errors[index] = np.linalg.norm(vectors.mean(0))
    return errors


def test_norm_radius_needs_both_terms():
    # In many dimensions the error is M / sqrt(N) nearly surely: the 1 is needed at large alpha.
    without = norm_radius(1.0, 40, 0.9) - 1 / math.sqrt(40)
    assert not covers(norm_errors(500, 40) > without, 0.9)
    # In one dimension it spreads: the square root is needed at small alpha.
    assert not covers(norm_errors(1, 40) > 1 / math.sqrt(40), ALPHA)


# -- whole certificates: many repetitions of one example in one call ---------------------------


@pytest.fixture(params=["reported", "population", "redrawn"])
def claim(request):
    return request.param


class Bits(Transform):
    """Declares that maps are 0/1."""

    def __call__(self, maps):
        return maps

    def range(self, before, shapes):
        return MapRange(0.0, 1.0, math.sqrt(sum(shape.numel() for shape in shapes)), binary=True)


class Trial:
    """A field under a law, certified at x = 0 and judged at ``size`` along the first coordinate."""

    def __init__(self, smoothing, field, function, law, dimension, size, samples):
        self.function, self.law, self.dimension = function, law, dimension
        self.size, self.samples = size, samples
        self._make = lambda transform: smoothing(field(function), noise=law, transform=transform)
        gaussian = isinstance(law, GaussianNoise)
        self.level = {"stdevs": 1.0} if gaussian else {"radius": 1.0}
        self.scale = 1.0 if gaussian else 1.0 / law.radius_in_stdevs(dimension)

    @property
    def shift(self):
        return self.size / self.scale

    def certify(self, claim, transform=None, **arguments):
        torch.manual_seed(0)
        return self._make(transform).certify(
            torch.zeros(REPETITIONS, self.dimension, dtype=torch.float64),
            claim=claim,
            alpha=ALPHA,
            nt_samples=self.samples,
            nt_samples_batch_size=50,
            **self.level,
            **arguments,
        )

    def second_maps(self, claim, expected):
        """What the claim compares with at the perturbed input, a row for each repetition."""
        if claim != "redrawn":
            return np.tile(expected, (REPETITIONS, 1))
        centre = torch.zeros(self.dimension, dtype=torch.float64)
        centre[0] = self.size
        total = 0.0
        for _ in range(0, self.samples, 50):
            noise = self.law.sample(REPETITIONS * 50, self.dimension, dtype=torch.float64)
            maps = self.function(centre + self.scale * noise)
            total = total + maps.unflatten(0, (REPETITIONS, 50)).sum(1)
        return (total / self.samples).numpy()


def top(values, count, favoured=None):
    """The top of each row as masks; ties go to the favoured features, else to the first."""
    extra = np.zeros(values.shape[1]) if favoured is None else 1e-12 * favoured
    order = np.argsort(-(values + extra), axis=1, kind="stable")[:, :count]
    marks = np.zeros(values.shape, bool)
    np.put_along_axis(marks, order, True, 1)
    return marks


# -- overlap --------------------------------------------------------------------------------

TOPS = OTHERS = 12


def bits_of(world, high):
    """0/1 features of a body: tops lose the whole share, others gain it, else independent.

    On the lens each top feature is 1 or 0 by low digits of the point, which are as good as coins.
    """
    inside = (high - world.share) / (1 - world.share)

    def function(points):
        lens, here, there = world.parts(points)
        keys = torch.arange(1, TOPS + 1, dtype=points.dtype) * 1e5 + 7919.0
        coins = torch.frac(
            points.abs()
            @ (
                0.3
                + torch.rand(
                    points.shape[1],
                    1,
                    generator=torch.Generator().manual_seed(1),
                    dtype=points.dtype,
                )
            )
            * keys
        )
        tops = here + lens * (coins < inside)
        return torch.cat([tops, there.expand(-1, OTHERS)], 1)

    return function


@pytest.fixture(params=["Gaussian", "ball", "box"])
def overlap_trial(request, body, half_spaces, smoothing, field):
    """A trial whose true overlap at its size is 0, but only just, and the expected maps."""
    if request.param == "Gaussian":
        shift, high = 0.5, 0.6
        low = norm.cdf(norm.ppf(high) - 2 * shift + 0.01)
        world = half_spaces(np.array([high] * TOPS + [low] * OTHERS), TOPS)
        after = world.after(shift)
        function, law, dimension, size = world.function, world.law, 2, shift
        before = world.means
    else:
        world = body(request.param, 0.25)
        high = 0.5 - 0.002
        function, law, dimension, size = (
            bits_of(world, high),
            world.law,
            world.dimension,
            world.size,
        )
        before = np.array([high] * TOPS + [0.0] * OTHERS)
        after = np.array([high - 0.25] * TOPS + [0.25] * OTHERS)
    trial = Trial(smoothing, field, function, law, dimension, size, samples=1000)
    return trial, before, after


def test_fields_have_the_means_they_claim(overlap_trial):
    trial, before, after = overlap_trial
    mean = trial.certify("reported", Bits()).attributions.mean(0)
    np.testing.assert_allclose(mean, before, atol=5 * 0.5 / math.sqrt(REPETITIONS * 1000))
    there = trial.second_maps("redrawn", after).mean(0)
    np.testing.assert_allclose(there, after, atol=5 * 0.5 / math.sqrt(REPETITIONS * 1000))


def overlaps(trial, claim, first, expected):
    """Measured overlap of each repetition."""
    others = np.arange(TOPS + OTHERS) >= TOPS
    second = top(trial.second_maps(claim, expected), TOPS, others)
    return (first & second).sum(1) / TOPS


def test_overlap_certificates(overlap_trial, claim):
    trial, before, after = overlap_trial
    certificate = trial.certify(claim, Bits())
    first = top(certificate.attributions.numpy(), TOPS)
    if claim == "population":
        first[:] = top(before[None], TOPS)
    measured = overlaps(trial, claim, first, after)
    # Both tails of the answer: for every k at once, and just below the size where all is lost.
    assert covers(certificate.overlap(trial.size, k=TOPS).numpy() > measured + 1e-9)
    radius = certificate.certified_radius(overlap=1 / TOPS, k=TOPS).numpy()
    if claim != "redrawn":
        assert covers(radius > trial.size)
        assert covers(radius < 0.6 * trial.size)  # and it is worth something


def test_overlap_without_the_union_fails(overlap_trial):
    trial, _, _ = overlap_trial
    means = trial.certify("reported", Bits()).attributions.numpy()
    if isinstance(trial.law, GaussianNoise):
        # All features are one event here, so that no union is needed; an interval is.
        bounds = means, means
    else:
        bounds = clopper_pearson(means, trial.samples, ALPHA, 1)
    failures = []
    for row, low, high in zip(means, *bounds, strict=True):
        limits = displacement_shifts(row, low, high, TOPS, trial.law, trial.dimension)
        failures.append(np.searchsorted(limits, trial.shift, side="right") < TOPS)
    assert not covers(failures)


def test_redrawn_overlap_without_its_margin_fails(overlap_trial):
    # Expectations known exactly and parted by less than the noise of a fresh draw.
    trial, before, _ = overlap_trial
    shift = trial.shift * 0.97
    law, dimension = trial.law, trial.dimension
    limits = displacement_shifts(before, before, before, TOPS, law, dimension)
    assert np.searchsorted(limits, shift, side="right") == 0  # all stay, says the bare bound
    low, high = law.lower(before[0], shift, dimension), law.upper(before[-1], shift, dimension)
    rng, samples = np.random.default_rng(0), 300
    fresh = rng.binomial(samples, [low] * TOPS + [high] * OTHERS, (REPETITIONS, TOPS + OTHERS))
    measured = (top(fresh / samples, TOPS)[:, :TOPS]).sum(1)
    assert not covers(measured < TOPS)
    half = hoeffding_half_width(samples, ALPHA, TOPS + OTHERS)
    limits = displacement_shifts(before, before, before, TOPS, law, dimension, margin=2 * half)
    certified = TOPS - np.searchsorted(limits, shift, side="right")
    assert covers(measured < certified)


# -- cosine and deviation -------------------------------------------------------------------


@pytest.fixture(params=["ball", "box"])
def turning_trial(request, body, smoothing, field):
    world = body(request.param, 0.2)
    before, after, function = world.two_vectors(0.6)
    trial = Trial(smoothing, field, function, world.law, world.dimension, world.size, samples=1000)
    return trial, before, after


def cosines(first, second):
    """Cosines of rows, 0 where a map is zero."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(1) / np.where(lengths > 0, lengths, 1.0)


def test_cosine_certificates(turning_trial, claim):
    trial, before, after = turning_trial
    certificate = trial.certify(claim, norm_bound=1.0)
    first = certificate.attributions.numpy()
    if claim == "population":
        first = np.tile(before, (REPETITIONS, 1))
    second = trial.second_maps(claim, after)
    measured = cosines(first, second)
    certified = certificate.cosine(trial.size).numpy()
    assert covers(certified > measured)
    assert covers(certificate.angle(trial.size).numpy() < np.degrees(np.arccos(measured)))
    assert covers(
        certificate.l2_deviation(trial.size).numpy() < np.linalg.norm(first - second, axis=1)
    )
    # All three at once: they ride on one event.
    assert (certified > -1).mean() > 0.5 or claim == "redrawn"


def test_cosine_without_the_monte_carlo_radius_fails(turning_trial, claim):
    trial, before, after = turning_trial
    means = trial.certify(claim, norm_bound=1.0).attributions.numpy()
    bare = cosine_from_sine(
        trial.law.angle_shift(trial.shift, trial.dimension) / np.linalg.norm(means, axis=1)
    )
    first = np.tile(before, (REPETITIONS, 1)) if claim == "population" else means
    assert not covers(bare > cosines(first, trial.second_maps(claim, after)))


def test_printed_cosine_fails_at_its_counter_example(turning_trial):
    trial, _, after = turning_trial
    with pytest.warns(PublishedFormulaWarning):
        certificate = trial.certify("reported", norm_bound=1.0, published=True)
    measured = cosines(certificate.attributions.numpy(), np.tile(after, (REPETITIONS, 1)))
    assert (certificate.cosine(trial.size).numpy() > measured).mean() > 0.95


@pytest.mark.parametrize("shift", [0.3, 1.0])
def test_gaussian_cosine_where_a_field_turns_round(smoothing, field, claim, shift):
    # G = +-1 on two half-lines, ||h|| a little below A: the perturbed map points the other way.
    edge = shift * 0.98

    def function(points):
        return torch.where(points[:, :1] > edge, 1.0, -1.0).to(points.dtype)

    trial = Trial(smoothing, field, function, GaussianNoise(), 1, shift, samples=500)
    before, after = 1 - 2 * norm.cdf(edge), 1 - 2 * norm.cdf(edge - shift)
    assert before * after < 0
    certificate = trial.certify(claim, norm_bound=1.0)
    first = certificate.attributions.numpy()
    first = np.full_like(first, before) if claim == "population" else first
    measured = cosines(first, trial.second_maps(claim, np.array([after])))
    assert covers(certificate.cosine(shift).numpy() > measured)
    length = np.abs(certificate.attributions.numpy()[:, 0])
    bare = cosine_from_sine(trial.law.angle_shift(shift, 1) / length)
    if claim == "reported":
        assert not covers(bare > measured)


def test_joint_questions_hold_jointly(turning_trial):
    trial, _, after = turning_trial
    certificate = trial.certify("reported", norm_bound=1.0, questions=("overlap", "cosine"))
    first = certificate.attributions.numpy()
    wrong = certificate.cosine(trial.size).numpy() > cosines(first, np.tile(after, (len(first), 1)))
    second = top(np.tile(after, (len(first), 1)), 1)
    overlap = (top(first, 1) & second).sum(1)
    wrong |= certificate.overlap(trial.size, k=1).numpy() > overlap
    assert covers(wrong)
