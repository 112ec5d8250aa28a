"""The smallest smoothing radius: inverse of the bound, search, and one honest certificate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from torch import nn

from captum_robust.attr import GaussianSmoothing, UniformSmoothing, UniGrad, UnitNorm
from captum_robust.certificates import cosine_from_sine
from captum_robust.certificates.procedures.smallest_radius import radius_at_norm, smallest_radius
from captum_robust.noise import UniformBallNoise, UniformBoxNoise


@pytest.fixture
def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 9), nn.Softplus(), nn.Linear(9, 3)).double().eval()


INPUTS = torch.linspace(-1, 1, 12, dtype=torch.float64).view(2, 6)
WANTED = {"target": 0, "epsilon": 0.02, "cosine": 0.9, "nt_samples": 300}


@pytest.mark.parametrize("dimension, limit", [(784, 0.01975), (3072, 0.00998), (150_528, 0.00143)])
def test_largest_share_of_the_radius_that_any_map_allows(dimension, limit):
    assert 1 / radius_at_norm(1.0, 1.0, 0.9, 1.0, dimension) == pytest.approx(limit, abs=5e-6)


@pytest.mark.parametrize("law", [UniformBallNoise(), UniformBoxNoise()])
def test_radius_inverts_the_cosine_bound(law):
    norms, bound, wanted, epsilon, dimension = np.array([0.3, 0.8, 2.0]), 2.0, 0.7, 0.25, 40
    radii = radius_at_norm(norms, bound, wanted, epsilon, dimension, law)

    def cosine(radii):
        shift = epsilon * law.radius_in_stdevs(dimension) / radii
        return cosine_from_sine(bound * law.angle_shift(shift, dimension) / norms)

    assert cosine(radii) == pytest.approx(wanted, abs=1e-9)
    assert (cosine(radii * 0.99) < wanted).all()


def test_printed_closed_form_has_the_same_shape():
    # Eq. 9 with Z in place of 1 - D: r = (eps / 2) (1 - I^-1_Z((d+1)/2, 1/2))^-1/2
    from scipy import special

    norm, wanted, epsilon, dimension = 0.6, 0.8, 0.5, 20
    distance = norm / 2 * (1 - wanted**2) ** 0.5
    printed = special.betaincinv((dimension + 1) / 2, 0.5, 1 - distance)
    expected = epsilon / 2 / (1 - printed) ** 0.5
    assert radius_at_norm(norm, 1.0, wanted, epsilon, dimension) == pytest.approx(expected)


def test_no_radius_for_a_zero_map():
    assert radius_at_norm(0.0, 1.0, 0.9, 0.1, 10) == np.inf


def test_estimate_is_the_closed_form_at_the_measured_norm(net):
    smooth = UniformSmoothing(Saliency(net), transform=UnitNorm())
    found = smallest_radius(smooth, INPUTS, radius=0.5, seed=0, **WANTED)
    assert found.kind == "estimate" and found.certificate is None and not found.holds.any()
    assert (found.radius > radius_at_norm(1.0, 1.0, 0.9, 0.02, 6) * (1 - 1e-9)).all()
    assert found.radius / found.stdevs == pytest.approx(8**0.5)


@pytest.mark.parametrize("family", [UniformSmoothing, UniGrad])
def test_refined_radius_has_a_certificate_from_fresh_samples(net, family):
    smooth = family(Saliency(net), transform=UnitNorm())
    found = smallest_radius(smooth, INPUTS, refine=True, tolerance=0.1, seed=5, **WANTED)
    assert found.kind == "certified" and found.holds.all()
    assert (found.certificate.cosine(0.02) >= 0.9).all()
    alone = smooth.certify(INPUTS, 0, radius=found.radius.view(2, 1), nt_samples=300, seed=5)
    assert torch.equal(found.certificate.attributions, alone.attributions)
    # Two steps of the tolerance below the radius, and a margin for sampling, nothing is certified.
    smaller = smooth.certify(
        INPUTS, 0, radius=found.radius.view(2, 1) / 1.1**3, nt_samples=300, seed=6
    )
    assert (smaller.cosine(0.02) < 0.9).all()


def test_search_starts_anywhere(net):
    smooth = UniformSmoothing(Saliency(net), transform=UnitNorm())
    radii = [
        smallest_radius(
            smooth, INPUTS, refine=True, radius=start, tolerance=0.1, seed=0, **WANTED
        ).radius
        for start in (0.01, 5.0)
    ]
    assert radii[0] == pytest.approx(radii[1], rel=0.11)


def test_examples_get_their_own_radius(net):
    smooth = UniformSmoothing(Saliency(net), transform=UnitNorm())
    settings = {"refine": True, "tolerance": 0.1, "seed": 0, **WANTED}
    both = smallest_radius(smooth, INPUTS * 3, **settings)
    second = smallest_radius(smooth, INPUTS[1:] * 3, example_ids=[1], **settings)
    assert both.radius[1:] == pytest.approx(second.radius, rel=0.11)


class Waves(nn.Module):
    """Gradients of changing sign, whose mean vanishes under any noise wide enough to certify."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(400.0 * x).sum(1, keepdim=True)


def test_says_so_where_no_radius_is_found():
    smooth = UniformSmoothing(Saliency(Waves()), transform=UnitNorm())
    found = smallest_radius(smooth, INPUTS, refine=True, tolerance=0.5, seed=0, abs=False, **WANTED)
    assert torch.isinf(found.radius).all() and not found.holds.any()


def test_leaves_the_global_generator_alone_with_a_seed(net):
    smooth = UniformSmoothing(Saliency(net), transform=UnitNorm())
    state = torch.random.get_rng_state()
    smallest_radius(smooth, INPUTS, radius=0.5, seed=0, **WANTED)
    assert torch.equal(state, torch.random.get_rng_state())


def test_refuses(net):
    smooth = UniformSmoothing(Saliency(net), transform=UnitNorm())
    with pytest.raises(ValueError, match="needs a noise law with a body"):
        smallest_radius(GaussianSmoothing(Saliency(net)), INPUTS, **WANTED)
    with pytest.raises(ValueError, match="needs a bound on the norm"):
        smallest_radius(UniformSmoothing(Saliency(net)), INPUTS, **WANTED)
    with pytest.raises(ValueError, match="`cosine` must be in"):
        smallest_radius(smooth, INPUTS, **(WANTED | {"cosine": 1.0}))
    with pytest.raises(ValueError, match="`epsilon` must be in"):
        smallest_radius(smooth, INPUTS, **(WANTED | {"epsilon": 0.0}))
    with pytest.raises(ValueError, match="`norms` must be in"):
        radius_at_norm(3.0, 1.0, 0.9, 0.1, 10)
