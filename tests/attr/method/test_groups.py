"""Groups of a method's own feature mask are the features of its map."""

from __future__ import annotations

import pytest
import torch
from captum.attr import FeatureAblation, KernelShap, Lime, Saliency, ShapleyValueSampling
from torch import nn

from captum_robust.attr import Abs, GaussianSmoothing, SparsifiedSmoothGrad, SumChannels, UnitNorm
from captum_robust.attr.method.groups import Groups

MASK = torch.tensor([[[[0, 0, 3], [7, 0, 3]]]])  # three groups, of 3, 2 and 1 features
EACH = torch.cat([MASK, torch.tensor([[[[5, 1, 1], [1, 1, 2]]]])])
WORDS = {"target": 0, "stdevs": 0.3, "seed": 0}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)).eval()


def test_a_group_is_one_feature_whole_or_not_at_all(net):
    smooth = SparsifiedSmoothGrad(FeatureAblation(net), keep=1)
    x = torch.rand(2, 1, 2, 3)
    certificate = smooth.certify(x, feature_mask=MASK, nt_samples=60, **WORDS)
    assert certificate.features == 3 and certificate.mean.sum(1).tolist() == [1.0, 1.0]
    assert "of the top 1 of 3 groups" in certificate.statement(0.01, k=1)
    marks = smooth.attribute(x, feature_mask=MASK, nt_samples=60, **WORDS)
    assert marks.shape == x.shape
    # Every feature has the mark of its group: none is cut by index.
    for row in range(2):
        values = [marks[row][MASK[0] == group].unique() for group in (0, 3, 7)]
        assert all(len(one) == 1 for one in values)
        torch.testing.assert_close(torch.cat(values).double(), certificate.mean[row])


def test_groups_may_differ_between_examples(net):
    smooth = GaussianSmoothing(FeatureAblation(net), UnitNorm())
    x = torch.rand(2, 1, 2, 3)
    both = smooth.attribute(x, feature_mask=EACH, nt_samples=8, **WORDS)
    for row in range(2):
        one = slice(row, row + 1)
        words = WORDS | {"example_ids": [row]}
        alone = smooth.attribute(x[one], feature_mask=EACH[one], nt_samples=8, **words)
        torch.testing.assert_close(alone[0], both[row])
    uneven = torch.cat([MASK, torch.zeros_like(MASK)])
    with pytest.raises(ValueError, match="as many regions for each example"):
        smooth.attribute(x, feature_mask=uneven, nt_samples=2, **WORDS)


@pytest.mark.filterwarnings("ignore:ShapleyValueSampling draws one set")
@pytest.mark.parametrize("method", [ShapleyValueSampling, KernelShap, Lime])
def test_other_methods_with_a_mask(net, method):
    smooth = SparsifiedSmoothGrad(method(net), keep=1)
    mask = MASK.clamp(max=4) // 2  # numbered 0, 1, 2: Captum's Shapley values warn of gaps
    words = WORDS | {"nt_samples": 3, "nt_samples_batch_size": 1, "n_samples": 8}
    found = smooth.attribute(torch.rand(1, 1, 2, 3), feature_mask=mask, **words)
    marked = found[0] > 0
    for group in (0, 1, 2):
        assert len(marked[mask[0] == group].unique()) == 1


def test_elementwise_means_are_what_they_were(net):
    x = torch.rand(2, 1, 2, 3)
    plain = GaussianSmoothing(FeatureAblation(net), Abs())
    grouped = plain.attribute(x, feature_mask=MASK, nt_samples=5, **WORDS)
    bare = GaussianSmoothing(FeatureAblation(lambda x: net(x)), SumChannels() >> Abs())
    torch.testing.assert_close(
        grouped, bare.attribute(x, feature_mask=MASK, nt_samples=5, **WORDS).expand_as(grouped)
    )


def test_single_features_and_transforms_that_join_are_left_alone(net):
    x = torch.rand(1, 1, 2, 3)
    ablation = GaussianSmoothing(FeatureAblation(net), UnitNorm())
    by_place = torch.arange(6).reshape(1, 1, 2, 3)
    with_mask = ablation.certify(x, feature_mask=by_place, nt_samples=20, **WORDS)
    without = ablation.certify(x, nt_samples=20, **WORDS)
    assert with_mask.shapes == without.shapes and torch.equal(with_mask.mean, without.mean)
    joined = GaussianSmoothing(FeatureAblation(net), SumChannels() >> UnitNorm())
    assert joined.certify(x, feature_mask=MASK, nt_samples=20, **WORDS).features == 6


def test_tuples_share_groups():
    masks = (torch.tensor([[0, 1, 1]]), torch.tensor([[1, 2]]))
    maps = (torch.tensor([[1.0, 2.0, 2.0]]), torch.tensor([[2.0, 5.0]]))
    groups = Groups(masks)
    values = groups(maps)
    assert values[0].tolist() == [[1.0, 2.0]] and values[1].tolist() == [[5.0]]
    again = groups.spread(values, [part.shape[1:] for part in maps])
    assert all(torch.equal(one, two) for one, two in zip(again, maps, strict=True))


def test_gradient_methods_know_no_mask(net):
    with pytest.raises(TypeError, match="feature_mask"):
        GaussianSmoothing(Saliency(net)).attribute(
            torch.rand(1, 1, 2, 3), feature_mask=MASK, nt_samples=2, **WORDS
        )
