"""The smoothed classifier's label: the published radius, exact worst cases, coverage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import ndtr

from captum_robust.certificates.confidence.votes import Votes, share_lower, share_upper
from captum_robust.certificates.evidence.prediction import PredictionEvidence
from captum_robust.noise import GaussianNoise, UniformBallNoise, UniformBoxNoise


def published_radius(successes, samples, alpha, sigma):
    """Cohen et al. (2019), CERTIFY, lines 3 to 6, with statsmodels' interval written out."""
    lower = stats.beta.ppf(alpha, successes, samples - successes + 1)
    return sigma * stats.norm.ppf(lower) if lower > 0.5 else 0.0


@pytest.mark.parametrize(
    ("successes", "samples"),
    [
        (1, 1),
        (60, 100),
        (99, 100),
        (100, 100),
        (51, 100),
        (400, 512),
        (99_990, 100_000),
        (100_000, 100_000),
        (750, 1000),
        (0, 50),
    ],
)
@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.001])
def test_radius_is_the_published_one(successes, samples, alpha):
    lower = share_lower(successes, samples, alpha)
    ours = max(PredictionEvidence(lower, 0.0, GaussianNoise(), 10).shift_of_share(0.5), 0.0)
    expected = published_radius(successes, samples, alpha, 1.0) if successes else 0.0
    assert ours == pytest.approx(expected, abs=1e-9) and ours <= expected + 1e-15


def test_bounds_are_exact_quantiles_and_never_beyond():
    for samples in (1, 7, 64):
        for successes in range(1, samples + 1):
            low = share_lower(successes, samples, 0.05)
            tail = stats.binom.sf(successes - 1, samples, low)
            assert tail <= 0.05 * (1 + 1e-12) and tail == pytest.approx(0.05, rel=1e-9)
            high = share_upper(samples - successes, samples, 0.05)
            assert high == pytest.approx(1 - low, abs=1e-15)


def test_half_spaces_attain_the_gaussian_radius():
    """f predicts y where a coordinate is below t: at the radius its share is exactly one half."""
    for level in (0.6, 0.9, 0.999):
        evidence = PredictionEvidence(level, 0.0, GaussianNoise(), 3)
        shift = evidence.shift_of_share(0.5)
        boundary = stats.norm.ppf(level)
        assert ndtr(boundary - shift) == pytest.approx(0.5, abs=1e-12)
        assert evidence.share(0.7 * shift) == pytest.approx(ndtr(boundary - 0.7 * shift), abs=1e-9)
        assert evidence.share(0.7 * shift) <= ndtr(boundary - 0.7 * shift)


def test_a_box_that_loses_one_side_attains_the_l1_radius():
    law = UniformBoxNoise()
    evidence = PredictionEvidence(0.8, 0.0, law, 5)
    shift = evidence.shift_of_share(0.5)
    # Predicts y but on a slab of 20 % at one side of one coordinate: a shift adds its own width.
    assert 0.8 - shift / (2 * law.radius_in_stdevs(5)) == pytest.approx(0.5)


def test_balls_hold_by_total_variation():
    law = UniformBallNoise()
    evidence = PredictionEvidence(0.9, 0.0, law, 20)
    shift = evidence.shift_of_share(0.5)
    assert float(law.total_variation(shift, 20)) == pytest.approx(0.4, abs=1e-9)
    assert evidence.share(shift) <= 0.5


@pytest.mark.parametrize("law", [GaussianNoise(), UniformBallNoise(), UniformBoxNoise()])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.75])
@pytest.mark.parametrize("fresh", [0.0, 0.03])
def test_inverse_fits_the_answer(law, share, fresh):
    evidence = PredictionEvidence(0.9, fresh, law, 12)
    shift = evidence.shift_of_share(share)
    assert evidence.share(shift * 0.999) > share > evidence.share(shift * 1.001)
    assert PredictionEvidence(0.1, 0.0, law, 12).shift_of_share(share) == -np.inf


def test_votes_name_the_runner_up():
    labels = torch.tensor([[3, 3, 1, 2, 2], [0, 0, 0, 0, 0], [5, 5, 7, 7, 1]])
    votes = Votes.of(labels, torch.tensor([3, 0, 1]))
    assert votes.shares.tolist() == [0.4, 1.0, 0.2]
    assert votes.others.tolist() == [2, -1, 5] and votes.other_counts.tolist() == [2, 0, 2]


def test_coverage_of_the_lower_bound():
    """At alpha .1 the bound fails as often as the binomial law says, at most a tenth."""
    rng, alpha, samples = np.random.default_rng(0), 0.1, 60
    for truth in (0.5, 0.77, 0.95):
        draws = rng.binomial(samples, truth, size=2000)
        failures = np.mean([share_lower(int(one), samples, alpha) > truth for one in draws])
        assert failures <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / 2000)
        assert failures > 0.02  # it is no looser than it must be
