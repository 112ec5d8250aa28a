"""Ranks, order and pixels of whole certificates: worst cases, coverage, Holm's error rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom, norm

from captum_robust.attr import Abs, Sparsify, UnitNorm
from captum_robust.certificates import holm_decisions
from captum_robust.certificates.evidence.elementwise import ElementwiseEvidence
from captum_robust.certificates.functionals.pixels import _holm
from captum_robust.noise import GaussianNoise
from tests.helpers.coverage import ALPHA, covers

REPETITIONS = 400


def evidence(means, law, total=math.inf, margin=0.0, dimension=3):
    """All expectations known exactly."""
    means = np.asarray(means, float)
    return ElementwiseEvidence(means, means, means, margin, True, law, dimension, 0.0, total)


def worst_ranks(after):
    return np.array([(after >= value).sum() for value in after])


@pytest.mark.parametrize("seed", range(8))
def test_half_spaces_attain_ranks_and_order(half_spaces, seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 9))
    means = rng.uniform(0.02, 0.98, size)
    law = GaussianNoise()
    known = evidence(means, law)
    for shift in (0.0, 0.1, 0.4, 1.0):
        ranks = known.ranks(shift)
        for j in range(size):
            signs = np.where(np.arange(size) == j, -1, 1)
            after = norm.cdf(norm.ppf(means) + signs * shift)
            assert worst_ranks(after)[j] == ranks[j]  # exact: one field makes j lose, others gain
            for i in range(size):
                if i == j:
                    continue
                limit = known.order_shift(j, i)
                certified = shift < limit
                assert certified == (after[j] > after[i]) or abs(shift - limit) < 1e-9


@pytest.mark.parametrize("name", ["ball", "box"])
def test_crescents_attain_the_order(body, name):
    world = body(name, 0.15)
    for gap, holds in ((0.31, True), (0.29, False)):
        known = evidence([0.2 + gap, 0.2], world.law, dimension=world.dimension)
        assert (world.shift < known.order_shift(0, 1)) == holds
        assert known.ranks(world.shift).tolist() == ([1, 2] if holds else [2, 2])


def test_conservation_helps_and_stays_true():
    # T features hold all mass; the worst map spreads what is left as evenly as it can.
    size, kept, law = 60, 6, GaussianNoise()
    means = np.concatenate([np.full(kept, 0.9), np.full(size - kept, 0.6 / (size - kept))])
    counted = evidence(means, law).ranks(0.8)
    both = evidence(means, law, total=float(kept)).ranks(0.8)
    assert (both <= counted).all()
    bound = math.floor(kept / norm.cdf(norm.ppf(0.9) - 0.8))
    assert (both[:kept] <= bound).all()


@pytest.mark.parametrize("block", range(4))
def test_ranks_of_sparse_fields_bent_towards_the_worst(block):
    """Random top-T fields on slices of the noise; the perturbed ranks never pass the bound."""
    law = GaussianNoise()
    for seed in range(block * 60, block * 60 + 60):
        rng = np.random.default_rng(seed)
        size, shift = int(rng.integers(2, 8)), float(rng.choice([0.1, 0.4, 1.0]))
        kept = int(rng.integers(1, size + 1))
        edges = np.concatenate([[-np.inf], np.linspace(-4, 4 + shift, 40), [np.inf]])
        here, there = np.diff(norm.cdf(edges)), np.diff(norm.cdf(edges - shift))
        target = int(rng.integers(size))
        scores = rng.normal(size=(here.size, size))
        scores[:, target] -= rng.choice([0.3, 2.0]) * np.log(there / here)
        marked = np.argsort(-scores, axis=1)[:, :kept]
        maps = np.zeros(scores.shape)
        np.put_along_axis(maps, marked, 1.0, 1)
        before, after = here @ maps, there @ maps
        ranks = evidence(before, law, total=float(kept)).ranks(shift)
        assert (worst_ranks(after) <= ranks).all()
        decisions = evidence(before, law).decisions(shift)
        assert (after[decisions == 1] > 0.5).all() and (after[decisions == 0] < 0.5).all()


def test_half_spaces_attain_pixel_radii():
    law = GaussianNoise()
    means = np.array([0.99, 0.7, 0.5, 0.31, 0.001])
    radii = evidence(means, law).decision_shifts()
    expected = np.abs(norm.ppf(means))
    np.testing.assert_allclose(
        np.where(means == 0.5, 0.0, radii)[[0, 1, 3, 4]], expected[[0, 1, 3, 4]], rtol=1e-9
    )
    assert radii[2] == -math.inf
    for factor, kept in ((0.999, True), (1.001, False)):
        for j in (0, 1, 3, 4):
            after = norm.cdf(
                norm.ppf(means[j]) - math.copysign(1, means[j] - 0.5) * factor * expected[j]
            )
            assert ((after > 0.5) == (means[j] > 0.5)) == kept
            assert (evidence(means, law).decisions(factor * expected[j])[j] >= 0) == kept


# -- whole certificates -----------------------------------------------------------------------


class Lines:
    """0/1 maps of m independent coordinates, each 1 below an edge of its own."""

    shift = 0.5

    def __init__(self, means):
        self.means = np.asarray(means, float)
        self.edges = torch.from_numpy(norm.ppf(self.means))

    def function(self, points):
        return (points <= self.edges).to(points.dtype)


@pytest.fixture
def bits():
    from captum_robust.certificates import MapRange
    from captum_robust.transforms.transform import Transform

    class Bits(Transform):
        def __call__(self, maps):
            return maps

        def range(self, before, shapes):
            size = sum(shape.numel() for shape in shapes)
            return MapRange(0.0, 1.0, math.sqrt(size), binary=True)

    return Bits()


def certify(world, smoothing, field, bits, samples=100, **arguments):
    from captum_robust.certificates import RankCertificateMixin

    class Ranking(RankCertificateMixin, smoothing):
        pass

    torch.manual_seed(0)
    size = world.means.size
    smooth = Ranking(field(world.function), noise=GaussianNoise(), transform=bits)
    settings = {"stdevs": 1.0, "alpha": ALPHA, "route": "elementwise"} | arguments
    return smooth.certify(
        torch.zeros(REPETITIONS, size, dtype=torch.float64), nt_samples=samples, **settings
    )


@pytest.mark.parametrize("simultaneous", [True, False])
def test_pixels_of_a_map_with_many_features_at_the_boundary(smoothing, field, bits, simultaneous):
    # Ten features just too weak to be important at the shift, ten too strong to be unimportant,
    # five that are certain: those are what Holm steps over.
    high = norm.cdf(Lines.shift)
    world = Lines([high] * 10 + [1 - high] * 10 + [1 - 1e-9] * 5)
    certificate = certify(world, smoothing, field, bits)
    decisions = certificate.pixels(world.shift, simultaneous).numpy()
    wrong = (decisions[:, :10] == 1).any(1) | (decisions[:, 10:20] == 0).any(1)
    assert covers(wrong)
    assert (decisions[:, 20:] == 1).all()
    share = certificate.certified_share(world.shift, simultaneous)
    np.testing.assert_allclose(share, (decisions >= 0).mean(1))
    if simultaneous:  # a map of radii: right for all sizes at once
        radii = certificate.pixel_radius().numpy()
        right = np.where(decisions == -1, True, radii >= world.shift * (1 - 1e-9))
        assert right.all()
        assert covers((radii[:, :20] > world.shift).any(1))
    # Without the union: each feature at alpha.
    means = certificate.attributions.numpy()
    single = np.array(
        [[holm_decisions([value], 100, ALPHA, high)[0] for value in row[:20]] for row in means]
    )
    assert not covers((single[:, :10] == 1).any(1) | (single[:, 10:] == 0).any(1))


@pytest.mark.parametrize("alpha", [0.05, 0.3])
@pytest.mark.parametrize("certain", [0, 100])
def test_holm_error_with_many_true_nulls(alpha, certain):
    rng = np.random.default_rng(0)
    threshold, samples = 0.75, 60
    truth = np.array([0.75] * 30 + [0.25] * 30 + [1.0] * certain)
    means = rng.binomial(samples, truth, (1500, truth.size)) / samples
    decisions = np.array([holm_decisions(row, samples, alpha, threshold) for row in means])
    wrong = (decisions[:, :30] == 1).any(1) | (decisions[:, 30:60] == 0).any(1)
    assert covers(wrong, alpha)
    counted = np.array([holm_decisions(row, samples, 4 * alpha, threshold) for row in means[:400]])
    assert (counted >= 0).mean() >= (decisions >= 0).mean()  # and alpha is what decides


def test_holm_over_one_side_at_several_sizes_does_not_hold_together():
    # Each feature at the largest size at which Holm still decides it. Over m one-sided hypotheses
    # (only "important") the errors add up to alpha (1 + 1/2 + ... + 1/m); over the 2m of the
    # library at least m true ones always remain.
    rng = np.random.default_rng(3)
    samples, size, alpha, repetitions = 4000, 40, 0.05, 300
    truth = np.linspace(0.55, 0.97, size)
    wrong = both = 0
    for _ in range(repetitions):
        counts = rng.binomial(samples, truth)
        one = two = False
        for probability in truth:  # the size at which this feature is only just lost
            null = truth <= probability
            pvalues = binom.sf(counts - 1, samples, probability)
            padded = np.concatenate([pvalues, np.ones(size)])
            one |= bool((_holm(pvalues, alpha) & null).any())
            two |= bool((_holm(padded, alpha)[:size] & null).any())
        wrong, both = wrong + one, both + two
    assert wrong / repetitions > alpha + 3 * math.sqrt(alpha * (1 - alpha) / repetitions)
    assert covers(np.arange(repetitions) < both, alpha)


@pytest.mark.parametrize("claim", ["reported", "redrawn"])
def test_rank_and_order_where_the_order_is_all_but_lost(smoothing, field, bits, claim):
    # Feature 0 falls, the others rise: at the shift they have passed it by a hair.
    class Crossing(Lines):
        def function(self, points):
            first, rest = points[:, :1], -points[:, :1]
            edges = self.edges.to(points.dtype)
            return torch.cat([(first <= edges[:1]), (rest <= edges[1:])], 1).to(points.dtype)

    low = norm.cdf(norm.ppf(0.85) - 2 * Lines.shift) + 1e-6
    world = Crossing([0.85] + [low] * 6)
    certificate = certify(world, smoothing, field, bits, samples=200, claim=claim)
    after = norm.cdf(norm.ppf(world.means) + Lines.shift * np.array([-1] + [1] * 6))
    values = np.tile(after, (REPETITIONS, 1))
    if claim == "redrawn":
        noise = np.random.default_rng(1).normal(size=(REPETITIONS, 200)) + Lines.shift
        first = (noise <= norm.ppf(0.85)).mean(1)
        values = np.stack([first, *[(-noise <= norm.ppf(low)).mean(1)] * 6], 1)
    measured = (values >= values[:, :1]).sum(1)
    ranks = certificate.rank(Lines.shift).numpy()
    assert covers(ranks[:, 0] < measured)
    order = certificate.precedes(0, 1, Lines.shift).numpy()
    assert covers(order & (values[:, 0] <= values[:, 1]))
    assert certificate.precedes(0, 1, 0.0).float().mean() > (0.9 if claim == "reported" else 0.0)
    plug_in = norm.ppf(certificate.attributions.numpy())
    broken = plug_in[:, 0] - Lines.shift > plug_in[:, 1] + Lines.shift
    if claim == "reported":  # without an interval
        assert not covers(broken & (values[:, 0] <= values[:, 1]))


# -- refusals ---------------------------------------------------------------------------------


def test_questions_that_maps_do_not_admit(smoothing, field, bits):
    inputs, settings = torch.zeros(2, 4), {"stdevs": 1.0, "nt_samples": 20, "seed": 0}
    unit = smoothing(field(lambda x: x), transform=UnitNorm()).certify(inputs, **settings)
    for ask in (lambda: unit.pixels(0.1), unit.pixel_radius, lambda: unit.certified_share(0.1)):
        with pytest.raises(ValueError, match="0/1 maps"):
            ask()
    sparse = smoothing(field(lambda x: x), transform=Abs() >> Sparsify(2))
    redrawn = sparse.certify(inputs, claim="redrawn", **settings)
    with pytest.raises(ValueError, match="`simultaneous` must be True for the redrawn claim"):
        redrawn.pixels(0.1, simultaneous=False)
    certificate = sparse.certify(inputs, **settings)
    for first, second in ((4, 0), (0, 9)):
        with pytest.raises(ValueError, match=r"must be in \[0, 3\]"):
            certificate.precedes(first, second, 0.1)
