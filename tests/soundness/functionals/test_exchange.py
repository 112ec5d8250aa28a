"""The l2 route of the overlap: coverage, alpha shared with the elementwise route, under attack."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from scipy.stats import norm
from torch import nn

from captum_robust.attr import Abs, Sparsify, UnitNorm
from captum_robust.certificates.functionals.exchange import ExchangeCosts
from captum_robust.noise import GaussianNoise, UniformBallNoise, UniformBoxNoise
from tests.helpers.coverage import ALPHA, covers

REPETITIONS = 400


def marks(values, count, favoured):
    """Top features of rows, ties to the favoured."""
    order = np.argsort(-(values + 1e-12 * favoured), axis=1, kind="stable")[:, :count]
    chosen = np.zeros(values.shape, bool)
    np.put_along_axis(chosen, order, True, 1)
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_every_map_within_the_distance_keeps_the_share(seed):
    """Nearest points that exchange, random points of the sphere: none beats the count."""
    rng = np.random.default_rng(seed)
    for _ in range(40):
        size = int(rng.integers(2, 9))
        means, count = rng.normal(size=size), int(rng.integers(1, size + 1))
        costs, distance = ExchangeCosts(means, count), float(rng.choice([0.1, 0.5, 1.5]))
        top = marks(means[None], count, np.zeros(size))[0]
        steps = rng.normal(size=(400, size))
        steps[::2] = rng.normal(size=(200, 1)) * np.where(top, -1, 1) * rng.random((200, size))
        steps *= distance / np.linalg.norm(steps, axis=1, keepdims=True)
        kept = (marks(means + steps, count, ~top) & top).sum(1)
        assert kept.min() >= count - costs.displaced(distance)


# Two groups of half-spaces on one coordinate: the tops fall, the others rise, by just enough.
TOPS = OTHERS = 3


class Groups:
    """Sparse 0/1 maps: the tops of the map on one side of an edge, the others on the other."""

    law, shift = GaussianNoise(), 0.35

    def __init__(self, mean):
        self.edge = norm.ppf(mean)
        self.mean, self.after = mean, norm.cdf(self.edge - self.shift)

    def function(self, points):
        first = (points[:, :1] <= self.edge).to(points.dtype)
        scale = torch.arange(TOPS + OTHERS, dtype=points.dtype) * 1e-6
        return torch.cat([first.expand(-1, TOPS), (1 - first).expand(-1, OTHERS)], 1) - scale


@pytest.mark.parametrize("claim", ["reported", "redrawn"])
@pytest.mark.parametrize("route", ["l2", "best"])
def test_coverage_where_the_order_is_all_but_lost(smoothing, field, claim, route):
    # Just turned round at the shift: any overlap above 0 is false.
    world = Groups(norm.cdf(0.349))
    assert world.after < 0.5 < world.mean
    torch.manual_seed(0)
    samples = 60
    smooth = smoothing(field(world.function), noise=world.law, transform=Sparsify(TOPS))
    certificate = smooth.certify(
        torch.zeros(REPETITIONS, 1, dtype=torch.float64),
        stdevs=1.0,
        nt_samples=samples,
        alpha=ALPHA,
        claim=claim,
        route=route,
    )
    means = certificate.attributions.numpy()
    favoured = np.arange(TOPS + OTHERS) >= TOPS
    first = marks(means, TOPS, ~favoured)
    after = np.full(REPETITIONS, world.after)
    if claim == "redrawn":
        after = np.random.default_rng(1).binomial(samples, world.after, REPETITIONS) / samples
    second = marks(
        np.where(favoured, 1 - after[:, None], after[:, None]), TOPS, favoured.astype(float)
    )
    measured = (first & second).sum(1) / TOPS
    certified = certificate.overlap(world.shift, k=TOPS).numpy()
    assert covers(certified > measured)
    assert covers(
        (certificate.certified_radius(overlap=1 / TOPS, k=TOPS).numpy() > world.shift)
        & (measured == 0)
    )
    # Without the Monte-Carlo error: the distance of expectations against the map at hand.
    exact = math.sqrt(TOPS + OTHERS) * (world.mean - world.after)
    bare = np.array([TOPS - ExchangeCosts(row, TOPS).displaced(exact) for row in means]) / TOPS
    assert not covers(bare > measured)


def smooth_of(smoothing, field, law=None, transform=None):
    torch.manual_seed(5)
    weight = torch.randn(3, 12, dtype=torch.float64)
    law = law or GaussianNoise()
    return smoothing(field(lambda x: torch.tanh(x @ weight)), noise=law, transform=transform)


INPUTS = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
SETTINGS = {"stdevs": 0.3, "nt_samples": 3000, "seed": 0, "alpha": 0.05}
EPSILONS = [0.0, 0.003, 0.01, 0.03, 0.06, 0.1, 0.3, 1.0]


@pytest.mark.parametrize("law", [GaussianNoise(), UniformBallNoise(), UniformBoxNoise()])
@pytest.mark.parametrize("transform", [Abs() >> Sparsify(4), UnitNorm(), Abs() >> UnitNorm()])
def test_best_is_the_better_route_at_half_of_alpha(smoothing, field, law, transform):
    smooth = smooth_of(smoothing, field, law, transform)
    best = smooth.certify(INPUTS, **SETTINGS)
    halves = {
        route: smooth.certify(INPUTS, route=route, **(SETTINGS | {"alpha": 0.025}))
        for route in ("elementwise", "l2")
    }
    for k in (1, 4, 9):
        curves = {route: half.curve("overlap", EPSILONS, k=k) for route, half in halves.items()}
        wanted = torch.maximum(*curves.values())
        torch.testing.assert_close(best.curve("overlap", EPSILONS, k=k), wanted, rtol=0, atol=0)
        assert (best.curve("overlap", EPSILONS, k=k).diff(dim=1) <= 0).all()
        for index, epsilon in enumerate(EPSILONS):
            winners = best.winning_routes("overlap", epsilon, k)
            for example, winner in enumerate(winners):
                other = "elementwise" if winner == "l2" else "l2"
                assert curves[winner][example, index] >= curves[other][example, index]
        for share in (0.3, 0.75, 1.0):
            radius = best.certified_radius(overlap=share, k=k)
            some = (radius > 0) & torch.isfinite(radius)
            at = torch.where(some, radius, 0.0)
            assert (best.overlap(at, k=k)[some] >= share - 1e-12).all()
            beyond = best.overlap(torch.where(some, radius * (1 + 1e-4) + 1e-6, 0.0), k=k)
            assert (beyond[some] < share).all()


def test_alpha_is_shared_among_the_events_of_all_questions(smoothing, field):
    smooth = smooth_of(smoothing, field, transform=Abs() >> Sparsify(4))
    masks = torch.arange(12) < 6
    single = smooth.certify(INPUTS, masks=masks, **SETTINGS)
    both = ("elementwise", "norm")
    assert [single.budget().of("overlap", event) for event in both] == [0.025, 0.025]
    assert (
        single.budget().of("cosine", "norm") == single.budget().of("pixels", "elementwise") == 0.05
    )
    assert single.budget().of("region_mass", "region") == 0.05
    cases = {  # questions: events
        ("overlap", "cosine", "angle"): 2,  # the norm event serves overlaps and cosines
        ("overlap", "region_mass"): 3,
        ("overlap", "precedes", "pixels"): 2,
        ("cosine", "l2_deviation"): 1,
        ("precedes", "pixels"): 1,
        ("cosine", "region_mass", "pixels"): 3,
    }
    for questions, events in cases.items():
        joint = replace(single, terms=replace(single.terms, questions=questions))
        for question in questions:
            for event in joint.budget().events[question]:
                assert joint.budget().of(question, event) == pytest.approx(0.05 / events)
            looked = replace(joint, terms=replace(joint.terms, looks=5))
            for event in joint.budget().events[question]:
                assert looked.budget().of(question, event) == pytest.approx(0.01 / events)
    for route, events in (("elementwise", ("elementwise",)), ("l2", ("norm",)), ("best", both)):
        routed = replace(single, terms=replace(single.terms, route=route))
        assert routed.budget().events["overlap"] == events
    alone = smooth.certify(INPUTS, questions=("overlap",), **SETTINGS)
    with pytest.raises(ValueError, match="name it in `questions`"):
        alone.cosine(0.1)


def test_joint_answers_are_those_of_their_share(smoothing, field):
    smooth = smooth_of(smoothing, field, transform=Abs() >> Sparsify(4))
    joint = smooth.certify(INPUTS, questions=("overlap", "cosine"), **SETTINGS)
    single = smooth.certify(INPUTS, **SETTINGS)
    half = smooth.certify(INPUTS, **(SETTINGS | {"alpha": 0.025}))
    # Overlap alone pays for both events already; the cosine rides on the norm event.
    assert torch.equal(joint.overlap(0.01, k=4), single.overlap(0.01, k=4))
    torch.testing.assert_close(joint.cosine(0.01), half.cosine(0.01), rtol=0, atol=0)


def test_saved_certificates_answer_the_same(smoothing, field, tmp_path):
    smooth = smooth_of(smoothing, field, transform=Abs() >> Sparsify(4))
    certificate = smooth.certify(
        INPUTS, masks=torch.arange(12) < 6, confidence="empirical-bernstein", **SETTINGS
    )
    certificate.save(tmp_path / "saved.npz")
    loaded = type(certificate).load(tmp_path / "saved.npz")
    for name in ("pairs", "shares", "variance"):
        assert getattr(certificate, name) is not None and getattr(loaded, name) is not None
    assert loaded.terms == certificate.terms
    for epsilon in (0.0, 0.02, 0.2):
        assert torch.equal(loaded.overlap(epsilon, k=3), certificate.overlap(epsilon, k=3))
        assert torch.equal(loaded.cosine(epsilon), certificate.cosine(epsilon))
        assert torch.equal(loaded.region_mass(epsilon), certificate.region_mass(epsilon))
        assert torch.equal(loaded.pixels(epsilon), certificate.pixels(epsilon))
    assert loaded.statement(0.02, k=3) == certificate.statement(0.02, k=3)


def test_the_l2_route_has_no_population_claim(smoothing, field):
    smooth = smooth_of(smoothing, field, transform=UnitNorm())
    certificate = smooth.certify(INPUTS, claim="population", route="l2", **SETTINGS)
    with pytest.raises(ValueError, match='no "population" claim'):
        certificate.overlap(0.1, k=3)
    best = smooth.certify(INPUTS, claim="population", **SETTINGS)
    assert best.budget().events["overlap"] == ("elementwise",)


@pytest.mark.parametrize(
    "law", [GaussianNoise(), pytest.param(UniformBallNoise(), marks=pytest.mark.slow)]
)
def test_redrawn_overlap_by_distance_under_attack(smoothing, law):
    torch.manual_seed(3)
    examples, features, samples, count = 30, 8, 1500, 3
    net = nn.Sequential(nn.Linear(features, 24), nn.Tanh(), nn.Linear(24, 3)).double().eval()
    inputs = torch.randn(examples, features, dtype=torch.float64)
    smooth = smoothing(Saliency(net), noise=law, transform=Abs() >> Sparsify(count))
    level = {"target": 0, "stdevs": 0.6}
    certificate = smooth.certify(
        inputs, nt_samples=samples, seed=0, alpha=ALPHA, claim="redrawn", route="l2", **level
    )
    size = certificate.certified_radius(overlap=2 / 3, k=count)
    kept = size > 0
    assert kept.double().mean() > 0.3
    certified = certificate.overlap(size, k=count)
    assert (certified[kept] >= 2 / 3).all()
    top = certificate.attributions.topk(count, dim=1).indices
    inside = torch.zeros(inputs.shape, dtype=torch.bool).scatter_(1, top, True)
    generator = torch.Generator().manual_seed(1)
    worst, best = torch.full((examples,), -9.0, dtype=torch.float64), torch.zeros_like(inputs)
    for index in range(40):
        step = torch.randn(inputs.shape, dtype=torch.float64, generator=generator)
        delta = step if index < 20 else best + 0.5 * size.unsqueeze(1) * step
        delta = delta * (size / delta.norm(dim=1).clamp(min=1e-300)).unsqueeze(1)
        torch.manual_seed(7)  # common random numbers
        maps = smooth.attribute(inputs + delta, nt_samples=150, **level)
        pushed = maps.masked_fill(inside, 0).topk(2, 1).values.sum(1) - maps.masked_fill(
            ~inside, 9
        ).topk(2, 1, largest=False).values.sum(1)
        best = torch.where((pushed > worst).unsqueeze(1), delta, best)
        worst = torch.maximum(worst, pushed)
    fresh = smooth.attribute(inputs + best, nt_samples=samples, seed=2, **level)
    second = torch.zeros_like(inside).scatter_(1, fresh.topk(count, dim=1).indices, True)
    overlap = (inside & second).sum(1) / count
    allowed = ALPHA * int(kept.sum()) + 3 * math.sqrt(ALPHA * (1 - ALPHA) * int(kept.sum()))
    assert (overlap < certified - 1e-9)[kept].sum() <= allowed
