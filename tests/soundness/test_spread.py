"""HCR, pairs and Bousquet's radius: worst cases, coverage of each tail, and under attack."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from scipy.stats import norm
from torch import nn

from captum_robust.attr import Abs, UnitNorm
from captum_robust.certificates import cosine_from_sine
from captum_robust.certificates.budget import norm_shares
from captum_robust.certificates.confidence import spread
from captum_robust.certificates.confidence.bousquet import bousquet_radius
from captum_robust.certificates.confidence.pac_bayes import pac_bayes_radius
from captum_robust.certificates.confidence.spread import (
    mean_lower,
    top_eigenvalue_upper,
    trace_upper,
)
from captum_robust.certificates.evidence.norm import norm_evidence
from captum_robust.certificates.shifts.covariance import hcr_shift
from captum_robust.noise import GaussianNoise
from tests.helpers.coverage import ALPHA, covers

REPETITIONS = 400


# -- HCR: exact worst cases ------------------------------------------------------------------


def slices(shift, cells=4000):
    edges = np.concatenate([[-np.inf], np.linspace(-7, 7 + 2 * shift, cells), [np.inf]])
    return masses(edges), masses(edges - shift)


def masses(edges):
    """Normal masses of intervals, without cancellation in the upper tail."""
    upper = norm.sf(edges[:-1]) - norm.sf(edges[1:])
    return np.where(edges[1:] > 0, upper, np.diff(norm.cdf(edges)))


def moments(fields, here, there):
    """h, h~ and the top eigenvalue of the spread of fields ``(cells, m)``."""
    before, after = here @ fields, there @ fields
    centred = fields - before
    return before, after, np.linalg.eigvalsh((centred * here[:, None]).T @ centred)[-1]


@pytest.mark.parametrize("shift", [0.05, 0.25, 0.5, 1.0])
def test_a_field_linear_in_the_likelihood_ratio_attains_deviation_and_angle(shift):
    here, there = slices(shift)
    ratio = there / here
    growth = math.expm1(shift**2)
    for slope in (0.1, 0.4):
        moved = slope * growth
        # h.v = -moved makes v the tangent direction: h + moved v stands at a right angle on v.
        along = np.array([math.sqrt(1 - moved**2), -moved])
        fields = along + slope * (ratio - 1)[:, None] * np.array([0.0, 1.0])
        before, after, eigenvalue = moments(fields, here, there)
        bound = float(hcr_shift(shift, eigenvalue))
        assert np.linalg.norm(after - before) <= bound * (1 + 1e-9)
        assert np.linalg.norm(after - before) >= bound * 0.99
        cosine = before @ after / np.linalg.norm(before) / np.linalg.norm(after)
        certified = float(cosine_from_sine(bound / np.linalg.norm(before)))
        assert certified <= cosine + 1e-9 and math.acos(certified) <= 1.01 * math.acos(cosine)


@pytest.mark.parametrize("shift", [0.1, 0.25, 0.5])
def test_bounded_fields_come_within_a_percent_while_they_vary_little(shift):
    here, there = slices(shift)
    z = np.log(there / here) / shift
    fields = np.clip(0.1 * z, -1, 1)[:, None]
    before, after, eigenvalue = moments(fields, here, there)
    bound = float(hcr_shift(shift, eigenvalue))
    ratio = float(np.abs(after - before)[0]) / bound
    # Linear in z in place of the ratio: t / sqrt(e^{t^2} - 1) of the bound.
    assert ratio == pytest.approx(shift / math.sqrt(math.expm1(shift**2)), rel=2e-3)
    assert ratio <= 1 and ratio >= (0.99 if shift < 0.2 else 0.93)


@pytest.mark.parametrize("block", range(5))
def test_hundreds_of_fields_bent_towards_the_worst(block):
    law = GaussianNoise()
    for seed in range(block * 50, block * 50 + 50):
        rng = np.random.default_rng(seed)
        shift, size = float(rng.choice([0.05, 0.2, 0.5, 1.0, 2.0])), int(rng.integers(1, 4))
        here, there = slices(shift, 60)
        ratio = there / here
        offset = rng.normal(size=size) * rng.choice([0.0, 0.3, 1.0])
        fields = offset + rng.choice([0.05, 0.3, 1.0]) * rng.normal(size=(here.size, size))
        for _ in range(6):
            fields /= np.maximum(np.linalg.norm(fields, axis=1, keepdims=True), 1.0)
            before, after, eigenvalue = moments(fields, here, there)
            hcr = float(hcr_shift(shift, eigenvalue))
            moved = np.linalg.norm(after - before)
            assert moved <= min(hcr, float(law.norm_shift(shift, 1))) + 1e-12
            constant = min(hcr, float(law.angle_shift(shift, 1)))
            length = np.linalg.norm(before)
            certified = float(cosine_from_sine(constant / length))
            assert certified <= before @ after / length / np.linalg.norm(after) + 1e-9
            # Ascent: along what moved, in proportion to the likelihood ratio, off the tangent.
            along = after - before - rng.uniform(0, 1) * before * (after @ before) / length**2
            along /= max(np.linalg.norm(along), 1e-12)
            fields = before + rng.uniform(0.3, 1.0) * (ratio - 1)[:, None] * along


def test_the_covariance_at_x_does_not_bound_a_ball(body):
    # No density of finite variance: a constant at x that jumps on the far crescent.
    world = body("ball", 0.2)
    assert not world.law.norm_shift_by_covariance
    assert hcr_shift(world.shift, 1e-9) < 0.2


# -- each tail alone ------------------------------------------------------------------------


def heavy(rng, repetitions, samples, features, heaviness, nonnegative):
    """Unit maps along one heavy direction with some chance, else anywhere: ``(R, N, m)``."""
    maps = rng.normal(size=(repetitions, samples, features))
    maps /= np.linalg.norm(maps, axis=2, keepdims=True)
    line = np.zeros(features)
    line[0] = 1.0
    signs = rng.choice([-1.0, 1.0], (repetitions, samples, 1))
    chosen = rng.random((repetitions, samples, 1)) < heaviness
    maps = np.where(chosen, signs * line, maps)
    if nonnegative:  # e1 and e2: the widest pair, sqrt(2) apart
        other = np.roll(line, 1)
        maps = np.where(chosen, np.where(signs > 0, line, other), np.abs(maps))
    return maps


def covariance_of(features, heaviness, nonnegative):
    """Trace and top eigenvalue, from two million draws of the same law."""
    rng = np.random.default_rng(99)
    maps = heavy(rng, 200, 2000, features, heaviness, nonnegative).reshape(-1, features)
    spread = np.cov(maps.T, bias=True).reshape(features, features)
    return np.trace(spread), np.linalg.eigvalsh(spread)[-1], maps.mean(0)


CASES = [
    (1, 1.0, False),
    (2, 1.0, False),
    (8, 0.2, False),
    (8, 0.9, False),
    (2, 1.0, True),
    (8, 0.3, True),
]


@pytest.mark.parametrize(("features", "heaviness", "nonnegative"), CASES)
@pytest.mark.parametrize("pairs", [4, 20, 100])
def test_trace_eigenvalue_and_inner_product(features, heaviness, nonnegative, pairs):
    trace, eigenvalue, mean = covariance_of(features, heaviness, nonnegative)
    rng = np.random.default_rng(pairs)
    maps = heavy(rng, 2 * REPETITIONS, 2 * pairs, features, heaviness, nonnegative)
    first, second = maps[:, 0::2], maps[:, 1::2]
    gaps = first - second
    traces = (gaps**2).sum((1, 2)) / (2 * pairs)
    tops = np.linalg.eigvalsh(gaps.transpose(0, 2, 1) @ gaps / (2 * pairs))[:, -1]
    inners = (first * second).sum(2).mean(1)
    slack = 4 / math.sqrt(400_000)  # of the reference values
    settings = {"pairs": pairs, "alpha": ALPHA, "norm": 1.0, "nonnegative": nonnegative}
    upper = np.array([trace_upper(value, **settings) for value in traces])
    assert covers(upper < trace - slack)
    upper = np.array([top_eigenvalue_upper(value, **settings) for value in tops])
    assert covers(upper < eigenvalue - slack)
    low = 0.0 if nonnegative else -1.0
    lower = np.array([mean_lower(value, low, 1.0, pairs, ALPHA) for value in inners])
    assert covers(lower > mean @ mean + slack)


def test_a_spectrum_without_its_deviation_fails():
    rng = np.random.default_rng(0)
    maps = heavy(rng, REPETITIONS, 40, 2, 1.0, False)
    gaps = maps[:, 0::2] - maps[:, 1::2]
    plug_in = np.linalg.eigvalsh(gaps.transpose(0, 2, 1) @ gaps / 40)[:, -1]
    assert not covers(plug_in < 1 - 1e-9)
    assert not covers((gaps**2).sum((1, 2)) / 40 < 1 - 1e-9)
    loose = [top_eigenvalue_upper(value, 20, 0.95, 1.0) for value in plug_in]
    assert not covers(np.array(loose) < 1 - 1e-9)  # alpha is used
    # A nonnegative limit for signed maps: L = M^2 is false, the share is clipped at 1.
    wrong = [top_eigenvalue_upper(value, 20, ALPHA, 1.0, True) for value in plug_in]
    assert not covers(np.array(wrong) < 1.0 + 1e-3)


def test_pairs_that_overlap_would_not_be_independent():
    # Neighbours (G1, G2), (G2, G3), ... share samples: 2 P values from N draws, not P.
    rng = np.random.default_rng(1)
    bits = rng.choice([-1.0, 1.0], (REPETITIONS, 40))
    disjoint = (bits[:, 0::2] - bits[:, 1::2]) ** 2 / 2
    assert disjoint.shape[1] == 20
    bounds = [trace_upper(row.mean(), 20, ALPHA, 1.0) for row in disjoint]
    assert covers(np.array(bounds) < 1.0)


@pytest.mark.parametrize("pairs", [12, 40])
@pytest.mark.parametrize(
    ("features", "heaviness", "nonnegative"), [(60, 0.9, False), (60, 0.3, True)]
)
def test_the_bet_on_the_top_eigenvalue(features, heaviness, nonnegative, pairs):
    """More features than pairs, as for images: both moments from the pairs' Gram matrix."""
    _, eigenvalue, _ = covariance_of(features, heaviness, nonnegative)
    maps = heavy(np.random.default_rng(7), REPETITIONS, 2 * pairs, features, heaviness, nonnegative)
    gaps = maps[:, 0::2] - maps[:, 1::2]
    gram = gaps @ gaps.transpose(0, 2, 1) / 2
    tops = np.linalg.eigvalsh(gram / pairs)[:, -1]
    fourths = np.linalg.eigvalsh(gram**2 / pairs)[:, -1]
    bounds = [
        top_eigenvalue_upper(top, pairs, ALPHA, 1.0, nonnegative, fourth)
        for top, fourth in zip(tops, fourths, strict=True)
    ]
    slack = 4 / math.sqrt(400_000)
    assert covers(np.array(bounds) < eigenvalue - slack)


