"""Losses of gradient maps: literal values, parameter gradients, precision, seeds, refusals."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian, jacobian
from torch.nn import functional

from captum_robust.losses import (
    Criterion,
    GradientL2,
    HessianNorm,
    LocalGradientAlignment,
    SaliencyConsistency,
    SmoothSurface,
)

SEED = 5


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def alignment(**options) -> LocalGradientAlignment:
    return LocalGradientAlignment(0.7, 0.3, 0.4, generator=seeded(), **options)


def consistency(**options) -> SaliencyConsistency:
    return SaliencyConsistency(0.5, 0.2, k=3, steps=2, restarts=2, generator=seeded(), **options)


MAKERS: dict[str, Callable[[], Criterion]] = {
    "alignment": alignment,
    "alignment-squared": lambda: alignment(squared=True),
    "alignment-attached": lambda: alignment(detach_source=False),
    "gradient-l2": lambda: GradientL2(0.3, 0.4, generator=seeded()),
    "hessian": lambda: HessianNorm(0.2, generator=seeded()),
    "surface": lambda: SmoothSurface(0.3, 2.0),
    "surface-code": lambda: SmoothSurface(0.3, 2.0, convex=True, channels="mean"),
    "consistency": consistency,
    "consistency-l2": lambda: consistency(normalize="l2"),
    "consistency-bare": lambda: consistency(normalize=None),
}
SEEDED = [name for name in MAKERS if not name.startswith("surface")]
each = pytest.mark.parametrize("name", MAKERS)


def make_net(activation: Callable[[], nn.Module] = nn.Softplus) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(2, 3, 2), activation(), nn.Flatten(), nn.Linear(18, 5), activation(),
        nn.Linear(5, 4),
    ).double()  # fmt: skip


@pytest.fixture
def net() -> nn.Sequential:
    return make_net()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(3, 2, 3, 4, dtype=torch.float64), torch.tensor([0, 3, 1])


# -- literal values, one example after the other --------------------------------------------------


def gradient(net, x, label):
    return jacobian(lambda z: net(z.unsqueeze(0))[0, label], x, create_graph=True).flatten()


def literal_alignment(net, x, label, delta, squared=False):
    source, moved = gradient(net, x, label).detach(), gradient(net, x + delta, label)
    cosine = source @ moved / (source.norm() * moved.norm())
    distance = (moved - source).norm()
    return 0.7 * (1 - cosine) / 2 + 0.3 * (distance**2 if squared else distance)


def literal_hessian(net, x, label, v):
    matrix = hessian(lambda z: net(z.unsqueeze(0))[0, label], x).reshape(x.numel(), -1)
    return (matrix @ v.flatten()).square().sum()


def literal_surface(net, x, label, mean):
    w = jacobian(lambda z: net(z.unsqueeze(0))[0], x, create_graph=True)
    w = (w.mean(1) if mean else w).flatten(1).T
    p = net(x.unsqueeze(0))[0].softmax(0)
    return torch.linalg.eigvalsh(w @ (torch.diag(p) - torch.outer(p, p)) @ w.T)[-1]


def literal_consistency(net, x, there, normalize):
    label = net(x.unsqueeze(0))[0].argmax()
    maps = [gradient(net, point, label).abs() for point in (x, there)]
    sizes = [{"max": m.max(), "l2": m.norm(), None: 1.0}[normalize] for m in maps]
    return (maps[0] / sizes[0] - maps[1] / sizes[1]).square().sum()


def literal_loss(name, net, inputs, target):
    """The whole loss by loops, of the draws that the criterion makes."""
    losses = []
    noise = torch.empty_like(inputs)
    noise = noise.normal_(generator=seeded()) if name == "hessian" else noise.uniform_(
        -0.4, 0.4, generator=seeded()
    )  # fmt: skip
    there = MAKERS[name]().attacked(net, inputs)[0] if "consistency" in name else inputs
    for x, label, drawn, moved in zip(inputs, target, noise, there, strict=True):
        ce = -net(x.unsqueeze(0))[0].log_softmax(0)[label]
        if name.startswith("alignment"):
            losses.append(ce + literal_alignment(net, x, label, drawn, "squared" in name))
        elif name == "gradient-l2":
            change = gradient(net, x + drawn, label) - gradient(net, x, label)
            losses.append(ce + 0.3 * change.norm())
        elif name == "hessian":
            losses.append(ce + 0.2 * literal_hessian(net, x, label, drawn))
        elif name == "surface":
            losses.append(ce + 0.6 * literal_surface(net, x, label, False))
        elif name == "surface-code":
            losses.append(0.7 * ce + 0.6 * literal_surface(net, x, label, True))
        else:
            normalize = {"consistency": "max", "consistency-l2": "l2"}.get(name)
            losses.append(ce + 0.2 * literal_consistency(net, x, moved, normalize))
    return sum(losses) / len(losses)


@each
def test_the_loss_is_the_literal_one(name, net, batch):
    torch.testing.assert_close(MAKERS[name]()(net, *batch), literal_loss(name, net, *batch))


@pytest.mark.parametrize("activation", [nn.Softplus, nn.ReLU])
@each
def test_parameter_gradients_are_finite_differences(name, activation, batch, monkeypatch, slopes):
    if name == "hessian" and activation is nn.ReLU:
        pytest.skip("refused")
    net, (inputs, target) = make_net(activation), batch
    fixed = copy.deepcopy(net)
    # What the loss holds constant stays that of the net as it was.
    if name in ("alignment", "alignment-squared", "gradient-l2"):
        noise = torch.empty_like(inputs).uniform_(-0.4, 0.4, generator=seeded())

        def loss() -> Tensor:
            total = 0.0
            for x, label, delta in zip(inputs, target, noise, strict=True):
                ce = -net(x.unsqueeze(0))[0].log_softmax(0)[label]
                source = gradient(fixed, x, label).detach()
                moved = gradient(net, x + delta, label)
                cosine = functional.cosine_similarity(source, moved, 0)
                distance = (moved - source).norm() ** (2 if "squared" in name else 1)
                weight = 0.0 if name == "gradient-l2" else 0.7
                total = total + ce + weight * (1 - cosine) / 2 + 0.3 * distance
            return total / len(inputs)

        ours = torch.autograd.grad(MAKERS[name]()(net, *batch), list(net.parameters()))
        theirs = torch.autograd.grad(loss(), list(net.parameters()))
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other)
    else:
        criterion = MAKERS[name]()
        if "consistency" in name:
            held = criterion.attacked(net, inputs)
            monkeypatch.setattr(criterion, "attacked", lambda model, inputs: held)

        def loss() -> Tensor:
            criterion.generator = seeded()
            return criterion(net, *batch)

    found, measured = slopes(net, loss)
    assert found == pytest.approx(measured, rel=2e-5, abs=1e-7)


@each
def test_examples_do_not_see_each_other(name, net, batch):
    """Micro-batches of one example add up to the batch: draws follow each other."""
    inputs, target = batch
    if "consistency" in name:  # its draws depend on the place in the batch
        whole, parts = consistency(), consistency()
        there, predicted = whole.attacked(net, inputs)
        whole.attacked = lambda *_: (there, predicted)  # type: ignore[method-assign]
        rows = iter(zip(there.split(1), predicted.split(1), strict=True))
        parts.attacked = lambda *_: next(rows)  # type: ignore[method-assign]
    else:
        whole, parts = MAKERS[name](), MAKERS[name]()
    if name == "hessian":  # torch fills blocks of 16 normal numbers: 24 an example are no blocks
        inputs = torch.cat([inputs, inputs.flip(0)], 2)[:, :, :4]
        net = nn.Sequential(nn.Flatten(), nn.Linear(32, 4), nn.Softplus(), nn.Linear(4, 4)).double()
    together = torch.autograd.grad(whole(net, inputs, target), list(net.parameters()))
    for x, label in zip(inputs.split(1), target.split(1), strict=True):
        (parts(net, x, label) / len(target)).backward()
    for parameter, expected in zip(net.parameters(), together, strict=True):
        torch.testing.assert_close(parameter.grad, expected)


# -- what each is about ---------------------------------------------------------------------------


def test_an_affine_net_has_no_criteria_but_a_surface():
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).double()
    batch = torch.randn(4, 2, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    criterion = alignment()
    criterion(net, *batch).backward()
    assert criterion.terms["cosine"] < 1e-12 and criterion.terms["l2"] == 0
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())
    surface = SmoothSurface(scale=1.0)
    surface(net, *batch)
    assert surface.terms["curvature"] > 0


def test_a_radius_of_zero_costs_nothing_and_has_gradients(net, batch):
    criterion = LocalGradientAlignment(radius=0.0)
    criterion(net, *batch).backward()
    assert criterion.terms["cosine"].abs() < 1e-12 and criterion.terms["l2"] == 0
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_a_net_of_constant_logits_has_finite_gradients(batch):
    net = make_net()
    with torch.no_grad():
        net[-1].weight.zero_()
    for name in ("alignment", "surface", "consistency", "consistency-bare"):
        net.zero_grad()
        criterion = MAKERS[name]()
        criterion.attacked = lambda model, inputs: (inputs + 0.1, batch[1])  # it has no slope
        criterion(net, *batch).backward()
        assert all(torch.isfinite(p.grad).all() for p in net.parameters()), name


@pytest.mark.parametrize("perturbation", ["uniform", "gaussian", "grad", "grad_sign"])
def test_perturbations_have_the_stated_law(perturbation, net):
    inputs = torch.rand(200, 2, 3, 4, dtype=torch.float64)
    target = torch.randint(4, (200,))
    seen: list[Tensor] = []

    def watched(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return net(x)

    alignment(perturbation=perturbation)(watched, inputs, target)
    clean, moved = seen
    step = (moved - clean) / 0.4
    assert torch.equal(clean, inputs)
    if perturbation == "uniform":
        assert step.abs().max() <= 1 + 1e-12
        assert abs(step.var() - 1 / 3) < 4 * (4 / 45 / step.numel()) ** 0.5
    elif perturbation == "gaussian":
        assert abs(step.var() - 1) < 4 * (2 / step.numel()) ** 0.5
    else:
        expected = torch.stack(
            [gradient(net, x, y).detach() for x, y in zip(inputs, target, strict=True)]
        )
        expected = expected.sign() if perturbation == "grad_sign" else expected
        expected = functional.normalize(expected)
        torch.testing.assert_close(step.flatten(1), expected)


def test_perturbed_inputs_stay_in_the_box_and_radii_go_by_channel(net):
    inputs, seen = torch.rand(50, 2, 3, 4, dtype=torch.float64), []
    criterion = LocalGradientAlignment(
        radius=torch.tensor([0.1, 0.0]).reshape(2, 1, 1), lower_bound=0.0, upper_bound=1.0
    )

    def watched(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return net(x)

    criterion(watched, inputs, torch.zeros(50).long())
    step = seen[1] - inputs
    assert seen[1].min() >= 0 and seen[1].max() <= 1
    assert step[:, 0].abs().max() <= 0.1 + 1e-7 and step[:, 0].abs().max() > 0.09
    assert torch.equal(step[:, 1], torch.zeros_like(step[:, 1]))


def test_dropout_drops_the_same_units_in_both_passes(batch):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(24, 50), nn.Softplus(), nn.Dropout(), nn.Linear(50, 4)
    )
    net.double().train()
    criterion = LocalGradientAlignment(radius=0.0)
    criterion(net, *batch)
    assert criterion.terms["l2"] == 0
    state = torch.get_rng_state()
    criterion(net, *batch)
    assert not torch.equal(state, torch.get_rng_state())  # the next step drops other units


def test_the_attack_keeps_ball_box_mode_and_parameters(batch):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 9), nn.BatchNorm1d(9), nn.Dropout(), nn.ReLU())
    net = net.append(nn.Linear(9, 4)).double().train()
    inputs = batch[0].sigmoid()
    statistics = net[2].running_mean.clone()
    criterion = consistency(lower_bound=0.0, upper_bound=1.0)
    there, predicted = criterion.attacked(net, inputs)
    change = (there - inputs).flatten(1).norm(dim=1)
    assert (change <= 0.5 * (1 + 1e-9)).all() and (change > 0).any()
    assert there.min() >= 0 and there.max() <= 1
    assert all(module.training for module in net.modules())
    assert torch.equal(net[2].running_mean, statistics)
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(predicted, net.eval()(inputs).argmax(1))


# -- precision, seeds, copies ---------------------------------------------------------------------


@each
def test_autocast_changes_little(name, batch):
    torch.manual_seed(4)
    net = make_net().float()
    inputs, target = batch[0].float(), batch[1]
    full = MAKERS[name]()
    full(net, inputs, target).backward()
    expected = torch.cat([p.grad.flatten() for p in net.parameters()])
    net.zero_grad()
    mixed = MAKERS[name]()
    with torch.autocast("cpu", torch.bfloat16):
        loss = mixed(net, inputs, target)
    loss.backward()
    found = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert loss.dtype == torch.float32 and found.dtype == torch.float32
    # bfloat16 has 8 bits: a hundredth of each of some ten operations in a row.
    assert float(loss.detach()) == pytest.approx(float(full.terms["total"]), rel=0.1)
    assert functional.cosine_similarity(found, expected, 0) > 0.98


@pytest.mark.parametrize("name", SEEDED)
def test_a_step_can_be_repeated(name, net, batch):
    first, second = MAKERS[name]()(net, *batch), MAKERS[name]()(net, *batch)
    assert torch.equal(first, second)
    criterion = MAKERS[name]()
    states = [torch.get_rng_state()]
    values = [float(criterion(net, *batch).detach()) for _ in range(2)]
    states.append(torch.get_rng_state())
    assert values[0] == float(first.detach()) and values[0] != values[1]
    assert torch.equal(*states)  # the global generator was not asked


@each
def test_criteria_copy_and_pickle(name, net, batch):
    criterion = MAKERS[name]()
    criterion(net, *batch)
    criterion.generator = seeded()
    for twin in (copy.deepcopy(criterion), pickle.loads(pickle.dumps(criterion))):
        twin.generator = seeded()
        assert torch.equal(twin(net, *batch), MAKERS[name]()(net, *batch))


# -- refusals -------------------------------------------------------------------------------------


@each
def test_broken_weights_of_the_net_are_named(name, net, batch):
    with torch.no_grad():
        net[-1].weight[0, 0] = torch.nan
    criterion = MAKERS[name]()
    criterion.attacked = lambda model, inputs: (inputs, batch[1])  # type: ignore[assignment]
    with pytest.raises((RuntimeError, ValueError), match=r"'cross_entropy'|second derivatives"):
        criterion(net, *batch)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: HessianNorm(-1), ValueError, r"`weight` must be in \[0, inf\), got -1"),
        (lambda: HessianNorm(torch.inf), ValueError, "`weight` must be in"),
        (lambda: GradientL2(-1), ValueError, "`weight` must be in"),
        (lambda: LocalGradientAlignment(-1), ValueError, "`weight_cosine` must be in"),
        (lambda: LocalGradientAlignment(1, "1"), TypeError, "`weight_l2` must be a number"),
        (lambda: LocalGradientAlignment(radius=-1), ValueError, "`radius` must be in"),
        (
            lambda: LocalGradientAlignment(radius=torch.tensor([1.0, -1.0])),
            ValueError,
            r"`radius` must be finite and >= 0 everywhere, got \[1.0, -1.0\]",
        ),
        (
            lambda: LocalGradientAlignment(perturbation="normal"),
            ValueError,
            "`perturbation` must be one of 'uniform', 'gaussian', 'grad', 'grad_sign'",
        ),
        (lambda: SmoothSurface(-0.1), ValueError, r"`beta` must be in \[0, inf\)"),
        (lambda: SmoothSurface(1.1, convex=True), ValueError, r"`beta` must be in \[0, 1\]"),
        (lambda: SmoothSurface(scale=-1), ValueError, "`scale` must be in"),
        (lambda: SmoothSurface(channels="sum"), ValueError, "`channels` must be one of"),
        (lambda: SaliencyConsistency(0), ValueError, r"`radius` must be in \(0, inf\)"),
        (lambda: SaliencyConsistency(1, -1), ValueError, "`weight` must be in"),
        (lambda: SaliencyConsistency(1, k=0), ValueError, "`k` must be at least 1"),
        (lambda: SaliencyConsistency(1, steps=0), ValueError, "`steps` must be at least 1"),
        (lambda: SaliencyConsistency(1, restarts=0), ValueError, "`restarts` must be at least 1"),
        (lambda: SaliencyConsistency(1, tries=0), ValueError, "`tries` must be at least 1"),
        (lambda: SaliencyConsistency(1, normalize="l1"), ValueError, "`normalize` must be one of"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_forward_without_gradients_is_named():
    net = torch.no_grad()(torch.nn.Linear(4, 3).forward)
    for criterion in (LocalGradientAlignment(), GradientL2()):
        with pytest.raises(RuntimeError, match=r"runs under torch.no_grad\(\)"):
            criterion(net, torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1]))
