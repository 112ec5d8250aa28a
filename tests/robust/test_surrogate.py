"""The twin: softplus wherever torch is asked for a kink, and the net as it was afterwards."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Saliency
from torch import Tensor, nn
from torch.nn import functional as F

from captum_robust.robust import TopKAttack, softplus_surrogate
from captum_robust.robust.surrogate import has_curvature

Z = torch.linspace(-9, 9, 41, dtype=torch.float64)
RELU6 = F.softplus(Z, 2.0) - F.softplus(Z - 6, 2.0)


class InPlace(nn.Module):
    """Relies on the side effect of the in-place call alone."""

    def forward(self, x: Tensor) -> Tensor:
        x = x * 1
        F.relu(x, inplace=True)
        return x


@pytest.mark.parametrize(
    "kink",
    [
        nn.ReLU(),
        nn.ReLU(inplace=True),
        F.relu,
        torch.relu,
        Tensor.relu,
        InPlace(),
        lambda x: x.clone().relu_(),
        lambda x: F.relu(x.clone(), True),
        lambda x: F.relu(input=x),
        lambda x: torch.relu_(x.clone()),
    ],
)
def test_every_relu_becomes_softplus(kink):
    leaf = Z.clone().requires_grad_()
    smooth = softplus_surrogate(kink, beta=2.0)(leaf * 1)
    torch.testing.assert_close(smooth, F.softplus(Z, 2.0))
    (slope,) = torch.autograd.grad(smooth.sum(), leaf, create_graph=True)
    torch.testing.assert_close(slope, torch.sigmoid(2 * Z), atol=1e-8, rtol=1e-8)
    (bend,) = torch.autograd.grad(slope.sum(), leaf)
    torch.testing.assert_close(
        bend, 2 * torch.sigmoid(2 * Z) * torch.sigmoid(-2 * Z), atol=1e-7, rtol=1e-7
    )


@pytest.mark.parametrize("kink", [nn.ReLU6(), nn.ReLU6(True), F.relu6, nn.Hardtanh(0, 6)])
def test_relu6(kink):
    torch.testing.assert_close(softplus_surrogate(kink, beta=2.0)(Z.clone()), RELU6)


@pytest.mark.parametrize("kink", [nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)])
def test_leaky_relu(kink):
    expected = 0.2 * Z + 0.8 * F.softplus(Z, 2.0)
    torch.testing.assert_close(softplus_surrogate(kink, beta=2.0)(Z), expected)


def test_the_twin_tends_to_the_net(net, batch):
    images, _ = batch
    gaps = [
        (softplus_surrogate(net, beta)(images) - net(images)).abs().max().item()
        for beta in (10.0, 100.0, 1000.0)
    ]
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 0.05


def test_weights_are_shared_and_the_net_is_as_before(net, batch):
    images, _ = batch
    before = net(images)
    twin = softplus_surrogate(net, 5.0)
    twin(images)
    assert torch.equal(net(images), before)
    assert all(a is b for a, b in zip(twin.parameters(), net.parameters(), strict=True))
    with torch.no_grad():
        net[0].weight.mul_(2)
    torch.testing.assert_close(twin(images), softplus_surrogate(net, 5.0)(images))
    assert not torch.allclose(net(images), before)


def test_max_pooling_stays():
    image = torch.rand(1, 1, 4, 4)
    pool = nn.MaxPool2d(2)
    twin = softplus_surrogate(lambda x: F.softplus(pool(x)))
    torch.testing.assert_close(twin(image), F.softplus(pool(image)))


def test_beta_grows_geometrically():
    twin = softplus_surrogate(nn.ReLU(), (10.0, 1000.0))
    betas = []
    for progress in (0.0, 0.5, 1.0):
        twin.advance(progress)
        betas.append(twin.beta)
    assert twin.grows
    torch.testing.assert_close(torch.tensor(betas), torch.tensor([10.0, 100.0, 1000.0]))


def test_a_net_whose_kinks_are_hidden_is_refused():
    hidden = nn.Sequential(nn.Linear(3, 4), nn.MaxPool1d(2))
    with pytest.raises(RuntimeError, match=r"must call ReLU.*pass the eager net"):
        softplus_surrogate(hidden)(torch.rand(2, 3))
    softplus_surrogate(hidden, strict=False)(torch.rand(2, 3))


def test_a_kink_without_a_twin_is_named():
    for layer in (nn.PReLU(), nn.Threshold(0, 0), nn.RReLU()):
        net = nn.Sequential(nn.Linear(3, 4), layer).eval()
        with pytest.raises(RuntimeError, match=f"calls {type(layer).__name__}.*put LeakyReLU"):
            softplus_surrogate(net)(torch.rand(2, 3))


@pytest.mark.parametrize("inplace", [False, True])
def test_hard_sigmoid_and_hard_swish(inplace):
    sigmoid = (F.softplus(Z + 3, 2.0) - F.softplus(Z - 3, 2.0)) / 6
    for kink, expected in (
        (nn.Hardsigmoid(inplace), sigmoid),
        (lambda x: F.hardsigmoid(x, inplace), sigmoid),
        (nn.Hardswish(inplace), Z * sigmoid),
        (lambda x: F.hardswish(x, inplace), Z * sigmoid),
    ):
        torch.testing.assert_close(softplus_surrogate(kink, beta=2.0)(Z.clone()), expected)


def test_attacks_reach_nets_with_hard_swish():
    net = nn.Sequential(nn.Linear(4, 8), nn.Hardswish(), nn.Hardsigmoid(), nn.Linear(8, 3)).eval()
    inputs = torch.rand(3, 4)
    attack = TopKAttack(net, Saliency(net), k=1)
    attack.perturb(inputs, 0.1, step_num=2, target=net(inputs).argmax(1))


class Keyword(nn.Module):
    def forward(self, x: Tensor, *, scale: float) -> Tensor:
        return torch.tanh(x) * scale


def test_the_check_takes_what_the_net_takes():
    points = torch.rand(2, 5, 3)
    softplus_surrogate(Keyword())(points, scale=2.0)
    softplus_surrogate(nn.Tanh())(input=points)
    softplus_surrogate(nn.LSTM(3, 4))(points)
    softplus_surrogate(lambda x: {"a": torch.tanh(x)})(points)
    softplus_surrogate(nn.Embedding(5, 3))(torch.ones(2, 2, dtype=torch.long))
    with torch.inference_mode():
        softplus_surrogate(nn.Tanh())(points.clone())
    with pytest.raises(TypeError, match="`model` must be a net or a function, got int"):
        softplus_surrogate(3)


def test_the_check_leaves_no_trace():
    """In training mode the net updates its statistics once, for the one call there was."""
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh())
    twin = softplus_surrogate(lambda x: net(x))
    twin(torch.rand(5, 3))
    assert net[1].num_batches_tracked == 1
    assert all(module.training for module in net.modules())


def test_a_smooth_net_is_its_own_twin():
    smooth = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    points = torch.rand(2, 3)
    torch.testing.assert_close(softplus_surrogate(smooth)(points), smooth(points))


def test_curvature(net, batch):
    assert not has_curvature(net, (batch[0],))
    assert has_curvature(softplus_surrogate(net, 1.0), (batch[0],))
    assert has_curvature(lambda x: x[:, 0] * x[:, 1], (torch.rand(2, 2),))
    assert not has_curvature(lambda x: torch.ones(2), (torch.rand(2, 2),))


@pytest.mark.parametrize("beta", [0, -1.0, float("nan"), (1.0, 0.0)])
def test_beta_must_be_positive(beta):
    with pytest.raises(ValueError, match="`beta` must be in"):
        softplus_surrogate(nn.ReLU(), beta)
