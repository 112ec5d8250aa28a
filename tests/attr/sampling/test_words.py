"""Keywords of a call: into the specs, to the base method, or refused with the right word."""

from __future__ import annotations

import inspect

import pytest
import torch
from captum.attr import GradientShap, IntegratedGradients, NoiseTunnel, Saliency

from captum_robust.attr import (
    GaussianSmoothing,
    Sampling,
    SmoothedAttribution,
    SparsifiedSmoothGrad,
)
from captum_robust.certificates import Claim
from captum_robust.examples import example_model

INPUTS = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
CERTIFY = {"target": 0, "stdevs": 0.5, "nt_samples": 40, "seed": 0}


@pytest.fixture
def smooth():
    return SparsifiedSmoothGrad(Saliency(example_model()), keep=2)


def test_the_signatures_are_short():
    named = [
        one
        for one in inspect.signature(SmoothedAttribution.certify).parameters.values()
        if one.kind is not inspect.Parameter.VAR_KEYWORD and one.name != "self"
    ]
    assert len(named) <= 12


@pytest.mark.parametrize(
    "word, meant",
    [
        ({"sigma": 0.1}, "did you mean `stdevs`"),
        ({"Sigma": 0.1}, "did you mean `stdevs`"),
        ({"stdev": 0.1}, "did you mean `stdevs`"),
        ({"nt_sample": 4}, "did you mean `nt_samples`"),
        ({"n_samples": 4}, "did you mean `nt_samples`"),
        ({"raduis": 4}, "did you mean `radius`"),
        ({"confidense": "kl"}, "did you mean `confidence`"),
        ({"eig_pair": 8}, "did you mean `eig_pairs`"),
        ({"abss": False}, "did you mean `abs`"),
        ({"nt_type": "vargrad"}, "it is an argument of `attribute`"),
        ({"xyzzy": 1}, "it takes about, abs, "),
    ],
)
def test_certify_refuses_a_word_that_nobody_takes(smooth, word, meant):
    with pytest.raises(TypeError, match=f"certify got `{next(iter(word))}`.*Saliency.*{meant}"):
        smooth.certify(INPUTS, **CERTIFY, **word)


def test_attribute_and_samples_refuse_too(smooth):
    with pytest.raises(TypeError, match=r"attribute got `sigma`.*did you mean `stdevs`"):
        smooth.attribute(INPUTS, target=0, sigma=0.1)
    with pytest.raises(TypeError, match=r"samples got `sede`.*did you mean `seed`"):
        list(smooth.samples(INPUTS, target=0, nt_samples=2, sede=1))
    with pytest.raises(TypeError, match="attribute got `confidence`"):
        smooth.attribute(INPUTS, target=0, confidence="kl")


@pytest.mark.filterwarnings("ignore:.*draws random numbers of its own")
def test_words_of_the_base_method_pass_through():
    model = example_model()
    for base, words in (
        (IntegratedGradients(model), {"n_steps": 3, "baselines": 0.0}),
        (GradientShap(model), {"n_samples": 2, "baselines": torch.zeros(1, 4)}),
        (NoiseTunnel(IntegratedGradients(model)), {"n_steps": 3, "nt_samples_batch_size": 1}),
        (GaussianSmoothing(Saliency(model)), {"abs": False, "clamp": (-1.0, 1.0)}),
    ):
        maps = GaussianSmoothing(base).attribute(INPUTS, target=0, nt_samples=2, **words)
        assert maps.shape == INPUTS.shape

    class Anything(Saliency):
        def attribute(self, inputs, target=None, **anything):
            assert anything == {"whatever": 1}
            return super().attribute(inputs, target)

    assert GaussianSmoothing(Anything(model)).attribute(INPUTS, target=0, whatever=1) is not None


def test_specs_and_keywords_say_the_same(smooth):
    words = {"confidence": "hoeffding", "route": "elementwise", "questions": ("overlap", "rank")}
    ways = {"nt_samples_batch_size": 7, "clamp": (-1.0, 1.0), "example_ids": [4, 9]}
    spelt = smooth.certify(INPUTS, **CERTIFY, claim="redrawn", **words, **ways)
    specs = smooth.certify(
        INPUTS, **CERTIFY, claim=Claim("redrawn", **words), sampling=Sampling(**ways)
    )
    over = smooth.certify(
        INPUTS, **CERTIFY, claim=Claim(confidence="kl"), about="redrawn", **words,
        sampling=Sampling(clamp=(0.0, 0.1)), **ways,
    )  # fmt: skip
    for one in (specs, over):
        assert one.terms == spelt.terms and torch.equal(one.mean, spelt.mean)
    maps = smooth.attribute(INPUTS, target=0, seed=1, sampling=Sampling(clamp=(0.0, 0.1)))
    assert torch.equal(maps, smooth.attribute(INPUTS, target=0, seed=1, clamp=(0.0, 0.1)))


def test_a_claim_is_checked(smooth):
    with pytest.raises(ValueError, match=r"`claim` must be one of 'reported'.*got 'reporte'"):
        smooth.certify(INPUTS, **CERTIFY, claim="reporte")
    with pytest.raises(TypeError, match=r"`claim` must be a Claim or one of.*got int"):
        smooth.certify(INPUTS, **CERTIFY, claim=3)


def test_a_method_that_sets_torchs_seed_cannot_repeat_the_noise():
    seen = []

    class Reseeding(Saliency):
        def attribute(self, inputs, target=None):
            seen.append(inputs.detach().clone())
            torch.manual_seed(0)
            return super().attribute(inputs, target)

    smooth = GaussianSmoothing(Reseeding(example_model()))
    smooth.attribute(INPUTS, target=0, nt_samples=3, nt_samples_batch_size=1, stdevs=1.0)
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])
    seen.clear()
    certificate = SparsifiedSmoothGrad(Reseeding(example_model()), keep=2).certify(
        INPUTS, target=0, nt_samples=3, nt_samples_batch_size=1, stdevs=1.0
    )
    sampled = torch.cat(seen[-3 * len(INPUTS) :])  # one row a pass, after those of the probe
    assert len(sampled.flatten().unique()) == 3 * INPUTS.numel()
    assert isinstance(certificate.seed, int)
