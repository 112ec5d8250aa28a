"""What every certificate does: monotone, equivariant, the same however the work is cut."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from captum.attr import Saliency
from torch import nn

from captum_robust.attr import Abs, Sparsify, UnitNorm
from captum_robust.certificates import hoeffding, norm_radius
from captum_robust.noise import Relative

EPSILONS = [0.0, 1e-3, 0.01, 0.03, 0.1, 0.3, 1.0]


@pytest.fixture(params=["sparse", "unit"])
def transform(request):
    return {"sparse": Abs() >> Sparsify(3), "unit": UnitNorm()}[request.param]


@pytest.fixture(params=["reported", "population", "redrawn"])
def claim(request):
    return request.param


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 16), nn.Softplus(), nn.Linear(16, 3)).double().eval()


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    return torch.randn(4, 7, dtype=torch.float64)


@pytest.fixture
def certify(net, inputs, smoothing, law, transform, claim):
    def certify(x=inputs, method=None, **arguments):
        smooth = smoothing(method or Saliency(net), noise=law, transform=transform)
        settings = {
            "target": 1,
            "stdevs": 0.5,
            "nt_samples": 250,
            "nt_samples_batch_size": 125,
            "seed": 0,
            "claim": claim,
        }
        return smooth.certify(x, **(settings | arguments))

    return certify


def answers(certificate, epsilons=EPSILONS):
    """Larger is better, in every column."""
    return torch.cat(
        [certificate.curve("overlap", epsilons, k=k) for k in (1, 3, 0.9)]
        + [certificate.curve("cosine", epsilons), -certificate.curve("l2_deviation", epsilons)],
        1,
    )


def radii(certificate):
    return torch.stack(
        [certificate.certified_radius(overlap=share, k=3) for share in (0.3, 1.0)]
        + [certificate.certified_radius(cosine=cosine) for cosine in (0.2, 0.8)]
        + [certificate.certified_radius(l2_deviation=1.0)],
        1,
    )


def test_monotone_in_the_perturbation(certify):
    certificate = certify()
    for question, arguments in (("overlap", {"k": 3}), ("cosine", {}), ("l2_deviation", {})):
        curve = certificate.curve(question, EPSILONS, **arguments)
        steps = curve.diff(dim=1)
        assert ((steps >= 0) if question == "l2_deviation" else (steps <= 0)).all()
    assert (certificate.curve("angle", EPSILONS).diff(dim=1) >= 0).all()


def test_monotone_in_alpha(certify):
    strict, usual, loose = (certify(alpha=alpha) for alpha in (1e-6, 0.05, 0.4))
    assert torch.equal(strict.attributions, loose.attributions)
    for first, second in ((strict, usual), (usual, loose)):
        assert (answers(first) <= answers(second) + 1e-15).all()
        assert (radii(first) <= radii(second) + 1e-15).all()


def test_monotone_in_the_number_of_samples_at_equal_maps(certify):
    certificate = certify()
    more = replace(certificate, nt_samples=100 * certificate.nt_samples)
    assert (answers(certificate) <= answers(more) + 1e-12).all()
    assert (answers(certificate) < answers(more)).any()


def test_formulas_shrink_with_samples():
    assert norm_radius(1.0, 400, 0.1) == pytest.approx(norm_radius(1.0, 100, 0.1) / 2)
    wide, narrow = (hoeffding([0.5], samples, 0.1, 9) for samples in (100, 400))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_radii_grow_with_the_noise_at_equal_maps(certify):
    certificate = certify()
    shift = certificate.shift
    wider = replace(certificate, shift=replace(shift, smallest=2 * shift.smallest))
    torch.testing.assert_close(radii(wider), 2 * radii(certificate), rtol=1e-9, atol=0)


def test_scaling_inputs_and_noise_scales_the_radii_and_nothing_else(certify, net, inputs):
    class Shrunk(nn.Module):
        def forward(self, x):
            return net(x / 4)

    one, four = certify(), certify(4 * inputs, Saliency(Shrunk()), stdevs=2.0)
    torch.testing.assert_close(radii(four), 4 * radii(one), rtol=1e-9, atol=0)
    larger = [4 * epsilon for epsilon in EPSILONS]
    torch.testing.assert_close(answers(four, larger), answers(one), rtol=1e-9, atol=1e-12)


def test_permuting_the_features_of_the_map_changes_no_number(
    field, smoothing, law, transform, claim, inputs
):
    order = torch.tensor([3, 6, 0, 1, 5, 2, 4])

    def plain(x):
        return torch.sin(3 * x) + x.square() * 0.3

    def certify(function):
        smooth = smoothing(field(function), noise=law, transform=transform)
        return smooth.certify(inputs, nt_samples=300, stdevs=0.5, seed=0, claim=claim)

    one, other = certify(plain), certify(lambda x: plain(x)[:, order])
    torch.testing.assert_close(one.attributions[:, order], other.attributions, rtol=0, atol=1e-14)
    torch.testing.assert_close(answers(one), answers(other), rtol=0, atol=1e-12)
    torch.testing.assert_close(radii(one), radii(other), rtol=1e-9, atol=1e-12)


def test_batching_changes_no_number(certify, inputs):
    whole = certify()
    cut = certify(nt_samples_batch_size=17)
    torch.testing.assert_close(answers(whole), answers(cut), rtol=0, atol=1e-10)
    halves = [
        certify(inputs[rows], example_ids=[int(row) for row in rows])
        for rows in (torch.tensor([2, 0]), torch.tensor([1, 3]))
    ]
    joined = torch.cat([answers(half) for half in halves])[[1, 2, 0, 3]]
    torch.testing.assert_close(answers(whole), joined, rtol=0, atol=1e-10)
    assert not torch.equal(answers(certify(seed=1)), answers(whole))


def test_relative_noise_is_frozen_at_the_input(certify, inputs):
    certificate = certify(stdevs=Relative(0.2))
    spread = inputs.amax(1) - inputs.amin(1)
    torch.testing.assert_close(certificate.shift.smallest, 0.2 * spread, rtol=1e-12, atol=0)
    assert not certificate.shift.weighted


def test_per_feature_noise_covers_a_ball_of_the_weighted_norm(certify):
    stdevs = torch.tensor([0.5, 0.6, 0.5, 1.0, 2.0, 0.5, 0.7], dtype=torch.float64)
    weighted = certify(stdevs=stdevs)
    assert weighted.shift.weighted and weighted.shift.norm == f"{weighted.shift.law.norm} norm"
    # The same maps in the coordinates x / stdev, with unit noise: epsilon / smallest there.
    shift = weighted.shift
    unit = replace(
        weighted, shift=replace(shift, smallest=torch.ones_like(shift.smallest), weighted=False)
    )
    for size in (0.0, 0.03, 0.2):
        assert torch.equal(weighted.overlap(size, 2), unit.overlap(size / 0.5, 2))
    radii = [one.certified_radius(overlap=0.5, k=2) for one in (weighted, unit)]
    torch.testing.assert_close(radii[0], radii[1] * 0.5, rtol=1e-12, atol=0)


def test_a_standard_deviation_that_differs_in_the_last_digit_changes_no_unit(certify):
    even = certify(stdevs=torch.full((7,), 0.25, dtype=torch.float64))
    uneven = certify(stdevs=torch.tensor([0.25] * 6 + [0.2500001], dtype=torch.float64))
    assert uneven.shift.weighted and not even.shift.weighted
    for words in ({"overlap": 0.5, "k": 2}, {"cosine": 0.5}):
        torch.testing.assert_close(
            uneven.certified_radius(**words), even.certified_radius(**words), rtol=1e-3, atol=1e-6
        )
    norm = uneven.shift.law.norm
    wanted = f"{norm} norm is at most 0.1 (and every one whose {norm} norm of delta / stdev is"
    assert f"{wanted} at most 0.4)" in uneven.statement(0.1, k=2)
