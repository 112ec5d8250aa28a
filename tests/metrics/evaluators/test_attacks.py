from functools import partial

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from captum.robust import FGSM, PGD
from torch import nn

from captum_robust import robust
from captum_robust.metrics import (
    adversarial_insertion,
    area_under_log_radius,
    attack_robustness,
    cosine_distance,
    cosine_similarity,
    kendall_tau,
    lp_distance,
    topk_intersection,
    transfer_robustness,
)
from captum_robust.robust import TopKAttack

RADII = [0.1, 0.2, 0.4]
STEPS = {"step_size": 0.05, "step_num": 3}


class Shift:
    """Adds the radius to every feature."""

    def perturb(self, inputs, radius):
        return inputs + radius


def itself(x):
    return x.clone()


@pytest.fixture
def loss():
    return nn.CrossEntropyLoss(reduction="none")


def test_by_hand():
    x = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    found = attack_robustness(itself, x, Shift(), lp_distance, radii=RADII)
    expected = 2**0.5 * torch.tensor(RADII, dtype=torch.float64).expand(2, 3)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    one = attack_robustness(itself, x, Shift(), lp_distance, radii=0.2)
    torch.testing.assert_close(one, found[:, 1])


def test_area_by_hand():
    # steps of 1 in log2: (1 + .8) / 2 + (.8 + .4) / 2 + (.4 + 0) / 2
    values = torch.tensor([[1.0, 0.8, 0.4, 0.0], [1.0, 1.0, 1.0, 1.0]])
    expected = torch.tensor([1.7, 3.0], dtype=torch.float64)
    torch.testing.assert_close(area_under_log_radius(values.double(), [2, 4, 8, 16]), expected)
    scaled = area_under_log_radius(values.double(), [r / 255 for r in (2, 4, 8, 16)])
    torch.testing.assert_close(scaled, expected)
    assert area_under_log_radius(torch.tensor([1.0, 3.0]), [1, 8]) == 6


@pytest.mark.parametrize(
    "similarity",
    [cosine_distance, topk_intersection, kendall_tau, partial(topk_intersection, k=7)],
)
def test_captums_pgd(model, images, loss, similarity):
    attack, target = PGD(model, loss), torch.tensor([0, 3, 1])
    explain = Saliency(model).attribute
    found = attack_robustness(
        explain, images, attack, similarity, radii=RADII, attack_kwargs=STEPS, target=target
    )
    original = explain(images, target=target)
    for column, radius in enumerate(RADII):
        moved = attack.perturb(images, radius, **STEPS, target=target)
        expected = similarity(original, explain(moved, target=target))
        torch.testing.assert_close(found[:, column], expected)


def test_captums_fgsm_with_its_own_target(model, images, loss):
    attack, explain = FGSM(model, loss), Saliency(model).attribute
    wrong = torch.tensor([4, 4, 2])
    found = attack_robustness(
        explain,
        images,
        attack,
        cosine_similarity,
        radii=0.1,
        attack_kwargs={"target": wrong, "targeted": True},
        max_examples_per_batch=2,
        target=1,
    )
    moved = attack.perturb(images, 0.1, wrong, targeted=True)
    expected = cosine_similarity(explain(images, target=1), explain(moved, target=1))
    torch.testing.assert_close(found, expected)


def test_arguments_of_an_attack_may_depend_on_the_radius(model, images, loss):
    attack, explain = PGD(model, loss), Saliency(model).attribute
    target = [0, 1, 2]
    found = attack_robustness(
        explain,
        images,
        attack,
        cosine_similarity,
        radii=RADII,
        attack_kwargs=lambda radius: {
            "step_size": radius / 2,
            "step_num": 4,
            "target": torch.tensor(target),
        },
        target=target,
    )
    moved = attack.perturb(images, 0.4, 0.2, 4, torch.tensor(target))
    expected = cosine_similarity(explain(images, target=target), explain(moved, target=target))
    torch.testing.assert_close(found[:, 2], expected)


