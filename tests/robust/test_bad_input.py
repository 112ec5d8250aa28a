"""Every wrong argument is named, with what came and what to do."""

from __future__ import annotations

import pytest
import torch
from captum.attr import LRP, DeepLift, GuidedBackprop, NoiseTunnel, Saliency
from torch import nn

from captum_robust.robust import (
    AttributionAttack,
    L2DeviationAttack,
    ManipulateAttack,
    OutputMatch,
    RandomAttack,
    TopKAttack,
    TopKObjective,
    frame_target,
)


@pytest.fixture
def attack(net):
    return TopKAttack(net, Saliency(net), 0, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"radius": -0.1}, r"`radius` must be in \[0, inf\], got -0.1"),
        ({"radius": torch.tensor([-1.0])}, r"`radius` must be >= 0 everywhere, got -1"),
        ({"radius": float("nan")}, "`radius` must be in"),
        ({"radius": (0.1, 0.2)}, "`radius` must be one value or one for each of the 1 inputs"),
        ({"radius": torch.ones(3)}, "`radius` must broadcast to the input"),
        ({"step_size": 0}, r"`step_size` must be in \(0, inf\], got 0"),
        ({"step_size": -1.0}, "`step_size` must be in"),
        ({"step_num": 0}, "`step_num` must be at least 1, got 0"),
        ({"restarts": 0}, "`restarts` must be at least 1"),
        ({"eval_every": 0}, "`eval_every` must be at least 1"),
        ({"norm": "L1"}, "`norm` must be one of 'Linf', 'L2', got 'L1'"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"example_ids": [1]}, "`example_ids` must have one entry for each of the 7"),
        ({"radius": None}, "`step_size` must be given where `radius` is infinite"),
        ({"radius": None, "step_size": 0.1, "random_start": True}, "`radius` must be finite"),
    ],
)
def test_arguments_of_a_call(attack, batch, wrong, message):
    images, targets = batch
    with pytest.raises(ValueError, match=message):
        attack.perturb(images, **{"radius": 0.1, "target": targets, **wrong})


def test_inputs(attack, batch):
    images, targets = batch
    with pytest.raises(ValueError, match=r"`inputs` must lie in \[`lower_bound`, `upper_bound`\]"):
        attack.perturb(images + 2, 0.1, target=targets)
    with pytest.raises(ValueError, match="must be finite"):
        attack.perturb(images * torch.nan, 0.1, target=targets)
    with pytest.raises(TypeError, match="must be floating point"):
        attack.perturb(images.long(), 0.1, target=targets)


def test_a_prediction_that_is_not_the_target(attack, batch):
    images, targets = batch
    wrong = targets.clone()
    wrong[2] = (wrong[2] + 1) % 10
    with pytest.warns(UserWarning, match="prediction of example 2 is already not `target`"):
        found = attack.search(images, 0.1, step_num=3, target=wrong)
    assert found.skipped.tolist() == [False, False, True, False, False, False, False]
    assert torch.equal(found.perturbed[2], images[2]) and found.gradients[2] == 0
    assert not torch.equal(found.perturbed[1], images[1])
    free = attack.search(images, 0.1, step_num=3, target=wrong, keep_prediction=False)
    assert not free.skipped.any()


def test_a_map_without_a_graph(net):
    for method, remedy in (
        (DeepLift(net), "does not compute its map from `gradient_func`.*Saliency"),
        (NoiseTunnel(Saliency(net)), "runs without autograd.*GaussianSmoothing"),
        (GuidedBackprop(net), "rewrites the backward pass.*DifferentiableGuidedBackprop"),
        (LRP(net), "rewrites the backward pass.*LRPZPlus"),
    ):
        with pytest.raises(TypeError, match=remedy):
            TopKAttack(net, method)
    RandomAttack(net, DeepLift(net))  # needs none


def test_a_piecewise_linear_net_without_surrogate(net, batch):
    images, targets = batch
    with pytest.warns(UserWarning, match="second derivatives are zero.*surrogate"):
        TopKAttack(net, Saliency(net), 0, 1, surrogate=None).perturb(
            images, 0.1, step_num=2, target=targets
        )


def test_nan_in_a_gradient(net, batch):
    """That example stops and keeps its best point; the others go on."""
    images, targets = batch

    class Breaks(TopKObjective):
        calls = 0

        def value(self, maps, anchor):
            value = super().value(maps, anchor)
            if value.requires_grad:
                type(self).calls += 1
                if self.calls == 4:
                    return torch.cat([value[:1] * torch.nan, value[1:]])
            return value

    attack = AttributionAttack(net, Saliency(net), 0, 1, objective=Breaks(10))
    with pytest.warns(RuntimeWarning, match="gradient of example 0 is not finite at step 3"):
        found = attack.search(images, 0.1, step_num=8, target=targets)
    assert found.stopped.tolist() == [True] + 6 * [False]
    assert found.gradients.tolist() == [4] + 6 * [8]
    alone = TopKAttack(net, Saliency(net), 0, 1, k=10, normalisation="none")
    expected = alone.search(images[:1], 0.1, step_num=8, target=targets[:1])
    assert found.score[0] <= expected.score[0]
    assert torch.equal(net(found.perturbed).argmax(1), targets)


def test_training_mode(batch):
    images, _ = batch
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(64, 3)).double()
    with pytest.raises(RuntimeError, match=r"must be in evaluation mode.*call model.eval\(\)"):
        TopKAttack(net, Saliency(net)).perturb(images, 0.1, target=0)
    assert net.training


def test_outputs_without_classes(batch):
    net = lambda x: x.flatten(1).square().sum(1)  # noqa: E731
    attack = TopKAttack(net, Saliency(net))
    with pytest.raises(ValueError, match=r"must give \(N, classes\).*keep_prediction=False"):
        attack.perturb(batch[0], 0.1)
    attack.perturb(batch[0], 0.1, step_num=2, keep_prediction=False)


def test_choices_of_the_constructor(net):
    saliency = Saliency(net)
    with pytest.raises(ValueError, match="`surrogate` must be one of 'softplus'"):
        TopKAttack(net, saliency, surrogate="relu")
    with pytest.raises(ValueError, match="`start` must be one of"):
        TopKAttack(net, saliency, start="sphere")
    with pytest.raises(ValueError, match=r"`weight` must be in \(0, inf\]"):
        TopKAttack(net, saliency, weight=0)
    with pytest.raises(ValueError, match="`attack_samples` needs a smoothed attribution"):
        TopKAttack(net, saliency, attack_samples=3)
    with pytest.raises(ValueError, match="`variant` must be one of"):
        ManipulateAttack(net, saliency, target_map=frame_target((8, 8), 1), variant="x")
    with pytest.raises(ValueError, match=r"exactly one of `target_map` and `others`.*neither"):
        ManipulateAttack(net, saliency)
    with pytest.raises(ValueError, match="`outputs` must be one of"):
        OutputMatch(1.0, "probabilities")


def test_a_start_without_a_gradient(net, batch):
    attack = L2DeviationAttack(net, Saliency(net))
    with pytest.raises(ValueError, match="`random_start` must be True for L2Objective"):
        attack.perturb(batch[0], 0.1, target=batch[1], random_start=False)
