"""Over Captum's methods: what NoiseTunnel returns without noise, and the same kind with it."""

from __future__ import annotations

import captum.attr as captums
import pytest
import torch
from captum.attr import NoiseTunnel

from captum_robust.attr import (
    GaussianSmoothing,
    SparsifiedSmoothGrad,
    SumChannels,
    UniformSmoothing,
    UniGrad,
)

MASK = torch.arange(60).reshape(1, 2, 6, 5) // 12
TARGET = {"target": 1}
# Each: how to make it from a net, and the arguments of its `attribute`.
IMAGE_METHODS = {
    "Saliency": (captums.Saliency, TARGET),
    "Saliency signed": (captums.Saliency, TARGET | {"abs": False}),
    "InputXGradient": (captums.InputXGradient, TARGET),
    "IntegratedGradients": (captums.IntegratedGradients, TARGET | {"n_steps": 6}),
    "IntegratedGradients baselines": (
        captums.IntegratedGradients,
        TARGET | {"n_steps": 6, "baselines": torch.ones(3, 2, 6, 5), "internal_batch_size": 30},
    ),
    "IntegratedGradients one baseline": (
        captums.IntegratedGradients,
        TARGET | {"n_steps": 6, "baselines": torch.ones(1, 2, 6, 5)},
    ),
    "DeepLift": (captums.DeepLift, TARGET | {"baselines": 0.5}),
    "DeepLiftShap": (captums.DeepLiftShap, TARGET | {"baselines": torch.ones(3, 2, 6, 5)}),
    "GuidedBackprop": (captums.GuidedBackprop, TARGET),
    "Deconvolution": (captums.Deconvolution, TARGET),
    "GuidedGradCam": (lambda net: captums.GuidedGradCam(net, net.conv), TARGET),
    "FeatureAblation": (captums.FeatureAblation, TARGET | {"feature_mask": MASK}),
    "FeatureAblation masks": (
        captums.FeatureAblation,
        TARGET | {"feature_mask": MASK.expand(3, 2, 6, 5), "perturbations_per_eval": 2},
    ),
    "Occlusion": (
        captums.Occlusion,
        TARGET | {"sliding_window_shapes": (2, 3, 3), "strides": (2, 3, 2)},
    ),
    "ShapleyValues": (captums.ShapleyValues, TARGET | {"feature_mask": MASK // 3}),
    "LRP": (captums.LRP, TARGET),
    "LayerGradCam": (lambda net: captums.LayerGradCam(net, net.conv), TARGET),
    "LayerGradCam relu": (
        lambda net: captums.LayerGradCam(net, net.conv),
        TARGET | {"relu_attributions": True},
    ),
    "LayerActivation": (lambda net: captums.LayerActivation(net, net.second), {}),
    "LayerIntegratedGradients": (
        lambda net: captums.LayerIntegratedGradients(net, net.conv),
        TARGET | {"n_steps": 4, "baselines": torch.zeros(3, 2, 6, 5)},
    ),
    "LayerGradientXActivation": (
        lambda net: captums.LayerGradientXActivation(net, net.relu),
        TARGET,
    ),
    "LayerConductance": (
        lambda net: captums.LayerConductance(net, net.second),
        TARGET | {"n_steps": 4},
    ),
    "InternalInfluence": (
        lambda net: captums.InternalInfluence(net, net.second),
        TARGET | {"n_steps": 4},
    ),
    "LayerDeepLift": (lambda net: captums.LayerDeepLift(net, net.second), TARGET),
    "LayerFeatureAblation": (lambda net: captums.LayerFeatureAblation(net, net.second), TARGET),
    "NeuronGradient": (
        lambda net: captums.NeuronGradient(net, net.conv),
        {"neuron_selector": (1, 2, 3)},
    ),
    "NeuronIntegratedGradients": (
        lambda net: captums.NeuronIntegratedGradients(net, net.second),
        {"neuron_selector": 2, "n_steps": 4},
    ),
    "NeuronFeatureAblation": (
        lambda net: captums.NeuronFeatureAblation(net, net.second),
        {"neuron_selector": 2, "feature_mask": MASK},
    ),
    "NeuronConductance": (
        lambda net: captums.NeuronConductance(net, net.second),
        TARGET | {"neuron_selector": 2, "n_steps": 4},
    ),
    "NeuronGuidedBackprop": (
        lambda net: captums.NeuronGuidedBackprop(net, net.second),
        {"neuron_selector": 2},
    ),
}


def same(ours, theirs):
    """The same type, shapes, dtypes and values; no graph."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, tuple):
        assert len(ours) == len(theirs)
        for one, two in zip(ours, theirs, strict=True):
            same(one, two)
    else:
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        assert not ours.requires_grad
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("law", [GaussianSmoothing, UniformSmoothing, UniGrad])
@pytest.mark.parametrize("name", IMAGE_METHODS)
def test_stands_where_noise_tunnel_stood(conv_net, name, law):
    make, arguments = IMAGE_METHODS[name]
    base, inputs = make(conv_net), torch.randn(3, 2, 6, 5)
    settings = arguments | {"nt_samples": 3, "nt_samples_batch_size": 2}
    theirs = NoiseTunnel(base).attribute(inputs, stdevs=0.0, **settings)
    smooth = law(base)
    same(smooth.attribute(inputs, stdevs=0.0, **settings), theirs)
    noisy = smooth.attribute(inputs, stdevs=0.2, **settings)
    assert noisy.shape == theirs.shape and not torch.equal(noisy, theirs)
    if smooth.has_convergence_delta():
        _, delta = NoiseTunnel(base).attribute(
            inputs, stdevs=0.0, return_convergence_delta=True, **(arguments | {"nt_samples": 3})
        )
        _, ours = smooth.attribute(
            inputs, stdevs=0.0, return_convergence_delta=True, **(arguments | {"nt_samples": 3})
        )
        rows = ours.view(9, -1).mean(1)
        torch.testing.assert_close(rows, delta.view(9, -1).mean(1), rtol=1e-4, atol=1e-5)


def test_methods_that_noise_tunnel_cannot_call(conv_net):
    """Captum's LayerLRP lacks the decorator that NoiseTunnel reaches behind."""
    base, inputs = captums.LayerLRP(conv_net, conv_net.second), torch.randn(3, 2, 6, 5)
    maps = GaussianSmoothing(base).attribute(inputs, target=1, stdevs=0)
    torch.testing.assert_close(maps, base.attribute(inputs, target=1))


@pytest.mark.parametrize("moment", ["smoothgrad", "smoothgrad_sq", "vargrad"])
@pytest.mark.parametrize("name", ["Saliency", "DeepLift", "LayerActivation", "Occlusion"])
def test_agrees_with_noise_tunnel_on_the_same_noise(conv_net, monkeypatch, name, moment):
    """Captum's tunnel gets the noise that ours draws, so that the moments must agree."""
    make, arguments = IMAGE_METHODS[name]
    smooth = GaussianSmoothing(make(conv_net))
    inputs = torch.randn(3, 2, 6, 5)
    settings = arguments | {"nt_type": moment, "nt_samples": 4}
    noise = smooth.noise.sample(12, 60).reshape(12, 2, 6, 5) * 0.3
    drawn = noise.double().flatten(1) / 0.3
    monkeypatch.setattr(smooth.noise.__class__, "of_bits", lambda *_: drawn.clone())
    monkeypatch.setattr(torch, "normal", lambda *_: noise)
    theirs = NoiseTunnel(make(conv_net)).attribute(inputs, stdevs=0.3, **settings)
    ours = smooth.attribute(inputs, stdevs=0.3, **settings)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


TUPLE_METHODS = {
    "Saliency": (captums.Saliency, {}),
    "IntegratedGradients": (
        captums.IntegratedGradients,
        {"n_steps": 5, "baselines": (torch.ones(1, 4), torch.zeros(1, 2, 3))},
    ),
    "DeepLift": (captums.DeepLift, {"baselines": (0, 0.5)}),
    "FeatureAblation": (
        captums.FeatureAblation,
        {"feature_mask": (torch.tensor([[0, 0, 1, 1]]), torch.tensor([[[2, 2, 3], [3, 4, 4]]]))},
    ),
    "Occlusion": (captums.Occlusion, {"sliding_window_shapes": ((2,), (1, 2))}),
    "LayerIntegratedGradients": (
        lambda net: captums.LayerIntegratedGradients(net, net.middle),
        {"n_steps": 5},
    ),
    "NeuronGradient": (lambda net: captums.NeuronGradient(net, net.middle), {"neuron_selector": 1}),
}


@pytest.mark.parametrize("extra", [None, 2.0, (2.0,), "tensor"], ids=str)
@pytest.mark.parametrize("name", TUPLE_METHODS)
def test_tuples_and_further_arguments(two_inputs, name, extra):
    make, arguments = TUPLE_METHODS[name]
    base = make(two_inputs)
    inputs = (torch.randn(3, 4), torch.randn(3, 2, 3))
    arguments = dict(arguments)
    if "neuron_selector" not in arguments:
        arguments["target"] = torch.tensor([0, 2, 1])
    if extra is not None:
        extra = torch.tensor([[1.0], [2.0], [3.0]]) if extra == "tensor" else extra
        arguments["additional_forward_args"] = extra
    settings = arguments | {"nt_samples": 5, "nt_samples_batch_size": 2}
    theirs = NoiseTunnel(base).attribute(inputs, stdevs=0.0, **settings)
    same(GaussianSmoothing(base).attribute(inputs, stdevs=0, **settings), theirs)
    alone = [
        GaussianSmoothing(base).attribute(
            tuple(part[i : i + 1] for part in inputs),
            stdevs=0.3,
            seed=1,
            example_ids=[i],
            **(settings | _of_example(arguments, i)),
        )
        for i in range(3)
    ]
    whole = GaussianSmoothing(base).attribute(inputs, stdevs=0.3, seed=1, **settings)
    for index, part in enumerate(whole if isinstance(whole, tuple) else (whole,)):
        parts = [row[index] if isinstance(row, tuple) else row for row in alone]
        torch.testing.assert_close(torch.cat(parts), part, rtol=1e-4, atol=1e-6)


def _of_example(arguments, index):
    chosen = {}
    if "target" in arguments:
        chosen["target"] = arguments["target"][index : index + 1]
    if isinstance(arguments.get("additional_forward_args"), torch.Tensor):
        chosen["additional_forward_args"] = arguments["additional_forward_args"][index : index + 1]
    return chosen


@pytest.mark.parametrize(
    ("target", "single"),
    [
        (1, 1),
        (torch.tensor(1), 1),
        (torch.tensor([1]), 1),
        ([2, 0, 1], None),
        (torch.tensor([2, 0, 1]), None),
    ],
    ids=str,
)
def test_targets_go_with_their_examples(relu_net, target, single):
    smooth, inputs = GaussianSmoothing(captums.Saliency(relu_net)), torch.randn(3, 4)
    settings = {"nt_samples": 5, "nt_samples_batch_size": 2, "stdevs": 0.4, "seed": 3}
    whole = smooth.attribute(inputs, target=target, **settings)
    for i in range(3):
        one = smooth.attribute(
            inputs[i : i + 1],
            target=[2, 0, 1][i] if single is None else single,
            example_ids=[i],
            **settings,
        )
        torch.testing.assert_close(one, whole[i : i + 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("target", [(1, 0), [(0, 1), (1, 1), (2, 0)]], ids=str)
def test_tuples_as_targets(target):
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Unflatten(1, (3, 2)))
    smooth, inputs = GaussianSmoothing(captums.Saliency(net)), torch.randn(3, 4)
    maps = smooth.attribute(inputs, target=target, nt_samples=5, nt_samples_batch_size=2)
    for i in range(3):
        row, column = target if isinstance(target, tuple) else target[i]
        torch.testing.assert_close(maps[i], net[0].weight[2 * row + column].abs())


def test_methods_without_targets():
    smooth = GaussianSmoothing(captums.Saliency(lambda x: x.sum(1)))
    assert torch.equal(smooth.attribute(torch.randn(3, 4)), torch.ones(3, 4))


def test_layer_maps_are_transformed_with_their_own_number_of_features(conv_net):
    smooth = SparsifiedSmoothGrad(captums.LayerActivation(conv_net, conv_net.second), keep=3)
    maps = smooth.attribute(torch.randn(5, 2, 6, 5), nt_samples=4)
    assert maps.shape == (5, 7)
    torch.testing.assert_close(maps.sum(1), torch.full((5,), 3.0))


def test_channels_are_summed_before_the_mean(conv_net):
    smooth = GaussianSmoothing(captums.Saliency(conv_net), transform=SumChannels())
    assert smooth.attribute(torch.randn(3, 2, 6, 5), target=0).shape == (3, 1, 6, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_on_inputs_in_any_memory_format(conv_net, dtype):
    net = conv_net.to(dtype)
    inputs = torch.randn(3, 2, 6, 5, dtype=dtype)
    smooth = GaussianSmoothing(captums.Saliency(net))
    plain = smooth.attribute(inputs, target=0, seed=1)
    turned = smooth.attribute(inputs.to(memory_format=torch.channels_last), target=0, seed=1)
    torch.testing.assert_close(plain, turned, rtol=1e-4, atol=1e-6)
    spread = inputs[:1].expand(3, 2, 6, 5)
    assert smooth.attribute(spread, target=0, seed=1, example_ids=[0, 0, 0]).std(0).max() < 1e-5
