"""Sampling on an optimised copy: the same function, the net untouched."""

from __future__ import annotations

import copy

import pytest
import torch
from captum.attr import DeepLift, IntegratedGradients, Saliency
from torch import nn
from torch.nn import functional

from captum_robust.attr import GaussianSmoothing, SparsifiedSmoothGrad
from captum_robust.attr.sampling.fast_copy import optimised


class Block(nn.Module):
    """Convolutions with batch normalisation, a shortcut and a functional activation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.conv2, self.bn2 = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 3)

    def forward(self, images):
        first = functional.softplus(self.bn1(self.conv1(images)))
        second = self.bn2(self.conv2(first)) + first
        return self.head(functional.softplus(second).mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = Block()
    for _ in range(3):  # statistics and weights that folding has to use
        net(3 * torch.randn(16, 2, 5, 5) + 1)
    for norm in (net.bn1, net.bn2):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.uniform_(norm.bias, -1, 1)
    return net.eval().double()


IMAGES = torch.rand(2, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
WORDS = {"target": torch.tensor([0, 2]), "stdevs": 0.2, "nt_samples": 6, "seed": 3}


@pytest.mark.parametrize("method", [Saliency, IntegratedGradients])
def test_gives_the_same_map(net, method):
    smooth = GaussianSmoothing(method(net))
    plain = smooth.attribute(IMAGES, **WORDS)
    torch.testing.assert_close(
        smooth.attribute(IMAGES, optimize_model=True, **WORDS), plain, rtol=1e-5, atol=1e-9
    )


def test_gives_the_same_certificate(net):
    smooth = SparsifiedSmoothGrad(Saliency(net), keep=0.2)
    words = WORDS | {"nt_samples": 200}
    plain, fast = (smooth.certify(IMAGES, optimize_model=on, **words) for on in (False, True))
    torch.testing.assert_close(fast.overlap(0.01, 0.2), plain.overlap(0.01, 0.2))


def test_no_batch_normalisation_is_left_and_nothing_is_kept_for_parameters(net):
    copied = optimised(net)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copied.modules())
    assert not any(parameter.requires_grad for parameter in copied.parameters())
    assert copied.conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_the_net_and_the_method_are_untouched(net):
    before = copy.deepcopy(net.state_dict())
    base = Saliency(net)
    GaussianSmoothing(base).attribute(IMAGES, optimize_model=True, **WORDS)
    assert base.forward_func is net
    assert all(parameter.requires_grad for parameter in net.parameters())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) and value.stride() == before[name].stride()


class Branch(nn.Module):
    def forward(self, images):
        return images.flatten(1) if images.sum() > 0 else -images.flatten(1)


def hooked(net):
    net.conv1.register_forward_hook(lambda module, came, produced: produced * 2)
    return net


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda net: net.forward, TypeError, "whose forward function is a torch.nn.Module"),
        (lambda net: net.train(), RuntimeError, "Block is in training mode; call model.eval"),
        (lambda net: Branch().eval(), ValueError, "torch.fx can trace, and Branch is not"),
        (hooked, ValueError, "not its hooks, and conv1 has some"),
    ],
)
def test_a_net_that_cannot_be_copied_is_refused(net, change, error, message):
    smooth = GaussianSmoothing(Saliency(change(net)))
    with pytest.raises(error, match=message):
        smooth.attribute(IMAGES, optimize_model=True, **WORDS)


@pytest.mark.parametrize("other", [{"create_graph": True}, {"layer": True}])
def test_a_graph_or_a_layer_is_of_the_net_itself(net, other):
    other = {"layer": net.conv1} if "layer" in other else other
    with pytest.raises(ValueError, match="`optimize_model` samples on a copy of the net, but"):
        GaussianSmoothing(Saliency(net)).attribute(IMAGES, optimize_model=True, **other, **WORDS)


def test_methods_with_hooks_are_refused(net):
    with pytest.raises(TypeError, match=r"`optimize_model` needs a method .* DeepLift hooks nets"):
        GaussianSmoothing(DeepLift(net)).attribute(IMAGES, optimize_model=True, **WORDS)
