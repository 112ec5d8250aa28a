import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from captum.robust import FGSM
from torch import nn
from torchvision.transforms.functional import gaussian_blur

from captum_robust.metrics import adversarial_insertion, deletion, insertion

X = torch.tensor([[1.0, 2.0, 3.0, 4.0]])


def logits(x):
    """Two classes whose second has probability sigmoid(x0 + 2 x1 + 3 x2 + 4 x3)."""
    total = x @ torch.tensor([1.0, 2.0, 3.0, 4.0])
    return torch.stack([torch.zeros_like(total), total], dim=1)


def fixed(*scores):
    return lambda x, target: torch.tensor([scores]).repeat(len(x), 1)


def sigmoid(*totals):
    return torch.tensor([totals], dtype=torch.float64).sigmoid()


def test_insertion_by_hand():
    # order of the map: 2, 0, 3, 1
    options = {"forward_func": logits, "target": 1, "n_points": 5, "return_curve": True}
    found = insertion(fixed(0.5, -1.0, 2.0, 0.1), X, **options)
    expected = sigmoid(0, 9, 10, 26, 30)
    torch.testing.assert_close(found.curve, expected)
    torch.testing.assert_close(found.values, expected.mean(1))
    assert found.perturbed_inputs is None and found.prediction_changes is None
    back = deletion(fixed(0.5, -1.0, 2.0, 0.1), X, **options)
    torch.testing.assert_close(back.curve, sigmoid(30, 21, 20, 4, 0))


def test_adversarial_insertion_by_hand():
    # the attacked map orders 3, 2, 1, 0; what is inserted is the original input
    options = {"forward_func": logits, "target": 1, "n_points": 5, "return_curve": True}
    found = adversarial_insertion(
        lambda x, target: x, -X, lambda x, radius: x.flip(1) * radius, radius=1.0, **options
    )
    torch.testing.assert_close(found.curve, sigmoid(0, -16, -25, -29, -30))


def test_area_by_trapezoid():
    options = {"forward_func": logits, "target": 1, "n_points": 3}
    found = insertion(fixed(4.0, 3.0, 2.0, 1.0), X, area="trapezoid", **options)
    low, middle, high = sigmoid(0, 5, 30)[0]
    torch.testing.assert_close(found[0], (low + 2 * middle + high) / 4)


def test_outputs_without_softmax():
    options = {"softmax": False, "n_points": 3, "return_curve": True}
    found = insertion(lambda x: x, X, forward_func=lambda x: x.sum(1, keepdim=True), **options)
    assert found.curve.tolist() == [[0, 7, 10]]


