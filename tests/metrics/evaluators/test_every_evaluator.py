"""What holds for every evaluator: Captum's conventions, memory, seeds, errors."""

from functools import partial

import pytest
import torch
from captum.attr import (
    DeepLiftShap,
    FeatureAblation,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    Saliency,
)
from captum.metrics import sensitivity_max
from captum.robust import FGSM
from torch import nn

from captum_robust.metrics import (
    Evaluation,
    adversarial_insertion,
    attack_robustness,
    avg_sensitivity,
    cosine_robust_criterion,
    deletion,
    hessian_norm,
    insertion,
    l2_robust_criterion,
    local_lipschitz,
    lp_distance,
    max_sensitivity,
    random_perturbation_similarity,
    topk_intersection,
)


def shift(inputs, radius, target=None):
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    moved = tuple(part + radius * part.cos() for part in parts)
    return moved if isinstance(inputs, tuple) else moved[0]


def evaluators(model):
    """Every evaluator, with nothing but its own keyword."""
    return {
        "rps": random_perturbation_similarity,
        "cosine": cosine_robust_criterion,
        "l2": l2_robust_criterion,
        "lipschitz": local_lipschitz,
        "max": max_sensitivity,
        "avg": avg_sensitivity,
        "attack": partial(attack_robustness, attack=shift, radii=0.1),
        "insertion": partial(insertion, forward_func=model),
        "deletion": partial(deletion, forward_func=model),
        "adversarial": partial(adversarial_insertion, attack=shift, radius=0.1, forward_func=model),
        "hessian": hessian_norm,
    }


NAMES = list(evaluators(None))
SEEDED = ["rps", "cosine", "l2", "lipschitz", "hessian", "max", "avg"]
every = pytest.mark.parametrize("name", NAMES)


@every
def test_in_the_place_of_sensitivity_max(model, images, name):
    saliency = Saliency(model)
    captums = sensitivity_max(saliency.attribute, images, target=3)
    found = evaluators(model)[name](saliency.attribute, images, target=3)
    assert found.shape == captums.shape
    assert found.dtype == torch.float64
    assert torch.isfinite(found).all()


@every
def test_targets_of_all_kinds(model, images, name):
    explain = InputXGradient(model).attribute
    evaluate = evaluators(model)[name]
    options = {"seed": 0} if name in SEEDED else {}
    same = [
        evaluate(explain, images, target=target, **options)
        for target in (1, torch.tensor(1), [1, 1, 1], torch.tensor([1, 1, 1]))
    ]
    for other in same[1:]:
        torch.testing.assert_close(other, same[0])
    mixed = evaluate(explain, images, target=[1, 2, 0], max_examples_per_batch=2, **options)
    torch.testing.assert_close(mixed[0], same[0][0])


@every
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_dtypes(model, images, name, dtype):
    model = model.to(dtype)
    found = evaluators(model)[name](Saliency(model).attribute, images.to(dtype), target=1)
    assert found.dtype == torch.float64
    assert torch.isfinite(found).all()


@every
def test_tuples(two_inputs, name):
    net, inputs = two_inputs
    scale = torch.rand(4, 1)
    found = evaluators(net)[name](
        IntegratedGradients(net).attribute,
        inputs,
        target=[0, 1, 2, 0],
        additional_forward_args=(scale,),
        baselines=(torch.zeros(1, 5), torch.ones(4, 3)),
        n_steps=5,
    )
    assert found.shape == (4,)


@every
def test_leaves_everything_as_it_was(model, images, name):
    images.requires_grad_()
    model.train()
    copy, weights = images.detach().clone(), [p.detach().clone() for p in model.parameters()]
    target = [1, 2, 0]
    options = {"seed": 0} if name in SEEDED else {}
    state = torch.get_rng_state()
    evaluators(model)[name](Saliency(model).attribute, images, target=target, **options)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(images, copy)
    assert images.requires_grad and images.grad is None
    assert target == [1, 2, 0]
    assert model.training and torch.is_grad_enabled()
    for parameter, before in zip(model.parameters(), weights, strict=True):
        assert torch.equal(parameter, before)
        assert parameter.requires_grad and parameter.grad is None


