"""The attacks inside Captum's own comparison and search, and Captum's side of the contract."""

from __future__ import annotations

import inspect

import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from captum.robust import PGD, AttackComparator, MinParamPerturbation, Perturbation

from captum_robust.robust import RandomAttack, TopKAttack


def cosine(a, b):
    return torch.cosine_similarity(a.flatten(1), b.flatten(1))


def test_attack_comparator(net, batch):
    images, targets = batch
    saliency = Saliency(net)
    clean = saliency.attribute(images.clone().requires_grad_(), target=targets).detach()

    def explain(points):
        return saliency.attribute(points.detach().requires_grad_(), target=targets).detach()

    comparator = AttackComparator(explain, lambda maps, target: cosine(maps, clean))
    options = {"radius": 0.1, "step_num": 5}
    comparator.add_attack(
        TopKAttack(net, saliency, 0, 1),
        "top k",
        attack_kwargs=options,
        additional_attack_arg_names=["target"],
    )
    comparator.add_attack(
        RandomAttack(net, saliency, 0, 1),
        "random",
        num_attempts=2,
        attack_kwargs=options,
        additional_attack_arg_names=["target"],
    )
    results = comparator.evaluate(images, target=targets)
    torch.testing.assert_close(results["Original"], torch.ones(7, dtype=torch.float64))
    assert (results["top k"]["mean"] < 1).all()
    assert set(results["random"]) == {"mean", "max", "min"}
    assert results["top k"]["mean"].mean() < results["random"]["mean"].mean()


def test_min_param_perturbation(net, batch):
    images, targets = batch
    image, target = images[:1], int(targets[0])
    saliency = Saliency(net)
    clean = saliency.attribute(image.clone().requires_grad_(), target=target).detach()

    def explain(points):
        return saliency.attribute(points.detach().requires_grad_(), target=target).detach()

    for mode in ("linear", "binary"):
        search = MinParamPerturbation(
            explain,
            TopKAttack(net, saliency, 0, 1, evaluation=cosine),
            arg_name="radius",
            arg_min=0.0,
            arg_max=0.4,
            arg_step=0.04,
            mode=mode,
            correct_fn=lambda maps: bool(cosine(maps, clean) > 0.95),
        )
        moved, radius = search.evaluate(image, attack_kwargs={"step_num": 8, "target": target})
        assert radius is not None and 0 < radius < 0.4
        assert (moved - image).abs().max() <= radius + 1e-12
        assert cosine(explain(moved), clean) <= 0.95


def test_the_words_of_pgd():
    ours, theirs = (inspect.signature(c.perturb).parameters for c in (TopKAttack, PGD))
    assert set(theirs) - {"targeted"} <= set(ours)
    assert list(ours)[:6] == list(theirs)[:6]
    assert issubclass(TopKAttack, Perturbation)


def test_gradient_func_is_what_captum_calls():
    """The contract that ``differentiable`` rests on: the attribute, its signature, and its use."""
    net = lambda x: (x**3).sum(1)  # noqa: E731
    for kind, kwargs in (
        (Saliency, {}),
        (InputXGradient, {}),
        (IntegratedGradients, {"n_steps": 3}),
    ):
        method, calls = kind(net), []
        original = method.gradient_func
        names = list(inspect.signature(original).parameters)
        assert names[:4] == ["forward_fn", "inputs", "target_ind", "additional_forward_args"]

        def spy(*args, original=original, calls=calls, **kwargs):
            calls.append(1)
            return original(*args, **kwargs)

        method.gradient_func = spy
        method.attribute(torch.rand(2, 3, requires_grad=True), **kwargs)
        assert calls == [1]