@pytest.mark.parametrize("chance", [0.005, 0.02, 0.2])
def test_the_bet_covers_a_rare_large_direction(monkeypatch, chance):
    """x = (w.D)^2/2 is L in some pairs, else 0: one direction, so nothing hides the failures."""
    rng, pairs = np.random.default_rng(8), 120
    averages = (rng.random((10 * REPETITIONS, pairs)) < chance).mean(1)  # of x, and of its square

    def bounds(alpha=ALPHA, share_of_square=1.0):
        return np.array(
            [
                top_eigenvalue_upper(average, pairs, alpha, 1.0, True, share_of_square * average)
                for average in averages
            ]
        )

    assert covers(bounds() < chance)
    if chance == 0.005:  # no pair shows it in more than half of the runs: alpha is what saves them
        assert not covers(bounds(alpha=0.9) < chance)
    if chance == 0.2:  # the square's average is needed
        monkeypatch.setattr(spread, "stake_shares", lambda alpha: ((0.8, alpha),))
        assert not covers(bounds(share_of_square=0.0) < chance)


# -- the radius of a mean -------------------------------------------------------------------

RADII = (bousquet_radius, pac_bayes_radius)


def sphere_errors(features, samples, repetitions=REPETITIONS):
    rng = np.random.default_rng(features)
    errors = np.empty(repetitions)
    for index in range(repetitions):
        maps = rng.normal(size=(samples, features))
        errors[index] = np.linalg.norm((maps / np.linalg.norm(maps, axis=1, keepdims=True)).mean(0))
    return errors


