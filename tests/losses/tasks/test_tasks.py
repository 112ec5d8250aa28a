"""What outputs, targets and inputs may be: shares, weights, labels, numbers, places, tuples."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_robust import losses
from captum_robust.losses import Criterion
from captum_robust.losses.tasks.choice import task_of
from captum_robust.losses.tasks.classes import Classes
from captum_robust.losses.tasks.task import Task

PATH = {"path_steps": 4, "approx_factor": 2}
MAPS = {"attribute_kwargs": {"n_steps": 3}}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def seed_of(**words) -> dict:
    return {"generator": seeded(), **words}


# Every loss with its draws fixed, by the net and the base.
EVERY: dict[str, Callable[..., Criterion]] = {
    "AdversarialTraining": lambda net, **b: losses.AdversarialTraining(0.1, 2, **seed_of(), **b),
    "TRADES": lambda net, **b: losses.TRADES(0.1, 2, **seed_of(), **b),
    "IGNorm": lambda net, **b: losses.IGNorm(0.1, 2, **PATH, **seed_of(), **b),
    "IGSumNorm": lambda net, **b: losses.IGSumNorm(0.1, 2, **PATH, **seed_of(), **b),
    "AAT": lambda net, **b: losses.AAT(0.1, 2, **MAPS, **seed_of(), **b),
    "AdvAAT": lambda net, **b: losses.AdvAAT(0.1, 2, **MAPS, **seed_of(), **b),
    "IGR": lambda net, **b: losses.IGR(losses.TRADES(0.1, 2, **seed_of(), **b), **MAPS),
    "ATEX": lambda net, **b: losses.ATEX(copy.deepcopy(net), 0.1, **seed_of(), **b),
    "GradientL2": lambda net, **b: losses.GradientL2(0.1, 0.1, **seed_of(), **b),
    "LocalGradientAlignment": lambda net, **b: losses.LocalGradientAlignment(
        1.0, 0.1, 0.1, **seed_of(), **b
    ),
    "HessianNorm": lambda net, **b: losses.HessianNorm(0.1, **seed_of(), **b),
    "NoiseAugmentation": lambda net, **b: losses.NoiseAugmentation(0.2, 2, **seed_of(), **b),
    "NoiseConsistency": lambda net, **b: losses.NoiseConsistency(0.2, **seed_of(), **b),
    "SmoothAdversarialTraining": lambda net, **b: losses.SmoothAdversarialTraining(
        0.2, radius=0.1, steps=2, **seed_of(), **b
    ),
    "CertifiedMargin": lambda net, **b: losses.CertifiedMargin(0.2, keep=0.5, **seed_of(), **b),
}
# These are about classes: one true one, or the softmax.
OF_CLASSES: dict[str, Callable[..., Criterion]] = {
    "ART": lambda net, **b: losses.ART(0.1, 2, k=3, **seed_of(), **b),
    "SmoothSurface": lambda net, **b: losses.SmoothSurface(0.3, 1.0, **b),
    "SaliencyConsistency": lambda net, **b: losses.SaliencyConsistency(
        0.1, k=3, steps=1, restarts=1, tries=2, **seed_of(), **b
    ),
}
WITH_CLASSES = EVERY | OF_CLASSES
COMPARE_OUTPUTS = ("TRADES", "IGR", "ATEX", "NoiseConsistency", "SmoothAdversarialTraining")
every = pytest.mark.parametrize("name", EVERY)
with_classes = pytest.mark.parametrize("name", WITH_CLASSES)


def make_net(outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(3)
    layers = nn.Flatten(), nn.Linear(6, 8), nn.Softplus(), nn.Linear(8, outputs)
    return nn.Sequential(*layers).double()


@pytest.fixture
def inputs() -> Tensor:
    return torch.rand(4, 2, 3, dtype=torch.float64)


HARD = torch.tensor([0, 2, 1, 1])


def loss_of(name: str, net, inputs, target, **base) -> Tensor:
    torch.manual_seed(7)  # for the methods that draw from torch's generator
    loss = WITH_CLASSES[name](net, **base)(net, inputs, target)
    assert torch.isfinite(loss)
    return loss.detach()


# -- classes ---------------------------------------------------------------------------------------


@with_classes
def test_one_hot_shares_are_the_hard_class(name, inputs):
    net = make_net()
    hard, soft = (
        loss_of(name, net, inputs, target)
        for target in (HARD, functional.one_hot(HARD, 3).double())
    )
    torch.testing.assert_close(soft, hard, rtol=1e-6, atol=1e-8)


@with_classes
def test_the_base_enters_as_torch_computes_it(name, inputs):
    """Label smoothing and class weights change the term of the prediction as torch's loss does."""
    net, weight = make_net(), torch.tensor([0.5, 2.0, 1.0], dtype=torch.float32)
    base = nn.CrossEntropyLoss(weight, label_smoothing=0.1)
    criterion = WITH_CLASSES[name](net, base=base)
    criterion(net, inputs, HARD)
    assert base.reduction == "mean"  # the user's own is left alone
    if "cross_entropy" in criterion.terms and name not in ("NoiseAugmentation",):
        points = inputs
        if name in ("NoiseConsistency", "CertifiedMargin"):
            return
        literal = functional.cross_entropy(
            net(points), HARD, weight.double(), reduction="none", label_smoothing=0.1
        )
        torch.testing.assert_close(criterion.terms["cross_entropy"], literal.mean().detach())