@every
def test_inference_mode_changes_nothing(model, images, name):
    """Also where inputs and targets were made in it."""
    options = {"seed": 0} if name in SEEDED else {}
    evaluate = partial(evaluators(model)[name], Saliency(model).attribute, **options)
    expected = evaluate(images, target=torch.tensor([0, 1, 2]))
    with torch.inference_mode():
        found = evaluate(images.clone(), target=torch.tensor([0, 1, 2]))
        assert torch.is_inference_mode_enabled()
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", SEEDED)
def test_seeds_do_not_depend_on_batching(model, images, name):
    model, images = model.double(), images.double()
    evaluate = partial(
        evaluators(model)[name], Saliency(model).attribute, images, target=[0, 1, 2], abs=False
    )
    once = evaluate(seed=4)
    for rows in (1, 2, 7, 100):
        torch.testing.assert_close(evaluate(seed=4, max_examples_per_batch=rows), once)
    assert not torch.equal(evaluate(seed=5), once)
    torch.manual_seed(0)
    first = evaluate()
    torch.manual_seed(0)
    assert torch.equal(evaluate(), first)
    assert not torch.equal(evaluate(), first)


def largest_memory(run):
    """Peak of the memory that torch allocates on the CPU during a run, in bytes."""
    with torch.profiler.profile(profile_memory=True, record_shapes=False) as profile:
        run()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


@pytest.mark.parametrize(
    ("evaluate", "few", "many"),
    [
        (random_perturbation_similarity, {"n_perturb_samples": 20}, {"n_perturb_samples": 60}),
        (
            partial(local_lipschitz, return_perturbed=True, seed=0),
            {"n_perturb_samples": 20},
            {"n_perturb_samples": 60},
        ),
        (hessian_norm, {"n_samples": 3}, {"n_samples": 30}),
        (
            partial(attack_robustness, attack=shift),
            {"radii": [0.1, 0.2]},
            {"radii": [0.01 * i for i in range(1, 21)]},
        ),
        (insertion, {"n_points": 6}, {"n_points": 60}),
    ],
)
@pytest.mark.parametrize("rows", [None, 4])
def test_memory_does_not_grow(evaluate, few, many, rows):
    net = nn.Sequential(nn.Linear(3000, 4), nn.Tanh(), nn.Linear(4, 3))
    x = torch.randn(16, 3000)
    options = {"target": 1, "max_examples_per_batch": rows}
    if evaluate is insertion:
        options["forward_func"] = net
    explain = InputXGradient(net).attribute
    peaks = [
        largest_memory(lambda counts=counts: evaluate(explain, x, **counts, **options))
        for counts in (few, few, many)
    ]
    assert peaks[1] > x.numel() * 4  # the profiler saw the tensors
    assert peaks[2] <= 1.05 * peaks[1]


def test_rows_at_once_are_bounded(model, images):
    for rows in (1, 2, 3, 7, 30):
        seen = []

        def explain(x, target, seen=seen):
            seen.append(len(x))
            return x

        found = random_perturbation_similarity(
            explain, images, None, 0.1, 5, target=1, max_examples_per_batch=rows
        )
        assert found.shape == (3,)
        assert max(seen) <= rows
        assert sum(seen) == 3 + 3 * 5


def test_explanations_of_other_kinds(model, images):
    """Maps of another shape than the inputs, methods without gradients, baselines as a sample."""
    options = {"n_perturb_samples": 2, "seed": 0, "target": 1}
    for explain, extra in (
        (LayerGradCam(model, model[0]).attribute, {}),
        (FeatureAblation(model).attribute, {"feature_mask": torch.zeros(1, 2, 8, 9).long()}),
        (DeepLiftShap(model).attribute, {"baselines": torch.zeros(4, 2, 8, 9)}),
    ):
        found = random_perturbation_similarity(
            explain, images, similarity=lp_distance, **options, **extra
        )
        assert found.shape == (3,)


