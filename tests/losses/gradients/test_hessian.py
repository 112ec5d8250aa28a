"""HessianNorm beyond its value: the estimate, nets that normalise, nets without curvature."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian, jacobian

from captum_robust.losses import HessianNorm, LocalGradientAlignment, SmoothSurface
from captum_robust.robust import softplus_surrogate


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 2, 3, 4, dtype=torch.float64), torch.tensor([0, 3, 1])


def literal_hessian(net, x, label, v):
    matrix = hessian(lambda z: net(z.unsqueeze(0))[0, label], x).reshape(x.numel(), -1)
    return (matrix @ v.flatten()).square().sum()


def test_hutchinson_is_unbiased_for_the_hessian(batch):
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 5), nn.Softplus(), nn.Linear(5, 4)).double()
    inputs, target = batch[0][:1], batch[1][:1]
    matrix = hessian(lambda z: net(z)[0, target[0]], inputs).reshape(24, 24)
    draws = 2000
    criterion, values = HessianNorm(1.0), []
    with torch.no_grad():
        values = [
            criterion.terms["hessian"] for _ in range(draws) if criterion(net, inputs, target)
        ]
    std = (2 * (matrix @ matrix).square().sum()) ** 0.5
    found, expected = torch.stack(values).mean(), matrix.square().sum()
    assert abs(found - expected) < 4 * std / draws**0.5


# -- normalisation layers -------------------------------------------------------------------------


def normalised_net(kind: str) -> nn.Sequential:
    torch.manual_seed(2)
    middle = {
        "batch": lambda: nn.BatchNorm2d(3),
        "batch-plain": lambda: nn.BatchNorm2d(3, affine=False, track_running_stats=False),
        "layer": lambda: nn.LayerNorm([3, 2, 3]),
        "layer-plain": lambda: nn.LayerNorm([2, 3], elementwise_affine=False),
        "instance": lambda: nn.InstanceNorm2d(3, affine=True),
        "instance-running": lambda: nn.InstanceNorm2d(3, track_running_stats=True),
        "group": lambda: nn.GroupNorm(1, 3),
    }[kind]()
    return nn.Sequential(
        nn.Conv2d(2, 3, 2), middle, nn.Softplus(), nn.Flatten(), nn.Linear(18, 4)
    ).double()


NORMALISED = [
    "batch",
    "batch-plain",
    "layer",
    "layer-plain",
    "instance",
    "instance-running",
    "group",
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", NORMALISED)
def test_the_hessian_of_normalising_nets_has_true_gradients(kind, training, batch, slopes):
    """Torch itself refuses these or, for layer normalisation, is silently wrong."""
    net = normalised_net(kind).train(training)

    def loss() -> Tensor:
        return HessianNorm(0.2, generator=seeded())(net, *batch)

    found, measured = slopes(net, loss)
    assert found == pytest.approx(measured, rel=2e-5)


def with_statistics_of(net: nn.Sequential, inputs: Tensor) -> nn.Sequential:
    """A copy in evaluation mode whose running statistics are those of a batch."""
    hidden = net[0](inputs).detach()
    evaluated = copy.deepcopy(net).eval()
    evaluated[1].running_mean = hidden.mean((0, 2, 3))
    evaluated[1].running_var = hidden.var((0, 2, 3), correction=0)
    return evaluated


def test_batch_statistics_are_constants_of_the_hessian(batch):
    inputs, target = batch
    net = normalised_net("batch")
    criterion = HessianNorm(1.0, generator=seeded())
    criterion(net.train(), *batch)
    evaluated = with_statistics_of(net, inputs)
    noise = torch.empty_like(inputs).normal_(generator=seeded())
    literal = [
        literal_hessian(evaluated, x, y, v) for x, y, v in zip(inputs, target, noise, strict=True)
    ]
    torch.testing.assert_close(criterion.terms["hessian"], torch.stack(literal).mean())
    assert int(net[1].num_batches_tracked) == 1
    torch.testing.assert_close(  # and the training pass alone moved the running ones
        net[1].running_mean, 0.1 * evaluated[1].running_mean
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", NORMALISED)
def test_the_surface_of_normalising_nets_has_true_gradients(kind, training, batch, slopes):
    net = normalised_net(kind).train(training)
    found, measured = slopes(net, lambda: SmoothSurface(0.3, 2.0)(net, *batch))
    assert found == pytest.approx(measured, rel=2e-5)


def test_batch_statistics_are_constants_of_the_surface(batch):
    """The term is the largest eigenvalue of each example's own Hessian."""
    net, criterion = normalised_net("batch"), SmoothSurface(scale=1.0)
    evaluated = with_statistics_of(net, batch[0])
    criterion(net.train(), *batch)
    eigenvalues = []
    for x in batch[0]:
        w = jacobian(lambda z: evaluated(z.unsqueeze(0))[0], x).flatten(1)
        p = evaluated(x.unsqueeze(0))[0].softmax(0)
        eigenvalues.append(torch.linalg.eigvalsh(w.T @ (p.diag() - p.outer(p)) @ w)[-1])
    torch.testing.assert_close(
        criterion.terms["curvature"], torch.stack(eigenvalues).mean().detach()
    )
    assert int(net[1].num_batches_tracked) == 1


