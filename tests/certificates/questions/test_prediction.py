"""The prediction under the noise, from the samples that the map is made of."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import (
    DeepLift,
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    NoiseTunnel,
    Saliency,
)
from scipy import stats
from torch import nn

from captum_robust.attr import GaussianSmoothing, SparsifiedSmoothGrad, UnitNorm, smoothed
from captum_robust.certificates import Certificate


class Counted(nn.Module):
    """A net that counts its forward passes and keeps what it was given."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.first, self.last = nn.Linear(6, 8), nn.Linear(8, classes)
        self.relu = nn.ReLU()
        self.given: list[torch.Tensor] = []

    def forward(self, x, scale=None):
        self.given.append(x.detach().clone())
        x = x if scale is None else x * scale
        return self.last(self.relu(self.first(x)))


X = torch.linspace(-1, 1, 12).reshape(2, 6)
WORDS = {"stdevs": 0.7, "nt_samples": 40, "seed": 3, "nt_samples_batch_size": 16}


def certified(method, **words) -> Certificate:
    return SparsifiedSmoothGrad(method, keep=2).certify(X, **({"target": [0, 2]} | WORDS | words))


METHODS = {
    "saliency": (Saliency, 0),
    "input x gradient": (InputXGradient, 0),
    "ablation": (FeatureAblation, 0),
    "integrated gradients": (lambda net: IntegratedGradients(net), 1),
    "deep lift": (DeepLift, 1),
}


@pytest.mark.parametrize("name", METHODS)
def test_votes_are_those_of_a_literal_loop_and_cost_at_most_one_forward(name, monkeypatch):
    make, extra = METHODS[name]
    net = Counted().eval()
    certificate = certified(make(net))
    used = len(net.given)
    plain = Counted().eval()
    SparsifiedSmoothGrad(Saliency(plain), keep=2).attribute(X, target=[0, 2], **WORDS)
    labels = torch.cat([net(rows).argmax(1).reshape(2, -1) for rows in plain.given], dim=1)
    assert labels.shape == (2, 40)
    for row, target in enumerate((0, 2)):
        assert certificate.votes.agreeing[row] == (labels[row] == target).sum()
        others = torch.bincount(labels[row][labels[row] != target], minlength=3)
        assert certificate.votes.other_counts[row] == others.max()
    blind = Counted().eval()
    monkeypatch.setattr(smoothed, "watching", lambda *_: nullcontext())
    assert certified(make(blind)).votes is None
    assert used == len(blind.given) + 3 * extra  # one a pass at most


def test_the_method_explains_its_own_net_again_afterwards():
    net = Counted().eval()
    method = Saliency(net)
    certified(method)
    assert method.forward_func is net
    with pytest.raises(ValueError, match="`k`"):
        certified(method, until={"overlap": 0.5, "k": 40, "epsilon": 0.1}, nt_samples=None)
    assert method.forward_func is net


def test_layers_extra_arguments_copies_and_nested_tunnels_are_seen_too():
    net = Counted().eval()
    plain = certified(Saliency(net)).votes
    scaled = certified(Saliency(net), additional_forward_args=torch.ones(2, 1)).votes
    assert np.array_equal(scaled.agreeing, plain.agreeing)
    flipped = certified(Saliency(net), additional_forward_args=-torch.ones(2, 1)).votes
    assert not np.array_equal(flipped.agreeing, plain.agreeing)
    fast = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    fast[0], fast[2] = net.first, net.last
    copied = certified(Saliency(fast), optimize_model=True).votes
    assert np.array_equal(copied.agreeing, plain.agreeing)
    at_layer = certified(Saliency(net), layer=net.first).votes
    assert at_layer.samples == 40 and at_layer.agreeing.sum() > 0
    cam = GaussianSmoothing(LayerGradCam(net, net.first), UnitNorm())
    assert np.array_equal(cam.certify(X, target=[0, 2], **WORDS).votes.agreeing, plain.agreeing)
    nested = GaussianSmoothing(NoiseTunnel(Saliency(net)), UnitNorm())
    found = nested.certify(X, target=[0, 2], **WORDS).votes
    assert np.array_equal(found.agreeing, plain.agreeing)


