"""Maps with a graph, against finite differences in float64."""

from __future__ import annotations

from contextlib import nullcontext

import captum.attr as captums
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, NoiseTunnel, Saliency
from torch import nn

from captum_robust.attr import (
    Abs,
    ClipNorm,
    GaussianSmoothing,
    QuadraticSmoothGrad,
    Rank,
    RelaxedSparsifiedSmoothGrad,
    ScaledSmoothGrad,
    SparsifiedSmoothGrad,
    UniformSmoothing,
    UniGrad,
    UnitNorm,
    differentiable,
)

BASES = {
    "Saliency": (Saliency, {}),
    "Saliency signed": (Saliency, {"abs": False}),
    "InputXGradient": (InputXGradient, {}),
    "IntegratedGradients": (IntegratedGradients, {"n_steps": 7}),
    "IntegratedGradients baselines": (
        IntegratedGradients,
        {"n_steps": 7, "baselines": torch.full((1, 4), 0.3, dtype=torch.float64)},
    ),
    "IntegratedGradients trapezoid": (
        IntegratedGradients,
        {"n_steps": 7, "method": "riemann_trapezoid"},
    ),
    "IntegratedGradients local": (
        lambda net: IntegratedGradients(net, multiply_by_inputs=False),
        {"n_steps": 7},
    ),
}
SMOOTHED = {
    "Gaussian": GaussianSmoothing,
    "ball": UniformSmoothing,
    "box": UniGrad,
    "unit norm": lambda base: GaussianSmoothing(base, transform=UnitNorm()),
    "clip norm": lambda base: UniformSmoothing(base, transform=Abs() >> ClipNorm(0.2)),
    "relaxed": lambda base: RelaxedSparsifiedSmoothGrad(base, keep=0.75, clip=0.25),
    "scaled": ScaledSmoothGrad,
    "quadratic": QuadraticSmoothGrad,
}


