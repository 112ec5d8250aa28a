"""Regions as features in smoothing, attacks, metrics and losses."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Saliency
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
    assert torch.allclose(certificate.mean.sum(1), torch.tensor(2.0).double())
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