OUTPUTS = {
    "one logit": (1, lambda out: out[:, 0] > 0, 0),
    "a label of many": (3, lambda out: out[:, 1] > 0.1, 1),
    "a band": (1, lambda out: (out[:, 0] - 0.2).abs() < 0.3, 0),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_functions_of_the_user_serve_other_outputs(name):
    classes, function, target = OUTPUTS[name]
    net = Counted(classes).eval()
    certificate = certified(Saliency(net), target=target, prediction=function)
    votes = certificate.votes
    assert votes.explained.tolist() == function(net(X)).long().tolist()
    rows = Counted(classes).eval()
    certified(Saliency(rows), target=target)
    seen = torch.cat(
        [function(net(one)).reshape(2, -1) for one in rows.given if len(one) >= 16], dim=1
    )
    same = seen.long() == torch.from_numpy(votes.explained).unsqueeze(1)
    assert votes.agreeing.tolist() == same.sum(1).tolist()
    assert certificate.prediction(0.0).shape == (2,)


def test_a_pixel_of_a_segmentation():
    net = nn.Conv2d(1, 3, 3, padding=1).eval()
    smooth = SparsifiedSmoothGrad(Saliency(lambda x: net(x)[:, :, 2, 2]), keep=4)
    image = torch.rand(1, 1, 5, 5)
    words = {"stdevs": 0.2, "nt_samples": 50, "seed": 0}
    by_class = smooth.certify(image, target=1, **words).votes
    whole = Saliency(lambda x: net(x).flatten(1))
    place = 1 * 25 + 2 * 5 + 2
    pixel = SparsifiedSmoothGrad(whole, keep=4).certify(
        image,
        target=place,
        prediction=lambda out: out.reshape(-1, 3, 5, 5)[:, :, 2, 2].argmax(1),
        **words,
    )
    assert pixel.votes.samples == by_class.samples == 50
    label = int(net(image)[0, :, 2, 2].argmax())
    assert pixel.votes.explained.tolist() == [label]
    if label == 1:
        assert pixel.votes.agreeing[0] == by_class.agreeing[0]


def test_where_nothing_is_predicted_nothing_is_said():
    single = certified(Saliency(Counted(1).eval()), target=0)
    assert single.votes is None and "Under this noise" not in single.statement(0.1, k=2)
    with pytest.raises(ValueError, match="`prediction` needs a method over a net"):
        single.prediction(0.1)
    with pytest.raises(ValueError, match="prediction=lambda"):
        certified(Saliency(Counted(1).eval()), target=0, questions=["prediction", "overlap"])


@pytest.mark.parametrize(
    ("kind", "words", "function"),
    [
        (TypeError, "integers or booleans", lambda out: out[:, 0]),
        (ValueError, "one label for each of", lambda out: out > 0),
        (TypeError, "got str", lambda out: "dog"),
    ],
)
def test_predictions_of_another_form_are_refused(kind, words, function):
    with pytest.raises(kind, match=words):
        certified(Saliency(Counted().eval()), prediction=function)


def test_radius_budget_and_joint_statement():
    net = Counted().eval()
    target = net(X).argmax(1)
    alone = certified(Saliency(net), target=target, nt_samples=400, stdevs=0.3)
    counts = alone.votes.agreeing
    lower = stats.beta.ppf(0.05, counts, 400 - counts + 1)
    lower = np.where(counts == 400, 0.05 ** (1 / 400), lower)
    published = np.where(lower > 0.5, 0.3 * stats.norm.ppf(lower), 0.0)
    radius = alone.certified_radius(prediction=0.5).numpy()
    np.testing.assert_allclose(radius, published, atol=1e-9)
    joint = certified(
        Saliency(net),
        target=target,
        nt_samples=400,
        stdevs=0.3,
        questions=("prediction", "overlap"),
    )
    assert joint.budget().of("prediction", "prediction") == pytest.approx(0.05 / 3)
    assert (joint.certified_radius(prediction=0.5).numpy() <= radius).all()
    text = joint.statement(0.02, k=2)
    assert "together" in text and "the smoothed classifier gives label" in text
    assert "2 of 6 features" in text
    curve = alone.curve("prediction", [0.0, 0.1, 0.2])
    assert (curve.diff(dim=1) <= 0).all() and curve.shape == (2, 3)


def test_a_map_of_a_class_that_the_net_does_not_see_says_so():
    net = Counted().eval()
    seen = certified(Saliency(net), target=net(X).argmax(1), nt_samples=300, stdevs=0.2)
    never = (net(X).argmin(1)).tolist()
    unseen = certified(Saliency(net), target=never, nt_samples=300, stdevs=0.2)
    assert "mostly does not see" not in seen.statement(0.1, k=2)
    text = unseen.statement(0.1, k=2)
    assert "In examples 0, 1 the map explains a label that the net mostly does not see" in text
    assert "Less noise, a net trained under noise" in text
    assert f"next comes label {int(net(X)[0].argmax())}" in text


def test_until_a_prediction_holds():
    net = Counted().eval()
    target = net(X).argmax(1)
    words = {"nt_samples": None, "max_samples": 4096, "stdevs": 0.2, "target": target}
    found = certified(Saliency(net), until={"prediction": 0.5, "epsilon": 0.02}, **words)
    assert found.nt_samples < 4096 and (found.prediction(0.02) > 0.5).all()
    given_up = certified(Saliency(net), until={"prediction": 0.5, "epsilon": 50.0}, **words)
    assert given_up.nt_samples <= 512 and not (given_up.prediction(50.0) > 0.5).any()


@pytest.mark.parametrize("claim", ["reported", "population", "redrawn"])
def test_votes_and_answers_survive_a_file(tmp_path, claim):
    found = certified(Saliency(Counted().eval()), claim=claim)
    found.save(tmp_path / "certificate.npz")
    again = Certificate.load(tmp_path / "certificate.npz")
    assert torch.equal(again.prediction(0.1), found.prediction(0.1))
    assert again.statement(0.1, k=2) == found.statement(0.1, k=2)


class HalfSpace(nn.Module):
    """Predicts class 0 where the first coordinate is below 0."""

    def forward(self, x):
        return torch.stack([-x[:, 0], x[:, 0]], dim=1) + 0 * x.sum(1, keepdim=True)


@pytest.mark.parametrize("claim", ["reported", "redrawn"])
def test_coverage_on_half_spaces_which_attain_the_bound(claim):
    """The radius is beyond the true boundary in at most alpha of the draws."""
    alpha, repetitions, distance = 0.1, 400, 0.6
    x = torch.tensor([[-distance, 0.3]]).repeat(repetitions, 1)
    smooth = SparsifiedSmoothGrad(Saliency(HalfSpace()), keep=1)
    found = smooth.certify(
        x, target=0, stdevs=1.0, nt_samples=100, alpha=alpha, seed=5, claim=claim
    )
    radius = found.certified_radius(prediction=0.5)
    # At the boundary the smoothed classifier is undecided: a radius above it would be false.
    failures = float((radius > distance).double().mean())
    assert failures <= alpha + 3 * (alpha * (1 - alpha) / repetitions) ** 0.5
    assert claim == "redrawn" or failures > 0.02
    assert float(radius.max()) > 0.3


def test_answers_pay_for_the_arithmetic_of_the_noise():
    """The share as computed may be off by the allowance at both inputs."""
    found = certified(Saliency(Counted().eval()), target=[0, 2], stdevs=0.3, nt_samples=200)
    off = 0.01
    dearer = replace(found, shift=replace(found.shift, allowance=off))
    exact = replace(found, shift=replace(found.shift, allowance=0.0))
    lost = exact.prediction(0.0) - dearer.prediction(0.0)
    paid = exact.prediction(0.0) > 3 * off
    torch.testing.assert_close(lost[paid], torch.full_like(lost[paid], 2 * off))
    assert (dearer.certified_radius(prediction=0.5) <= exact.certified_radius(prediction=0.5)).all()