@pytest.mark.parametrize("radius_of", RADII)
@pytest.mark.parametrize("features", [1, 2, 20, 400])
@pytest.mark.parametrize("alpha", [ALPHA, 0.5, 0.9])
def test_the_radius_at_the_true_spread(features, alpha, radius_of):
    radius = radius_of(1.0, 1.0 / features, 40, alpha, 1.0)
    assert covers(sphere_errors(features, 40) > radius, alpha)


@pytest.mark.parametrize("radius_of", RADII)
def test_the_radius_for_rare_large_maps(radius_of):
    # Zero but for a chance of 2 %: the Poisson regime, where the last term is needed.
    rng, samples, chance = np.random.default_rng(2), 60, 0.02
    for nonnegative in (False, True):
        rare = rng.random((4 * REPETITIONS, samples)) < chance
        errors = np.abs(rare.mean(1) - chance)
        spread = chance * (1 - chance)
        radius = radius_of(spread, spread, samples, 0.01, 1.0, nonnegative)
        assert covers(errors > radius, 0.01)
        normal = math.sqrt(spread / samples) * 2.33
        assert not covers(errors > normal, 0.01)


def test_the_radius_needs_its_terms():
    # Many dimensions: the error is e nearly surely. One dimension: it spreads beyond e.
    for radius_of in RADII:
        whole = radius_of(1.0, 1 / 400, 40, 0.9, 1.0)
        assert not covers(sphere_errors(400, 40) > whole - 1 / math.sqrt(40), 0.9)
    level = math.log(1 / ALPHA) / 40
    assert not covers(sphere_errors(1, 40, 1600) > 1 / math.sqrt(40) + 2 * level / 3)