def test_chunks_do_not_matter(two_inputs):
    net, inputs = two_inputs
    attack = PGD(net, nn.CrossEntropyLoss(reduction="none"))
    scale = torch.tensor([[1.0], [2.0], [3.0], [4.0]])

    def run(rows):
        return attack_robustness(
            IntegratedGradients(net).attribute,
            inputs,
            attack,
            lp_distance,
            radii=RADII,
            attack_kwargs=STEPS,
            forward_func=net,
            return_perturbed=True,
            max_examples_per_batch=rows,
            target=torch.tensor([0, 1, 2, 0]),
            additional_forward_args=(scale,),
            baselines=tuple(torch.ones_like(part) for part in inputs),
        )

    whole = run(None)
    assert [tuple(part.shape) for part in whole.perturbed_inputs] == [(4, 3, 5), (4, 3, 3)]
    assert [tuple(part.shape) for part in whole.perturbed_maps] == [(4, 3, 5), (4, 3, 3)]
    assert whole.prediction_changes.shape == (4, 3)
    for rows in (1, 3):
        parts = run(rows)
        torch.testing.assert_close(parts.values, whole.values)
        torch.testing.assert_close(parts.perturbed_inputs, whole.perturbed_inputs)
        torch.testing.assert_close(parts.perturbed_maps, whole.perturbed_maps)
        assert torch.equal(parts.prediction_changes, whole.prediction_changes)


def test_changed_predictions():
    def forward(x):
        return torch.stack([torch.zeros_like(x[:, 0]), x[:, 0]], dim=1)

    x = torch.tensor([[-0.15, 1.0], [-0.3, 1.0]])
    arguments = (itself, x, Shift(), lp_distance)
    kept = attack_robustness(*arguments, radii=RADII, forward_func=forward)
    assert kept.prediction_changes.tolist() == [[0, 1, 1], [0, 0, 1]]
    assert not torch.isnan(kept.values).any()
    gone = attack_robustness(
        *arguments, radii=RADII, forward_func=forward, on_prediction_change="nan"
    )
    assert torch.equal(torch.isnan(gone.values), kept.prediction_changes.bool())


def test_transfer_judges_all_at_the_same_points(model, images, loss):
    attack, calls = PGD(model, loss), []

    def perturb(inputs, radius, target):
        calls.append(radius)
        return attack.perturb(inputs, radius, target=target, **STEPS)

    funcs = {"SM": Saliency(model).attribute, "I*G": InputXGradient(model).attribute}
    target = torch.tensor([0, 3, 1])
    found = transfer_robustness(
        funcs, images, perturb, cosine_similarity, radii=RADII, forward_func=model, target=target
    )
    assert calls == RADII
    assert list(found) == ["SM", "I*G"]
    for name, explain in funcs.items():
        alone = attack_robustness(
            explain, images, perturb, cosine_similarity, radii=RADII, target=target
        )
        torch.testing.assert_close(found[name].values, alone)
    assert torch.equal(found["SM"].prediction_changes, found["I*G"].prediction_changes)


def test_a_seed_goes_to_an_attack_that_takes_one():
    def perturb(inputs, epsilon, seed=None):
        noise = torch.rand(inputs.shape, generator=torch.Generator().manual_seed(seed))
        return inputs + epsilon * noise

    x = torch.ones(2, 3)
    once, again, other = (
        attack_robustness(itself, x, perturb, lp_distance, radii=0.1, seed=seed)
        for seed in (0, 0, 1)
    )
    assert torch.equal(once, again) and not torch.equal(once, other)
    with pytest.raises(ValueError, match=r"`seed` must be None for Shift, .* got 0."):
        attack_robustness(itself, x, Shift(), lp_distance, radii=0.1, seed=0)


