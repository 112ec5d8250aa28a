"""What the samplers draw: moments, marginals, radii and independence, seeded or not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from captum_robust._base.streams import SampleStreams
from captum_robust.noise import GaussianNoise, UniformBallNoise, UniformBoxNoise

LAWS = [GaussianNoise(), UniformBallNoise(), UniformBoxNoise()]
names = [law.name for law in LAWS]
ROWS, DIMENSION = 20_000, 7
# Kolmogorov's statistic exceeds c / sqrt(n) with probability 2 exp(-2 c^2) at most: 1e-8 here,
# small enough for the hundreds of comparisons below together.
KOLMOGOROV = math.sqrt(math.log(2e8) / 2)


def draw(law, rows=ROWS, dimension=DIMENSION, dtype=torch.float32, seeded=False):
    if not seeded:
        torch.manual_seed(11)
        return law.sample(rows, dimension, dtype=dtype)
    streams = SampleStreams(seed=3, example_ids=[0])
    return law.sample(rows, dimension, dtype=dtype, streams=streams, samples=range(rows))


def marginal(law, dimension=DIMENSION):
    """The law of one coordinate."""
    if isinstance(law, GaussianNoise):
        return stats.norm().cdf
    if isinstance(law, UniformBoxNoise):
        return stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)).cdf
    radius, half = math.sqrt(dimension + 2), (dimension + 1) / 2
    return lambda z: stats.beta(half, half).cdf((z / radius + 1) / 2)


def fourth_moment(law, dimension=DIMENSION):
    if isinstance(law, GaussianNoise):
        return 3.0
    if isinstance(law, UniformBoxNoise):
        return 9 / 5
    return 3 * (dimension + 2) / (dimension + 4)


def distance_to(values, cdf):
    return stats.kstest(np.asarray(values, float), cdf).statistic


@pytest.mark.parametrize("seeded", [False, True], ids=["global", "seeded"])
@pytest.mark.parametrize("law", LAWS, ids=names)
class TestLaw:
    def test_moments_of_every_coordinate_and_pair(self, law, seeded):
        noise = draw(law, seeded=seeded).double()
        deviation = 5 / math.sqrt(ROWS)
        assert noise.mean(0).abs().max() <= deviation
        spread = math.sqrt(fourth_moment(law) - 1)
        assert (noise.square().mean(0) - 1).abs().max() <= deviation * spread
        products = noise.T @ noise / ROWS - torch.eye(DIMENSION)
        products.fill_diagonal_(0)
        assert products.abs().max() <= deviation * 1.1  # E (xy)^2 is at most 1 for all three

    def test_marginals(self, law, seeded):
        noise = draw(law, seeded=seeded)
        for column in noise.unbind(1):
            assert distance_to(column, marginal(law)) <= KOLMOGOROV / math.sqrt(ROWS)

    def test_other_projections_and_halves_agree(self, law, seeded):
        noise = draw(law, seeded=seeded).double()
        if not isinstance(law, UniformBoxNoise):  # the two laws that no rotation changes
            direction = torch.linspace(-1, 2, DIMENSION).double()
            projected = noise @ (direction / direction.norm())
            assert distance_to(projected, marginal(law)) <= KOLMOGOROV / math.sqrt(ROWS)
        # Consecutive draws are independent: products of neighbours average to 0.
        neighbours = (noise[1:] * noise[:-1]).mean(0).abs().max()
        assert neighbours <= 5 / math.sqrt(ROWS - 1)

    def test_radii(self, law, seeded):
        noise = draw(law, seeded=seeded).double()
        if isinstance(law, UniformBoxNoise):
            largest = noise.abs().amax(1) / math.sqrt(3)
            cdf = stats.powerlaw(DIMENSION).cdf
            assert largest.max() <= 1 + 1e-6
        elif isinstance(law, UniformBallNoise):
            largest = noise.norm(dim=1) / math.sqrt(DIMENSION + 2)
            cdf = stats.powerlaw(DIMENSION).cdf
            assert largest.max() <= 1 + 1e-6
        else:
            largest, cdf = noise.norm(dim=1), stats.chi(DIMENSION).cdf
        assert distance_to(largest, cdf) <= KOLMOGOROV / math.sqrt(ROWS)


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_coordinates_of_the_box_and_the_gaussian_are_independent_those_of_the_ball_are_not(law):
    squares = draw(law).double().square()
    covariance = float((squares[:, 0] * squares[:, 1]).mean()) - 1
    expected = 0.0
    if isinstance(law, UniformBallNoise):
        expected = (DIMENSION + 2) / (DIMENSION + 4) - 1
    assert covariance == pytest.approx(expected, abs=5 * 9 / math.sqrt(ROWS))
    assert abs(covariance - expected) < 0.1
    if expected:
        assert covariance < -0.05


@pytest.mark.parametrize("dimension", [1, 2, 300])
@pytest.mark.parametrize("law", LAWS, ids=names)
def test_unit_standard_deviation_in_every_dimension(law, dimension):
    noise = draw(law, rows=4000, dimension=dimension).double()
    count = noise.numel()
    tolerance = 5 * math.sqrt(fourth_moment(law, dimension) - 1) / math.sqrt(count)
    assert float(noise.square().mean()) == pytest.approx(1, abs=tolerance)
    cdf = marginal(law, dimension)
    assert distance_to(noise[:, 0], cdf) <= KOLMOGOROV / math.sqrt(4000)


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_dtypes(law):
    for asked, given in (
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
    ):
        noise = draw(law, rows=2000, dtype=asked)
        assert noise.dtype == given and torch.isfinite(noise).all()
        assert distance_to(noise[:, 0], marginal(law)) <= KOLMOGOROV / math.sqrt(2000)


@pytest.mark.parametrize("law", LAWS, ids=names)
class TestStreams:
    def sample(self, law, samples, ids=(0, 1), seed=5, purpose=0, dimension=9):
        streams = SampleStreams(seed, ids, purpose)
        rows = len(ids) * len(samples)
        noise = law.sample(rows, dimension, streams=streams, samples=samples)
        return noise.unflatten(0, (len(ids), len(samples)))

    def test_a_function_of_seed_sample_and_example_alone(self, law):
        whole = self.sample(law, range(12), ids=(0, 1, 2))
        pieces = [self.sample(law, range(s, s + 4), ids=(0, 1, 2)) for s in (0, 4, 8)]
        assert torch.equal(whole, torch.cat(pieces, 1))
        assert torch.equal(whole[2:], self.sample(law, range(12), ids=(2,)))
        assert torch.equal(whole[[2, 0]], self.sample(law, range(12), ids=(2, 0)))
        assert torch.equal(whole[:, 7:8], self.sample(law, range(7, 8), ids=(0, 1, 2)))

    def test_seeds_examples_samples_and_purposes_differ(self, law):
        first = self.sample(law, range(6))
        rows = [first, self.sample(law, range(6), seed=6), self.sample(law, range(6), purpose=1)]
        rows.append(self.sample(law, range(6), ids=(2, 3)))
        flat = torch.cat([row.flatten(0, 1) for row in rows])
        assert len({tuple(row.tolist()) for row in flat}) == len(flat)
        assert torch.cdist(flat, flat).fill_diagonal_(9).min() > 1e-3

    def test_equal_ids_get_equal_noise(self, law):
        twice = self.sample(law, range(5), ids=(4, 4))
        assert torch.equal(twice[0], twice[1])

    def test_the_global_generator_is_left_alone(self, law):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        one = self.sample(law, range(5))
        assert torch.equal(before, torch.get_rng_state())
        torch.manual_seed(2)
        assert torch.equal(one, self.sample(law, range(5)))

    def test_without_streams_the_global_generator_decides(self, law):
        torch.manual_seed(1)
        one = law.sample(3, 4)
        two = law.sample(3, 4)
        torch.manual_seed(1)
        assert torch.equal(one, law.sample(3, 4)) and not torch.equal(one, two)


def test_neighbouring_streams_are_uncorrelated():
    # The first draws of streams of successive samples, examples and seeds: a weak seeding of the
    # generator would show here, not within a stream.
    law = GaussianNoise()
    count = 6000
    first = law.sample(
        count, 2, dtype=torch.float64, streams=SampleStreams(0, [0]), samples=range(count)
    )
    second = law.sample(
        count, 2, dtype=torch.float64, streams=SampleStreams(0, range(count)), samples=range(1)
    )
    third = torch.cat(
        [
            law.sample(1, 2, dtype=torch.float64, streams=SampleStreams(s, [0]), samples=range(1))
            for s in range(count)
        ]
    )
    for noise in (first, second, third):
        for lag in (1, 2, 64):
            for power in (1, 2):
                z = (noise**power).double()
                z = (z - z.mean(0)) / z.std(0)
                correlation = (z[lag:] * z[:-lag]).mean(0).abs().max()
                assert correlation <= 5 / math.sqrt(count - lag)
        assert distance_to(noise[:, 0], stats.norm.cdf) <= KOLMOGOROV / math.sqrt(count)
    assert abs((first * second).mean()) <= 5 / math.sqrt(2 * count)


def test_no_two_samples_of_an_example_share_a_stream():
    from captum_robust._base.streams import _stream_seed

    for key in SampleStreams(8, [0, 1, 10**12])._keys:
        seeds = [_stream_seed(key, sample) & 0xFFFF_FFFF for sample in range(200_000)]
        assert len(set(seeds)) == len(seeds)  # the bits that torch's CPU generator reads
    # The reason for the low word: the CPU generator ignores the high one.
    low = torch.Generator().manual_seed(5)
    high = torch.Generator().manual_seed(5 + 2**40)
    assert torch.equal(torch.randn(4, generator=low), torch.randn(4, generator=high))


def test_streams_refuse_what_is_no_seed_or_id():
    with pytest.raises(ValueError, match=r"`seed` must be at least 0, got -1"):
        SampleStreams(-1, [0])
    with pytest.raises(TypeError, match=r"`seed` must be an int, got float"):
        SampleStreams(1.5, [0])
    with pytest.raises(ValueError, match=r"`example_ids` must be at least 0, got -2"):
        SampleStreams(1, [0, -2])
