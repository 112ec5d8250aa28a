"""The papers' loops, written out for one example, beside the library with the same random numbers.

Double precision; the references share no code with the library but the softplus twin, which
``tests/robust/test_surrogate.py`` checks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from captum.attr import Saliency
from numpy.polynomial.legendre import leggauss
from torch import Tensor, nn

from captum_robust.losses import (
    AAT,
    ART,
    IGR,
    TRADES,
    AdvAAT,
    AdversarialTraining,
    IGNorm,
    IGSumNorm,
)
from captum_robust.losses.attacked.ig_norm import loss_path
from captum_robust.losses.tasks.classes import Classes
from captum_robust.robust import softplus_surrogate
from tests.helpers.nets import dense_net

make_net = partial(dense_net, 6, 20, 12, 3, flatten=False)

RADIUS, STEP, STEPS = 0.1, 0.04, 4
BOX = {"lower_bound": 0.0, "upper_bound": 1.0}
Function = Callable[[Tensor], Tensor]


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return torch.rand(4, 6, dtype=torch.float64), torch.tensor([0, 2, 1, 1])


def generator(seed: int = 7) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform_starts(inputs: Tensor) -> Tensor:
    noise = torch.empty_like(inputs).uniform_(generator=generator())
    return (inputs + RADIUS * (2 * noise - 1)).clamp(0, 1)


def climb(x: Tensor, start: Tensor, value: Function) -> Tensor:
    """Sign steps, the ball, the box."""
    point = start
    for _ in range(STEPS):
        leaf = point.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(value(leaf), leaf)
        point = point + STEP * gradient.sign()
        point = torch.minimum(torch.maximum(point, x - RADIUS), x + RADIUS).clamp(0, 1)
    return point


def log_loss(net: nn.Module, x: Tensor, y: int) -> Tensor:
    out = net(x)
    return out.exp().sum().log() - out[y]


def kl(p_out: Tensor, q_out: Tensor) -> Tensor:
    p, q = p_out.softmax(0), q_out.softmax(0)
    return sum(p[c] * (p[c] / q[c]).log() for c in range(3))


def path_norm(net: nn.Module, x: Tensor, there: Tensor, y: int, m: int) -> Tensor:
    """Chen et al. (2019): m points, the last of them the end."""
    total = 0
    for k in range(1, m + 1):
        z = x + k / m * (there - x)
        z = z if z.requires_grad else z.requires_grad_()
        total = total + torch.autograd.grad(log_loss(net, z, y), z, create_graph=True)[0] / m
    return ((there - x) * total).abs().sum()


def integrated_gradients(net: nn.Module, x: Tensor, y: int, n: int) -> Tensor:
    """From zeros, at the nodes of Gauss and Legendre."""
    total = 0
    for node, weight in zip(*leggauss(n), strict=True):
        z = (1 + node) / 2 * x
        z = z if z.requires_grad else z.requires_grad_()
        total = total + weight / 2 * torch.autograd.grad(net(z)[y], z, create_graph=True)[0]
    return total * x


def saliency(net: nn.Module, x: Tensor, y: int) -> Tensor:
    x = x if x.requires_grad else x.clone().requires_grad_()
    return torch.autograd.grad(net(x)[y], x, create_graph=True)[0].abs()


def cos(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.norm() * b.norm())


def pearson(a: Tensor, b: Tensor) -> Tensor:
    return cos(a - a.mean(), b - b.mean())


def each(data: tuple[Tensor, Tensor], starts: Tensor):
    return zip(data[0], data[1].tolist(), starts, strict=True)


def agree(criterion, net, data, expected: dict[str, list[Tensor]], rtol: float = 1e-7) -> None:
    """The value, each term, and the gradients of the parameters."""
    wanted = {name: torch.stack(values).mean() for name, values in expected.items()}
    loss = criterion(net, *data)
    reference = sum(criterion.weights[name] * value for name, value in wanted.items())
    for name, value in wanted.items():
        torch.testing.assert_close(criterion.terms[name], value.detach(), rtol=rtol, atol=1e-10)
    torch.testing.assert_close(loss.detach(), reference.detach(), rtol=rtol, atol=1e-10)
    parameters = list(net.parameters())
    ours, theirs = (torch.autograd.grad(one, parameters) for one in (loss, reference))
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, rtol=100 * rtol, atol=1e-7)


@pytest.mark.parametrize("activation", [nn.Softplus, nn.ReLU])
def test_adversarial_training(activation, data):
    net, found = make_net(activation=activation), []
    for x, y, start in each(data, uniform_starts(data[0])):
        there = climb(x, start, lambda z, y=y: log_loss(net, z, y))
        found.append(log_loss(net, there, y))
    criterion = AdversarialTraining(RADIUS, STEPS, STEP, generator=generator(), **BOX)
    agree(criterion, net, data, {"adversarial": found})


def test_adversarial_training_in_an_l2_ball(data):
    net, found = make_net(), []
    for x, y in zip(data[0], data[1].tolist(), strict=True):
        point = x
        for _ in range(STEPS):
            leaf = point.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(log_loss(net, leaf, y), leaf)
            delta = point + STEP * gradient / gradient.norm() - x
            point = (x + delta * min(1.0, RADIUS / delta.norm().item())).clamp(0, 1)
        found.append(log_loss(net, point, y))
    criterion = AdversarialTraining(RADIUS, STEPS, STEP, norm="L2", random_start=False, **BOX)
    agree(criterion, net, data, {"adversarial": found})


def test_trades(data):
    net, natural, robust = make_net(activation=nn.ReLU), [], []
    noise = torch.empty_like(data[0]).normal_(generator=generator())
    for x, y, start in each(data, (data[0] + 1e-3 * noise).clamp(0, 1)):
        clean = net(x).detach()
        there = climb(x, start, lambda z, clean=clean: kl(clean, net(z)))
        natural.append(log_loss(net, x, y))
        robust.append(kl(net(x), net(there)))
    criterion = TRADES(RADIUS, STEPS, STEP, beta=6.0, generator=generator(), **BOX)
    agree(criterion, net, data, {"cross_entropy": natural, "divergence": robust})


@pytest.mark.parametrize("activation", [nn.Softplus, nn.ReLU])
def test_ig_norm(activation, data):
    net, losses, norms = make_net(activation=activation), [], []
    for x, y, start in each(data, uniform_starts(data[0])):
        there = climb(x, start, lambda z, x=x, y=y: path_norm(net, x, z, y, 4))
        losses.append(log_loss(net, x, y))
        norms.append(path_norm(net, x, there, y, 8))
    options = {"path_steps": 8, "approx_factor": 2, "generator": generator(), **BOX}
    criterion = IGNorm(RADIUS, STEPS, STEP, weight=1.0, **options)
    agree(criterion, net, data, {"cross_entropy": losses, "path": norms})


def test_ig_sum_norm(data):
    net, losses, norms = make_net(), [], []

    def raised(z: Tensor, x: Tensor, y: int) -> Tensor:
        return log_loss(net, z, y) + 0.5 * path_norm(net, x, z, y, 4)

    for x, y, start in each(data, uniform_starts(data[0])):
        there = climb(x, start, lambda z, x=x, y=y: raised(z, x, y))
        losses.append(log_loss(net, there, y))
        norms.append(path_norm(net, x, there, y, 8))
    options = {"path_steps": 8, "approx_factor": 2, "generator": generator(), **BOX}
    criterion = IGSumNorm(RADIUS, STEPS, STEP, weight=0.5, **options)
    agree(criterion, net, data, {"adversarial": losses, "path": norms})


def test_ig_sum_norm_of_weight_zero_is_adversarial_training(data):
    net = make_net()
    one = IGSumNorm(RADIUS, STEPS, STEP, weight=0, generator=generator(), **BOX)(net, *data)
    two = AdversarialTraining(RADIUS, STEPS, STEP, generator=generator(), **BOX)(net, *data)
    torch.testing.assert_close(one, two)


def test_the_path_attribution_sums_to_the_change_of_the_loss(data):
    net, there = make_net(), data[0] + 0.3 * torch.randn_like(data[0])
    change = torch.stack(
        [log_loss(net, b, y) - log_loss(net, a, y) for a, y, b in each(data, there)]
    ).detach()
    errors = []
    for steps in (200, 400):
        path = loss_path(Classes(), net, data[0], there, data[1], steps).detach()
        errors.append((path.sum(1) - change).abs().max())
        assert bool((path.abs().sum(1) >= change.abs() - errors[-1]).all())
    # A one-sided Riemann sum is off by half a step times the change of its integrand.
    assert errors[1] < 1e-3 and 0.4 < errors[1] / errors[0] < 0.6


@pytest.mark.parametrize("base", ["trades", "adversarial", "plain"])
def test_igr(base, data):
    net, expected = make_net(), {"dissimilarity": []}
    common = {"generator": generator(), **BOX}
    kinds = {
        "trades": TRADES(RADIUS, STEPS, STEP, beta=1.5, **common),
        "adversarial": AdversarialTraining(RADIUS, STEPS, STEP, **common),
        "plain": AdversarialTraining(RADIUS, STEPS, STEP, clean=1, **common),
    }
    noise = torch.empty_like(data[0]).normal_(generator=generator())
    starts = (data[0] + 1e-3 * noise).clamp(0, 1) if base == "trades" else uniform_starts(data[0])
    for x, y, start in each(data, starts):
        clean = net(x).detach()
        raised = {"trades": lambda z, clean=clean: kl(clean, net(z))}
        value = raised.get(base, lambda z, y=y: log_loss(net, z, y))
        there = climb(x, start, value)
        terms = {"cross_entropy": log_loss(net, x, y), "adversarial": log_loss(net, there, y)}
        if base == "trades":
            terms["divergence"] = kl(net(x), net(there))
        for name in kinds[base].weights:
            expected.setdefault(name, []).append(terms[name])
        pair = [integrated_gradients(net, point, y, 5) for point in (x, there)]
        expected["dissimilarity"].append(1 - cos(*pair))
    criterion = IGR(kinds[base], weight=2.0, attribute_kwargs={"n_steps": 5})
    agree(criterion, net, data, expected, rtol=1e-6)


@pytest.mark.parametrize("jointly", [False, True])
@pytest.mark.parametrize("activation", [nn.Softplus, nn.ReLU])
def test_aat_and_advaat(activation, jointly, data):
    net, losses, distances = make_net(activation=activation), [], []
    twin = softplus_surrogate(net, 50.0, strict=False)

    def raised(z: Tensor, clean: Tensor, y: int) -> Tensor:
        value = 1 - pearson(integrated_gradients(twin, z, y, 4), clean)
        return log_loss(net, z, y) + 3 * value if jointly else value

    for x, y, start in each(data, uniform_starts(data[0])):
        clean = integrated_gradients(net, x.clone(), y, 4).detach()
        there = climb(x, start, lambda z, clean=clean, y=y: raised(z, clean, y))
        losses.append(log_loss(net, there if jointly else x, y))
        pair = [integrated_gradients(net, point, y, 4) for point in (x, there)]
        distances.append(1 - pearson(*pair))
    kind = AdvAAT if jointly else AAT
    options = {"attribute_kwargs": {"n_steps": 4}, "generator": generator(), **BOX}
    criterion = kind(RADIUS, STEPS, STEP, weight=3.0, **options)
    name = "adversarial" if jointly else "cross_entropy"
    agree(criterion, net, data, {name: losses, "dissimilarity": distances}, rtol=1e-6)


def test_aat_of_another_map(data):
    net, losses, distances = make_net(), [], []
    for x, y, start in each(data, uniform_starts(data[0])):
        clean = saliency(net, x, y).detach()
        there = climb(x, start, lambda z, c=clean, y=y: 1 - pearson(saliency(net, z, y), c))
        losses.append(log_loss(net, x, y))
        distances.append(1 - pearson(saliency(net, x, y), saliency(net, there, y)))
    options = {"attribution_method": Saliency, "surrogate": None, "generator": generator(), **BOX}
    criterion = AAT(RADIUS, STEPS, STEP, **options)
    agree(criterion, net, data, {"cross_entropy": losses, "dissimilarity": distances})


def class_pair(net: nn.Module, x: Tensor, y: int) -> tuple[Tensor, Tensor]:
    """Gradients of the true logit and of the largest wrong one."""
    x = x if x.requires_grad else x.clone().requires_grad_()
    out = net(x)
    wrong = max((c for c in range(3) if c != y), key=lambda c: out[c].item())
    both = [torch.autograd.grad(out[c], x, create_graph=True)[0] for c in (y, wrong)]
    return both[0], both[1]


def soft_margin(positive: Tensor, negative: Tensor) -> Tensor:
    return (1 + (-(negative - positive)).exp()).log()


@pytest.mark.parametrize("mining", ["none", "hard"])
@pytest.mark.parametrize("activation", [nn.Softplus, nn.ReLU])
def test_art(activation, mining, data):
    net, losses, triplets = make_net(activation=activation), [], []
    twin = softplus_surrogate(net, 50.0, strict=False)

    def raised(z: Tensor, y: int, top: Tensor) -> Tensor:
        true, wrong = class_pair(twin, z, y)
        return soft_margin(1 - cos(true[top], z[top]), 1 - cos(wrong[top], z[top]))

    for x, y, start in each(data, uniform_starts(data[0])):
        top = class_pair(net, start, y)[0].abs().topk(4).indices
        there = climb(x, start, lambda z, y=y, top=top: raised(z, y, top))
        losses.append(log_loss(net, there, y))
        points = (there, x) if mining == "hard" else (there,)
        pairs, found = [class_pair(net, point, y) for point in points], []
        for point in points:
            farthest = max((1 - cos(true, point) for true, _ in pairs), key=Tensor.item)
            nearest = min((1 - cos(wrong, point) for _, wrong in pairs), key=Tensor.item)
            found.append(soft_margin(farthest, nearest))
        triplets.append(torch.stack(found).mean())
    criterion = ART(RADIUS, STEPS, STEP, k=4, mining=mining, generator=generator(), **BOX)
    agree(criterion, net, data, {"adversarial": losses, "triplet": triplets})
