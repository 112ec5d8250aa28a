"""Every refusal of certify and of a certificate's questions, its message read."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from captum.attr import Attribution, IntegratedGradients, Saliency
from torch import Tensor, nn

from captum_robust.attr import (
    Abs,
    ClipNorm,
    GaussianSmoothing,
    SmoothedAttribution,
    SparsifiedSmoothGrad,
    Sparsify,
    UniformSmoothing,
    UnitNorm,
)

X = torch.linspace(-1, 1, 12).reshape(3, 4)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).eval()


@pytest.fixture
def certify(net):
    def certify(inputs=X, smooth=None, **arguments):
        smooth = smooth or SparsifiedSmoothGrad(Saliency(net), keep=2)
        settings = {"target": 0, "stdevs": 0.5, "nt_samples": 60, "seed": 0}
        return smooth.certify(inputs, **(settings | arguments))

    return certify


# -- certify ----------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [nn.BatchNorm1d(4), nn.Dropout(0.1), nn.AlphaDropout(0.1)])
@pytest.mark.parametrize("wrapped", ["module", "method", "lambda"])
def test_training_mode(certify, module, wrapped):
    model = nn.Sequential(nn.Linear(4, 4), module, nn.Linear(4, 3)).train()
    behind = {"module": model, "method": model.forward, "lambda": lambda x: model(x)}[wrapped]
    smooth = SparsifiedSmoothGrad(Saliency(behind), keep=2)
    with pytest.raises(RuntimeError, match=r"evaluation mode for a certificate: .*model\.eval\(\)"):
        certify(smooth=smooth)
    model.eval()
    certify(smooth=smooth)


def test_batchnorm_without_running_statistics(certify):
    model = nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3)).eval()
    with pytest.raises(RuntimeError, match="give it running statistics"):
        certify(smooth=SparsifiedSmoothGrad(Saliency(model), keep=2))


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"stdevs": 0.0}, ValueError, r"standard deviation must be > 0, got 0 in example 0"),
        ({"stdevs": torch.tensor([1.0, 0.0, 1.0, 1.0])}, ValueError, r"must be > 0"),
        ({"stdevs": -1.0}, ValueError, r"`stdevs` must be finite and >= 0"),
        ({"stdevs": None}, ValueError, r"exactly one of .* got neither"),
        ({"radius": 1.0}, ValueError, r"exactly one of .* got both"),
        ({"stdevs": None, "radius": 1.0}, ValueError, r"`radius` needs a noise law with a body"),
        ({"alpha": 0.0}, ValueError, r"`alpha` must be in \(0, 1\), got 0.0"),
        ({"alpha": 1.0}, ValueError, r"`alpha` must be in \(0, 1\), got 1.0"),
        ({"alpha": math.nan}, ValueError, r"`alpha` must be in"),
        ({"alpha": True}, TypeError, r"`alpha` must be a number, got bool"),
        ({"confidence": "student"}, ValueError, r"`confidence` must be one of"),
        ({"claim": "mine"}, ValueError, r"`claim` must be one of 'reported', 'population'"),
        ({"questions": ("colour",)}, ValueError, r"`questions` must be one of"),
        ({"questions": ()}, ValueError, r"`questions` must name at least one"),
        ({"published": True, "claim": "redrawn"}, ValueError, r"`published` formulas exist for"),
        ({"published": True, "claim": "population"}, ValueError, r"`published` formulas exist"),
        ({"nt_samples": 0}, ValueError, r"`nt_samples` must be at least 1, got 0"),
        ({"nt_samples": 2.5}, TypeError, r"`nt_samples` must be an int, got float"),
        ({"nt_samples_batch_size": 0}, ValueError, r"`nt_samples_batch_size` must be at least 1"),
        ({"norm_bound": 0.0}, ValueError, r"`norm_bound` must be in \(0, inf\]"),
        ({"norm_bound": -1}, ValueError, r"`norm_bound` must be in"),
        ({"seed": -1}, ValueError, r"`seed` must be at least 0"),
        ({"example_ids": [0]}, ValueError, r"`example_ids` must have one entry for each of the 3"),
        ({"clamp": (1.0, 0.0)}, ValueError, r"`clamp` must be a pair with low < high"),
        ({"clamp": 1.0}, TypeError, r"`clamp` must be a pair"),
        ({"return_convergence_delta": True}, ValueError, r"`return_convergence_delta` has no"),
    ],
    ids=str,
)
def test_arguments(certify, arguments, error, message):
    with pytest.raises(error, match=message):
        certify(**arguments)


@pytest.mark.parametrize(
    "inputs, error, message",
    [
        (torch.ones(3, 4, dtype=torch.long), TypeError, r"must be floating point .* torch.int64"),
        (torch.ones(3, 4, dtype=torch.bool), TypeError, r"must be floating point"),
        (torch.ones(0, 4), ValueError, r"at least one example and one feature"),
        (torch.ones(3, 0), ValueError, r"at least one example and one feature"),
        (torch.full((3, 4), math.nan), ValueError, r"`inputs\[0\]` must be finite"),
        ((torch.ones(3, 4), torch.ones(2, 4)), ValueError, r"same batch size, got 3 and 2"),
        ((), ValueError, r"must hold at least one tensor"),
    ],
    ids=str,
)
def test_inputs(certify, inputs, error, message):
    with pytest.raises(error, match=message):
        certify(inputs)


@pytest.mark.parametrize(
    "keep, error, message",
    [
        (0, ValueError, r"`keep` must be at least 1, got 0"),
        (0.0, ValueError, r"`keep` must be in \(0, 1\], got 0.0"),
        (1.5, ValueError, r"`keep` must be in \(0, 1\]"),
        (-3, ValueError, r"`keep` must be at least 1"),
        (True, TypeError, r"`keep` must be a number, got bool"),
    ],
)
def test_keep(keep, error, message):
    with pytest.raises(error, match=message):
        Sparsify(keep)


def test_keep_beyond_the_features(certify, net):
    with pytest.raises(ValueError, match=r"`keep` must be in \[1, 4\] .* got 5"):
        certify(smooth=SparsifiedSmoothGrad(Saliency(net), keep=5))


def test_attributions_that_are_not_finite_name_sample_and_example(certify):
    class Sometimes(Attribution):
        def attribute(self, inputs, **_):
            return torch.where(inputs[:, :1] > 40, torch.full_like(inputs, math.nan), inputs)

    x = X.clone()
    x[2] += 50
    for transform in (None, Sparsify(2), UnitNorm()):
        smooth = GaussianSmoothing(Sometimes(lambda x: x), transform=transform)
        with pytest.raises(RuntimeError, match=r"finite: map 0 of example 2 is not in sample 0"):
            certify(x, smooth=smooth)


def test_a_map_longer_than_its_bound(certify, net):
    smooth = GaussianSmoothing(Saliency(net))
    with pytest.raises(RuntimeError, match=r"`norm_bound` must bound the norm .* got 0.001 and a"):
        certify(smooth=smooth, norm_bound=0.001)
    assert certify(smooth=smooth, norm_bound=50.0).range.norm == 50.0


def test_rounding_does_not_break_a_bound_that_holds(certify, net):
    # float32 maps of unit norm exceed 1 by rounding; that is allowed for, and paid for.
    certificate = certify(smooth=GaussianSmoothing(Saliency(net), transform=UnitNorm()))
    assert certificate.range.norm == 1.0
    assert (certificate.l2_deviation(0.0) > 0).all()
    certify(smooth=GaussianSmoothing(Saliency(net), transform=UnitNorm()), norm_bound=1.0)


def test_a_class_without_mixin_answers_every_question_its_maps_admit(certify, net):
    certificate = certify(smooth=SmoothedAttribution(Saliency(net), transform=UnitNorm()))
    assert certificate.rank(0.0).shape == certificate.attributions.shape
    assert certificate.cosine(0.0).shape == certificate.overlap(0.0, k=1).shape
    with pytest.raises(ValueError, match="0/1 maps"):
        certificate.pixels(0.0)


def test_own_randomness_is_fixed_by_the_seed(certify, net):
    from captum.attr import GradientShap

    smooth = SparsifiedSmoothGrad(GradientShap(net), keep=2)
    given = {"smooth": smooth, "baselines": torch.zeros(3, 4), "n_samples": 2}
    first, second = certify(**given), certify(**given)
    assert torch.equal(first.attributions, second.attributions)
    assert not torch.equal(first.attributions, certify(**given, seed=1).attributions)


# -- questions --------------------------------------------------------------------------------


def test_a_cosine_of_an_unbounded_map_names_three_ways_out(certify, net):
    certificate = certify(smooth=GaussianSmoothing(Saliency(net)))
    for ask in (certificate.cosine, certificate.angle, certificate.l2_deviation):
        with pytest.raises(ValueError, match=r"UnitNorm\(\).*ClipNorm\(M\).*norm_bound"):
            ask(0.1)
    with pytest.raises(ValueError, match=r"known range.*Sparsify\(keep\)"):
        certificate.overlap(0.1, 2)
    with pytest.raises(ValueError, match=r"nothing to state"):
        certificate.statement(0.1)
    bounded = certify(smooth=GaussianSmoothing(Saliency(net), transform=ClipNorm(0.3)))
    assert bounded.cosine(0.01).shape == (3,)


def test_clopper_pearson_needs_bits(certify, net):
    smooth = GaussianSmoothing(Saliency(net), transform=Abs() >> UnitNorm())
    certificate = certify(smooth=smooth, confidence="clopper-pearson")
    with pytest.raises(ValueError, match=r'"clopper-pearson" needs 0/1 maps'):
        certificate.overlap(0.1, 2)


@pytest.mark.parametrize(
    "epsilon, message",
    [
        (-0.1, r"`epsilon` must be finite and >= 0"),
        (math.inf, r"`epsilon` must be finite and >= 0"),
        (math.nan, r"`epsilon` must be finite and >= 0"),
        (torch.ones(2), r"`epsilon` must be a number or one for each of the 3 examples"),
        (torch.ones(3, 1), r"`epsilon` must be a number or one for each of the 3 examples"),
    ],
    ids=str,
)
def test_epsilon(certify, epsilon, message):
    certificate = certify()
    with pytest.raises(ValueError, match=message):
        certificate.overlap(epsilon, 2)
    with pytest.raises(ValueError, match=message):
        certificate.cosine(epsilon)


@pytest.mark.parametrize(
    "k, error, message",
    [
        (5, ValueError, r"`k` must be in \[1, 4\] \(the number of features\), got 5"),
        (0, ValueError, r"`k` must be at least 1, got 0"),
        (0.0, ValueError, r"`k` must be in \(0, 1\]"),
        (1.1, ValueError, r"`k` must be in \(0, 1\]"),
        (True, TypeError, r"`k` must be a number, got bool"),
    ],
)
def test_k(certify, k, error, message):
    with pytest.raises(error, match=message):
        certify().overlap(0.1, k)


@pytest.mark.parametrize(
    "thresholds, message",
    [
        ({}, r"give exactly one of .* got none"),
        ({"cosine": 0.5, "angle": 3}, r"got cosine, angle"),
        ({"overlap": 0.5}, r"`overlap` \(with `k`\)"),
        ({"k": 2}, r"got none and k"),
        ({"cosine": 0.5, "k": 2}, r"got cosine and k"),
        ({"overlap": 1.5, "k": 2}, r"`overlap` must be in \[0, 1\]"),
        ({"cosine": -0.5}, r"`cosine` must be in \[0, 1\]"),
        ({"cosine": 1.5}, r"`cosine` must be in \[0, 1\]"),
        ({"angle": 91}, r"`angle` must be in \[0, 90\]"),
        ({"l2_deviation": -1}, r"`l2_deviation` must be in \[0, inf\]"),
    ],
    ids=str,
)
def test_thresholds(certify, thresholds, message):
    with pytest.raises(ValueError, match=message):
        certify().certified_radius(**thresholds)


def test_an_unknown_curve(certify):
    with pytest.raises(ValueError, match=r"`question` must be one of"):
        certify().curve("colour", [0.1])


def test_base_methods_that_merge_rows(certify, net):
    class Merged(Attribution):
        def attribute(self, inputs, **_):
            return inputs.mean(0, keepdim=True)

    with pytest.raises(ValueError, match="one map for each row"):
        certify(smooth=SparsifiedSmoothGrad(Merged(net), keep=2))


def test_other_base_methods_are_fine(certify, net):
    smooth = UniformSmoothing(IntegratedGradients(net), transform=UnitNorm())
    certificate = certify(smooth=smooth, baselines=0.0, n_steps=4)
    assert certificate.cosine(0.001).shape == (3,)


# -- before the samples -----------------------------------------------------------------------


class Counting(Attribution):
    """The input itself; counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__(lambda x: x)
        self.asked = 0

    def attribute(self, inputs: Tensor, **_: Any) -> Tensor:
        self.asked += 1
        return inputs


def test_until_refuses_a_bad_size_before_sampling() -> None:
    base = Counting()
    smooth = SparsifiedSmoothGrad(base, keep=2)
    for epsilon in (-0.1, torch.tensor([0.1, 0.2, 0.3])):
        with pytest.raises(ValueError, match="`epsilon` must be"):
            smooth.certify(
                torch.zeros(2, 4), stdevs=1.0, until={"overlap": 0.5, "k": 2, "epsilon": epsilon}
            )
    assert base.asked == 0


def test_holm_is_refused_beside_other_joint_questions() -> None:
    smooth = SparsifiedSmoothGrad(Counting(), keep=2)
    terms: dict[str, Any] = {"stdevs": 1.0, "nt_samples": 32, "seed": 0}
    together = smooth.certify(torch.zeros(2, 4), questions=("pixels", "rank"), **terms)
    assert together.pixels(0.1).shape == (2, 4)
    with pytest.raises(ValueError, match="`simultaneous` must be True"):
        together.pixels(0.1, simultaneous=False)
    alone = smooth.certify(torch.zeros(2, 4), questions=("pixels",), **terms)
    assert alone.pixels(0.1, simultaneous=False).shape == (2, 4)
