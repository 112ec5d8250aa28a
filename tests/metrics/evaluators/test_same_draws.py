"""Evaluators see the perturbation alone: draws, modes and shared arguments do not move maps."""

from __future__ import annotations

import pytest
import torch
from captum.attr import (
    GradientShap,
    InputXGradient,
    KernelShap,
    NoiseTunnel,
    Saliency,
    ShapleyValueSampling,
)
from torch import nn

from captum_robust.attr import GaussianSmoothing, shared
from captum_robust.metrics import insertion, random_perturbation_similarity
from captum_robust.robust import TopKAttack

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))
NET = nn.Sequential(nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 3)).eval()


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (GradientShap(NET), {"baselines": torch.zeros(3, 4)}),
        (KernelShap(NET), {"n_samples": 8}),
        (ShapleyValueSampling(NET), {"n_samples": 3}),
        (NoiseTunnel(Saliency(NET)), {"nt_samples": 3}),
        (GaussianSmoothing(Saliency(NET)), {"nt_samples": 3, "stdevs": 0.5}),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.filterwarnings("ignore:You are providing", "ignore:ShapleyValueSampling draws")
def test_at_radius_zero_a_random_method_is_like_itself(method, words):
    state = torch.get_rng_state()
    scores = [
        random_perturbation_similarity(
            method.attribute, X, perturb_radius=radius, seed=0, target=1, **words
        )
        for radius in (0.0, 0.3, 0.3)
    ]
    torch.testing.assert_close(scores[0], torch.ones(3, dtype=torch.float64))
    several = random_perturbation_similarity(
        method.attribute, X, perturb_radius=0.0, max_examples_per_batch=7, seed=0, target=1, **words
    )
    torch.testing.assert_close(several, scores[0])
    assert torch.equal(scores[1], scores[2])
    assert torch.equal(state, torch.get_rng_state())


def test_a_model_in_training_mode_is_named_and_left_as_it_was():
    net = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 16), nn.Dropout(), nn.Linear(16, 3))
    before = net[0].running_mean.clone()
    with pytest.warns(UserWarning, match=r"BatchNorm1d.*call model.eval\(\)"):
        found = random_perturbation_similarity(
            Saliency(net).attribute, X, perturb_radius=0.0, target=1
        )
    torch.testing.assert_close(found, torch.ones(3, dtype=torch.float64))
    assert net.training and torch.equal(net[0].running_mean, before)
    assert int(net[0].num_batches_tracked) == 0


def zero_shot(x, classes):
    return x @ classes.T


@pytest.mark.parametrize("method", [InputXGradient, lambda f: GaussianSmoothing(InputXGradient(f))])
def test_class_vectors_stay_whole(method):
    """Three examples and three class vectors; and five, in chunks of as many as classes."""
    classes = torch.randn(3, 4)
    words = {"target": [2, 0, 1], "forward_func": zero_shot}
    bound = lambda x: zero_shot(x, classes)  # noqa: E731
    wanted = insertion(method(bound).attribute, X, **words | {"forward_func": bound})
    got = insertion(
        method(zero_shot).attribute, X, additional_forward_args=shared(classes), **words
    )
    if method is InputXGradient:
        torch.testing.assert_close(got, wanted)
    five = torch.randn(5, 4)
    words = {"target": 1, "max_examples_per_batch": 3}
    torch.testing.assert_close(
        insertion(
            InputXGradient(zero_shot).attribute, five, forward_func=zero_shot,
            additional_forward_args=classes, **words,
        ),
        insertion(InputXGradient(bound).attribute, five, forward_func=bound, **words),
    )  # fmt: skip


def test_attacks_of_an_evaluator_take_marks():
    from captum_robust.metrics import attack_robustness

    classes = torch.randn(3, 4)
    net = lambda x, classes: torch.tanh(zero_shot(x, classes))  # noqa: E731
    attack = TopKAttack(net, Saliency(net), k=1)
    labels = net(X, classes).argmax(1)
    found = attack_robustness(
        Saliency(net).attribute, X, attack, radii=0.1, target=labels,
        attack_kwargs={"step_num": 2, "seed": 0}, additional_forward_args=shared(classes),
    )  # fmt: skip
    assert found.shape == (3,)


def test_outputs_that_are_no_tensor_are_named():
    class Output(dict):
        logits = None

    def net(x):
        return {"logits": NET(x)}

    with pytest.raises(TypeError, match=r'got dict; wrap it: lambda x: model\(x\)\["logits"\]'):
        insertion(Saliency(NET).attribute, X, forward_func=net, target=1)
    with pytest.raises(TypeError, match=r"got tuple; wrap it: lambda x: model\(x\)\[0\]"):
        insertion(Saliency(NET).attribute, X, forward_func=lambda x: (NET(x),), target=1)