@pytest.mark.parametrize("evaluate", ["robustness", "insertion"])
def test_an_attack_of_this_library(model, images, evaluate):
    saliency = Saliency(model)
    attack = TopKAttack(model, saliency, k=0.2)

    def run(rows):
        options = {"attack_kwargs": {"step_size": 0.05, "step_num": 4, "random_start": True}}
        options |= {"seed": 0, "max_examples_per_batch": rows, "target": model(images).argmax(1)}
        if evaluate == "insertion":
            options |= {"radius": 0.2, "forward_func": model}
            return adversarial_insertion(saliency.attribute, images, attack, **options)
        return attack_robustness(
            saliency.attribute, images, attack, topk_intersection, radii=[0.1, 0.2], **options
        )

    whole = run(None)
    assert torch.isfinite(whole).all()
    torch.testing.assert_close(run(2), whole)


def test_the_former_transfer_is_forwarded(model, images):
    saliency, target = Saliency(model), model(images).argmax(1)
    with pytest.warns(DeprecationWarning, match="became captum_robust.metrics.transfer_robustness"):
        transfer = robust.transfer
    attack = robust.TopKAttack(model, saliency, k=5)
    words = {"step_num": 3, "seed": 0}
    funcs = {"SM": saliency.attribute, "x grad": InputXGradient(model).attribute}
    found = transfer(attack, images, funcs, cosine_similarity, target=target, radius=0.1, **words)
    expected = transfer_robustness(
        funcs, images, attack, radii=0.1, attack_kwargs=words, target=target
    )
    for name in funcs:
        assert torch.equal(found[name], expected[name]) and (found[name] < 1).all()


def test_at_radius_zero_the_map_is_that_of_the_input():
    x = torch.randn(2, 3)

    def never(inputs, radius):
        assert radius > 0, "an attack has nothing to do at radius 0"
        return inputs + radius

    found = attack_robustness(
        itself, x, never, lp_distance, radii=[0, 0.5], forward_func=nn.Linear(3, 2)
    )
    torch.testing.assert_close(found.values, torch.tensor([[0, 0.5 * 3**0.5]] * 2).double())
    assert found.prediction_changes[:, 0].tolist() == [0, 0]
    alone = attack_robustness(itself, x, never, radii=0.0)
    torch.testing.assert_close(alone, torch.ones(2).double())


def test_errors_say_what_came():
    x = torch.ones(2, 3)
    with pytest.raises(TypeError, match=r"`attack` must have a `perturb` method or be a function"):
        attack_robustness(itself, x, 3, radii=0.1)
    with pytest.raises(TypeError, match=r"`attack` must take its budget .* got the arguments x."):
        attack_robustness(itself, x, lambda x: x, radii=0.1)
    with pytest.raises(ValueError, match=r"`attack_kwargs` must leave `radius` to the evaluator"):
        attack_robustness(itself, x, Shift(), radii=0.1, attack_kwargs={"radius": 0.2})
    with pytest.raises(ValueError, match=r"`radii` must be in \[0, inf\), got -1"):
        attack_robustness(itself, x, Shift(), radii=[0.1, -1])
    with pytest.raises(ValueError, match=r"`radii` must hold at least one radius"):
        attack_robustness(itself, x, Shift(), radii=[])
    with pytest.raises(ValueError, match=r"`attack` must return finite inputs"):
        attack_robustness(itself, x, lambda x, radius: x / 0, radii=0.1)
    with pytest.raises(ValueError, match=r"`attack` must return perturbed inputs of shapes"):
        attack_robustness(itself, x, lambda x, radius: x[:, :2], radii=0.1)
    with pytest.raises(ValueError, match=r"`explanation_funcs` must map at least one name"):
        transfer_robustness({}, x, Shift(), radii=0.1)
    with pytest.raises(ValueError, match=r"`radii` must be two or more increasing numbers"):
        area_under_log_radius(torch.ones(2, 2), [2, 1])
    with pytest.raises(ValueError, match=r"one column for each of the 3 radii, got shape \(2, 2\)"):
        area_under_log_radius(torch.ones(2, 2), [1, 2, 3])