def test_the_curvature_is_the_hessian_of_the_weighted_smoothed_loss(inputs):
    """Exactly so for a linear net."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).double()
    weight = torch.tensor([0.5, 2.0, 1.0]).double()

    def literal(x: Tensor, y: Tensor) -> Tensor:
        def loss(z: Tensor) -> Tensor:
            return functional.cross_entropy(
                net(z.unsqueeze(0)), y.unsqueeze(0), weight, label_smoothing=0.2, reduction="sum"
            )

        return torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, x).reshape(6, 6))[-1]

    for target in (HARD, torch.rand(4, 3).double()):
        base = nn.CrossEntropyLoss(weight, label_smoothing=0.2)
        criterion = losses.SmoothSurface(0.3, 1.0, base=base)
        criterion(net, inputs, target)
        tops = [literal(x, y) for x, y in zip(inputs, target, strict=True)]
        torch.testing.assert_close(criterion.terms["curvature"], torch.stack(tops).mean())


def test_ignored_classes_count_nothing(inputs):
    net = make_net()
    target = torch.tensor([0, -100, 1, -100])
    criterion = losses.GradientL2(0.0, 0.1, base=nn.CrossEntropyLoss(), reduction="none")
    found = criterion(net, inputs, target).detach()
    literal = functional.cross_entropy(net(inputs), target, reduction="none").detach()
    torch.testing.assert_close(found, literal)
    with pytest.raises(ValueError, match="`target` must be in"):
        losses.GradientL2(0.0, 0.1)(net, inputs, target)


class Places(nn.Module):
    """Logits for each of three places, of one net that sees a place alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv1d(2, 5, 1), nn.Softplus(), nn.Conv1d(5, 4, 1)).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@every
def test_dense_outputs_are_averaged_over_places(name, inputs):
    torch.manual_seed(1)
    net, target = Places(), torch.tensor([[0, 1, 2], [3, 3, 1], [0, 0, 2], [1, 2, 3]])
    loss = loss_of(name, net, inputs, target)
    soft = functional.one_hot(target, 4).movedim(2, 1).double()
    torch.testing.assert_close(loss_of(name, net, inputs, soft), loss, rtol=1e-6, atol=1e-8)
    ignoring = target.clone()
    ignoring[:, 1] = -100
    criterion = losses.HessianNorm(0.0, base=nn.CrossEntropyLoss(), reduction="none")
    found = criterion(net, inputs, ignoring).detach()
    kept = functional.cross_entropy(net(inputs), target, reduction="none")[:, [0, 2]].mean(1)
    torch.testing.assert_close(found, kept.detach())