# -- whole chain ----------------------------------------------------------------------------


def test_shares_of_alpha_sum_to_it():
    for spread_used, population, redrawn in itertools.product((False, True), repeat=3):
        shares = norm_shares(0.05, spread_used, population, redrawn)
        assert sum(shares.values()) == pytest.approx(0.05, rel=1e-14)
        assert ("fresh" in shares) == redrawn


class World:
    """G in the plane, a function of the first coordinate alone, with exact h and h~."""

    shift = 0.4

    def __init__(self, nonnegative=False):
        self.nonnegative = nonnegative

    def function(self, points):
        z = points[:, :1]
        angle = 0.4 + 0.5 * torch.tanh(2 * z) if self.nonnegative else 1.2 * torch.tanh(2 * z)
        return torch.cat(
            [torch.cos(angle), torch.sin(angle).abs() if self.nonnegative else torch.sin(angle)], 1
        )

    def expected(self, shift):
        z = np.linspace(-9, 9, 20001)
        values = self.function(torch.from_numpy(z[:, None] + shift)).numpy()
        return norm.pdf(z) @ values * (z[1] - z[0])


@pytest.fixture(params=[False, True], ids=["signed", "nonnegative"])
def world(request):
    return World(request.param)


@pytest.fixture(params=["reported", "population", "redrawn"])
def claim(request):
    return request.param