@pytest.mark.parametrize("features", [1, 7, 10, 33])
def test_exact_shares_and_ties(features):
    # a constant map puts in the first features; with a sum the output counts them
    x = torch.ones(2, features)
    found = insertion(
        torch.zeros_like, x, forward_func=lambda x: x.sum(1), softmax=False, return_curve=True
    )
    counts = [(2 * p * features + 20) // 40 for p in range(21)]
    assert found.curve.tolist() == [counts, counts]
    assert counts[0] == 0 and counts[-1] == features


def literal_insertion(model, x, scores, target, points):
    """One image and one point at a time; features by a sort of their scores."""
    curves = []
    for image, score in zip(x, scores, strict=True):
        values = score.flatten().tolist()
        order = sorted(range(len(values)), key=[-value for value in values].__getitem__)
        curve = []
        for point in range(points):
            mask = torch.zeros(score.numel())
            mask[order[: int(point * score.numel() / (points - 1) + 0.5)]] = 1
            with torch.no_grad():
                output = model((image * mask.reshape(score.shape))[None])
            curve.append(output.softmax(1)[0, target])
        curves.append(curve)
    return torch.tensor(curves, dtype=torch.float64)


@pytest.mark.parametrize("rows", [None, 1, 2, 7, 1000])
@pytest.mark.parametrize("channels", [None, "sum", "abs-sum"])
def test_equals_a_literal_loop(model, images, rows, channels):
    saliency = Saliency(model)
    scores = saliency.attribute(images, target=2, abs=False)
    if channels is not None:
        scores = (scores.abs() if channels == "abs-sum" else scores).sum(1, keepdim=True)
    found = insertion(
        saliency.attribute,
        images,
        forward_func=model,
        channels=channels,
        return_curve=True,
        max_examples_per_batch=rows,
        target=2,
        abs=False,
    )
    expected = literal_insertion(model, images, scores, 2, 21)
    torch.testing.assert_close(found.curve, expected, rtol=1e-5, atol=1e-6)


def test_deletion_is_insertion_of_the_rest(model, images):
    options = {"forward_func": model, "return_curve": True, "target": 1, "n_points": 13}
    explain = InputXGradient(model).attribute
    forth = insertion(lambda x, target: -explain(x, target=target), images, **options)
    back = deletion(explain, images, **options)
    torch.testing.assert_close(back.curve, forth.curve.flip(1))


def test_baselines(model, images):
    def ends(baseline):
        found = insertion(
            Saliency(model).attribute,
            images,
            forward_func=model,
            baseline=baseline,
            return_curve=True,
            target=1,
        )
        return found.curve[:, 0], found.curve[:, -1]

    def probability(x):
        with torch.no_grad():
            return model(x).double().softmax(1)[:, 1]

    fill = torch.randn(1, 2, 1, 9)
    grounds = {
        "zero": torch.zeros_like(images),
        "mean": images.mean((2, 3), keepdim=True).expand_as(images),
        "blur": gaussian_blur(images, [11, 11], [5.0, 5.0]),
        0.25: torch.full_like(images, 0.25),
        fill: fill.expand_as(images),
    }
    for baseline, ground in grounds.items():
        first, last = ends(baseline)
        torch.testing.assert_close(first, probability(ground))
        torch.testing.assert_close(last, probability(images))


def test_tuples_and_arguments_of_each_example(two_inputs):
    net, inputs = two_inputs
    scale = torch.rand(4, 1)
    options = {
        "forward_func": net,
        "return_curve": True,
        "target": [0, 2, 1, 1],
        "additional_forward_args": (scale,),
        "baselines": tuple(torch.ones_like(part) for part in inputs),
    }
    explain = IntegratedGradients(net).attribute
    whole = insertion(explain, inputs, **options)
    for rows in (1, 3, 50):
        parts = insertion(explain, inputs, max_examples_per_batch=rows, **options)
        torch.testing.assert_close(parts.curve, whole.curve)
    with torch.no_grad():
        outputs = net(*inputs, scale).softmax(1)[torch.arange(4), [0, 2, 1, 1]]
    torch.testing.assert_close(whole.curve[:, -1], outputs.double())


def test_an_attack_that_does_nothing_leaves_insertion(model, images):
    explain = InputXGradient(model).attribute
    options = {"forward_func": model, "target": torch.tensor([0, 1, 2])}
    plain = insertion(explain, images, **options)
    for rows in (None, 2):
        found = adversarial_insertion(
            explain,
            images,
            lambda x, epsilon: x,
            radius=0.1,
            max_examples_per_batch=rows,
            **options,
        )
        torch.testing.assert_close(found, plain)


def test_attacked_inputs_are_returned(model, images):
    attack = FGSM(model, nn.CrossEntropyLoss(reduction="none"))
    target = torch.tensor([0, 1, 2])
    options = {"forward_func": model, "radius": 0.8, "target": target}
    explain = Saliency(model).attribute
    found = adversarial_insertion(explain, images, attack, return_perturbed=True, **options)
    moved = attack.perturb(images, 0.8, target)
    torch.testing.assert_close(found.perturbed_inputs, moved)
    torch.testing.assert_close(found.perturbed_maps, explain(moved, target=target))
    changed = model(moved).argmax(1) != model(images).argmax(1)
    assert torch.equal(found.prediction_changes, changed.long())
    assert found.curve is None
    gone = adversarial_insertion(explain, images, attack, on_prediction_change="nan", **options)
    assert torch.equal(torch.isnan(gone), changed)


def test_errors_say_what_came(model, images):
    explain, options = Saliency(model).attribute, {"forward_func": model, "target": 1}
    with pytest.raises(ValueError, match=r"`n_points` must be at least 2, got 1."):
        insertion(explain, images, n_points=1, **options)
    with pytest.raises(ValueError, match=r"`baseline` must be one of 'zero', 'mean', 'blur'"):
        insertion(explain, images, baseline="black", **options)
    with pytest.raises(ValueError, match=r"`baseline` must broadcast .* got \(2, 8, 9\)."):
        insertion(explain, images, baseline=images[0], **options)
    with pytest.raises(ValueError, match=r"`baseline` must have one entry for each of the 1"):
        insertion(explain, images, baseline=(0, 1), **options)
    with pytest.raises(ValueError, match=r'`baseline="blur"` needs images'):
        insertion(lambda x: x, X, baseline="blur", forward_func=logits)
    with pytest.raises(ValueError, match=r"`area` must be one of 'mean', 'trapezoid', got 'sum'."):
        insertion(explain, images, area="sum", **options)
    with pytest.raises(ValueError, match=r"must return a map of each input's shape"):
        insertion(lambda x, target: x[:, :, :4], images, **options)
    with pytest.raises(ValueError, match=r"`target` must select one output for each example"):
        insertion(lambda x: x, images, forward_func=model)
    with pytest.raises(ValueError, match=r"`softmax=True` needs scores of at least two classes"):
        insertion(lambda x: x, X, forward_func=lambda x: x.sum(1))
    with pytest.raises(TypeError, match=r"`forward_func` must be callable, got NoneType."):
        insertion(explain, images, forward_func=None, target=1)
