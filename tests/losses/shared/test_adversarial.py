"""What all losses with an inner maximisation share: the point, no leak, gradients, refusals."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from captum.attr import Saliency
from torch import Tensor, nn

from captum_robust.losses import (
    AAT,
    ART,
    ATEX,
    IGA,
    IGR,
    TRADES,
    AdvAAT,
    AdversarialTraining,
    IGNorm,
    IGSumNorm,
)
from captum_robust.losses.criterion import Criterion
from captum_robust.losses.shared.adversarial import AdversarialCriterion
from captum_robust.robust.balls.draws import BatchDraws
from tests.helpers.nets import dense_net

make_net = partial(dense_net, 6, 8, 3, 3)

BOX = {"lower_bound": 0.0, "upper_bound": 1.0}
PATH = {"path_steps": 8, "approx_factor": 2}
MAPS = {"attribute_kwargs": {"n_steps": 4}}
MAKERS: dict[str, Callable[..., AdversarialCriterion]] = {
    "AdversarialTraining": lambda **k: AdversarialTraining(0.1, 4, **BOX, **k),
    "mixed": lambda **k: AdversarialTraining(0.1, 4, clean=0.25, **BOX, **k),
    "TRADES": lambda **k: TRADES(0.1, 4, **BOX, **k),
    "IGNorm": lambda **k: IGNorm(0.1, 4, 0.04, **PATH, **BOX, **k),
    "IGSumNorm": lambda **k: IGSumNorm(0.1, 4, 0.04, **PATH, **BOX, **k),
    "AAT": lambda **k: AAT(0.1, 4, **MAPS, **BOX, **k),
    "AdvAAT": lambda **k: AdvAAT(0.1, 4, **MAPS, **BOX, **k),
    "saliency": lambda **k: AAT(0.1, 4, attribution_method=Saliency, **BOX, **k),
    "ART": lambda **k: ART(0.1, 4, k=3, **BOX, **k),
    "mined": lambda **k: ART(0.1, 4, k=0.5, mining="hard", **BOX, **k),
}
STATIONARY = ["TRADES", "IGNorm", "AAT", "saliency"]


def igr(**keywords):
    return IGR(TRADES(0.1, 3, **BOX, **keywords), weight=2.0, **MAPS)


ALL = {**MAKERS, "IGR": igr, "IGR-CE": lambda **k: IGR(MAKERS["mixed"](**k), **MAPS)}


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    """Five images, some of their pixels on the border of the box."""
    images = torch.rand(5, 2, 3, dtype=torch.float64)
    images[images < 0.15] = 0
    images[images > 0.85] = 1
    return images, torch.tensor([0, 2, 1, 1, 0])


@pytest.fixture
def own_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random numbers that are a function of the example, whatever the batch."""

    def filled(self, rows, number, columns, purpose, fill):
        noise = (37 * self.like[rows] + torch.arange(self.like.shape[1])).sin()
        return (
            noise[:, :columns] if fill.__name__ == "_fill_normal" else (noise[:, :columns] + 1) / 2
        )

    monkeypatch.setattr(BatchDraws, "_filled", filled)


def gradients(net: nn.Module, loss: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])


def total(criterion: Criterion, values: dict[str, Tensor]) -> Tensor:
    assert set(values) == set(criterion.weights)
    return sum(criterion.weights[name] * value.mean() for name, value in values.items())


# -- the point -----------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", MAKERS)
def test_the_point_lies_in_ball_and_box_and_is_constant(name, norm, data):
    criterion, net = MAKERS[name](norm=norm), make_net(activation=nn.ReLU)
    point = criterion.perturb(net, *data)
    change = (point - data[0]).flatten(1)
    assert point.shape == data[0].shape and point.dtype == data[0].dtype
    assert not point.requires_grad and bool((change != 0).any(1).all())
    size = change.abs().amax(1) if norm == "Linf" else change.norm(dim=1)
    assert bool((size <= 0.1 * (1 + 1e-12)).all())
    assert bool((point >= 0).all() and (point <= 1).all())


@pytest.mark.parametrize("name", MAKERS)
def test_the_point_raises_the_objective(name, data):
    criterion, net = MAKERS[name](generator=torch.Generator().manual_seed(1)), make_net()
    raised = criterion.objective(net, *data, data[0].clone())
    found = criterion.perturb(net, *data)
    drawn = [(data[0] + 0.1 * (2 * torch.rand_like(data[0]) - 1)).clamp(0, 1) for _ in range(30)]
    with torch.enable_grad():
        random = torch.stack([raised(x.requires_grad_()).detach() for x in drawn])
        reached = raised(found.requires_grad_()).detach()
    assert bool((reached >= random.mean(0)).all())


@pytest.mark.parametrize("name", MAKERS)
def test_examples_do_not_see_each_other_in_the_ascent(name, data, own_draws):
    criterion, net = MAKERS[name](), make_net(activation=nn.ReLU)
    together = criterion.perturb(net, *data)
    alone = [criterion.perturb(net, x[None], y[None]) for x, y in zip(*data, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(MAKERS) - set(STATIONARY)))
