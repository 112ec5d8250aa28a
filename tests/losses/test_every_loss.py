"""What holds for every loss: nets with attention, models behind functions, what a call refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from captum.attr import Saliency
from torch import Tensor, nn
from torch.nn import functional

from captum_robust import losses
from captum_robust._base.modes import evaluation_mode
from captum_robust.attr import GaussianSmoothing
from captum_robust.losses import Criterion, HessianNorm, LocalGradientAlignment
from captum_robust.robust import softplus_surrogate
from tests.helpers.nets import dense_net

PATH = {"path_steps": 4, "approx_factor": 2}
MAPS = {"attribute_kwargs": {"n_steps": 3}}
EVERY: dict[str, Callable[[nn.Module], Criterion]] = {
    "AdversarialTraining": lambda net: losses.AdversarialTraining(0.1, 2),
    "TRADES": lambda net: losses.TRADES(0.1, 2),
    "IGNorm": lambda net: losses.IGNorm(0.1, 2, **PATH),
    "IGSumNorm": lambda net: losses.IGSumNorm(0.1, 2, **PATH),
    "AAT": lambda net: losses.AAT(0.1, 2, **MAPS),
    "AdvAAT": lambda net: losses.AdvAAT(0.1, 2, **MAPS),
    "IGR": lambda net: losses.IGR(losses.TRADES(0.1, 2), **MAPS),
    "of-smoothed-maps": lambda net: losses.IGR(
        attribution_method=lambda model: GaussianSmoothing(Saliency(model)),
        attribute_kwargs={"nt_samples": 2, "stdevs": 0.1},
    ),
    "ART": lambda net: losses.ART(0.1, 2, k=3),
    "mined": lambda net: losses.ART(0.1, 2, k=3, mining="hard"),
    "ATEX": lambda net: losses.ATEX(copy.deepcopy(net), 0.1),
    "of-the-student": lambda net: losses.ATEX(copy.deepcopy(net), 0.1, explained="student"),
    "GradientL2": lambda net: losses.GradientL2(0.1, 0.1),
    "LocalGradientAlignment": lambda net: LocalGradientAlignment(1.0, 0.1, 0.1),
    "HessianNorm": lambda net: HessianNorm(0.1),
    "SmoothSurface": lambda net: losses.SmoothSurface(0.3, 1.0),
    "SaliencyConsistency": lambda net: losses.SaliencyConsistency(
        0.1, k=3, steps=1, restarts=1, tries=2
    ),
    "NoiseAugmentation": lambda net: losses.NoiseAugmentation(0.1, 2),
    "NoiseConsistency": lambda net: losses.NoiseConsistency(0.1),
    "SmoothAdversarialTraining": lambda net: losses.SmoothAdversarialTraining(0.1, radius=0.1),
    "CertifiedMargin": lambda net: losses.CertifiedMargin(0.1, prediction=0.5),
}
every = pytest.mark.parametrize("name", EVERY)


def make_net(*middle: nn.Module, classes: int = 3) -> nn.Sequential:
    return dense_net(6, 8, classes, middle=middle)


@pytest.fixture
def data() -> tuple[Tensor, Tensor]:
    return torch.rand(4, 2, 3, dtype=torch.float64), torch.tensor([0, 2, 1, 1])


class Attention(nn.Module):
    """Two rows that attend to each other, by a layer and by the function."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.MultiheadAttention(3, 1, batch_first=True)
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.layer(x, x, x, need_weights=False)[0]
        return self.last(functional.scaled_dot_product_attention(x, x, x).flatten(1))


def test_no_loss_is_missing_here():
    concrete = {
        kind
        for kind in vars(losses).values()
        if isinstance(kind, type) and issubclass(kind, Criterion) and not kind.__abstractmethods__
    }
    assert {type(make(make_net())) for make in EVERY.values()} == concrete


@every
def test_attention_can_be_trained(name, data):
    torch.manual_seed(0)
    net = Attention().double()
    EVERY[name](net)(net, *data).backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in net.parameters())


# -- models behind functions ----------------------------------------------------------------------


class Holder:
    """An object that calls a net, and lists it nowhere."""

    def __init__(self, net: nn.Module) -> None:
        self.nets = [net]

    def __call__(self, x: Tensor) -> Tensor:
        return self.nets[0](x)


HIDING: dict[str, Callable[[nn.Module], Callable[[Tensor], Tensor]]] = {
    "function": lambda net: lambda x: net(x),
    "function of a function": lambda net: lambda x, inner=(lambda x: net(x)): inner(x),
    "object": Holder,
    "twin of an object": lambda net: softplus_surrogate(Holder(net), strict=False),
}