@pytest.mark.parametrize("name", OF_CLASSES)
def test_losses_of_one_class_refuse_places(name, inputs):
    with pytest.raises((TypeError, ValueError), match=r"one true class|of shape \(N, classes\)"):
        OF_CLASSES[name](Places())(Places(), inputs, torch.zeros(4, 3).long())


# -- several labels, numbers, functions ------------------------------------------------------------


@every
def test_several_labels(name, inputs):
    net, target = make_net(), torch.tensor([[1, 0, 1], [0, 0, 1], [0, 1, 1], [1, 1, 1]])
    base = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 2.0, 0.5]))
    bools, floats = (
        loss_of(name, net, inputs, t, base=base) for t in (target.bool(), target * 1.0)
    )
    torch.testing.assert_close(bools, floats)


@every
def test_one_logit_is_two_classes(name, inputs):
    """A net of logit z under BCE is the net of logits (0, z) under cross-entropy."""
    net, binary = make_net(1), torch.tensor([0, 1, 1, 0])
    single = losses.NoiseConsistency(0.2, **seed_of(), base=nn.BCEWithLogitsLoss())
    double = losses.NoiseConsistency(0.2, **seed_of())

    def pair(x: Tensor) -> Tensor:
        return torch.cat([torch.zeros(len(x), 1).double(), net(x)], 1)

    torch.testing.assert_close(single(net, inputs, binary), double(pair, inputs, binary))
    loss_of(name, net, inputs, binary, base=nn.BCEWithLogitsLoss())


@every
@pytest.mark.parametrize("base", [nn.MSELoss(), nn.L1Loss(), nn.HuberLoss(reduction="sum")])
def test_numbers(name, base, inputs):
    net, target = make_net(2), torch.randn(4, 2).double()
    loss_of(name, net, inputs, target, base=base)
    one, column = (
        loss_of(name, make_net(1), inputs, part, base=base)
        for part in (target[:, 0], target[:, :1])
    )
    torch.testing.assert_close(one, column)  # and no broadcast to 4 x 4


@every
def test_functions(name, inputs):
    net = make_net()

    def base(outputs, target):
        return functional.cross_entropy(outputs, target, reduction="none")

    if name in COMPARE_OUTPUTS:
        with pytest.raises(TypeError, match="of a function as `base` it is not known how"):
            loss_of(name, net, inputs, HARD, base=base)
        return
    found = EVERY[name](net, base=base)
    found(net, inputs, HARD)
    plain = EVERY[name](net)
    plain(net, inputs, HARD)
    if "base" in found.terms and name not in ("CertifiedMargin",):
        torch.testing.assert_close(found.terms["base"], plain.terms["cross_entropy"])


def test_a_function_may_read_any_outputs(inputs):
    net = make_net()
    criterion = losses.NoiseAugmentation(0.1, base=lambda out, y: out["boxes"].square().sum(1))
    criterion(lambda x: {"boxes": net(x)}, inputs, HARD).backward()
    with pytest.raises(ValueError, match="`base` must return one value or row for each of the 4"):
        losses.NoiseAugmentation(base=lambda out, y: out.mean())(net, inputs, HARD)


def test_a_task_of_the_users_own(inputs):
    class Ranking(nn.Module):
        pass

    class Ranked(Classes):
        takes = (Ranking,)
        name = "ranking"

        def __init__(self, base):
            super().__init__()

    try:
        assert isinstance(task_of(Ranking()), Ranked)
        criterion = losses.GradientL2(base=Ranking())
        criterion(make_net(), inputs, HARD)
        assert list(criterion.terms) == ["ranking", "l2", "total"]
    finally:
        Task.known.remove(Ranked)


# -- several inputs, reductions --------------------------------------------------------------------