def test_a_start_at_the_input_needs_no_random_numbers(name, data):
    criterion, net = MAKERS[name](random_start=False), make_net()
    state = torch.get_rng_state()
    first, second = criterion.perturb(net, *data), criterion.perturb(net, *data)
    assert torch.equal(first, second) and torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", ALL)
def test_a_generator_repeats_the_step_and_leaves_the_global_one(name, data):
    net, losses = make_net(), []
    state = torch.get_rng_state()
    for _ in range(2):
        criterion = ALL[name](generator=torch.Generator().manual_seed(5))
        losses += [criterion(net, *data), criterion(net, *data)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(losses[0], losses[2]) and torch.equal(losses[1], losses[3])
    assert not torch.equal(losses[0], losses[1])


def test_no_radius_leaves_the_input(data):
    for name, make in MAKERS.items():
        criterion = make()
        criterion.radius = 0.0
        assert torch.equal(criterion.perturb(make_net(), *data), data[0]), name


def test_radii_and_bounds_may_be_tensors(data):
    radius = torch.tensor([0.0, 0.1, 0.2], dtype=torch.float64)
    criterion = AdversarialTraining(radius, 10, lower_bound=torch.zeros(2, 3), upper_bound=1)
    change = (criterion.perturb(make_net(), *data) - data[0]).abs()
    assert bool((change <= radius + 1e-12).all()) and bool((change[..., 2] > 0.1).any())


# -- the loss ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_the_batch_loss_is_the_mean_over_examples(name, data, own_draws):
    criterion, net = ALL[name](), make_net()
    alone = [criterion(net, x[None], y[None]).detach() for x, y in zip(*data, strict=True)]
    torch.testing.assert_close(criterion(net, *data).detach(), torch.stack(alone).mean())


@pytest.mark.parametrize("activation", [nn.Softplus, nn.ReLU])
@pytest.mark.parametrize("name", ALL)
def test_parameter_gradients_are_those_of_finite_differences(name, activation, data, slopes):
    """At a fixed perturbed point; with ReLU, too: double backward reaches the parameters."""
    criterion, net = ALL[name](), make_net(activation=activation)
    found = criterion.base.perturb if isinstance(criterion, IGR) else criterion.perturb
    point = found(net, *data)

    def loss() -> Tensor:
        return total(criterion, criterion.values_at(net, data[0], point, data[1]))

    analytic, numeric = slopes(net, loss)
    assert analytic == pytest.approx(numeric, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", ALL)
def test_micro_batches_add_up(name, data, own_draws):
    criterion, net = ALL[name](), make_net()
    whole = gradients(net, criterion(net, *data))
    parts = [(slice(0, 2), 2 / 5), (slice(2, 5), 3 / 5)]
    summed = sum(w * gradients(net, criterion(net, data[0][i], data[1][i])) for i, w in parts)
    torch.testing.assert_close(summed, whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_the_model_is_left_as_it_was(name, data):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)
    ).double()
    net[4].eval()
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    state, modes = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()]
    criterion = ALL[name]()
    base = criterion.base if isinstance(criterion, IGR) else criterion
    base.perturb(net, *data)
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())
    passes = len(set(base.weights) & {"adversarial", "cross_entropy", "divergence"})
    criterion(net, *data)
    assert [m.training for m in net.modules()] == modes
    assert all(bool((p.grad == 1).all()) and p.requires_grad for p in net.parameters())
    # Statistics saw the passes of the loss, not those of the ascent nor of any path.
    assert int(net[2].num_batches_tracked) == passes + (name == "mined")


@pytest.mark.parametrize("name", ALL)
def test_it_is_left_as_it_was_after_an_error_too(name, data):
    net = make_net().train()
    with pytest.raises(ValueError, match=r"`target` must be in \[0, 2\]"):
        ALL[name]()(net, data[0], data[1] + 1)
    assert all(module.training for module in net.modules())


@pytest.mark.parametrize("name", ALL)
def test_works_under_autocast(name, data):
    criterion, net = ALL[name](), make_net().float()
    images = data[0].float()
    base = criterion.base if isinstance(criterion, IGR) else criterion
    point = base.perturb(net, images, data[1])
    plain = gradients(net, total(criterion, criterion.values_at(net, images, point, data[1])))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        whole = criterion(net, images, data[1])
        there = total(criterion, criterion.values_at(net, images, point, data[1]))
    assert whole.dtype == torch.float32 and bool(torch.isfinite(gradients(net, whole)).all())
    # Eight bits of mantissa; an angle of 15 degrees between gradients is theirs.
    assert torch.cosine_similarity(gradients(net, there), plain, dim=0) > 0.96


