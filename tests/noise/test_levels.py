"""Noise levels: every form, how each is resolved, and what each refusal says."""

from __future__ import annotations

import math

import pytest
import torch
from captum.attr import Saliency
from torch import nn

from captum_robust.attr import GaussianSmoothing, UniformSmoothing
from captum_robust.noise import GaussianNoise, Relative, UniformBallNoise, UniformBoxNoise
from captum_robust.noise.levels import resolve_level

INPUTS = (torch.randn(3, 4), torch.randn(3, 2, 2))
LAW = GaussianNoise()


def resolve(stdevs=None, radius=None, inputs=INPUTS, law=LAW):
    return resolve_level(law, inputs, stdevs, radius)


@pytest.mark.parametrize("level", [0.5, 2, torch.tensor(0.5), (0.5, 2), torch.full((1,), 3)])
def test_numbers_ints_tuples_and_tensors(level):
    resolved = resolve(level)
    wanted = level if isinstance(level, tuple) else (level, level)
    for scale, value in zip(resolved.scales, wanted, strict=True):
        assert torch.allclose(scale, torch.as_tensor(value, dtype=torch.float32))
    assert resolved.dimension == 8
    assert resolved.weighted == isinstance(level, tuple)
    assert torch.equal(resolved.smallest, torch.full((3,), float(min(map(float, wanted)))).double())


def test_the_default_is_one():
    assert resolve().smallest.tolist() == [1.0] * 3


def test_a_number_is_not_rounded_to_float32_for_float64_inputs():
    resolved = resolve(0.1, inputs=(INPUTS[0].double(),))
    assert resolved.smallest.tolist() == [0.1] * 3
    resolved = resolve(0.1)
    assert resolved.smallest.tolist() == [float(torch.tensor(0.1))] * 3  # what the noise gets


def test_per_feature_tensors_are_weighted_and_the_smallest_is_found():
    stdevs = torch.tensor([0.5, 1.0, 2.0, 3.0])
    resolved = resolve((stdevs, 0.25))
    assert resolved.weighted and resolved.smallest.tolist() == [0.25] * 3
    per_example = torch.tensor([[1.0], [2.0], [4.0]])
    resolved = resolve(per_example, inputs=INPUTS[:1])
    assert not resolved.weighted and resolved.smallest.tolist() == [1.0, 2.0, 4.0]


def test_relative_levels_are_a_share_of_each_examples_range():
    x = torch.tensor([[0.0, 5.0], [1.0, 2.0]])
    assert resolve(Relative(0.1), inputs=(x,)).smallest.tolist() == pytest.approx([0.5, 0.1])
    assert resolve(Relative(0.1), inputs=(x,)).weighted is False
    resolved = resolve((Relative(0.1), 0.05), inputs=(x, x))
    assert resolved.weighted and resolved.smallest.tolist() == pytest.approx([0.05, 0.05])
    with pytest.raises(ValueError, match=r"`share` must be in \[0, inf\), got -1"):
        Relative(-1)


@pytest.mark.parametrize("law, unit", [(UniformBallNoise(), 10), (UniformBoxNoise(), 3)])
def test_radius_is_that_of_the_body_over_all_inputs_together(law, unit):
    resolved = resolve(radius=2.0, law=law)
    assert resolved.smallest.tolist() == pytest.approx([2 / math.sqrt(unit)] * 3, rel=1e-6)