class Attention(nn.Module):
    """One head over the rows of a channel; fused, and so without second derivatives of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.last = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, 0]
        return self.last(self.attention(x, x, x, need_weights=False)[0].flatten(1))


ATTENTIVE = {
    "alignment": lambda: LocalGradientAlignment(
        radius=0.4, detach_source=False, generator=seeded()
    ),
    "hessian": lambda: HessianNorm(0.2, generator=seeded()),
    "surface": lambda: SmoothSurface(0.3, 2.0),
}


@pytest.mark.parametrize("name", ATTENTIVE)
def test_attention_is_differentiated_as_often_as_needed(name, batch, slopes):
    net = Attention().double()
    found, measured = slopes(net, lambda: ATTENTIVE[name]()(net, *batch))
    assert found == pytest.approx(measured, rel=2e-5)


@pytest.mark.parametrize("norm", [nn.Identity, lambda: nn.BatchNorm1d(5)])
def test_hessian_norm_refuses_piecewise_linear_nets(norm):
    net = nn.Sequential(nn.Linear(4, 5), norm(), nn.ReLU(), nn.Linear(5, 3))
    inputs, target = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    with pytest.raises(RuntimeError, match=r"HessianNorm needs .* second derivatives.*softplus"):
        HessianNorm()(net, inputs, target)
    assert net.training
    assert HessianNorm()(softplus_surrogate(net, 3.0), inputs, target) > 0
    criterion = HessianNorm()
    criterion(nn.Sequential(nn.Linear(4, 5), nn.Softplus(), nn.Linear(5, 3)), inputs, target)
    with pytest.raises(RuntimeError, match="second derivatives"):
        criterion(net, inputs, target)  # asked again of another net


def test_curvature_is_asked_of_the_net_as_it_is():
    """Not of one that had its place, in memory or in a criterion, before."""
    inputs, target = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    net = nn.Sequential(nn.Linear(4, 5), nn.Softplus(), nn.Linear(5, 3))
    criterion = HessianNorm()
    assert criterion(net, inputs, target) > 0
    net[1] = nn.ReLU()
    with pytest.raises(RuntimeError, match="second derivatives"):
        criterion(net, inputs, target)


@pytest.mark.parametrize("blank", [1, 5, 6])
def test_blank_examples_are_no_proof_of_straightness(blank):
    """The net sum of x^3 has the Hessian diag(6 x), which is zero at a blank input."""

    class Cubes(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x**3)

    inputs, target = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    inputs[:blank] = 0
    criterion = HessianNorm()
    criterion(Cubes(4, 3), inputs, target).backward()
    assert bool(criterion.terms["hessian"] > 0) == (blank < 6)


def test_a_frozen_linear_net_is_refused_like_any_other():
    inputs, target = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    net = nn.Linear(4, 3).requires_grad_(False)
    with pytest.raises(RuntimeError, match="second derivatives"):
        HessianNorm()(net, inputs, target)