@pytest.mark.parametrize("hide", HIDING)
@every
def test_a_model_behind_a_function_is_trained_like_the_model(name, hide, data):
    """Same loss, same passes of the statistics, same modes."""
    found = []
    for wrap in (lambda net: net, HIDING[hide]):
        net = make_net(nn.BatchNorm1d(8), nn.Dropout(0.2)).train()
        net[3].eval()
        criterion = EVERY[name](net)
        torch.manual_seed(1)
        found.append((criterion(wrap(net), *data).detach(), *copy.deepcopy(net[2]).buffers()))
        assert [m.training for m in net.modules()] == [True, True, True, True, False, True, True]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_frozen_functions_come_back_after_an_error(data):
    net = make_net(nn.Dropout()).train()
    with pytest.raises(KeyError), evaluation_mode(Holder(net)):
        Holder(net)(data[0])
        assert not any(module.training for module in net.modules())
        raise KeyError
    assert all(module.training for module in net.modules())
    net(data[0])
    assert all(module.training for module in net.modules())  # no hook is left


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [7, 3, -1, -100])
@every
def test_targets_out_of_range_are_refused(name, wrong, data):
    net, target = make_net(), torch.tensor([0, 1, wrong, 1])
    with pytest.raises(ValueError, match=r"`target` must be in \[0, 2\] \(the model's classes\)"):
        EVERY[name](net)(net, data[0], target)


@every
def test_a_single_logit_is_refused(name, data):
    net = make_net(classes=1)
    with pytest.raises(ValueError, match=r"at least two classes, got .*\(\d+, 1\); give a binary"):
        EVERY[name](net)(net, data[0], torch.zeros_like(data[1]))


@every
def test_outputs_that_are_no_logits_are_refused(name, data):
    net = make_net()
    criterion = EVERY[name](net)
    with pytest.raises(TypeError, match="`model` must return logits as a Tensor, got tuple"):
        criterion(lambda x: (net(x), x), *data)
    with pytest.raises(ValueError, match=r"`model` must return logits of shape .*, got \(\d+,\)"):
        criterion(lambda x: net(x)[:, 0], *data)


def test_teachers_of_other_classes_are_refused(data):
    for classes in (2, 5):
        with pytest.raises(ValueError, match=rf"`teacher` .* 3 classes .*, got {classes}; pass"):
            losses.ATEX(make_net(classes=classes), 0.1)(make_net(), *data)


def test_an_attribution_in_place_of_its_class_is_refused():
    for kind in (losses.AAT, losses.AdvAAT, losses.IGR):
        with pytest.raises(TypeError, match=r"`attribution_method` .* instance of Saliency; pass"):
            kind(attribution_method=Saliency(make_net()))


BOXED = {
    "LocalGradientAlignment": LocalGradientAlignment,
    "GradientL2": losses.GradientL2,
    "AdversarialTraining": losses.AdversarialTraining,
    "SaliencyConsistency": lambda **box: losses.SaliencyConsistency(0.1, **box),
}


@pytest.mark.parametrize("name", BOXED)
def test_boxes_that_hold_no_input_are_refused(name, data):
    net = make_net()
    for box in ((1.0, 0.0), (0.0, 1e-3), (2.0, torch.inf), (torch.ones(2, 3), 0.0)):
        criterion = BOXED[name](lower_bound=box[0], upper_bound=box[1])
        with pytest.raises(ValueError, match=r"`inputs` must lie in \[`lower_bound`"):
            criterion(net, *data)
    with pytest.raises(ValueError, match=r"`lower_bound` must broadcast .* got shape \(5,\)"):
        BOXED[name](lower_bound=torch.zeros(5))(net, *data)
    with pytest.raises(TypeError, match="`lower_bound` must be a number, got NoneType"):
        BOXED[name](lower_bound=None)
    with pytest.raises(ValueError, match="`upper_bound` must be in"):
        BOXED[name](upper_bound=torch.nan)


@pytest.mark.parametrize("name", ["LocalGradientAlignment", "GradientL2", "AdversarialTraining"])
def test_radii_that_do_not_broadcast_are_refused(name, data):
    for radius in (torch.ones(4), torch.ones(7, 4, 2, 3)):
        with pytest.raises(ValueError, match="`radius` must broadcast to the input"):
            BOXED[name](radius=radius)(make_net(), *data)
