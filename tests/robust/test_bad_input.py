"""Every wrong argument is named, with what came and what to do."""

from __future__ import annotations

import pytest
import torch
from captum.attr import LRP, DeepLift, GuidedBackprop, NoiseTunnel, Saliency
from torch import nn

from captum_robust.robust import (
    AdamStep,
    AttributionAttack,
    L2DeviationAttack,
    L2TopKAttack,
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
        ({"norm": "L3"}, "`norm` must be one of 'L1', 'L2', 'Linf', or a Ball, got 'L3'"),
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


class Holder:
    """A plain object around a net."""

    def __init__(self, net):
        self.net = net

    def __call__(self, x):
        return self.net(x)


class Recurrent(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.head = layer, nn.Linear(4, 3)

    def forward(self, x):
        query = (x, x) if isinstance(self.layer, nn.MultiheadAttention) else ()
        return self.head(self.layer(x, *query)[0][:, -1])


@pytest.mark.parametrize(
    ("net", "name"),
    [
        (Holder(nn.Sequential(nn.Linear(4, 3), nn.Dropout())), "Dropout"),
        (nn.Sequential(nn.Linear(4, 8), nn.RReLU(), nn.Linear(8, 3)), "RReLU"),
        (nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False)).eval(), "BatchNorm1d"),
        (Recurrent(nn.LSTM(4, 4, 2, dropout=0.5, batch_first=True)), "LSTM"),
        (Recurrent(nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True)), "Multihead"),
    ],
)
def test_every_module_that_mixes_examples_is_found(net, name):
    inputs = torch.rand(5, 4) if not isinstance(net, Recurrent) else torch.rand(5, 2, 4)
    with pytest.raises(RuntimeError, match=f"must be in evaluation mode to be attacked.*{name}"):
        TopKAttack(net, Saliency(net), k=1).perturb(inputs, 0.1, target=0)


def test_the_remedy_for_missing_statistics():
    net = nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 3)).eval()
    with pytest.raises(RuntimeError, match=r"luck; give it running statistics"):
        TopKAttack(net, Saliency(net), k=1).perturb(torch.rand(5, 4), 0.1, target=0)


def test_a_single_logit_has_no_prediction_to_keep():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    attack, inputs = TopKAttack(net, Saliency(net), k=1), torch.rand(3, 4)
    with pytest.raises(ValueError, match=r"two classes or more.*got \(3, 1\).*two columns"):
        attack.perturb(inputs, 0.1, target=0)
    attack.perturb(inputs, 0.1, step_num=2, target=0, keep_prediction=False)


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (10, ValueError, r"`target` must be in \[0, 9\].*got 10"),
        (-1, ValueError, r"`target` must hold classes >= 0, got -1"),
        (torch.zeros(7), TypeError, "`target` must hold integer classes.*float32"),
        (1.0, TypeError, "`target` must hold integer classes.*float"),
        (torch.zeros(2, dtype=torch.long), ValueError, "one for each of the 7 examples"),
        ([0], ValueError, "one for each of the 7 examples"),
        (torch.zeros(7, 1, dtype=torch.long), ValueError, r"got shape \(7, 1\)"),
    ],
)
@pytest.mark.parametrize("keep", [True, False])
def test_targets(attack, batch, target, error, message, keep):
    with pytest.raises(error, match=message):
        attack.perturb(batch[0], 0.1, target=target, keep_prediction=keep)


@pytest.mark.parametrize("bound", [None, [0.0], "a", (None,)])
def test_bounds_of_another_type(net, batch, bound):
    attack = TopKAttack(net, Saliency(net), bound, 1)
    with pytest.raises(TypeError, match="`lower_bound` must be a number, a Tensor"):
        attack.perturb(batch[0], 0.1, target=batch[1])


def test_bounds_that_are_nan(net, batch):
    upper = torch.ones(28)
    upper[3] = torch.nan
    for bounds, name in (((torch.nan, 1), "lower"), ((0, upper), "upper")):
        with pytest.raises(ValueError, match=f"`{name}_bound` must not be NaN"):
            TopKAttack(net, Saliency(net), *bounds).perturb(batch[0], 0.1, target=batch[1])


def test_arguments_of_another_type(attack, batch):
    images, targets = batch
    with pytest.raises(TypeError, match=r"`mask` must be a number, a Tensor.*got list"):
        attack.perturb(images, 0.1, target=targets, mask=[1, 0])
    with pytest.raises(TypeError, match=r"`inputs` must be a Tensor or a tuple.*got list"):
        attack.perturb([images], 0.1, target=targets)
    with pytest.raises(TypeError, match=r"search\(\) got an unexpected keyword argument 'foo'"):
        attack.search(images, 0.1, foo=3)


@pytest.mark.parametrize(
    ("others", "error", "message"),
    [
        (torch.rand(3, 1, 28, 28), ValueError, "`others` must have the shape of the inputs"),
        (torch.rand(7, 1, 28, 27), ValueError, "`others` must have the shape of the inputs"),
        ((torch.rand(1, 1, 28, 28),) * 2, ValueError, "`others` must have the shape"),
        ([torch.rand(1, 1, 28, 28)], TypeError, "`others` must be a floating-point Tensor"),
        (torch.full((1, 1, 28, 28), torch.nan), ValueError, "`others` must be finite"),
    ],
)
def test_other_inputs(net, batch, others, error, message):
    with pytest.raises(error, match=message):
        ManipulateAttack(net, Saliency(net), others=others).perturb(
            batch[0], 0.1, step_num=2, target=batch[1]
        )


