from functools import partial

import pytest
import torch
from captum.attr import InputXGradient, Saliency
from captum.metrics import sensitivity_max
from captum.robust import FGSM
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from captum_robust.metrics import (
    cosine_distance,
    cosine_robust_criterion,
    cosine_similarity,
    l2_robust_criterion,
    local_lipschitz,
    lp_distance,
    pearson_correlation,
    random_perturbation_similarity,
    ssim,
)


def itself(x):
    """The map that is the input."""
    return x.clone()


def two_points(x):
    """[J23]'s delta, prescribed: the points (1, 1) and (3, 4) in turn."""
    points = torch.tensor([[1.0, 1.0], [3.0, 4.0]])
    return points.repeat(len(x) // 2, 1).to(x)


def test_rps_by_hand():
    x = torch.tensor([[1.0, 0.0]])
    options = {"n_perturb_samples": 2, "max_examples_per_batch": 2}
    found = random_perturbation_similarity(itself, x, two_points, **options)
    assert found.item() == pytest.approx((2**-0.5 + 0.6) / 2)
    criterion = cosine_robust_criterion(itself, x, two_points, **options)
    assert criterion.item() == pytest.approx((1 - (2**-0.5 + 0.6) / 2) / 2)
    worst = cosine_robust_criterion(itself, x, two_points, reduction="max", **options)
    assert worst.item() == pytest.approx(0.2)
    distance = l2_robust_criterion(itself, x, two_points, **options)
    assert distance.item() == pytest.approx((1 + 20**0.5) / 2)


@pytest.mark.parametrize("similarity", [cosine_similarity, pearson_correlation, ssim])
def test_rps_equals_a_literal_loop(model, images, similarity):
    saliency = Saliency(model)
    perturbed = []

    def record(inputs, radius):
        moved = inputs + radius * (2 * torch.rand_like(inputs) - 1)
        perturbed.append(moved)
        return moved

    words = {"target": 1, "max_examples_per_batch": len(images)}  # one draw at a time
    found = random_perturbation_similarity(
        saliency.attribute, images, record, 0.1, 4, similarity=similarity, **words
    )
    reference = saliency.attribute(images, target=1)
    expected = sum(
        similarity(saliency.attribute(moved, target=1), reference) for moved in perturbed
    )
    torch.testing.assert_close(found, expected / 4)
    assert len(perturbed) == 4


def test_rps_tends_to_its_expectation():
    # one feature, map (1, x): E cos over U(-1, 1) is the integral of 1 / sqrt(1 + u^2)
    def explain(x):
        return torch.cat([torch.ones_like(x), x], dim=1)

    n = 20_000
    found = random_perturbation_similarity(
        explain, torch.zeros(1, 1), None, 1.0, n, seed=0, max_examples_per_batch=n
    )
    mean = torch.asinh(torch.tensor(1.0, dtype=torch.float64))
    std = (torch.atan(torch.tensor(1.0)) - mean**2) ** 0.5
    assert abs(found.item() - mean) < 4 * std / n**0.5


def test_draws_are_in_the_ball_and_in_the_clamp():
    seen = []

    def explain(x):
        seen.append(x)
        return x

    x = torch.full((2, 300), 0.5, dtype=torch.bfloat16)
    random_perturbation_similarity(explain, x, None, 0.25, 3, clamp=(0.5, 0.7))
    moved = torch.cat(seen[1:])
    assert moved.dtype == torch.bfloat16
    assert moved.min() >= 0.5 and moved.max() <= 0.7
    assert len(moved.unique()) > 10


def test_criteria_of_a_quadratic():
    # [J23] E16: (1 - cos) / 2 = eps^2 |P H d|^2 / (4 |g|^2) to second order
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    hessian, x = a + a.T, torch.randn(3, 5, generator=generator, dtype=torch.float64)
    direction = nn.functional.normalize(
        torch.randn(3, 5, generator=generator, dtype=torch.float64), dim=1
    )
    saliency = Saliency(lambda x: ((x @ hessian) * x).sum(1) / 2)
    arguments = (saliency.attribute, x, lambda x: x + 1e-3 * direction, 1.0, 1)
    gradient, moved = x @ hessian, direction @ hessian
    parallel = (moved * gradient).sum(1, keepdim=True) * gradient
    across = moved - parallel / gradient.square().sum(1, keepdim=True)
    expected = 1e-6 * across.square().sum(1) / (4 * gradient.square().sum(1))
    found = cosine_robust_criterion(*arguments, abs=False)
    torch.testing.assert_close(found, expected, rtol=5e-3, atol=0)
    distance = l2_robust_criterion(*arguments, abs=False)
    torch.testing.assert_close(distance, 1e-3 * moved.norm(dim=1))
    torch.testing.assert_close(local_lipschitz(*arguments, abs=False), moved.norm(dim=1))


@settings(deadline=None, max_examples=25)
@given(st.floats(0.01, 100))
def test_scale_of_the_last_layer(alpha):
    """[J23] Lemma 3 and Proposition 5: scaled weights scale the l2 criterion, not the cosine's."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    x = torch.randn(4, 6, dtype=torch.float64)

    def evaluate(evaluator, **options):
        explain = Saliency(net).attribute
        return evaluator(explain, x, None, 0.5, 3, seed=1, target=2, abs=False, **options)

    evaluators = (cosine_robust_criterion, random_perturbation_similarity, l2_robust_criterion)
    cosine, similarity, distance = map(evaluate, evaluators)
    with torch.no_grad():
        net[2].weight.mul_(alpha)
        net[2].bias.mul_(alpha)
    assert (distance > 0).any()
    torch.testing.assert_close(evaluate(cosine_robust_criterion), cosine, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(evaluate(random_perturbation_similarity), similarity)
    torch.testing.assert_close(evaluate(l2_robust_criterion), alpha * distance)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000))
def test_maps_of_equal_direction(seed):
    """[J23] Definition 1: the cosine criterion cannot tell maps with the same normalised map."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    weights = torch.randn(5, 5, generator=generator, dtype=torch.float64)

    def first(x):
        return torch.tanh(x @ weights)

    def second(x):  # another length at every point
        return first(x) * (x.square().sum(1, keepdim=True) + 0.1)

    options = {"perturb_radius": 0.3, "seed": 2}
    values = [cosine_robust_criterion(f, x, **options) for f in (first, second)]
    torch.testing.assert_close(*values)
    lengths = [l2_robust_criterion(f, x, **options) for f in (first, second)]
    assert not torch.allclose(*lengths)


def test_lipschitz_constant_of_a_linear_map_is_never_exceeded():
    torch.manual_seed(0)
    weights = torch.randn(6, 6, dtype=torch.float64)
    x = torch.randn(4, 6, dtype=torch.float64)
    found = local_lipschitz(lambda x: x @ weights.T, x, None, 0.1, 200, seed=0)
    largest = torch.linalg.matrix_norm(weights, 2)
    assert (found <= largest * (1 + 1e-9)).all()
    assert (found > 0.5 * largest).all()


def test_lipschitz_by_attack():
    class Attack:
        """Goes along the top right singular vector: the worst direction of a linear map."""

        def perturb(self, inputs, radius):
            return inputs + radius * direction

    torch.manual_seed(0)
    weights = torch.randn(6, 6, dtype=torch.float64)
    direction = torch.linalg.svd(weights).Vh[0]
    largest = torch.linalg.matrix_norm(weights, 2).expand(4)
    x = torch.randn(4, 6, dtype=torch.float64)
    arguments = (lambda x: x @ weights.T, x, None, 0.1)
    alone = local_lipschitz(*arguments, 0, attack=Attack())
    torch.testing.assert_close(alone, largest)
    both = local_lipschitz(*arguments, 5, attack=Attack(), max_examples_per_batch=3)
    torch.testing.assert_close(both, largest)


def test_lipschitz_by_captums_attack(model, images):
    attack = FGSM(model, nn.CrossEntropyLoss(reduction="none"))
    target = torch.tensor([0, 1, 2])
    found = local_lipschitz(
        Saliency(model).attribute, images, None, 0.1, 0, attack=attack, target=target
    )
    moved = attack.perturb(images, 0.1, target)
    rise = Saliency(model).attribute(moved, target) - Saliency(model).attribute(images, target)
    expected = rise.flatten(1).norm(dim=1) / (moved - images).flatten(1).norm(dim=1)
    torch.testing.assert_close(found, expected.double())


def test_an_unmoved_input_has_slope_zero():
    assert local_lipschitz(itself, torch.ones(2, 3), lambda x: x).tolist() == [0, 0]


def test_the_worst_draw_is_returned():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    options = {"n_perturb_samples": 2, "return_perturbed": True, "max_examples_per_batch": 4}
    # (1, 1) and (3, 4): the first example is closer to (1, 1), the second to (3, 4)
    found = random_perturbation_similarity(itself, x, two_points, **options)
    assert found.perturbed_inputs.tolist() == [[3, 4], [1, 1]]
    assert found.perturbed_maps.tolist() == [[3, 4], [1, 1]]
    assert found.prediction_changes is None
    by_distance = random_perturbation_similarity(
        itself,
        x,
        two_points,
        similarity=partial(cosine_distance),
        **options,
    )
    assert by_distance.perturbed_inputs.tolist() == [[3, 4], [1, 1]]


def test_the_worst_draw_over_many_passes():
    x = torch.randn(5, 3, dtype=torch.float64)
    options = {"seed": 3, "return_perturbed": True, "similarity": lp_distance}
    for rows in (None, 2, 7, 100):
        found = random_perturbation_similarity(
            itself, x, None, 0.5, 20, max_examples_per_batch=rows, **options
        )
        largest = l2_robust_criterion(itself, x, None, 0.5, 20, seed=3, reduction="max")
        reached = (found.perturbed_inputs - x).norm(dim=1)
        torch.testing.assert_close(reached, largest)


def test_changed_predictions():
    # class 1 from x > 0 on; three draws at -1, 1 and 2 of every example
    def forward(x):
        return torch.cat([-x, x], dim=1)

    def draws(x):
        return torch.tensor([[-1.0], [1.0], [2.0]]).repeat(len(x) // 3, 1)

    x = torch.tensor([[0.5], [-0.5]])
    arguments = (itself, x, draws, 0.1, 3)
    options = {"forward_func": forward, "similarity": lp_distance, "max_examples_per_batch": 6}
    kept = random_perturbation_similarity(*arguments, **options)
    assert kept.prediction_changes.tolist() == [1, 2]
    assert kept.values.tolist() == pytest.approx([3.5 / 3, 4.5 / 3])
    dropped = random_perturbation_similarity(*arguments, on_prediction_change="nan", **options)
    assert dropped.values.tolist() == pytest.approx([1.0, 0.5])
    assert dropped.prediction_changes.tolist() == [1, 2]
    none = random_perturbation_similarity(
        itself, x[:1], lambda x: -x, on_prediction_change="nan", return_perturbed=True, **options
    )
    assert torch.isnan(none.values).all()
    assert none.prediction_changes.tolist() == [10]
    slope = local_lipschitz(
        *arguments, on_prediction_change="nan", forward_func=forward, max_examples_per_batch=6
    )
    assert slope.values.tolist() == pytest.approx([1.0, 1.0])


def test_close_to_captums_sensitivity(model, images):
    """sensitivity_max is the largest l2 criterion over the size of the map."""
    explain = InputXGradient(model).attribute
    torch.manual_seed(5)
    captums = sensitivity_max(explain, images, perturb_radius=0.1, n_perturb_samples=200, target=1)
    ours = l2_robust_criterion(explain, images, None, 0.1, 200, reduction="max", seed=0, target=1)
    size = explain(images, target=1).flatten(1).norm(dim=1)
    torch.testing.assert_close((ours / size).float(), captums, rtol=0.25, atol=0)


def test_errors_say_what_came():
    x = torch.ones(2, 3)
    with pytest.raises(ValueError, match=r"`n_perturb_samples` must be at least 1, got 0."):
        random_perturbation_similarity(itself, x, n_perturb_samples=0)
    with pytest.raises(ValueError, match=r"`perturb_radius` must be in \[0, inf\], got -1."):
        random_perturbation_similarity(itself, x, None, -1.0)
    with pytest.raises(ValueError, match=r"`clamp` must be a pair \(low, high\) with low < high"):
        random_perturbation_similarity(itself, x, clamp=(1.0, 0.0))
    with pytest.raises(ValueError, match=r"`seed` fixes the draws of the built-in perturbation"):
        random_perturbation_similarity(itself, x, torch.clone, seed=0)
    with pytest.raises(ValueError, match=r"`perturb_func` must return perturbed inputs of shapes"):
        random_perturbation_similarity(itself, x, lambda x: x[:1])
    with pytest.raises(ValueError, match=r"`similarity` must return one value .* got \(\)."):
        random_perturbation_similarity(itself, x, similarity=lambda a, b: (a - b).mean())
    with pytest.raises(ValueError, match=r"`reduction` must be one of 'mean', 'max', got 'sum'."):
        l2_robust_criterion(itself, x, reduction="sum")
    with pytest.raises(ValueError, match=r"`n_perturb_samples` must be at least 1, got 0."):
        local_lipschitz(itself, x, n_perturb_samples=0)