def test_a_function_with_its_own_autograd(model, images):
    def explain(x, target):
        x = x.clone().requires_grad_()
        return torch.autograd.grad(model(x)[:, target].sum(), x)[0]

    options = {"seed": 0, "target": 2}
    found = random_perturbation_similarity(explain, images, **options)
    expected = random_perturbation_similarity(
        Saliency(model).attribute, images, abs=False, **options
    )
    torch.testing.assert_close(found, expected)


def test_the_model_sees_the_users_container():
    kinds = []

    def explain(x):
        kinds.append(type(x))
        return x

    random_perturbation_similarity(explain, torch.ones(2, 3), n_perturb_samples=1)
    random_perturbation_similarity(explain, (torch.ones(2, 3),), n_perturb_samples=1)
    assert kinds == [torch.Tensor] * 2 + [tuple] * 2


def test_progress_is_shown_on_request(model, images, capsys):
    options = {"target": 1, "n_perturb_samples": 2}
    random_perturbation_similarity(Saliency(model).attribute, images, **options)
    assert capsys.readouterr().err == ""
    random_perturbation_similarity(Saliency(model).attribute, images, show_progress=True, **options)
    assert "6/6" in capsys.readouterr().err


def test_an_evaluation_has_no_hidden_equality():
    values = Evaluation(torch.ones(2))
    assert values != Evaluation(torch.ones(2))
    assert values == values


@pytest.mark.parametrize("name", [name for name in NAMES if name != "hessian"])
def test_errors_say_what_came(model, images, name):
    evaluate = evaluators(model)[name]
    explain = Saliency(model).attribute
    with pytest.raises(
        ValueError, match=r"`target` must be one class or one for each of the 3 .* got shape \(2,\)"
    ):
        evaluate(explain, images, target=[0, 1])
    with pytest.raises(ValueError, match=r"`inputs\[0\]` must hold at least one example"):
        evaluate(explain, images[:0], target=0)
    with pytest.raises(TypeError, match=r"`explanation_func` must be callable, .* got Saliency."):
        evaluate(Saliency(model), images, target=0)
    with pytest.raises(ValueError, match=r"must return one map for each of the 3 inputs"):
        evaluate(lambda x, target: x[:2], images, target=0)
    with pytest.raises(TypeError, match=r"must return a Tensor or a tuple of Tensors, got list"):
        evaluate(lambda x, target: [x], images, target=0)

    images[2, 0, 0, 0] = 1000

    def broken(x, target):
        return torch.where(x > 500, torch.nan, x)

    with pytest.raises(ValueError, match=r"finite maps, got NaN or infinity for example 2."):
        evaluate(broken, images, target=0, max_examples_per_batch=2)
    with pytest.raises(ValueError, match=r"`max_examples_per_batch` must be at least 1, got 0."):
        evaluate(explain, images, target=0, max_examples_per_batch=0)


def test_errors_about_predictions(images):
    arguments = (lambda x: x, images)
    with pytest.raises(ValueError, match=r'`on_prediction_change="nan"` needs `forward_func`'):
        random_perturbation_similarity(*arguments, on_prediction_change="nan")
    with pytest.raises(ValueError, match=r"`on_prediction_change` must be one of .* got 'drop'."):
        random_perturbation_similarity(*arguments, on_prediction_change="drop")
    with pytest.raises(ValueError, match=r"scores of at least two classes, .* got shape \(3, 1\)"):
        random_perturbation_similarity(*arguments, forward_func=lambda x: x.flatten(1)[:, :1])


def test_readme_example(model, images):
    attack = FGSM(model, nn.CrossEntropyLoss(reduction="none"))
    radii = [2 / 255, 4 / 255, 8 / 255]
    found = attack_robustness(
        Saliency(model).attribute,
        images,
        attack,
        topk_intersection,
        radii=radii,
        target=torch.tensor([3, 3, 3]),
    )
    assert found.shape == (3, 3)
