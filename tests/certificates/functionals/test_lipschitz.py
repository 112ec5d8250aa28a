"""SmoothGrad's Lipschitz constant at its worst case, and SmoothGrad as the gradient of a blur."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from scipy import integrate, optimize, stats
from torch import nn

from captum_robust.attr import GaussianSmoothing
from captum_robust.certificates import PublishedFormulaWarning
from captum_robust.certificates.functionals.lipschitz import (
    smoothgrad_deviation,
    smoothgrad_lipschitz,
    smoothgrad_radius,
)

PHI = stats.norm.pdf


def slab_map(x: float, bound: float, sigma: float) -> float:
    """SmoothGrad along u of F sign(|u.z| / sigma - 1): the derivative of its blur, closed form."""
    # E f = F - 2 F P(|x + sigma z| < sigma)
    return -2 * bound * (PHI(1 + x / sigma) - PHI(1 - x / sigma)) / sigma


def test_slab_attains_the_constant():
    bound, sigma, step = 3.0, 0.7, 1e-5
    slope = (slab_map(step, bound, sigma) - slab_map(-step, bound, sigma)) / (2 * step)
    constant = smoothgrad_lipschitz(-bound, bound, sigma)
    assert constant == pytest.approx(0.96788 * bound / sigma**2, rel=1e-5)
    assert abs(slope) == pytest.approx(constant, rel=1e-8)


def test_constant_is_half_as_large_for_probabilities():
    expected = integrate.quad(lambda z: 0.5 * abs(z * z - 1) * PHI(z), -12, 12, points=[-1, 1])[0]
    assert smoothgrad_lipschitz(0.0, 1.0, 1.0) == pytest.approx(expected, rel=1e-9)
    assert smoothgrad_lipschitz(0.0, 1.0, [0.5, 2.0]) == pytest.approx([4 * expected, expected / 4])


def test_deviation_holds_on_slabs_and_half_spaces_at_every_distance():
    sigma = 0.4
    for epsilon in (0.01, 0.1, 0.4, 1.0, 3.0):
        limit = smoothgrad_deviation(epsilon, -1.0, 1.0, sigma)
        starts = np.linspace(-3, 3, 601)
        slab = abs(slab_map(starts + epsilon, 1.0, sigma) - slab_map(starts, 1.0, sigma)).max()
        assert slab <= limit
        # sign(u.z): its SmoothGrad is 2 phi(x / sigma) / sigma
        step = abs(PHI((starts + epsilon) / sigma) - PHI(starts / sigma)).max() * 2 / sigma
        assert step <= limit


def test_deviation_is_reached_by_two_spikes_far_apart():
    # f = sign(z) near x and -sign(z - 10) near x + 10: maps + and - the largest a score allows.
    sigma = 0.5
    largest = 2 * PHI(0) / sigma
    assert smoothgrad_deviation(10.0, -1.0, 1.0, sigma) == pytest.approx(2 * largest)


def test_published_constant_is_valid_but_loose():
    with pytest.warns(PublishedFormulaWarning, match="not tight"):
        printed = smoothgrad_lipschitz(-1.0, 1.0, 0.3, published=True)
    assert printed == pytest.approx(2 / 0.3**2)
    assert printed / smoothgrad_lipschitz(-1.0, 1.0, 0.3) == pytest.approx(2.0664, abs=1e-4)
    with pytest.warns(PublishedFormulaWarning):
        assert smoothgrad_deviation(0.1, 0.0, 1.0, 0.3, published=True) == pytest.approx(
            0.2 / 0.3**2
        )


def test_radius_inverts_the_deviation_and_rounds_down():
    wanted = np.array([0.0, 1e-3, 0.3, 1.0, 1.59])
    radii = smoothgrad_radius(wanted, 0.0, 1.0, 0.5)
    assert (smoothgrad_deviation(radii, 0.0, 1.0, 0.5) <= wanted).all()
    assert smoothgrad_deviation(radii * (1 + 1e-9), 0.0, 1.0, 0.5)[1:] == pytest.approx(wanted[1:])
    assert smoothgrad_radius(1.6, 0.0, 1.0, 0.5) == np.inf


def test_random_bounded_scores_never_exceed_the_constant():
    # One-dimensional step functions: the blur of each step is a normal cdf, its slope closed form.
    rng, sigma = np.random.default_rng(0), 0.6
    x = np.linspace(-4, 4, 801)
    worst = 0.0
    for _ in range(200):
        edges, values = np.sort(rng.uniform(-3, 3, 6)), rng.uniform(0, 1, 7)
        jumps = np.diff(values)
        gap = (x[:, None] - edges) / sigma
        slope = (-gap * PHI(gap) * jumps).sum(1) / sigma**2
        worst = max(worst, abs(slope).max())
    assert worst <= smoothgrad_lipschitz(0.0, 1.0, sigma)
    assert worst > 0.5 * smoothgrad_lipschitz(0.0, 1.0, sigma)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((1.0, 0.0, 0.5), "`high` must be in"),
        ((0.0, math.inf, 0.5), "`high` must be in"),
        ((0.0, 1.0, 0.0), "`stdev` must be > 0"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        smoothgrad_lipschitz(*arguments)


def test_refuses_negative_sizes():
    with pytest.raises(ValueError, match="`epsilon` must be >= 0"):
        smoothgrad_deviation(-0.1, 0.0, 1.0, 0.5)
    with pytest.raises(ValueError, match="`deviation` must be >= 0"):
        smoothgrad_radius(-0.1, 0.0, 1.0, 0.5)


# -- Wang et al. (2020), Proposition 1: E grad f(x + z) = grad (f * q)(x) ------------------------


def hidden_layer() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    bias = torch.randn(7, generator=generator, dtype=torch.float64)
    return weight, bias, torch.randn(7, generator=generator, dtype=torch.float64)


def blurred_relu_net(x: np.ndarray, sigma: float) -> float:
    """E of sum_j v_j relu(w_j.(x + sigma z) + b_j), closed form: the convolution f * q."""
    weight, bias, out = (part.numpy() for part in hidden_layer())
    mean, scale = weight @ x + bias, sigma * np.linalg.norm(weight, axis=1)
    return float(out @ (mean * stats.norm.cdf(mean / scale) + scale * PHI(mean / scale)))


def test_gradient_of_the_blur_of_a_relu_net_is_the_mean_of_its_gradients():
    # The gradient is w_j where unit j is on, so its mean is exact: w_j P(on).
    weight, bias, out = (part.numpy() for part in hidden_layer())
    x, sigma = np.linspace(-1, 1, 5), 0.8
    on = stats.norm.cdf((weight @ x + bias) / (sigma * np.linalg.norm(weight, axis=1)))
    mean_gradient = (out * on) @ weight
    blur_gradient = optimize.approx_fprime(x, blurred_relu_net, 1e-6, sigma)
    assert mean_gradient == pytest.approx(blur_gradient, abs=1e-5)


def test_smoothgrad_of_the_library_estimates_the_gradient_of_the_blur():
    weight, bias, out = hidden_layer()
    net = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 1, bias=False)).double()
    with torch.no_grad():
        net[0].weight.copy_(weight)
        net[0].bias.copy_(bias)
        net[2].weight.copy_(out[None])
    sigma, samples = 0.8, 1_500
    smooth = GaussianSmoothing(Saliency(net))
    x = torch.stack([torch.linspace(-1, 1, 5), torch.ones(5)]).double()
    settings = {"stdevs": sigma, "nt_samples": samples, "seed": 0, "abs": False}
    maps = smooth.attribute(x, target=0, **settings).numpy()
    spread = smooth.attribute(x, nt_type="vargrad", target=0, **settings).numpy() ** 0.5
    for row, point, error in zip(maps, x.numpy(), 4 * spread / samples**0.5, strict=True):
        exact = optimize.approx_fprime(point, blurred_relu_net, 1e-6, sigma)
        assert (abs(row - exact) <= error + 1e-5).all()
