"""What a call leaves behind (nothing), refuses, warns of, and shows."""

from __future__ import annotations

import copy
import functools
import math
import pickle
import warnings

import captum.attr as captums
import pytest
import torch
from captum.attr import NoiseTunnel, Saliency
from torch import nn

from captum_robust.attr import (
    Abs,
    Chain,
    ClipNorm,
    GaussianSmoothing,
    Rank,
    RelaxedSparsifiedSmoothGrad,
    ScaledSmoothGrad,
    SparsifiedSmoothGrad,
    Square,
    UniformSmoothing,
    UnitNorm,
    differentiable,
)
from captum_robust.noise import Relative

BASES = {
    "Saliency": captums.Saliency,
    "IntegratedGradients": captums.IntegratedGradients,
    "DeepLift": captums.DeepLift,
    "GuidedBackprop": captums.GuidedBackprop,
    "LRP": captums.LRP,
    "FeatureAblation": captums.FeatureAblation,
    "LayerGradCam": lambda net: captums.LayerGradCam(net, net.conv),
    "NeuronGradient": lambda net: captums.NeuronGradient(net, net.conv),
}


def state_of(net, inputs):
    """Everything a call could change."""
    return {
        "training": [module.training for module in net.modules()],
        "weights": [weight.clone() for weight in net.parameters()],
        "gradients": [weight.grad for weight in net.parameters()],
        "wanted": [weight.requires_grad for weight in net.parameters()],
        "hooks": [
            len(module._forward_hooks)
            + len(module._backward_hooks)
            + len(module._forward_pre_hooks)
            + len(module._backward_pre_hooks)
            for module in net.modules()
        ],
        "inputs": inputs.detach().clone(),
        "input": (inputs.requires_grad, inputs.grad, inputs.is_leaf, inputs._version),
        "mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "threads": torch.get_num_threads(),
    }


def assert_same_state(before, after):
    for key, value in before.items():
        if key in ("weights", "inputs"):
            pairs = zip(value, after[key], strict=True)
            assert all(torch.equal(one, two) for one, two in pairs), key
        else:
            assert value == after[key], key


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("name", BASES)
def test_nothing_is_left_behind(conv_net, name, wanted, training):
    conv_net.train(training)
    conv_net.last.weight.requires_grad_(False)
    inputs = torch.randn(3, 2, 6, 5, requires_grad=wanted)
    base = BASES[name](conv_net)
    selector = {"neuron_selector": (1, 1, 1)} if name == "NeuronGradient" else {"target": 0}
    before = state_of(conv_net, inputs)
    for settings in ({}, {"clamp": (0.0, 1.0)}, {"stdevs": 0}):
        maps = GaussianSmoothing(base).attribute(inputs, seed=1, **selector, **settings)
        assert not maps.requires_grad
    assert_same_state(before, state_of(conv_net, inputs))


class Broken(torch.nn.Module):
    """Raises in the second pass."""

    def __init__(self, net, at=2):
        super().__init__()
        self.net, self.calls, self.at = net, 0, at

    @property
    def conv(self):
        return self.net.conv

    def forward(self, images):
        self.calls += 1
        if self.calls >= self.at:
            raise KeyboardInterrupt
        return self.net(images)


@pytest.mark.parametrize("name", BASES)
def test_nothing_is_left_behind_after_an_exception(conv_net, name):
    net = Broken(conv_net)
    inputs = torch.randn(3, 2, 6, 5, requires_grad=True)
    smooth = GaussianSmoothing(BASES[name](net))
    selector = {"neuron_selector": (1, 1, 1)} if name == "NeuronGradient" else {"target": 0}
    before = state_of(net, inputs)
    with pytest.raises(KeyboardInterrupt):
        smooth.attribute(inputs, seed=1, nt_samples_batch_size=1, **selector)
    assert_same_state(before, state_of(net, inputs))


