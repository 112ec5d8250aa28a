"""Regions as features in smoothing, attacks, metrics and losses."""

from __future__ import annotations

import pytest
import torch
from captum.attr import LayerGradCam, Saliency
from torch import nn

from captum_robust.attr import (
    Abs,
    GaussianSmoothing,
    Pool,
    Segments,
    SparsifiedSmoothGrad,
    Sum,
    SumChannels,
    UniGrad,
    UnitNorm,
)
from captum_robust.certificates import Certificate
from captum_robust.losses import IGR, TRADES
from captum_robust.metrics import random_perturbation_similarity
from captum_robust.robust import AttributionAttack, TopKObjective

EACH = torch.stack([torch.arange(24).reshape(1, 4, 6) % 5, torch.arange(24).reshape(1, 4, 6) // 5])
REGIONS = {
    "pool": Abs() >> SumChannels() >> Pool(2),
    "one labelling": Abs() >> Segments(EACH[:1]),
    "one each": Abs() >> Segments(EACH),
    "rows": Abs() >> Sum((1, 3)),
}
FEATURES = {"pool": 6, "one labelling": 5, "one each": 5, "rows": 4}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(72, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


@pytest.mark.parametrize("name", REGIONS)
def test_certificates_count_regions(net, name):
    smooth = SparsifiedSmoothGrad(Saliency(net), keep=2, transform=REGIONS[name])
    x = torch.rand(2, 3, 4, 6)
    certificate = smooth.certify(x, target=[0, 1], stdevs=0.5, nt_samples=300, seed=0)
    assert certificate.features == FEATURES[name]
    drawn = smooth.samples(x, target=[0, 1], stdevs=0.5, nt_samples=300, seed=0)
    marked = torch.cat([one.maps[0].flatten(2) for one in drawn], 1).sum(2)  # 0 on a dead map
    assert ((marked == 2) | (marked == 0)).all() and (marked == 2).double().mean() > 0.9
    assert torch.allclose(certificate.mean.sum(1), marked.double().mean(1))
    # Each example as if it were alone: its own regions, its own noise.
    words = {"stdevs": 0.5, "nt_samples": 300, "seed": 0}
    for row in range(2):
        one = smooth.of_rows(torch.tensor([row])).certify(
            x[row : row + 1], target=row, example_ids=[row], **words
        )
        assert torch.equal(one.mean[0], certificate.mean[row])


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("kind", [GaussianSmoothing, UniGrad])
def test_attacks_climb_on_regions(net, name, kind):
    x = torch.rand(2, 3, 4, 6)
    target = net(x).argmax(1)
    smooth = kind(Saliency(net), transform=REGIONS[name] >> UnitNorm())
    attack = AttributionAttack(
        net,
        smooth,
        objective=TopKObjective(2),
        attribute_kwargs={"nt_samples": 4, "stdevs": 0.1},
    )
    found = attack.search(x, 0.05, step_num=4, target=target, seed=0)
    assert found.perturbed.shape == x.shape and (found.score >= found.clean_score).all()
    # A batch of one of them gives what the batch of both does: its regions went with it.
    smooth.transform = smooth.transform.of_rows(torch.tensor([1]))
    alone = attack.search(x[1:], 0.05, step_num=4, target=target[1:], seed=0, example_ids=[1])
    torch.testing.assert_close(alone.perturbed[0], found.perturbed[1])


@pytest.mark.parametrize("name", REGIONS)
def test_metrics_take_regions_along(net, name):
    x = torch.rand(2, 3, 4, 6)
    target = net(x).argmax(1)
    smooth = GaussianSmoothing(Saliency(net), transform=REGIONS[name])
    words = {"target": target, "nt_samples": 3, "stdevs": 0.1}
    both = random_perturbation_similarity(smooth.attribute, x, None, 0.05, seed=3, **words)
    assert both.shape == (2,) and (both > 0.5).all()
    few = random_perturbation_similarity(
        smooth.attribute, x, None, 0.05, seed=3, max_examples_per_batch=1, **words
    )
    torch.testing.assert_close(few, both, rtol=0.2, atol=0.05)  # other noise, the same regions


def test_losses_train_on_regions(net):
    def make(model):
        return GaussianSmoothing(Saliency(model), transform=Segments(EACH) >> UnitNorm())

    soft = nn.Sequential(nn.Flatten(), nn.Linear(72, 8), nn.Softplus(), nn.Linear(8, 3))
    words = {"nt_samples": 3, "stdevs": 0.1, "seed": 0}
    criterion = IGR(TRADES(radius=0.1, steps=2), attribution_method=make, attribute_kwargs=words)
    inputs, target = torch.rand(2, 3, 4, 6), torch.tensor([0, 2])
    criterion.values(soft, inputs, target)["dissimilarity"].sum().backward()
    assert soft[1].weight.grad.abs().max() > 0


# -- certificates speak of regions -----------------------------------------------------------------


def certified_image(net, transform, **words):
    smooth = SparsifiedSmoothGrad(Saliency(net), keep=3, transform=transform)
    x = torch.linspace(0, 1, 144).reshape(2, 3, 4, 6)
    return smooth.certify(x, target=0, stdevs=0.5, nt_samples=300, seed=0, **words)


def test_statements_name_and_count_regions(net, tmp_path):
    certificate = certified_image(net, REGIONS["pool"])
    text = certificate.statement(0.01, k=3)
    assert "of the top 3 of 6 regions" in text
    assert "A region is a cell of a grid of 2 x 3, each of 2 x 2 places." in text
    certificate.save(tmp_path / "certificate.npz")
    again = Certificate.load(tmp_path / "certificate.npz")
    assert again.statement(0.01, k=3) == text
    assert torch.equal(again.words.picture(), certificate.words.picture())
    organs = ["liver", "spleen", "lung", "heart", "rest"]
    named = certified_image(net, Abs() >> Segments(EACH, names=organs, word="organ"))
    assert "5 organs" in named.statement(0.01, k=2)
    assert "were fixed before sampling" in named.statement(0.01, k=2)
    assert torch.equal(named.precedes("liver", "rest", 0.01), named.precedes(0, 4, 0.01))
    assert torch.equal(certificate.precedes((1, 2), (0, 0), 0.01), certificate.precedes(5, 0, 0.01))
    with pytest.raises(ValueError, match="`kidney` must name one organ"):
        named.precedes("kidney", "rest", 0.01)
    with pytest.raises(ValueError, match="index into one map"):
        certificate.precedes((0, 0, 1, 2, 3), (0, 0), 0.01)


def test_masks_of_the_image_are_converted_by_share(net):
    pixels = torch.zeros(1, 1, 4, 6, dtype=torch.bool)
    pixels[..., :3] = True  # half of the middle column of cells
    by_share = certified_image(net, REGIONS["pool"], masks=pixels)
    # In the same draws: the marks of the left column, and half of those of the middle one.
    marks = by_share.mean.reshape(2, 2, 3)
    expected = (marks[:, :, 0].sum(1) + 0.5 * marks[:, :, 1].sum(1)) / 3
    torch.testing.assert_close(by_share.shares.mean(1), expected)
    cells = torch.tensor([True, False, False])
    own = certified_image(net, REGIONS["pool"], masks=cells)
    torch.testing.assert_close(own.shares.mean(1), marks[:, :, 0].sum(1) / 3)
    per_region = certified_image(net, REGIONS["one each"], masks=pixels)
    assert ((per_region.shares >= 0) & (per_region.shares <= 1)).all()
    with pytest.raises(ValueError, match="one mask for each map and broadcast"):
        certified_image(net, REGIONS["pool"], masks=torch.zeros(5, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="`masks` must be boolean"):
        certified_image(net, REGIONS["pool"], masks=torch.full((1, 1, 4, 6), 0.5))


def test_masks_of_the_image_fit_the_coarse_map_of_gradcam():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)
    ).eval()
    smooth = SparsifiedSmoothGrad(LayerGradCam(net, net[0]), keep=4)
    mask = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    mask[..., :3] = True
    words = {"stdevs": 0.3, "nt_samples": 100, "seed": 0}
    found = smooth.certify(torch.rand(1, 1, 8, 8), target=0, masks=mask, **words)
    assert found.shapes == (torch.Size([1, 4, 4]),)
    marks = found.mean.reshape(4, 4)
    expected = (marks[:, 0].sum() + 0.5 * marks[:, 1].sum()) / 4
    assert float(found.shares.mean()) == pytest.approx(float(expected))
    assert found.words.name(5) == "row 1, column 1"


def test_top_radius_is_where_the_worst_rank_leaves_the_top(net):
    certificate = certified_image(net, REGIONS["pool"], confidence="hoeffding")
    radii = certificate.top_radius(3)
    assert radii.shape == (2, 1, 2, 3) and 0 < float(radii.max()) < 10
    for scale, holds in ((0.999, True), (1.001, False)):
        for example in range(2):
            for place in (radii[example] > 0).nonzero().tolist():
                radius = float(radii[(example, *place)]) * scale
                rank = int(certificate.rank(radius)[(example, *place)])
                # Conservation may give a better rank than counting does, never a worse one.
                assert rank <= 3 or not holds
    assert (certificate.top_radius(6) > 1e6).all()


def test_regions_that_share_a_boundary_are_never_certified_beyond_it():
    """Two regions of equal expectation at the boundary: an exact worst case.

    The gradient is all in the first region where x_0 < 0 and all in the second above, so the mark
    of the first region has mean Phi(-x_0 / sd), and the order turns exactly at x_0 = 0.
    """

    class Turning(nn.Module):
        def forward(self, x):
            first = (x[:, 0] < 0).to(x.dtype)
            return (first * x[:, 2] + (1 - first) * x[:, 3]).unsqueeze(1)

    distance, repetitions, alpha = 0.5, 400, 0.1
    x = torch.tensor([[-distance, 0.0, 0.0, 0.0]]).repeat(repetitions, 1)
    labels = torch.tensor([[0, 0, 0, 1]])
    smooth = SparsifiedSmoothGrad(Saliency(Turning()), keep=1, transform=Abs() >> Segments(labels))
    found = smooth.certify(
        x, target=0, stdevs=1.0, nt_samples=200, alpha=alpha, seed=1, route="elementwise"
    )
    radius = found.certified_radius(overlap=1.0, k=1)
    failures = float((radius > distance).double().mean())
    assert failures <= alpha + 3 * (alpha * (1 - alpha) / repetitions) ** 0.5
    exact = smooth.certify(
        x[:1], target=0, stdevs=1.0, nt_samples=40_000, seed=1, confidence="exact"
    )
    assert float(exact.certified_radius(overlap=1.0, k=1)) == pytest.approx(distance, abs=0.03)
