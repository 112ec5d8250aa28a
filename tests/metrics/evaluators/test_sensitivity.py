"""Sensitivity: Captum's values on the same perturbations, and closed forms."""

import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients, Saliency
from captum.metrics import sensitivity_max

from captum_robust.metrics import avg_sensitivity, max_sensitivity


def replay(shape, draws):
    """The same perturbations for both: a function of the call's rows alone."""
    noise = torch.rand(draws, *shape, generator=torch.Generator().manual_seed(0)) - 0.5

    def perturb(inputs, radius):
        several = noise.transpose(0, 1).flatten(0, 1) if len(inputs) == draws * shape[0] else noise
        return inputs + radius * several.reshape(inputs.shape)

    return perturb


@pytest.mark.parametrize("method", [Saliency, InputXGradient, IntegratedGradients])
@pytest.mark.parametrize("norm_ord", ["fro", 1, torch.inf])
def test_the_values_of_captum(model, images, method, norm_ord):
    explain, perturb = method(model).attribute, replay(images.shape, 4)
    words = {"perturb_radius": 0.1, "n_perturb_samples": 4, "norm_ord": norm_ord, "target": 1}
    expected = sensitivity_max(explain, images, perturb, **words)
    found = max_sensitivity(explain, images, perturb, **words)
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-6)
    assert (avg_sensitivity(explain, images, perturb, **words) <= found).all()


def test_tuples_are_one_vector(two_inputs):
    net, inputs = two_inputs
    explain = InputXGradient(net).attribute

    def perturb(inputs):
        return tuple(part + 0.1 * part.cos() for part in inputs)

    expected = sensitivity_max(explain, inputs, perturb, target=1)
    torch.testing.assert_close(
        max_sensitivity(explain, inputs, perturb, target=1).float(), expected
    )


def test_mean_and_largest_over_draws():
    factors = iter([2.0, 4.0, 3.0] * 2)

    def scale(inputs):
        return inputs * next(factors)

    words = {"n_perturb_samples": 3, "max_examples_per_batch": 2}
    x = torch.tensor([[1.0, 2.0], [3.0, -4.0]])
    assert max_sensitivity(lambda x: x, x, scale, **words).tolist() == [3, 3]
    assert avg_sensitivity(lambda x: x, x, scale, **words).tolist() == [2, 2]


def test_a_zero_map_is_divided_by_one():
    x = torch.zeros(1, 2)
    assert max_sensitivity(lambda x: x, x, lambda x: x + 1).item() == pytest.approx(2**0.5)
    with pytest.raises(ValueError, match=r"`norm_ord` must be in \[1, inf\], got 0"):
        max_sensitivity(lambda x: x, x, norm_ord=0)