def test_graph_settings_are_undone_after_an_exception(conv_net):
    base = Saliency(Broken(conv_net, at=1))
    original, smooth = base.gradient_func, GaussianSmoothing(base)
    with torch.no_grad(), pytest.raises(KeyboardInterrupt):
        smooth.attribute(torch.randn(3, 2, 6, 5), target=0, create_graph=True)
    assert base.gradient_func is original and not smooth._graph and torch.is_grad_enabled()
    with torch.no_grad():
        with pytest.raises(KeyboardInterrupt), differentiable(smooth):
            smooth.attribute(torch.randn(3, 2, 6, 5), target=0)
        assert not torch.is_grad_enabled()
    assert base.gradient_func is original and not smooth._graph


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_works_in_either_autograd_mode(relu_net, mode):
    with mode():
        maps = GaussianSmoothing(Saliency(relu_net)).attribute(torch.randn(2, 4), target=0)
    assert not maps.requires_grad and maps.any()


def test_a_graph_nobody_asked_for_is_dropped(recorder):
    def with_graph(inputs):
        with torch.enable_grad():
            return inputs.detach().requires_grad_() * 2

    maps = GaussianSmoothing(recorder(with_graph)).attribute(torch.randn(2, 4))
    assert not maps.requires_grad


def test_nests_in_noise_tunnel_and_in_itself(relu_net, recorder):
    inputs = torch.randn(3, 4)
    inside = UniformSmoothing(Saliency(relu_net), transform=UnitNorm())
    maps = NoiseTunnel(inside).attribute(inputs, target=1, nt_samples=2, stdevs=0.1)
    assert maps.shape == (3, 4)
    base = recorder()
    maps = GaussianSmoothing(UniformSmoothing(base)).attribute(inputs, nt_samples=2, stdevs=0)
    assert base.noisy(3)[0].shape == (3, 2 * 5, 4) and maps.shape == (3, 4)
    tunnel = GaussianSmoothing(NoiseTunnel(Saliency(relu_net)))
    first, second = (tunnel.attribute(inputs, target=1, seed=5) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (captums.GradientShap, {"baselines": torch.zeros(2, 4)}),
        (lambda net: captums.LayerGradientShap(net, net[0]), {"baselines": torch.zeros(2, 4)}),
    ],
)
def test_a_seed_reaches_the_draws_of_the_method_itself(relu_net, make, arguments):
    smooth, inputs = GaussianSmoothing(make(relu_net)), torch.randn(3, 4)
    state = torch.get_rng_state()
    maps = [smooth.attribute(inputs, target=0, seed=seed, **arguments) for seed in (0, 0, 1)]
    assert torch.equal(maps[0], maps[1]) and not torch.equal(maps[0], maps[2])
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("make", "arguments"),
    [(captums.ShapleyValueSampling, {"n_samples": 2}), (captums.FeaturePermutation, {})],
)
def test_draws_that_rows_share_are_warned_of(relu_net, make, arguments):
    smooth = GaussianSmoothing(make(relu_net))
    with pytest.warns(UserWarning, match="so samples of one pass depend on each other"):
        maps = smooth.attribute(torch.randn(3, 4), target=0, seed=0, **arguments)
    assert len(maps) == 3


@pytest.mark.parametrize("module", [nn.Dropout(0.1), nn.BatchNorm1d(4)])
def test_a_model_in_training_mode_is_warned_of(module):
    net = nn.Sequential(module, nn.Linear(4, 3))
    smooth = GaussianSmoothing(Saliency(lambda x: net(x)))
    with pytest.warns(UserWarning, match=r"depend on the batch or on luck; call model.eval\(\)"):
        smooth.attribute(torch.randn(3, 4), target=0)
    net.eval()
    smooth.attribute(torch.randn(3, 4), target=0)


def test_no_other_method_is_warned_of(relu_net):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GaussianSmoothing(captums.ShapleyValues(relu_net)).attribute(torch.randn(3, 4), target=0)


def test_a_method_that_mixes_examples_cannot_be_certified(relu_net):
    smooth = GaussianSmoothing(captums.FeaturePermutation(relu_net), transform=UnitNorm())
    with pytest.raises(RuntimeError, match="FeaturePermutation mixes the examples of a batch"):
        smooth.certify(torch.randn(3, 4), target=0, stdevs=1.0, nt_samples=10)


# -- undefined maps ----------------------------------------------------------------------------

