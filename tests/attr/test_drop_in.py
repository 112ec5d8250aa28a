"""What Captum checks of its own NoiseTunnel: shapes, order, expansion, targets, hooks, scripts."""

from __future__ import annotations

import captum.attr as captums
import pytest
import torch
from captum.attr import NoiseTunnel
from captum.testing.helpers.basic_models import (
    BasicModel,
    BasicModel4_MultiArgs,
    BasicModel5_MultiArgs,
    BasicModel6_MultiTensor,
    BasicModel_MultiLayer,
    BasicModel_MultiLayer_MultiInput,
)
from captum.testing.helpers.classification_models import SigmoidModel, SoftmaxModel

from captum_robust.attr import GaussianSmoothing, UniformSmoothing, UniGrad

pytestmark = pytest.mark.parametrize("tunnel", [GaussianSmoothing, UniformSmoothing, UniGrad])
MOMENTS = ["smoothgrad", "smoothgrad_sq", "vargrad"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("method", [captums.Saliency, captums.InputXGradient])
def test_maps_have_the_inputs_shapes(tunnel, method, moment):
    single = torch.tensor([1.0, 2.0, 3.0, 0.0, -1.0, 7.0], requires_grad=True)
    smooth = tunnel(method(BasicModel()))
    assert smooth.attribute(single, moment, 10, stdevs=0.0002).shape == (6,)
    pair = (torch.randn(4, 3, requires_grad=True), torch.randn(4, 3, requires_grad=True))
    maps = tunnel(method(BasicModel5_MultiArgs())).attribute(
        pair, moment, 10, 3, 0.0002, additional_forward_args=([0, 0], 0)
    )
    assert isinstance(maps, tuple) and [part.shape for part in maps] == [(4, 3), (4, 3)]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    ("model", "extra"),
    [
        (BasicModel4_MultiArgs(), (torch.arange(1.0, 7.0).view(2, 3), 1)),
        (BasicModel4_MultiArgs(), torch.arange(1.0, 7.0).view(2, 3)),
        (BasicModel5_MultiArgs(), ([2, 3], 1)),
        (BasicModel6_MultiTensor(), None),
    ],
)
def test_integrated_gradients_with_deltas(tunnel, model, extra, moment):
    inputs = (
        torch.tensor([[1.5, 2.0, 34.3], [3.4, 1.2, 2.0]], requires_grad=True),
        torch.tensor([[3.0, 3.5, 23.2], [2.3, 1.2, 0.3]], requires_grad=True),
    )
    settings = {
        "nt_type": moment,
        "nt_samples": 5,
        "stdevs": 2e-8,
        "baselines": (torch.zeros(2, 3), torch.zeros(2, 3)),
        "additional_forward_args": extra,
        "n_steps": 100,
    }
    smooth = tunnel(captums.IntegratedGradients(model.forward))
    assert smooth.has_convergence_delta()
    maps, delta = smooth.attribute(inputs, return_convergence_delta=True, **settings)
    assert delta.shape == (10,) and delta.abs().max() < 0.07
    for part, given, again in zip(maps, inputs, smooth.attribute(inputs, **settings), strict=True):
        assert part.shape == given.shape
        torch.testing.assert_close(part, again, rtol=1e-4, atol=1e-4)
    theirs = NoiseTunnel(captums.IntegratedGradients(model.forward)).attribute(inputs, **settings)
    for part, other in zip(maps, theirs, strict=True):
        torch.testing.assert_close(part, other, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("method", ["riemann_left", "riemann_trapezoid", "gausslegendre"])
def test_integrated_gradients_of_classifiers(tunnel, method, moment):
    inputs = torch.arange(0.0, 60.0, requires_grad=True).reshape(3, 20)
    for model, target in ((SigmoidModel(20, 5, 1), 0), (SoftmaxModel(20, 9, 10), [5, 5, 2])):
        maps, delta = tunnel(captums.IntegratedGradients(model.forward)).attribute(
            inputs,
            baselines=torch.zeros(1, 20),
            nt_type=moment,
            nt_samples=10,
            stdevs=0.0002,
            n_steps=100,
            target=target,
            method=method,
            return_convergence_delta=True,
        )
        assert maps.shape == inputs.shape and delta.shape == (30,)
        assert delta.abs().max() < 0.05


METHODS = [
    captums.IntegratedGradients,
    captums.InputXGradient,
    captums.FeatureAblation,
    captums.DeepLift,
    captums.Saliency,
    captums.GuidedBackprop,
    captums.Deconvolution,
    captums.LRP,
]


@pytest.mark.parametrize(
    ("target", "extra"),
    [
        ([0, 1, 1, 0], None),
        (torch.tensor([0, 1, 1, 0]), None),
        (torch.tensor([0]), None),
        ([(1, 0, 0), (0, 1, 1), (1, 1, 1), (0, 0, 0)], (None, True)),
    ],
    ids=["list", "tensor", "one", "tuples"],
)
@pytest.mark.parametrize("method", METHODS)
def test_every_example_keeps_its_target(tunnel, method, target, extra):
    smooth = tunnel(method(BasicModel_MultiLayer()))
    inputs = torch.randn(4, 3)
    settings = {"nt_samples": 5, "nt_samples_batch_size": 2, "stdevs": 0.0}
    whole = smooth.attribute(inputs, target=target, additional_forward_args=extra, **settings)
    for i in range(4):
        own = target[i] if len(target) == 4 else target
        one = smooth.attribute(
            inputs[i : i + 1], target=own, additional_forward_args=extra, **settings
        )
        torch.testing.assert_close(one, whole[i : i + 1], rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_two_inputs_and_further_tensors_keep_their_order(tunnel, method):
    smooth = tunnel(method(BasicModel_MultiLayer_MultiInput()))
    inputs, extra = (10 * torch.randn(6, 3), 5 * torch.randn(6, 3)), 2 * torch.randn(6, 3)
    target = [0, 1, 1, 0, 0, 1]
    whole = smooth.attribute(
        inputs, target=target, additional_forward_args=(extra, 5), stdevs=0.0, nt_samples=4
    )
    for i in range(6):
        one = smooth.attribute(
            tuple(part[i : i + 1] for part in inputs),
            target=target[i],
            additional_forward_args=(extra[i : i + 1], 5),
            stdevs=0.0,
            nt_samples=4,
        )
        for part, other in zip(one, whole, strict=True):
            torch.testing.assert_close(part, other[i : i + 1], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_hooks_go_also_when_the_target_is_wrong(tunnel, method):
    model = BasicModel_MultiLayer()
    smooth, inputs = tunnel(method(model)), torch.randn(4, 3)
    smooth.attribute(inputs, target=0)
    with pytest.raises(AssertionError, match=r"target|Target"):
        smooth.attribute(inputs, target=(9999,) * 20)
    for module in model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
        assert not module._backward_hooks and not module._backward_pre_hooks


@pytest.mark.parametrize(
    "method", [captums.Saliency, captums.IntegratedGradients, captums.FeatureAblation]
)
@pytest.mark.filterwarnings(
    "ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning"
)
def test_scripted_models(tunnel, method):
    model, inputs = BasicModel_MultiLayer().eval(), torch.randn(4, 3)
    traced = torch.jit.trace(model, inputs)
    ours, theirs = (
        tunnel(method(net)).attribute(inputs, target=1, seed=2, stdevs=0.5)
        for net in (model, traced)
    )
    torch.testing.assert_close(ours, theirs)


def test_a_missing_target_is_an_error(tunnel):
    message = r"`target` must select one output per example, got outputs of shape \(\d+, 2\)\."
    with pytest.raises(ValueError, match=message):  # in the place of Captum's AssertionError
        tunnel(captums.IntegratedGradients(BasicModel_MultiLayer())).attribute(torch.zeros(1, 3))


def test_positional_arguments_are_captums(tunnel):
    smooth, inputs = tunnel(captums.Saliency(BasicModel_MultiLayer())), torch.randn(2, 3)
    maps = smooth.attribute(inputs, "vargrad", 6, 4, 0.0, False, target=0)
    assert maps.shape == (2, 3) and not maps.any()