@pytest.mark.parametrize(
    "law, smoothing",
    [(UniformBallNoise(), "l2"), (UniformBoxNoise(), "linf")],
)
def test_a_tuple_of_inputs_is_one_concatenated_vector(law, smoothing):
    # The noise that reaches the model fills one ball over both inputs, not one for each.
    seen = []

    def model(first, second):
        seen.append(torch.cat([first.flatten(1), second.flatten(1)], 1).detach())
        return first.sum(1, keepdim=True) + second.flatten(1).sum(1, keepdim=True)

    inputs = (torch.zeros(1, 4, dtype=torch.float64), torch.zeros(1, 2, 2, dtype=torch.float64))
    smooth = UniformSmoothing(Saliency(model), norm=smoothing)
    smooth.attribute(inputs, radius=2.0, nt_samples=3000, seed=0, target=0)
    noise = torch.cat(seen)
    size = noise.norm(dim=1) if smoothing == "l2" else noise.abs().amax(1)
    assert size.max() <= 2 * (1 + 1e-6)
    mean = 2 * 8 / 9  # E of the largest of the body's radius, u^(1/8)
    assert float(size.mean()) == pytest.approx(mean, abs=4 * 2 * 0.1 / math.sqrt(3000))
    both = (noise[:, :4].square().mean(), noise[:, 4:].square().mean())
    per_coordinate = 4 / law.radius_in_stdevs(8) ** 2
    for part in both:
        assert float(part) == pytest.approx(per_coordinate, rel=5 * 1.2 / math.sqrt(12_000))


def test_levels_reach_each_input_and_each_example():
    seen = []

    def model(x):
        seen.append(x.detach())
        return x.sum(1, keepdim=True)

    x = torch.zeros(2, 3, dtype=torch.float64)
    stdevs = torch.tensor([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]], dtype=torch.float64)
    smooth = GaussianSmoothing(Saliency(model))
    smooth.attribute(
        x, stdevs=stdevs, nt_samples=4000, nt_samples_batch_size=4000, seed=0, target=0
    )
    noise = seen[0].unflatten(0, (2, 4000))
    ratio = noise.std(1) / stdevs
    assert (ratio - 1).abs().max() <= 5 / math.sqrt(2 * 4000)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"stdevs": -0.1}, ValueError, r"`stdevs` must be finite and >= 0, got -0.1"),
        ({"stdevs": math.nan}, ValueError, r"`stdevs` must be finite and >= 0, got nan"),
        ({"stdevs": math.inf}, ValueError, r"`stdevs` must be finite and >= 0, got inf"),
        ({"stdevs": "0.1"}, TypeError, r"`stdevs` must be a number, a tensor, .* got str"),
        ({"stdevs": True}, TypeError, r"`stdevs` must be a number, a tensor, .* got bool"),
        ({"stdevs": [0.1, 0.1]}, TypeError, r"`stdevs` must be a number, .* got list"),
        ({"stdevs": (0.1,)}, ValueError, r"`stdevs` must have one entry for each of the 2 inputs"),
        ({"stdevs": torch.ones(5)}, ValueError, r"`stdevs` must broadcast to its input of shape"),
        ({"stdevs": torch.ones(2, 3, 4)}, ValueError, r"`stdevs` must broadcast to its input"),
        ({"stdevs": 1.0, "radius": 1.0}, ValueError, r"exactly one of `stdevs` and `radius`"),
        ({"radius": 1.0}, ValueError, r"`radius` needs a noise law with a body, got Gaussian"),
    ],
)
def test_refusals(arguments, error, message):
    with pytest.raises(error, match=message):
        resolve(**arguments)


def test_radius_refusals_name_the_radius():
    with pytest.raises(ValueError, match=r"`radius` must be finite and >= 0, got -2"):
        resolve(radius=-2.0, law=UniformBallNoise())


def test_zero_noise_is_the_map_itself_but_no_certificate():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 5), nn.Softplus(), nn.Linear(5, 2)).eval()
    x = torch.randn(3, 4)
    smooth = GaussianSmoothing(Saliency(net))
    plain = Saliency(net).attribute(x.clone().requires_grad_(), target=0)
    one = smooth.attribute(x, target=0, stdevs=0.0, nt_samples=1)
    assert torch.equal(one, plain)  # the same pass, so the same rounding
    torch.testing.assert_close(smooth.attribute(x, target=0, stdevs=0.0), plain)
    with pytest.raises(ValueError, match=r"standard deviation must be > 0, got 0 in example 1"):
        smooth.certify(
            x, target=0, nt_samples=3, stdevs=torch.tensor([[1.0], [0.0], [1.0]]).expand(3, 4)
        )