def certify(world, smoothing, field, claim, samples=120, **arguments):
    torch.manual_seed(0)
    transform = Abs() if world.nonnegative else None
    smooth = smoothing(field(world.function), noise=GaussianNoise(), transform=transform)
    return smooth.certify(
        torch.zeros(REPETITIONS, 1, dtype=torch.float64),
        stdevs=1.0,
        nt_samples=samples,
        alpha=ALPHA,
        claim=claim,
        norm_bound=1.0,
        **arguments,
    )


@pytest.mark.parametrize("route", ["best", "hcr"])
def test_whole_certificates(world, smoothing, field, claim, route):
    certificate = certify(world, smoothing, field, claim, route=route)
    assert certificate.pairs is not None and certificate.range.nonnegative == world.nonnegative
    before, after = world.expected(0.0), world.expected(world.shift)
    maps = certificate.attributions.numpy()
    np.testing.assert_allclose(
        maps.mean(0), before, atol=5 / math.sqrt(REPETITIONS * certificate.nt_samples)
    )
    evidence = norm_evidence(certificate, "cosine", ALPHA)
    first = np.tile(before, (REPETITIONS, 1)) if claim == "population" else maps
    second = np.tile(after, (REPETITIONS, 1))
    if claim == "redrawn":
        torch.manual_seed(1)
        noise = world.shift + torch.randn(REPETITIONS * 120, 1, dtype=torch.float64)
        second = world.function(noise).unflatten(0, (REPETITIONS, 120)).mean(1).numpy()
    wrong = evidence.eigenvalues < true_eigenvalue(world)
    if claim == "population":
        wrong |= evidence.lengths > np.linalg.norm(before)
    else:
        wrong |= evidence.offset < np.linalg.norm(maps - before, axis=1)
    assert covers(wrong)  # the parts
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    measured = (first * second).sum(1) / lengths
    failures = certificate.cosine(world.shift).numpy() > measured
    failures |= certificate.angle(world.shift).numpy() < np.degrees(np.arccos(measured)) - 1e-9
    moved = np.linalg.norm(first - second, axis=1)
    failures |= certificate.l2_deviation(world.shift).numpy() < moved
    assert covers(failures)  # the answers, all three at once


def true_eigenvalue(world):
    z = np.linspace(-9, 9, 20001)
    values = world.function(torch.from_numpy(z[:, None])).numpy()
    weights = norm.pdf(z) * (z[1] - z[0])
    centred = values - weights @ values
    return np.linalg.eigvalsh((centred * weights[:, None]).T @ centred)[-1]


def test_the_answers_without_their_monte_carlo_radius_fail(smoothing, field):
    world = World()
    certificate = certify(world, smoothing, field, "reported")
    maps = certificate.attributions.numpy()
    after = world.expected(world.shift)
    moved = np.linalg.norm(maps - after, axis=1)
    exact = np.linalg.norm(world.expected(0.0) - after)
    assert not covers(moved > exact * (1 + 1e-9))


def test_route_hcr_needs_gaussian_noise_and_some_samples(body, smoothing, field):
    ball = smoothing(field(lambda x: x), noise=body("ball", 0.2).law)
    settings = {"stdevs": 1.0, "norm_bound": 9.0, "route": "hcr"}
    with pytest.raises(ValueError, match="Gaussian noise and at least 8 samples, got uniform ball"):
        ball.certify(torch.zeros(1, 3), nt_samples=20, **settings).cosine(0.1)
    gaussian = smoothing(field(lambda points: torch.tanh(points)))
    with pytest.raises(ValueError, match="got Gaussian noise and 7 samples"):
        gaussian.certify(torch.zeros(1, 3), nt_samples=7, **settings).cosine(0.1)
    assert gaussian.certify(torch.zeros(1, 3), nt_samples=8, **settings).pairs.pairs == 4