TRANSFORMS = [None, Abs(), UnitNorm(), ClipNorm(1.0), Rank()]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "make",
    [
        *(lambda base, t=t: GaussianSmoothing(base, transform=t) for t in TRANSFORMS),
        lambda base: SparsifiedSmoothGrad(base, keep=2),
        lambda base: RelaxedSparsifiedSmoothGrad(base, keep=2),
        ScaledSmoothGrad,
    ],
)
def test_undefined_maps_are_named_by_sample_and_example(recorder, make, value):
    """A mask of an undefined map would be finite: it must not slip through."""

    def function(inputs):
        maps, count = inputs.clone(), len(base.alive)
        if count == 3:  # samples 4 and 5 of every example
            maps[2 * 2 + 1, 1] = value
        return maps

    base = recorder(function)
    message = r"attributions must be finite: map 0 of example 2 is not in sample 5;"
    with pytest.raises(RuntimeError, match=message):
        make(base).attribute(torch.zeros(3, 4), nt_samples=8, nt_samples_batch_size=2)


def test_overflow_in_the_transform_is_found(recorder):
    base = recorder(lambda x: torch.full_like(x, 1e30))
    with pytest.raises(RuntimeError, match="map 0 of example 0 is not in sample 0"):
        GaussianSmoothing(base, transform=Square()).attribute(torch.zeros(3, 4))


def test_undefined_maps_of_one_number_an_example(recorder):
    base = recorder(lambda x: x * math.nan)
    with pytest.raises(RuntimeError, match="map 0 of example 0 is not in sample 0"):
        GaussianSmoothing(base).attribute(torch.zeros(3))


# -- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"nt_type": "mean"}, ValueError, r"`nt_type` must be one of 'smoothgrad', .* got 'mean'"),
        ({"nt_samples": 0}, ValueError, r"`nt_samples` must be at least 1, got 0\."),
        ({"nt_samples": 2.0}, TypeError, r"`nt_samples` must be an int, got float\."),
        ({"nt_samples_batch_size": 0}, ValueError, r"`nt_samples_batch_size` must be at least 1"),
        ({"stdevs": -1.0}, ValueError, r"`stdevs` must be finite and >= 0, got -1\."),
        ({"stdevs": math.nan}, ValueError, r"`stdevs` must be finite and >= 0, got nan\."),
        ({"stdevs": True}, TypeError, r"`stdevs` must be a number, a tensor, .* got bool\."),
        ({"stdevs": [0.1]}, TypeError, r"`stdevs` must be a number, a tensor, .* got list\."),
        ({"stdevs": (0.1, 0.2)}, ValueError, r"one entry for each of the 1 inputs, got 2\."),
        ({"stdevs": torch.ones(5)}, ValueError, r"must broadcast to its input .* got shape \(5,\)"),
        ({"stdevs": 1.0, "radius": 1.0}, ValueError, r"exactly one of .* got both\."),
        ({"radius": Relative(0.1)}, ValueError, r"`radius` needs a noise law with a body"),
        ({"clamp": (1.0, 0.0)}, ValueError, r"`clamp` must be a pair with low < high"),
        ({"clamp": (math.nan, 0.0)}, ValueError, r"`clamp` must be a pair with low < high"),
        ({"clamp": [0.0, 1.0]}, TypeError, r"`clamp` must be a pair \(low, high\) of numbers"),
        ({"clamp": (None, 1.0)}, TypeError, r"`clamp` must be a pair .* leaves a side open"),
        (
            {"clamp": (torch.zeros(3, 1), 1.0)},
            ValueError,
            r"`clamp` must broadcast to an example of shape \(1, 4\), got shape \(3, 1\)\.",
        ),
        ({"seed": -1}, ValueError, r"`seed` must be at least 0, got -1\."),
        ({"seed": 1.0}, TypeError, r"`seed` must be an int, got float\."),
        ({"example_ids": [1]}, ValueError, r"one entry for each of the 3 examples, got 1\."),
        ({"example_ids": [0, 1, -2], "seed": 0}, ValueError, r"`example_ids` must be at least 0"),
    ],
    ids=str,
)
def test_arguments_out_of_range_are_refused(recorder, settings, kind, message):
    base = recorder()
    with pytest.raises(kind, match=message):
        GaussianSmoothing(base).attribute(torch.zeros(3, 4), **settings)
    assert not base.passes