@pytest.mark.parametrize("name", ALL)
def test_validation_without_gradients(name, data):
    criterion, net = ALL[name](), make_net()
    with torch.no_grad():
        loss = criterion(net, *data)
    assert not loss.requires_grad and "total" in criterion.terms


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [AdversarialTraining, TRADES, IGNorm, IGSumNorm, AAT, AdvAAT, ART])
@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"radius": -0.1}, r"`radius` must be in \[0, inf\], got -0.1"),
        ({"radius": torch.tensor([0.1, -1.0])}, "`radius` must be >= 0 everywhere, got -1"),
        ({"radius": float("inf")}, "`radius` must be finite, got inf"),
        ({"radius": float("nan")}, "`radius`"),
        ({"steps": 0}, "`steps` must be at least 1, got 0"),
        ({"step_size": 0.0}, "`step_size`"),
        ({"norm": "L3"}, "`norm` must be one of 'L1', 'L2', 'Linf', or a Ball, got 'L3'"),
    ],
)
def test_refuses_what_no_ascent_can_do(kind, keywords, message):
    with pytest.raises(ValueError, match=message):
        kind(**keywords)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda w: TRADES(beta=w), "beta"),
        (lambda w: IGNorm(weight=w), "weight"),
        (lambda w: IGSumNorm(weight=w), "weight"),
        (lambda w: IGR(weight=w), "weight"),
        (lambda w: AAT(weight=w), "weight"),
        (lambda w: AdvAAT(weight=w), "weight"),
        (lambda w: ART(weight=w), "weight"),
        (lambda w: ATEX(make_net(), 0.1, weight=w), "weight"),
        (lambda w: ATEX(make_net(), 0.1, distillation=w), "distillation"),
    ],
)
@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_refuses_weights(make, name, weight):
    with pytest.raises(ValueError, match=rf"`{name}` must be in \[0, inf\)"):
        make(weight)


@pytest.mark.parametrize("name", STATIONARY)
def test_refuses_to_begin_where_nothing_rises(name):
    with pytest.raises(ValueError, match="`random_start` must be True for"):
        MAKERS[name](random_start=False)


@pytest.mark.parametrize("name", ALL)
def test_refuses_inputs_outside_the_box_and_not_finite(name, data):
    with pytest.raises(ValueError, match="`inputs` must lie in"):
        ALL[name]()(make_net(), data[0] + 0.5, data[1])
    with pytest.raises(ValueError, match="must be finite"):
        ALL[name]()(make_net(), data[0] * torch.nan, data[1])


@pytest.mark.parametrize("name", ALL)
def test_names_the_term_that_is_not_finite(name, data):
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1)[:, :3] * torch.nan

    with pytest.raises(RuntimeError, match=r"the term '\w+' of the loss is nan"):
        ALL[name]()(Broken(), *data)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdversarialTraining(clean=1.5), r"`clean` must be in \[0, 1\]"),
        (lambda: IGNorm(path_steps=0), "`path_steps` must be at least 1"),
        (
            lambda: IGNorm(path_steps=4, approx_factor=3),
            r"at most half of `path_steps` \(4\), got 3",
        ),
        (lambda: ART(k=0), "`k` must be at least 1"),
        (lambda: ART(mining="soft"), "`mining` must be one of"),
        (lambda: ART(surrogate=0), "`surrogate`"),
        (lambda: AAT(surrogate=-1), "`surrogate`"),
        (lambda: ATEX(make_net(), -1), "`radius`"),
        (lambda: ATEX(make_net(), 1, temperature=0), "`temperature`"),
        (lambda: ATEX(make_net(), 1, along=1, sampling="grid"), "`along` must be at least 2"),
        (lambda: ATEX(make_net(), 1, across=0), "`across` must be at least 1"),
        (lambda: ATEX(make_net(), 1, direction="both"), "`direction` must be one of"),
    ],
)
def test_refuses_other_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_refuses_what_is_of_another_kind(data):
    with pytest.raises(TypeError, match="`base` must be an AdversarialCriterion"):
        IGR(ATEX(make_net(), 0.1))
    with pytest.raises(TypeError, match=r"`teacher` must be a torch.nn.Module"):
        ATEX(lambda x: x, 0.1)
    with pytest.raises(ValueError, match=r"`k` must be in \[1, 6\]"):
        ART(0.1, k=7)(make_net(), *data)
    single = nn.Sequential(nn.Flatten(), nn.Linear(6, 1)).double()
    with pytest.raises(ValueError, match=r"at least two classes, got logits of shape \(5, 1\)"):
        ART(0.1)(single, data[0], torch.zeros_like(data[1]))


def test_iga_is_art():
    assert IGA is ART


@pytest.mark.parametrize("name", ALL)
def test_maps_of_zeros_give_finite_gradients(name, data):
    """A net whose units are all off explains nothing; that is no reason to lose a step."""
    net = make_net(activation=nn.ReLU)
    with torch.no_grad():
        net[1].bias.fill_(-100)
    loss = ALL[name]()(net, *data)
    found = torch.autograd.grad(loss, list(net.parameters()), allow_unused=True)
    assert all(bool(torch.isfinite(g).all()) for g in found if g is not None)
