"""Center smoothing: chi quantiles for linear maps, exact error probabilities, a slow reference."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from scipy import special, stats
from torch import nn

from captum_robust.attr import GaussianSmoothing, SparsifiedSmoothGrad, UniformSmoothing
from captum_robust.certificates import PublishedFormulaWarning
from captum_robust.certificates.procedures.center import (
    CenterTerms,
    center_abstains,
    center_radius,
    choose_center,
)
from captum_robust.certificates.procedures.center_smoothing import (
    CenterCertificate,
    _directions,
    center_smoothing,
)
from captum_robust.noise import GaussianNoise
from captum_robust.noise.shift import Shift


def gaussian_mass(slack: float, shift: float) -> float:
    return float(special.ndtr(special.ndtri(0.5 + slack) + shift))


# -- the statistical core ------------------------------------------------------------------------


def test_radius_of_a_linear_map_is_three_chi_quantiles():
    # f(x) = A x with A = s Q: distances to the true centre are s sigma chi_k.
    rng, scale, terms = np.random.default_rng(0), 0.7, CenterTerms(slack=0.05, alpha=0.01)
    distances = scale * np.linalg.norm(rng.normal(size=(200_000, 5)), axis=1)
    for shift in (0.0, 0.5, 1.0):
        mass = gaussian_mass(0.05, shift)
        radius = float(center_radius(distances, mass, terms))
        held = stats.chi.cdf(radius / 3 / scale, 5)
        error = (mass * (1 - mass) / 200_000) ** 0.5
        assert mass - 2 * error <= held <= mass + 7 * error
        assert radius == pytest.approx(3 * scale * stats.chi.ppf(mass, 5), rel=0.01)


def test_order_statistic_holds_its_mass_with_exactly_the_probability_allowed():
    # For uniform distances the mass held by a radius is the radius itself.
    rng, terms, mass, repetitions = np.random.default_rng(1), CenterTerms(alpha=0.2), 0.7, 8_000
    radii = np.array([center_radius(row, mass, terms) for row in rng.random((repetitions, 60))]) / 3
    rank = int(stats.binom.isf(terms.test_alpha, 60, mass)) + 1
    exact = stats.binom.sf(rank - 1, 60, mass)  # P(the rank-th of 60 uniforms is below the mass)
    assert exact <= terms.test_alpha
    failures = (radii < mass).mean()
    assert failures == pytest.approx(exact, abs=4 * (exact / repetitions) ** 0.5)
    one_less = stats.binom.sf(rank - 2, 60, mass)  # the next smaller order statistic fails
    assert one_less > terms.test_alpha


def test_share_test_errs_with_at_most_the_probability_allowed():
    terms = CenterTerms(samples=500, slack=0.1, alpha=0.2)
    rng, repetitions = np.random.default_rng(2), 4000
    inside = rng.random((repetitions, 500)) < 0.4  # exactly 1/2 - slack: must abstain
    passed = np.mean([not center_abstains(np.where(row, 0.0, 1.0), 0.5, terms) for row in inside])
    assert 0 < passed <= terms.test_alpha + 3 * (terms.test_alpha / repetitions) ** 0.5


def test_selection_error_is_that_of_the_worst_distribution():
    # A point mass of 1/2 + slack, the rest in a tighter-looking cluster far away: the centre is
    # wrong as soon as fewer than half of the selection, or no candidate, is in the point mass.
    terms = CenterTerms(candidates=4, samples=21, slack=0.1, alpha=0.9)
    rng, repetitions, wrong = np.random.default_rng(3), 20_000, 0
    for _ in range(repetitions):
        candidates, selection = (rng.random(n) < 0.6 for n in (4, 21))
        distances = np.where(candidates[:, None] == selection, 1.0, 9.0)
        distances[~candidates] -= 0.5
        index, _ = choose_center(distances)
        wrong += not candidates[index]
    assert wrong / repetitions <= terms.selection_error + 3 * (0.25 / repetitions) ** 0.5
    assert wrong / repetitions > 0.8 * terms.selection_error


def run(points: np.ndarray, terms: CenterTerms, mass: float) -> tuple[np.ndarray, float, bool]:
    """The whole procedure with l2 distances on outputs in their order of drawing."""
    sizes = np.cumsum([terms.candidates, terms.samples, terms.samples])
    candidates, selection, share, rest = np.split(points, sizes)
    distances = np.linalg.norm(candidates[:, None] - selection, axis=2)
    index, radius = choose_center(distances)
    center = candidates[index]
    abstains = center_abstains(np.linalg.norm(share - center, axis=1), radius, terms)
    found = float(center_radius(np.linalg.norm(rest - center, axis=1), mass, terms))
    return center, found, abstains


def test_whole_procedure_is_never_wrong_on_a_linear_map():
    terms = CenterTerms(candidates=8, samples=300, certify_samples=300, slack=0.15, alpha=0.1)
    rng, matrix = np.random.default_rng(4), np.diag([2.0, 0.5, 0.1])
    shift = 0.8  # along the most sensitive direction
    mass, answered = gaussian_mass(0.15, shift), 0
    for _ in range(100):
        here, there = rng.normal(size=(2, terms.total_samples, 3)) @ matrix
        center, radius, _ = run(here, terms, mass)
        moved, _, abstains = run(there + matrix @ [shift, 0.0, 0.0], terms, mass)
        answered += not abstains
        assert abstains or np.linalg.norm(center - moved) <= radius
    assert answered > 80


def test_center_of_two_far_clusters_abstains():
    terms = CenterTerms(candidates=8, samples=1000, certify_samples=10, slack=0.1, alpha=0.1)
    rng = np.random.default_rng(5)
    clusters = rng.choice([0.0, 50.0, 100.0], size=terms.total_samples) + rng.normal(
        size=terms.total_samples
    )
    # Thirds: a ball of the median radius holds half only if it spans two clusters.
    center, _, _ = run(clusters[:, None], terms, 0.9)
    fresh = np.abs(rng.choice([0.0, 50.0, 100.0], size=1000) - center)
    assert center_abstains(fresh, 10.0, terms)
    assert np.isinf(center_radius(fresh[:10], 0.9, terms))


def test_printed_levels():
    # alpha1 = alpha2 = .005, n_cert = 1e6: slack .00163; eps / sigma = 1: q = .8698 + slack.
    terms = CenterTerms(30, 10_000, 1_000_000, 0.05, 0.01, published=True)
    assert math.sqrt(math.log(1 / terms.test_alpha) / 2e6) == pytest.approx(0.00163, abs=5e-6)
    assert gaussian_mass(0.05, 1.0) == pytest.approx(0.8698, abs=5e-5)
    distances = np.arange(1, 1_000_001) / 1e6
    radius = center_radius(distances, gaussian_mass(0.05, 1.0), terms)
    assert radius == pytest.approx(3 * (0.8698 + 0.00163), abs=3e-4)
    assert np.isinf(center_radius(distances, 0.999, terms))
    assert np.isfinite(center_radius(distances, 0.999, CenterTerms(alpha=0.01)))


def test_order_statistic_is_rounded_up_and_factors_are_those_of_the_triangle():
    distances = np.arange(1.0, 11.0)
    terms = CenterTerms(alpha=0.999_999, slack=0.4, published=True)
    error = math.sqrt(math.log(1 / terms.test_alpha) / 20)
    rank = math.ceil((0.31 + error) * 10)
    assert center_radius(distances, 0.31, terms) == 3 * rank
    assert center_radius(distances, 0.31, terms, gamma=2.0) == 10 * rank


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"samples": 20, "slack": 0.01}, "`samples` and `candidates` must be larger"),
        ({"candidates": 1}, "`samples` and `candidates` must be larger"),
        ({"slack": 0.5}, "`slack` must be in"),
        ({"alpha": 0.0}, "`alpha` must be in"),
        ({"samples": 0}, "`samples` must be at least 1"),
    ],
)
def test_terms_refuse(arguments, message):
    with pytest.raises(ValueError, match=message):
        CenterTerms(**arguments)


def test_radius_refuses_a_mass_outside_the_unit_interval():
    with pytest.raises(ValueError, match="`mass` must be in"):
        center_radius([1.0], 1.5, CenterTerms())


# -- attributions --------------------------------------------------------------------------------


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 9), nn.Softplus(), nn.Linear(9, 3)).double().eval()


SMALL = {"nt_samples": 120, "certify_samples": 150, "candidates": 7, "slack": 0.2, "alpha": 0.2}
INPUTS = torch.linspace(-1, 1, 12, dtype=torch.float64).view(2, 6)


def test_angle_is_a_metric_with_the_zero_map_at_a_right_angle():
    rng = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 12, 4, generator=rng, dtype=torch.float64)
    maps[0, 3], maps[0, 7], maps[0, 5] = 0.0, 0.0, -2.0 * maps[0, 4]
    units = _directions(maps)[0]
    angles = (units @ units.T).clamp(-1, 1).arccos().numpy()
    assert angles[3, 7] == 0.0
    assert angles[3, 0] == pytest.approx(math.pi / 2)
    assert angles[4, 5] == pytest.approx(math.pi)
    through = (angles[:, :, None] + angles[None, :, :]).min(1)
    assert (angles <= through + 1e-7).all()


@pytest.mark.parametrize("batch", [None, 1, 50, 1000])
@pytest.mark.parametrize("published", [False, True])
@pytest.mark.filterwarnings("ignore::captum_robust.certificates.PublishedFormulaWarning")
def test_agrees_with_a_slow_reference(net, batch, published):
    smooth = GaussianSmoothing(Saliency(net))
    found = center_smoothing(
        smooth, INPUTS, target=1, stdevs=0.3, seed=3, published=published,
        nt_samples_batch_size=batch, **SMALL,
    )  # fmt: skip
    terms = found.terms
    count = terms.total_samples
    (drawn,) = smooth.samples(
        INPUTS, stdevs=0.3, nt_samples=count, seed=3, nt_samples_batch_size=count, target=1
    )
    mass = gaussian_mass(0.2, 0.1 / 0.3)
    for example, maps in enumerate(drawn.maps[0].numpy()):
        sets = np.split(maps, np.cumsum([7, 120, 120]))

        def distance(a, b):
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            return 1 - cosine if published else np.degrees(np.arccos(min(1.0, cosine)))

        medians = [np.sort([distance(c, s) for s in sets[1]])[59] for c in sets[0]]
        center = sets[0][int(np.argmin(medians))]
        assert found.attributions[example].numpy() == pytest.approx(center)
        share = np.array([distance(center, s) for s in sets[2]])
        assert found.abstained[example] == center_abstains(share, min(medians), terms)
        far = np.array([distance(center, s) for s in sets[3]])
        limit = float(center_radius(far, mass, terms, 2.0 if published else 1.0))
        if not found.abstained[example]:
            expected = min(limit, 2.0 if published else 180.0)
            assert found.radius(0.1)[example] == pytest.approx(expected, abs=1e-4)


def test_holds_against_a_perturbation_with_fresh_draws(net):
    smooth, direction = GaussianSmoothing(Saliency(net)), torch.tensor([1.0, -1, 1, -1, 1, -1])
    delta = 0.05 * direction.double() / direction.norm()
    settings = {"target": 0, "stdevs": 0.2, **SMALL}
    here = center_smoothing(smooth, INPUTS, seed=0, **settings)
    there = center_smoothing(smooth, INPUTS + delta, seed=1, **settings)
    cosine = torch.cosine_similarity(here.attributions, there.attributions)
    answered = ~(here.abstained | there.abstained)
    assert answered.any()
    assert (cosine >= here.cosine(0.05) - 1e-9)[answered].all()


def test_radius_grows_with_epsilon_and_is_void_in_the_end(net):
    smooth = GaussianSmoothing(Saliency(net))
    found = center_smoothing(smooth, INPUTS, target=0, stdevs=0.2, seed=0, **SMALL)
    sizes = [0.0, 0.1, 0.2, 2.0]
    angles = found.curve("angle", sizes)
    assert angles.shape == (len(INPUTS), 4)
    assert (angles.diff(dim=1) >= 0).all()
    assert (angles[:, -1] == 180).all()
    assert torch.equal(angles[:, 1], found.angle(0.1))
    torch.testing.assert_close(found.curve("cosine", sizes), angles.deg2rad().cos())


def test_ball_noise_moves_the_mass_by_total_variation(net):
    smooth = UniformSmoothing(Saliency(net))
    found = center_smoothing(smooth, INPUTS, target=0, radius=0.5, seed=0, **SMALL)
    assert (found.radius(0.02) < 180).all() or found.abstained.any()
    assert found.noise.norm == "l2 norm"
    assert "ball" in found.statement(0.02)


def test_statement_says_what_is_not_claimed(net):
    found = center_smoothing(
        GaussianSmoothing(Saliency(net)), INPUTS, target=0, stdevs=0.2, **SMALL
    )
    text = found.statement(0.1)
    assert found.kind == "pointwise"
    assert "any one perturbation" in text and "80 %" in text and "abstains" in text
    assert "not about the mean map, nor about all perturbations at once" in text


def test_statement_never_says_more_than_it_knows(net):
    """Radii are rounded up, the probability is exact, printed formulas promise none."""
    distances = torch.linspace(0.01, 0.02, 200, dtype=torch.float64).expand(12, -1)
    distances = distances * torch.linspace(0.9, 1.3, 12).unsqueeze(1)
    shift = Shift(GaussianNoise(), 4, torch.full((12,), 0.5, dtype=torch.float64), False)
    terms = CenterTerms(candidates=30, samples=400, certify_samples=200, slack=0.3, alpha=1e-7)
    found = CenterCertificate(distances, distances, torch.zeros(12) > 0, shift, terms)
    text = found.statement(0.05)
    said = [float(line.split(": ")[1].split()[0]) for line in text.splitlines() if "  exam" in line]
    radii = found.radius(0.05).tolist()
    assert all(
        radius <= number <= radius * 1.002 for radius, number in zip(radii, said, strict=True)
    )
    assert "at least 99.99999 %" in text
    printed = replace(found, terms=replace(terms, alpha=0.05, published=True))
    assert printed.kind == "as-published"
    assert "not valid bounds" in printed.statement(0.05) and "%" not in printed.statement(0.05)


def test_sparse_maps_with_ties_and_tuples(net):
    class Two(nn.Module):
        def forward(self, a, b):
            return net(torch.cat([a, b], dim=1))

    smooth = SparsifiedSmoothGrad(Saliency(Two()), keep=2)
    parts = (INPUTS[:, :2], INPUTS[:, 2:])
    found = center_smoothing(smooth, parts, target=0, stdevs=0.1, seed=0, **SMALL)
    assert [part.shape for part in found.attributions] == [(2, 2), (2, 4)]
    assert (torch.cat(found.attributions, dim=1).sum(1) == 2).all()


def test_refuses_and_warns(net):
    smooth = GaussianSmoothing(Saliency(net))
    with pytest.raises(ValueError, match="exactly one of `stdevs` and `radius`"):
        center_smoothing(smooth, INPUTS, target=0)
    with pytest.raises(ValueError, match="`epsilon` must be finite"):
        center_smoothing(smooth, INPUTS, target=0, stdevs=0.1, **SMALL).angle(-0.1)
    with pytest.warns(PublishedFormulaWarning, match="not tight"):
        center_smoothing(smooth, INPUTS, 0, stdevs=0.1, published=True, **SMALL)
    dropout = nn.Sequential(net, nn.Dropout()).train()
    with pytest.raises(RuntimeError, match="evaluation mode"):
        center_smoothing(GaussianSmoothing(Saliency(dropout)), INPUTS, 0, stdevs=0.1, **SMALL)
