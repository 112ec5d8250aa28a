"""Attributions through zennit: equal to zennit's and Captum's, with a graph that is right."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Deconvolution, GuidedBackprop, Saliency
from torch import nn
from torch.nn import functional as F

from captum_robust.attr.lrp import (
    DifferentiableDeconvolution,
    DifferentiableGuidedBackprop,
    LRPEpsilonPlus,
    LRPZPlus,
)
from captum_robust.attr.method.differentiable import differentiable
from captum_robust.robust import TopKAttack, softplus_surrogate

zennit = pytest.importorskip("zennit")

METHODS = {
    "z+": LRPZPlus,
    "z+ and z^B": lambda net: LRPZPlus(net, bounds=(-1.0, 2.0)),
    "epsilon-plus": LRPEpsilonPlus,
    "epsilon-plus and z^B": lambda net: LRPEpsilonPlus(net, 0.1, bounds=(-1.0, 2.0)),
    "guided backpropagation": DifferentiableGuidedBackprop,
    "deconvolution": DifferentiableDeconvolution,
}


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    ).double()


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(3, 2, 6, 6, dtype=torch.float64)


def test_epsilon_plus_is_zennits(net, images):
    from zennit.attribution import Gradient
    from zennit.composites import EpsilonPlus

    with Gradient(model=net, composite=EpsilonPlus(epsilon=0.1)) as attributor:
        output = net(images)
        start = torch.zeros_like(output)
        start[:, 1] = output[:, 1].detach()
        _, expected = attributor(images.clone().requires_grad_(), start)
    found = LRPEpsilonPlus(net, epsilon=0.1).attribute(images, target=1)
    torch.testing.assert_close(found, expected.detach())


def test_guided_backprop_and_deconvolution_are_captums(net, images):
    for ours, theirs in (
        (DifferentiableGuidedBackprop, GuidedBackprop),
        (DifferentiableDeconvolution, Deconvolution),
    ):
        expected = theirs(net).attribute(images.clone().requires_grad_(), target=2)
        torch.testing.assert_close(ours(net).attribute(images, target=2), expected)


def test_z_plus_written_out():
    """Two linear layers without biases, the rule by hand; relevance is conserved."""
    first, second = torch.rand(4, 5) - 0.3, torch.rand(5, 2) - 0.3
    net = nn.Sequential(nn.Linear(4, 5, bias=False), nn.ReLU(), nn.Linear(5, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(first.T)
        net[2].weight.copy_(second.T)
    x = torch.rand(3, 4)
    hidden = (x @ first).relu()
    relevance = torch.zeros(3, 2)
    relevance[:, 0] = (hidden @ second)[:, 0]
    for values, weights in ((hidden, second), (x, first)):
        positive = weights.clamp(min=0)
        total = values @ positive
        relevance = values * ((relevance / (total + 1e-6)) @ positive.T)
    torch.testing.assert_close(
        LRPZPlus(net).attribute(x, target=0), relevance, atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("start", ["one", "logit"])
def test_relevance_starts_at_one_or_at_the_logit(net, images, start):
    """z+ with z^B first, from R = 1 as in Joo et al. (2023): the map divided by its logit."""
    by_logit = LRPZPlus(net, bounds=(-1.0, 2.0)).attribute(images, target=1)
    found = LRPZPlus(net, bounds=(-1.0, 2.0), start=start).attribute(images, target=1)
    logit = net(images)[:, 1].detach().view(-1, *[1] * (images.dim() - 1))
    torch.testing.assert_close(found * (logit if start == "one" else 1.0), by_logit)


def test_z_b_written_out():
    """The rule of the first layer by hand: x w - l w+ - h w-, over its sum; R starts at 1."""
    torch.manual_seed(1)
    low, high = -0.5, 1.5
    layer = nn.Linear(4, 3, bias=False).double()
    x = torch.rand(2, 4, dtype=torch.float64)
    w = layer.weight.detach()  # (3, 4)
    parts = x.unsqueeze(1) * w - low * w.clamp(min=0) - high * w.clamp(max=0)
    expected = (parts / parts.sum(2, keepdim=True))[:, 2]
    net = nn.Sequential(layer)
    found = LRPZPlus(net, bounds=(low, high), start="one").attribute(x, target=2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "activation",
    [nn.Softplus(), nn.Softplus(beta=20), nn.GELU(), nn.SiLU(), nn.ELU(), nn.LeakyReLU(0.1)],
    ids=str,
)
def test_guided_backprop_clips_at_every_stand_in_for_a_relu(activation):
    """Against the rule written out; on softplus nets it is not the plain gradient."""
    torch.manual_seed(0)
    first, second, last = (nn.Linear(5, 7), nn.Linear(7, 6), nn.Linear(6, 3))
    net = nn.Sequential(first, activation, second, activation, last).double()
    x = torch.randn(4, 5, dtype=torch.float64)

    def slope(z):
        z = z.detach().requires_grad_()
        return torch.autograd.grad(activation(z).sum(), z)[0]

    z1 = first(x)
    z2 = second(activation(z1))
    back = last.weight[1].expand(4, -1)
    back = (back.clamp(min=0) * slope(z2)) @ second.weight
    expected = (back.clamp(min=0) * slope(z1)) @ first.weight
    found = DifferentiableGuidedBackprop(net).attribute(x, target=1)
    torch.testing.assert_close(found, expected.detach())
    plain = Saliency(net).attribute(x.clone().requires_grad_(), target=1, abs=False)
    assert not torch.allclose(found, plain, rtol=0.01)


@pytest.mark.parametrize("call", [F.relu, torch.relu, lambda z: z.relu(), F.softplus, F.gelu])
def test_guided_backprop_refuses_activations_it_cannot_see(call):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, x):
            return self.last(call(self.first(x)))

    for method in (DifferentiableGuidedBackprop, DifferentiableDeconvolution):
        with pytest.raises(TypeError, match=r"calls `(relu|softplus|gelu)` as a function"):
            method(Net()).attribute(torch.rand(2, 4), target=0)


@pytest.mark.parametrize("name", METHODS)
def test_graph_against_central_differences(name, net, images):
    """1e-5 relative in float64, on the softplus twin for the rules that need its curvature."""
    method = METHODS[name](net)
    method.forward_func = softplus_surrogate(net, 2.0)
    weights = torch.rand_like(images)

    def value(points):
        return (method.attribute(points, target=1) * weights).sum()

    point = images.clone().requires_grad_()
    with differentiable(method):
        (slope,) = torch.autograd.grad(value(point), point)
    step = 1e-5
    for direction in torch.randn(4, *images.shape, dtype=torch.float64):
        ends = [float(value(images + s * step * direction)) for s in (1, -1)]
        numeric = (ends[0] - ends[1]) / (2 * step)
        assert abs(float((slope * direction).sum()) - numeric) <= 1e-5 * max(
            abs(numeric), float(slope.norm())
        )


@pytest.mark.parametrize("name", METHODS)
def test_attack(name, net, images):
    targets = net(images).argmax(1)
    method = METHODS[name](net)
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]
    attack = TopKAttack(net, method, 0, 1, k=10, reduction="abs")
    found = attack.search(images, 0.2, step_num=8, target=targets)
    # Deconvolution rewrites the slope of every ReLU: its maps move with the pooling alone.
    assert (found.score > 0).any() or name == "deconvolution"
    assert torch.equal(net(found.perturbed).argmax(1), targets)
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]
    assert method.forward_func is net


def test_tuples_and_additional_arguments():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.act = nn.Linear(3, 4), nn.Linear(2, 4), nn.ReLU()

        def forward(self, x, y, scale):
            return self.act(self.first(x) + self.second(y)) * scale

    maps = DifferentiableGuidedBackprop(Net()).attribute(
        (torch.rand(2, 3), torch.rand(2, 2)), target=1, additional_forward_args=2.0
    )
    assert [tuple(part.shape) for part in maps] == [(2, 3), (2, 2)]


def test_errors(net, monkeypatch):
    with pytest.raises(TypeError, match=r"`model` must be a torch.nn.Module, got function"):
        LRPZPlus(lambda x: F.relu(x))
    with pytest.raises(ValueError, match="`epsilon` must be in"):
        LRPEpsilonPlus(net, epsilon=0)
    with pytest.raises(ValueError, match="`start` must be one of 'logit', 'one', got 'two'"):
        LRPZPlus(net, start="two")
    monkeypatch.setitem(__import__("sys").modules, "zennit", None)
    with pytest.raises(
        ImportError, match=r"needs zennit; install it with `pip install captum_robust"
    ):
        LRPZPlus(net)