@pytest.mark.parametrize("route", ["best", "hcr", "bounded"])
def test_radii_pass_their_own_forward_bound(smoothing, field, claim, route):
    world = World()
    certificate = certify(world, smoothing, field, claim, samples=500, route=route)
    for words in ({"cosine": 0.7}, {"angle": 60.0}, {"l2_deviation": 1.0}, {"l2_deviation": 2.5}):
        ((question, threshold),) = words.items()
        radius = certificate.certified_radius(**words)
        some = torch.isfinite(radius) & (radius > 0)
        answer = getattr(certificate, question)(torch.where(some, radius, 0.0))
        good = answer >= threshold if question == "cosine" else answer <= threshold
        assert good[some].all()
        if question == "l2_deviation":  # also where only the trivial bound would say no
            assert (radius > 0).all()


@pytest.mark.parametrize("law_name", ["Gaussian", "ball", "box"])
def test_enormous_sizes_give_nothing_and_warn_of_nothing(law_name, body, smoothing, field):
    law = GaussianNoise() if law_name == "Gaussian" else body(law_name, 0.2).law
    for route in ("best", "bounded"):
        smooth = smoothing(field(lambda points: torch.tanh(points)), noise=law)
        certificate = smooth.certify(
            torch.zeros(2, 3), stdevs=1.0, nt_samples=40, norm_bound=2.0, route=route, seed=0
        )
        assert (certificate.cosine(1e6) == -1).all()
        assert (certificate.l2_deviation(1e6) >= 4.0).all()
        assert torch.isinf(certificate.certified_radius(l2_deviation=9.0)).all()


# -- under attack -----------------------------------------------------------------------------


def test_redrawn_cosine_and_deviation_under_attack(smoothing):
    torch.manual_seed(3)
    examples, features, samples = 40, 6, 2000
    net = nn.Sequential(nn.Linear(features, 24), nn.Tanh(), nn.Linear(24, 3)).double().eval()
    inputs = torch.randn(examples, features, dtype=torch.float64)
    smooth = smoothing(Saliency(net), noise=GaussianNoise(), transform=UnitNorm())
    level = {"target": 0, "stdevs": 0.5, "abs": True}
    certificate = smooth.certify(
        inputs, nt_samples=samples, seed=0, alpha=ALPHA, claim="redrawn", **level
    )
    size = certificate.certified_radius(cosine=0.9)
    kept = size > 0
    assert kept.double().mean() > 0.5
    here = certificate.attributions

    def similarity(maps):
        return nn.functional.cosine_similarity(here, maps, dim=1)

    generator = torch.Generator().manual_seed(1)
    worst, best = torch.full((examples,), 2.0, dtype=torch.float64), torch.zeros_like(inputs)
    for _ in range(2):
        delta = torch.randn(inputs.shape, dtype=torch.float64, generator=generator)
        delta = delta * (size / delta.norm(dim=1)).unsqueeze(1)
        for _ in range(8):
            moving = delta.clone().requires_grad_()
            torch.manual_seed(7)  # common random numbers
            maps = smooth.attribute(inputs + moving, nt_samples=100, create_graph=True, **level)
            value = similarity(maps)
            gradient = torch.autograd.grad(value.sum(), moving)[0]
            value = value.detach()
            best = torch.where((value < worst).unsqueeze(1), delta, best)
            worst = torch.minimum(worst, value)
            step = gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-300)
            delta = delta - 0.5 * size.unsqueeze(1) * step
            delta = delta * (size / delta.norm(dim=1).clamp(min=1e-300)).unsqueeze(1)
    fresh = smooth.attribute(inputs + best, nt_samples=samples, seed=2, **level)
    unmoved = similarity(smooth.attribute(inputs, nt_samples=samples, seed=2, **level))
    assert similarity(fresh)[kept].mean() < unmoved[kept].mean()
    allowed = ALPHA * int(kept.sum()) + 3 * math.sqrt(ALPHA * (1 - ALPHA) * int(kept.sum()))
    moved = (fresh - here).norm(dim=1)
    wrong = (similarity(fresh) < 0.9) | (moved > certificate.l2_deviation(size))
    assert wrong[kept].sum() <= allowed