def check_jacobian(function, inputs, step=1e-5):
    """The derivative by autograd equals central differences to 1e-5 of its largest element."""
    inputs = inputs.detach().requires_grad_()
    weights = torch.randn(function(inputs).shape, dtype=inputs.dtype)
    (ours,) = torch.autograd.grad((function(inputs) * weights).sum(), inputs)
    expected = torch.zeros_like(ours)
    for place in torch.cartesian_prod(*map(torch.arange, inputs.shape)).tolist():
        shift = torch.zeros_like(inputs)
        shift[tuple(place)] = step
        gap = function((inputs + shift).detach()) - function((inputs - shift).detach())
        expected[tuple(place)] = (gap * weights).sum().detach() / (2 * step)
    assert ours.abs().max() > 1e-7
    torch.testing.assert_close(ours, expected, rtol=0.0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("outside", [nullcontext, torch.no_grad])
@pytest.mark.parametrize("name", BASES)
def test_plain_maps(smooth_net, name, outside):
    make, arguments = BASES[name]
    base = make(smooth_net)

    def function(inputs):
        with outside(), differentiable(base) as same:
            assert same is base
            return base.attribute(inputs, target=torch.tensor([0, 2, 1]), **arguments)

    def weighed(inputs):
        with torch.enable_grad():
            return function(inputs)

    check_jacobian(weighed, torch.randn(3, 4, dtype=torch.float64))


class Attention(nn.Module):
    """Fused, and so without second derivatives of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 3)

    def forward(self, x):
        x = x.unflatten(1, (1, 4, 2))
        return self.last(nn.functional.scaled_dot_product_attention(x, x, x).flatten(1))


@pytest.mark.parametrize("name", ["Saliency", "InputXGradient", "IntegratedGradients"])
def test_maps_through_fused_attention(name):
    torch.manual_seed(0)
    make, arguments = BASES[name]
    base = make(Attention().double())

    def function(inputs):
        with differentiable(base):
            return base.attribute(inputs, target=1, **arguments)

    check_jacobian(function, torch.randn(2, 8, dtype=torch.float64))


@pytest.mark.parametrize("name", SMOOTHED)
@pytest.mark.parametrize("moment", ["smoothgrad", "smoothgrad_sq", "vargrad"])
def test_smoothed_maps(smooth_net, name, moment):
    smooth = SMOOTHED[name](Saliency(smooth_net))
    settings = {"target": 1, "nt_type": moment, "nt_samples": 5, "seed": 3, "stdevs": 0.3}

    def function(inputs):
        return smooth.attribute(inputs, nt_samples_batch_size=2, create_graph=True, **settings)

    inputs = torch.randn(2, 4, dtype=torch.float64)
    check_jacobian(function, inputs)
    with differentiable(smooth):
        ours = smooth.attribute(inputs.requires_grad_(), **settings)
    assert ours.requires_grad
    plain = smooth.attribute(inputs, **settings)
    assert not plain.requires_grad
    # Without a graph noisy inputs are rounded to a grid of 2^-16 standard deviations; moments of
    # these maps change by less than ten times what their inputs do.
    step = 10 * 0.3 * 2.0**-16
    torch.testing.assert_close(ours.detach(), plain, rtol=0, atol=step * plain.abs().max().item())


@pytest.mark.parametrize("name", BASES)
def test_smoothed_maps_over_every_base(smooth_net, name):
    make, arguments = BASES[name]
    smooth = GaussianSmoothing(make(smooth_net))

    def function(inputs):
        with torch.no_grad():  # asked for, the graph is there all the same
            return smooth.attribute(
                inputs, target=1, nt_samples=3, seed=2, stdevs=0.2, create_graph=True, **arguments
            )

    check_jacobian(function, torch.randn(2, 4, dtype=torch.float64))


def test_clamped_inputs_have_no_derivative_outside(smooth_net):
    smooth = GaussianSmoothing(Saliency(smooth_net))

    def function(inputs):
        return smooth.attribute(
            inputs, target=0, seed=1, stdevs=0.3, clamp=(-0.5, 0.5), create_graph=True
        )

    check_jacobian(function, torch.randn(2, 4, dtype=torch.float64))
    far = torch.full((1, 4), 50.0, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(function(far).sum(), far)
    assert not gradient.any()


def test_smoothing_nests_with_a_graph(smooth_net):
    smooth = GaussianSmoothing(UniformSmoothing(Saliency(smooth_net)))

    def function(inputs):
        torch.manual_seed(5)
        return smooth.attribute(inputs, target=0, create_graph=True)

    check_jacobian(function, torch.randn(2, 4, dtype=torch.float64))


def test_tuples_and_weights_get_gradients(two_inputs):
    net = two_inputs.double()
    net.relu = torch.nn.Softplus()
    smooth = GaussianSmoothing(InputXGradient(net))
    inputs = (torch.randn(2, 4).double(), torch.randn(2, 2, 3).double().requires_grad_())
    maps = smooth.attribute(inputs, target=0, seed=1, stdevs=0.1, create_graph=True)
    loss = sum(part.square().sum() for part in maps)
    loss.backward()
    assert inputs[0].grad is None and inputs[1].grad.abs().sum() > 0
    assert not inputs[0].requires_grad and inputs[1].requires_grad
    weight, gradient = net.first.weight, net.first.weight.grad.clone()

    def value():
        again = smooth.attribute(inputs, target=0, seed=1, stdevs=0.1)
        return sum(part.square().sum() for part in again).item()

    with torch.no_grad():
        weight[1, 2] += 1e-5
        above = value()
        weight[1, 2] -= 2e-5
        below = value()
    assert gradient[1, 2].item() == pytest.approx((above - below) / 2e-5, rel=1e-5)


def test_captums_own_maps_have_a_wrong_graph(smooth_net):
    """Why the context is needed: the inner gradient is held constant there."""
    base, inputs = InputXGradient(smooth_net), torch.randn(2, 4).double().requires_grad_()
    (captums_own,) = torch.autograd.grad(base.attribute(inputs, target=0).sum(), inputs)
    with differentiable(base):
        (ours,) = torch.autograd.grad(base.attribute(inputs, target=0).sum(), inputs)
    assert (captums_own - ours).abs().max() > 1e-3


def test_the_context_is_undone(smooth_net):
    base = IntegratedGradients(smooth_net)
    original = base.gradient_func
    with pytest.raises(ZeroDivisionError), differentiable(base):
        with differentiable(base):
            assert base.gradient_func is not original
        assert base.gradient_func is not original
        raise ZeroDivisionError
    assert base.gradient_func is original
    assert not Saliency(smooth_net).attribute(torch.randn(1, 4).double(), target=0).requires_grad


def test_batches_of_steps_are_refused(smooth_net):
    """Captum detaches all of them but the first: the graph would be wrong without a word."""
    base, inputs = IntegratedGradients(smooth_net), torch.randn(2, 4).double()
    settings = {"target": 0, "n_steps": 6, "internal_batch_size": 4}
    with differentiable(base), differentiable(base):
        with pytest.raises(ValueError, match="`internal_batch_size` must be None for a map with"):
            base.attribute(inputs.requires_grad_(), **settings)
        assert base.attribute(inputs, target=0, n_steps=6).requires_grad
    torch.testing.assert_close(
        base.attribute(inputs, **settings), base.attribute(inputs, target=0, n_steps=6)
    )
    assert "_attribute" not in vars(base)


@pytest.mark.parametrize("kind", [captums.LayerGradientXActivation, captums.LayerGradCam])
def test_maps_of_a_layer(smooth_net, kind):
    base = kind(smooth_net, smooth_net[0])
    before = dict(vars(base))
    smooth = GaussianSmoothing(base)

    def plain(inputs):
        with differentiable(base), differentiable(base):
            return base.attribute(inputs, target=0)

    def smoothed(inputs):
        with differentiable(smooth):
            return smooth.attribute(inputs, target=0, seed=1, stdevs=0.2, create_graph=True)

    check_jacobian(plain, torch.randn(2, 4).double())
    check_jacobian(smoothed, torch.randn(2, 4).double())
    assert vars(base) == before


def test_deltas_come_without_a_graph_problem(smooth_net):
    inputs = torch.randn(2, 4).double().requires_grad_()
    maps, delta = GaussianSmoothing(IntegratedGradients(smooth_net)).attribute(
        inputs, target=0, return_convergence_delta=True, create_graph=True, stdevs=0.1
    )
    assert maps.requires_grad and delta.shape == (10,) and delta.abs().max() < 1e-4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (captums.DeepLift, r"DeepLift does not compute its map from `gradient_func` alone"),
        (captums.GuidedBackprop, r"GuidedBackprop rewrites the backward pass"),
        (captums.LRP, r"LRP rewrites the backward pass"),
        (
            captums.FeatureAblation,
            r"FeatureAblation does not compute .* use one of Saliency, InputXGradient, Integrated",
        ),
        (lambda net: captums.LayerIntegratedGradients(net, net[0]), r"LayerIntegratedGradients"),
        (
            lambda net: NoiseTunnel(Saliency(net)),
            r"NoiseTunnel runs without autograd.* use captum_robust.attr.GaussianSmoothing",
        ),
    ],
)
def test_methods_that_cannot_say_why(smooth_net, make, message):
    inputs = torch.randn(2, 4).double()
    with pytest.raises(TypeError, match=message), differentiable(make(smooth_net)):
        pass
    smooth = GaussianSmoothing(make(smooth_net))
    with pytest.raises(TypeError, match=message), differentiable(smooth):
        pass
    if not isinstance(smooth.attribution_method, NoiseTunnel):
        with pytest.raises(TypeError, match=message):
            smooth.attribute(inputs, target=0, create_graph=True)


@pytest.mark.parametrize(
    "make", [SparsifiedSmoothGrad, lambda base: GaussianSmoothing(base, transform=Rank())]
)
def test_step_functions_say_what_to_use(smooth_net, make):
    smooth = make(Saliency(smooth_net))
    message = r"step function without gradient; use Relax\(keep, clip\)"
    with pytest.raises(TypeError, match=message):
        smooth.attribute(torch.randn(2, 4).double(), target=0, create_graph=True)
    with pytest.raises(TypeError, match=message), differentiable(smooth):
        pass


def test_outputs_of_several_numbers_need_a_target(smooth_net):
    message = r"`target` must select one output per example, got outputs of shape \(2, 3\)\."
    base = Saliency(smooth_net)
    with differentiable(base), pytest.raises(ValueError, match=message):
        base.attribute(torch.randn(2, 4).double().requires_grad_())