@pytest.mark.parametrize(
    ("pieces", "error", "message"),
    [
        ({"surrogate": -3.0}, ValueError, "`surrogate` must be in"),
        ({"surrogate": (1.0, -3.0)}, ValueError, "`surrogate` must be in"),
        ({"surrogate": (1.0, 2.0, 3.0)}, ValueError, "`surrogate` must be one sharpness or a pair"),
        ({"surrogate": True}, TypeError, "`surrogate` must be 'softplus'.*got a bool"),
        ({"surrogate": [1.0, 2.0]}, TypeError, "`surrogate` must be 'softplus'.*got a list"),
        ({"objective": TopKObjective}, TypeError, "`objective` must be an object of Objective"),
        ({"objective": None}, TypeError, "`objective` must be an object.*got None"),
        ({"step_rule": AdamStep}, TypeError, "`step_rule` must be an object.*the class AdamStep"),
        ({"weight": float("inf")}, ValueError, "`weight` must be in"),
        ({"attribute_kwargs": [1]}, TypeError, "`attribute_kwargs` must be a dict"),
        ({"attribute_kwargs": {"target": 3}}, ValueError, "`attribute_kwargs`.*'target'.*perturb"),
        ({"attribute_kwargs": {"inputs": 3}}, ValueError, "`attribute_kwargs` must not hold"),
        (
            {"attribute_kwargs": {"return_convergence_delta": True}},
            ValueError,
            "`attribute_kwargs`.*delta would count as a feature",
        ),
    ],
)
def test_pieces(net, pieces, error, message):
    with pytest.raises(error, match=message):
        AttributionAttack(net, Saliency(net), **{"objective": TopKObjective(2), **pieces})


def test_attributions_that_are_no_objects(net):
    for method, came in ((Saliency, "the class Saliency"), (Saliency(net).attribute, "a method")):
        with pytest.raises(TypeError, match=f"`attribution_method` must be.*{came}"):
            TopKAttack(net, method)


def test_step_rules_and_their_numbers(net, batch):
    with pytest.raises(ValueError, match=r"`betas` must be in \[0, 1\), got 2"):
        AdamStep(betas=(2, 3))
    with pytest.raises(TypeError, match="`betas` must be a tuple of two"):
        AdamStep(betas=0.9)
    with pytest.raises(ValueError, match=r"`eps` must be in \(0, inf\)"):
        AdamStep(eps=-1)
    with pytest.raises(TypeError, match="`start_tries` must be passed as `tries`"):
        L2TopKAttack(net, Saliency(net), start_tries=5)
    with pytest.raises(ValueError, match=r"`step_size` must be None for ShrinkingStep.*got 0.5"):
        L2TopKAttack(net, Saliency(net)).perturb(batch[0], 0.1, step_size=0.5, target=batch[1])
    with pytest.raises(ValueError, match="`target_map` must be finite"):
        ManipulateAttack(net, Saliency(net), target_map=torch.full((28, 28), torch.nan))
    with pytest.raises(ValueError, match="`weight` must be in"):
        OutputMatch(float("inf"))


@pytest.mark.parametrize(
    ("evaluation", "error"),
    [(lambda a, b: torch.tensor(1.0), ValueError), (lambda a, b: [1.0] * len(a), TypeError)],
)
def test_evaluations_of_another_shape(net, batch, evaluation, error):
    attack = TopKAttack(net, Saliency(net), 0, 1, evaluation=evaluation)
    with pytest.raises(error, match="`evaluation` must return"):
        attack.perturb(batch[0], 0.1, step_num=2, target=batch[1])


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
    with pytest.raises(ValueError, match=r"`weight` must be in \(0, inf\)"):
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


def test_a_net_with_several_outputs_needs_a_target(attack, batch):
    with pytest.raises(ValueError, match=r"`target` must be given: .* 10 outputs.*argmax"):
        attack.perturb(batch[0], 0.1)


def test_an_operation_without_a_second_derivative():
    net = nn.Sequential(nn.Linear(4, 8), nn.Hardsigmoid(), nn.Linear(8, 3)).eval()
    x = torch.rand(2, 4)
    with pytest.raises(RuntimeError, match=r"cannot derive twice \(.*hardsigmoid.*smooth twin"):
        TopKAttack(net, Saliency(net), surrogate=None).perturb(x, 0.1, target=net(x).argmax(1))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (lambda x: (x - x.mean(0)).square()[:, :3], "mixes examples"),
        (lambda x: torch.nn.functional.dropout(x)[:, :3], "draws random numbers"),
        (lambda x: {"logits": x[:, :3]}, r'wrap it: lambda x: model\(x\)\["logits"\]'),
    ],
)
def test_a_net_that_mixes_or_draws_cannot_be_attacked(net, message):
    with pytest.raises((RuntimeError, TypeError), match=message):
        TopKAttack(net, Saliency(net), k=1).perturb(torch.rand(5, 4), 0.1, target=0)
