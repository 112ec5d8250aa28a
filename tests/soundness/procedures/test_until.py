"""Adaptive sampling under optional stopping: errors over many runs of a statement that is false."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.stats import norm

from captum_robust.certificates import MapRange, Shift
from captum_robust.certificates.certificate import Certificate
from captum_robust.certificates.claim import Terms
from captum_robust.certificates.confidence.pairs import PairEvidence
from captum_robust.certificates.procedures.until import Until
from captum_robust.noise import GaussianNoise
from tests.helpers.coverage import ALPHA, covers

REPETITIONS = 400


def runs(goal, make, draws):
    """What each run says at its stop: ``draws`` are ``(R, N)`` samples, looked at in turn."""
    certified, taken = [], []
    for row in draws:
        for look in goal.looks:
            certificate = make(row[:look])
            if goal.settled(certificate):
                break
        certified.append(bool(goal.certified(certificate).all()))
        taken.append(look)
    return np.array(certified), np.array(taken)


@dataclass(frozen=True)
class Exact:
    """A certificate whose error is exactly alpha a look: nothing is hidden by slack."""

    total: float
    nt_samples: int
    alpha: float
    pairs: None = None
    shares: None = None

    def ask(self, question, epsilon):
        mean = self.total / self.nt_samples
        return torch.tensor([mean - norm.isf(self.alpha) / math.sqrt(self.nt_samples)])


@pytest.mark.parametrize("shared", [True, False])
def test_alpha_shared_among_looks_covers_and_whole_alpha_does_not(shared):
    goal = Until.parsed({"cosine": 0.5, "epsilon": 0.1}, 4096)
    alpha = ALPHA / len(goal.looks) if shared else ALPHA
    draws = 0.5 + np.random.default_rng(0).normal(size=(2 * REPETITIONS, 4096))  # only just false

    def make(row):
        return Exact(row.sum(), len(row), alpha)

    certified, taken = runs(goal, make, draws)
    assert covers(certified) == shared
    assert taken.max() <= 4096
    if shared:  # worth its union: a good share of alpha is used
        assert certified.mean() >= 0.3 * ALPHA


def test_giving_up_costs_no_validity_and_little_power():
    goal = Until.parsed({"cosine": 0.5, "epsilon": 0.1}, 4096)
    rng = np.random.default_rng(1)

    def make(row):
        return Exact(row.sum(), len(row), ALPHA / len(goal.looks))

    certified, taken = runs(goal, make, 0.3 + rng.normal(size=(100, 4096)))
    assert not certified.any() and np.median(taken) <= 1024  # hopeless, soon given up
    certified, taken = runs(goal, make, 0.7 + rng.normal(size=(100, 4096)))
    assert certified.mean() > 0.95 and np.median(taken) <= 1024  # easy, soon had


def certificate_of(alpha, looks, range_, **evidence):
    """A certificate of one example without a model."""
    terms = Terms(
        "a map",
        ("overlap", "cosine", "region_mass"),
        None,
        alpha,
        "auto",
        "reported",
        "best",
        False,
        looks,
    )
    shift = Shift(GaussianNoise(), 3, torch.ones(1, dtype=torch.float64), False)
    mean = evidence.pop("mean")
    return Certificate(
        terms=terms,
        shift=shift,
        mean=mean,
        shapes=(torch.Size([mean.shape[1]]),),
        is_tuple=False,
        range=range_,
        **evidence,
    )


@pytest.mark.parametrize("epsilon", [0.0, pytest.param(0.3, marks=pytest.mark.slow)])
def test_region_mass_only_just_false(epsilon):
    share = 0.6
    after = norm.cdf(norm.ppf(share) - epsilon)  # of a half-space
    goal = Until.parsed({"region_mass": after + 1e-6, "epsilon": epsilon}, 512)
    draws = np.random.default_rng(2).binomial(1, share, (REPETITIONS, 512)).astype(float)
    known = MapRange(0.0, 1.0, 1.0, True, 1.0)

    def make(row):
        return certificate_of(
            ALPHA,
            len(goal.looks),
            known,
            mean=torch.tensor([[row.mean(), 1 - row.mean()]]),
            nt_samples=len(row),
            shares=torch.from_numpy(row[None].copy()),
        )

    certified, taken = runs(goal, make, draws)
    assert covers(certified) and taken.max() <= 512


@pytest.mark.slow
def test_cosine_and_overlap_only_just_false_with_pairs():
    """Maps e1 or e2 by the side of a half-space: exact cosine and order at the shift."""
    share, epsilon = norm.cdf(0.2), 0.4
    after = norm.cdf(0.2 - epsilon)
    assert share > 0.5 > after
    known = MapRange(0.0, 1.0, 1.0, True, 1.0)
    draws = np.random.default_rng(3).binomial(1, share, (REPETITIONS, 1024)).astype(float)

    def make_for(looks):
        def make(row):
            maps = np.stack([row, 1 - row], 1)
            even = len(row) // 2 * 2
            gaps = maps[0:even:2] - maps[1:even:2]
            pairs = PairEvidence(
                pairs=len(gaps),
                eig_pairs=len(gaps),
                traces=np.array([(gaps**2).sum() / 2 / len(gaps)]),
                inners=np.array([(maps[0:even:2] * maps[1:even:2]).sum() / len(gaps)]),
                eigenvalues=np.array([np.linalg.eigvalsh(gaps.T @ gaps)[-1] / 2 / len(gaps)]),
            )
            return certificate_of(
                ALPHA,
                looks,
                known,
                mean=torch.from_numpy(maps.mean(0)[None]),
                nt_samples=len(row),
                pairs=pairs,
            )

        return make

    expected = np.array([after, 1 - after])
    for until in ({"overlap": 1.0, "k": 1}, {"cosine": 0.9}):
        goal = Until.parsed(until | {"epsilon": epsilon}, 1024)
        make, wrong = make_for(len(goal.looks)), []
        for row in draws:
            for look in goal.looks:
                certificate = make(row[:look])
                if goal.settled(certificate):
                    break
            reported = certificate.mean.numpy()[0]
            certified = bool(goal.certified(certificate).all())
            if "cosine" in until:
                cosine = reported @ expected / np.linalg.norm(reported) / np.linalg.norm(expected)
                wrong.append(float(certificate.cosine(epsilon)) > cosine)
            else:
                wrong.append(certified and reported.argmax() != expected.argmax())
        assert covers(wrong)


def test_whole_calls_under_optional_stopping(smoothing, field):
    """Certified by certify itself: one false statement an example, every look counted."""
    share, epsilon, samples = norm.cdf(0.15), 0.3, 512

    def function(points):
        first = (points[:, :1] <= 0.15).to(points.dtype)
        return torch.cat([first, 1 - first], 1)

    smooth = smoothing(field(function), noise=GaussianNoise())
    wrong = []
    for seed in range(40):
        torch.manual_seed(seed)
        certificate = smooth.certify(
            torch.zeros(25, 1, dtype=torch.float64),
            stdevs=1.0,
            until={"cosine": 0.99, "epsilon": epsilon},
            max_samples=samples,
            alpha=ALPHA,
            norm_bound=1.0,
            nt_samples_batch_size=128,
        )
        assert certificate.nt_samples <= samples
        maps = certificate.attributions.numpy()
        after = norm.cdf(0.15 - epsilon)
        expected = np.array([after, 1 - after])
        cosines = maps @ expected / np.linalg.norm(maps, axis=1) / np.linalg.norm(expected)
        wrong += list(certificate.cosine(epsilon).numpy() > cosines)
    assert share > 0.5 and covers(wrong)