@pytest.mark.parametrize(
    ("inputs", "kind", "message"),
    [
        (
            torch.zeros(3, 4).long(),
            TypeError,
            r"`inputs\[0\]` must be floating point .*got torch.int64",
        ),
        (
            torch.zeros(3, 4).bool(),
            TypeError,
            r"`inputs\[0\]` must be floating point .*got torch.bool",
        ),
        (torch.zeros(0, 4), ValueError, r"`inputs\[0\]` must hold at least one example"),
        (torch.zeros(3, 0), ValueError, r"`inputs\[0\]` must hold .* got shape \(3, 0\)\."),
        (torch.tensor(1.0), ValueError, r"`inputs\[0\]` must hold .* got shape \(\)\."),
        (torch.full((3, 4), math.nan), ValueError, r"`inputs\[0\]` must be finite"),
        ((torch.zeros(3, 4), torch.zeros(2, 4)), ValueError, r"same batch size, got 3 and 2\."),
        ((), ValueError, r"`inputs` must hold at least one tensor"),
        ([torch.zeros(3, 4)], TypeError, r"`inputs\[0\]` must be a Tensor, got list\."),
        ((torch.zeros(3, 4), None), TypeError, r"`inputs\[1\]` must be a Tensor, got NoneType\."),
    ],
    ids=lambda value: str(value)[:30],
)
def test_inputs_that_cannot_carry_noise_are_refused(recorder, inputs, kind, message):
    with pytest.raises(kind, match=message):
        GaussianSmoothing(recorder()).attribute(inputs)


def test_maps_must_come_row_by_row(recorder):
    base = recorder(lambda x: x.sum(0, keepdim=True))
    message = r"one map for each row of its input \(15\), got shapes \[\(1, 4\)\]"
    with pytest.raises(ValueError, match=message):
        GaussianSmoothing(base).attribute(torch.zeros(3, 4))


# -- show, print, copy -------------------------------------------------------------------------


def test_the_progress_bar_counts_passes_and_is_off_by_default(recorder, capsys):
    smooth = GaussianSmoothing(recorder())
    smooth.attribute(torch.zeros(2, 3), nt_samples=6, nt_samples_batch_size=2)
    assert capsys.readouterr() == ("", "")
    smooth.attribute(torch.zeros(2, 3), nt_samples=6, nt_samples_batch_size=2, show_progress=True)
    out, err = capsys.readouterr()
    assert out == "" and "GaussianSmoothing of 6 samples" in err and "3/3" in err


def test_it_prints_what_it_is(relu_net):
    smooth = UniformSmoothing(Saliency(relu_net), transform=Abs() >> ClipNorm(2.0))
    assert repr(smooth) == (
        "UniformSmoothing(Saliency, uniform ball noise, Abs() >> ClipNorm(bound=2.0))"
    )
    assert repr(GaussianSmoothing(Saliency(relu_net))).endswith("Gaussian noise, identity)")


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_it_can_be_copied_and_sent_to_another_process(relu_net, copier):
    smooth = SparsifiedSmoothGrad(Saliency(relu_net), keep=2)
    inputs = torch.randn(3, 4)
    with differentiable(smooth.attribution_method):
        pass
    twin = copier(smooth)
    assert twin is not smooth and isinstance(twin.transform, Chain)
    ours, theirs = (one.attribute(inputs, target=0, seed=1, nt_samples=9) for one in (smooth, twin))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("method", "came"),
    [
        (nn.Linear(4, 3), "got Linear"),
        (Saliency, "got the class Saliency itself"),
        (None, "got No"),
    ],
)
@pytest.mark.parametrize("kind", [GaussianSmoothing, UniformSmoothing])
def test_a_net_in_the_place_of_a_method_is_named(method, came, kind):
    with pytest.raises(TypeError, match=rf"must be an Attribution object such as .*{came}"):
        kind(method)


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda y: {"logits": y}, r'got dict; wrap it: lambda x: model\(x\)\["logits"\]'),
        (lambda y: (y, y), r"got tuple; wrap it: lambda x: model\(x\)\[0\]"),
    ],
)
def test_outputs_that_are_no_tensor_are_named(relu_net, wrap, message):
    smooth = GaussianSmoothing(Saliency(lambda x: wrap(relu_net(x))), transform=UnitNorm())
    for explain in (smooth.attribute, functools.partial(smooth.certify, nt_samples=4)):
        with pytest.raises(TypeError, match=message):
            explain(torch.randn(3, 4), target=0, stdevs=0.1)