class Two(nn.Module):
    """A net of one input, split in two."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.net(torch.cat([first.reshape(len(first), -1), second], 1))


@with_classes
def test_several_inputs_are_one_vector(name, inputs):
    net = make_net()
    parts = inputs[:, 0], inputs[:, 1]
    if name == "ATEX":
        two = losses.ATEX(Two(copy.deepcopy(net)), 0.1, **seed_of())
    else:
        two = WITH_CLASSES[name](net)
    torch.manual_seed(7)
    found = two(Two(net), parts, HARD)
    found.backward()
    torch.testing.assert_close(
        found.detach(), loss_of(name, net, inputs.flatten(1), HARD), rtol=1e-9, atol=1e-9
    )


def test_radii_and_levels_go_with_the_inputs(inputs):
    net = Two(make_net())
    parts = inputs[:, 0].float(), inputs[:, 1]
    still = losses.AdversarialTraining((0.0, 0.2), 2, base=None)
    packed = still.perturb(*losses.criterion.pack(net, parts), HARD)
    moved = (packed - torch.cat(parts, 1)).abs()
    assert moved[:, :3].max() == 0 and moved[:, 3:].max() == pytest.approx(0.2)
    noise = losses.NoiseAugmentation((0.0, 1.0)).draws.like(*losses.criterion.pack(net, parts))
    assert noise[..., :3].abs().max() == 0 and noise[..., 3:].abs().min() > 0


@with_classes
def test_reductions_agree(name, inputs):
    net = make_net()
    if name == "IGR":

        def made(kind):
            return losses.IGR(losses.TRADES(0.1, 2, **seed_of()), **MAPS, reduction=kind)
    elif name == "ATEX":

        def made(kind):
            return losses.ATEX(copy.deepcopy(net), 0.1, **seed_of(), example_reduction=kind)
    else:

        def made(kind):
            return WITH_CLASSES[name](net, reduction=kind)

    found = {}
    for kind in ("mean", "sum", "none"):
        torch.manual_seed(7)
        found[kind] = made(kind)(net, inputs, HARD)
    assert found["none"].shape == (4,) and found["none"].requires_grad
    torch.testing.assert_close(found["none"].mean(), found["mean"])
    torch.testing.assert_close(found["none"].sum(), found["sum"])


@pytest.mark.parametrize(
    ("base", "target", "message"),
    [
        (None, torch.rand(4, 2), r"`target` must have the shape of the outputs, \(4, 3\), got"),
        (None, torch.zeros(4, 3).long(), r"`target` must have shape \(4,\), one class an output"),
        (nn.BCEWithLogitsLoss(), torch.rand(4, 2), r"shape of the outputs, \(4, 3\)"),
        (nn.BCEWithLogitsLoss(), torch.full((4, 3), 2.0), r"`target` must lie in \[0, 1\]"),
        (nn.MSELoss(), torch.rand(4), r"shape of the outputs, \(4, 3\), got \(4, 1\)"),
        (nn.MSELoss(), torch.rand(3, 3), r"`target` must have shape \(4,\)"),
    ],
)
def test_targets_that_do_not_fit_are_refused(base, target, message, inputs):
    with pytest.raises(ValueError, match=message):
        losses.GradientL2(base=base)(make_net(), inputs, target)


def test_what_is_no_loss_is_refused():
    with pytest.raises(TypeError, match="`base` must be a loss such as"):
        losses.GradientL2(base="mse")
    with pytest.raises(TypeError, match="`base` must be a loss"):
        losses.GradientL2(base=nn.MSELoss)
    with pytest.raises(ValueError, match="`reduction` must be one of"):
        losses.GradientL2(reduction="max")
    with pytest.raises(TypeError, match="`base` must be a cross-entropy for SmoothSurface"):
        losses.SmoothSurface(base=nn.MSELoss())


@pytest.mark.parametrize("name", OF_CLASSES)
def test_losses_of_classes_refuse_other_tasks(name, inputs):
    with pytest.raises(TypeError, match=r"one true class|must be a cross-entropy"):
        OF_CLASSES[name](make_net(), base=nn.MSELoss())(make_net(), inputs, torch.rand(4, 3))
