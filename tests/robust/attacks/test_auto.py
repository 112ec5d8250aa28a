"""The ensemble of top-k attacks and its local search."""

from __future__ import annotations

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from torch import nn

from captum_robust.attr import GaussianSmoothing, SparsifiedSmoothGrad
from captum_robust.robust import AutoTopKAttack, RandomAttack, TopKAttack
from captum_robust.robust.template.local_search import LocalSearch
from captum_robust.robust.template.run import AttackRun
from captum_robust.robust.template.spec import AttackSpec, Settings

SIZES = {"Linf": 8 / 255, "L2": 0.5, "L1": 3.0}


def length(delta, norm):
    flat = delta.flatten(1)
    return flat.abs().amax(1) if norm == "Linf" else flat.norm(p=int(norm[1]), dim=1)


@pytest.mark.parametrize("norm", SIZES)
def test_is_ahead_of_one_attack_with_equal_gradients_and_never_behind_random_search(
    norm, net, digits
):
    images = digits[0][:8]
    targets = net(images).argmax(1)
    budget = {"step_num": 20, "target": targets, "seed": 0}
    auto = AutoTopKAttack(net, Saliency(net), 0, 1, norm=norm)
    found = auto.search(images, SIZES[norm], **budget)
    assert (length(found.perturbed - images, norm) <= SIZES[norm] * (1 + 1e-9)).all()
    assert ((found.perturbed >= 0) & (found.perturbed <= 1)).all()
    assert torch.equal(net(found.perturbed).argmax(1), targets)
    assert (found.gradients <= 100).all()
    single = TopKAttack(net, Saliency(net), 0, 1, norm=norm)
    other = single.search(images, SIZES[norm], restarts=5, **budget)
    ahead, behind = found.score > other.score, found.score < other.score
    assert ahead.sum() > behind.sum()  # of single examples luck with a start decides some
    assert found.score.mean() >= other.score.mean()
    random = RandomAttack.against(auto).search(images, SIZES[norm], **{**budget, "step_num": 1000})
    assert (found.score >= random.score).all()


@pytest.mark.parametrize(
    "method",
    [InputXGradient, IntegratedGradients, GaussianSmoothing, SparsifiedSmoothGrad],
)
def test_takes_every_kind_of_map(method, net, batch):
    images, targets = batch
    smoothed = method in (GaussianSmoothing, SparsifiedSmoothGrad)
    kwargs = {"nt_samples": 4, "stdevs": 0.1} if smoothed else {}
    kwargs = {"n_steps": 3} if method is IntegratedGradients else kwargs
    attack = AutoTopKAttack(
        net,
        method(Saliency(net) if smoothed else net),
        0,
        1,
        reduction="abs",
        attribute_kwargs=kwargs,
    )
    found = attack.search(images, 0.1, step_num=3, target=targets, seed=0)
    assert torch.equal(net(found.perturbed).argmax(1), targets)
    assert (found.score > found.clean_score).double().mean() > 0.5


def test_an_example_alone_is_as_in_the_batch(net, batch):
    images, targets = batch
    attack = AutoTopKAttack(net, Saliency(net), 0, 1, norm="L2")
    options = {"radius": 0.3, "step_num": 4, "seed": 1}
    together = attack.perturb(images, target=targets, **options)
    alone = attack.perturb(images[3:4], target=targets[3:4], example_ids=[3], **options)
    torch.testing.assert_close(alone[0], together[3])


def test_an_example_whose_top_is_displaced_leaves():
    """The second map cannot change; the first loses its top at the first step."""

    def net(x):
        return torch.cat(
            [(x.square() * torch.tensor([1.0, 0.9, 0.0])).sum(1, keepdim=True), 0 * x], 1
        )

    x = torch.tensor([[1.0, 1.0, 0.0], [9.0, 1.0, 0.0]])
    attack = AutoTopKAttack(net, Saliency(net), k=1)
    found = attack.search(x, 0.5, step_num=10, target=0, keep_prediction=False, seed=0)
    assert found.score.tolist() == [1.0, 0.0]
    assert found.gradients[0] < 10 and found.gradients[1] == 50


def test_the_local_search_finds_what_no_gradient_shows():
    """A map that is constant by pieces: features above a half count 1, the first always 0.9."""

    class Pieces(Saliency):
        def attribute(self, inputs, target=None):
            return torch.cat(
                [torch.full_like(inputs[:, :1], 0.9), (inputs[:, 1:] > 0.5).float()], 1
            )

    def net(x):
        return torch.stack([x.sum(1), -x.sum(1)], 1)

    attack = TopKAttack(net, Pieces(net), k=1)
    x = torch.full((3, 4), 0.4)
    run = AttackRun(AttackSpec.of(attack), x, Settings(radius=0.2, target=0, seed=0))
    ticks = []
    LocalSearch(60, restart=0)(run, lambda: ticks.append(1))
    assert (run.best.score == 1).all() and 0 < len(ticks) <= 60
    assert (run.gradients == 0).all()
    assert ((run.best.points - x).abs() <= 0.2 + 1e-6).all()


def test_members_have_their_own_rule_and_start(net):
    for piece in ("step_rule", "surrogate", "start", "objective"):
        with pytest.raises(TypeError, match=r"must not be given to AutoTopKAttack"):
            AutoTopKAttack(net, Saliency(net), **{piece: None})
    with pytest.raises(ValueError, match="`radius` must be finite for a random start"):
        AutoTopKAttack(net, Saliency(net)).perturb(
            torch.rand(1, 1, 28, 28).double(), step_size=0.1, target=0, keep_prediction=False
        )


def test_smoothed_maps_are_judged_as_often_as_that_costs_what_climbing_does():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    method = GaussianSmoothing(Saliency(net))
    for draws, every in ((4, 1), (12, 1), (60, 5)):
        kwargs = {"nt_samples": draws, "stdevs": 0.1}
        attack = TopKAttack(net, method, k=2, attack_samples=4, attribute_kwargs=kwargs)
        assert AttackSpec.of(attack).eval_every == every
    x = torch.rand(3, 4)
    found = attack.search(x, 0.1, step_num=11, target=net(x).argmax(1), keep_prediction=False)
    assert (found.evaluations == 3).all()  # after steps 5, 10 and the last
