import pytest
import torch
from captum.attr import InputXGradient, NoiseTunnel, Saliency
from torch import nn

from captum_robust.metrics import hessian_norm


@pytest.fixture
def quadratic():
    """f = x^T A x / 2, whose gradient map has the Jacobian A everywhere."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    a = (a + a.T) / 2
    return a, lambda x: ((x @ a) * x).sum(1) / 2


@pytest.mark.parametrize("method", ["autograd", "finite-difference"])
def test_frobenius_norm_of_a_quadratic(quadratic, method):
    a, forward = quadratic
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    n = 400
    found = hessian_norm(
        Saliency(forward).attribute, x, n_samples=n, method=method, seed=0, abs=False
    )
    # the mean of |Av|^2 is |A|_F^2, its variance 2 |A^2|_F^2
    std = (2 * (a @ a).square().sum()) ** 0.5
    assert ((found**2 - a.square().sum()).abs() < 4 * std / n**0.5).all()


def test_both_methods_agree_on_a_smooth_net(model, images):
    model, images = model.double(), images.double()
    options = {"n_samples": 400, "target": 2}
    explain = InputXGradient(model).attribute
    exact = hessian_norm(explain, images, seed=0, **options)
    quotient = hessian_norm(explain, images, method="finite-difference", seed=1, **options)
    torch.testing.assert_close(exact, quotient, rtol=0.1, atol=0)


def test_a_single_direction_is_exact(quadratic):
    _, forward = quadratic
    x = torch.ones(1, 6, dtype=torch.float64)
    options = {"n_samples": 1, "seed": 5, "abs": False}
    exact = hessian_norm(Saliency(forward).attribute, x, **options)
    quotient = hessian_norm(Saliency(forward).attribute, x, method="finite-difference", **options)
    torch.testing.assert_close(exact, quotient, rtol=1e-6, atol=0)  # A is symmetric


def test_linear_models_have_none():
    linear = nn.Linear(4, 3)
    x = torch.randn(2, 4)
    assert hessian_norm(Saliency(linear).attribute, x, target=1).tolist() == [0, 0]
    relu = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
    assert hessian_norm(Saliency(relu).attribute, x, target=1).tolist() == [0, 0]


def test_scales_with_the_function(quadratic):
    _, forward = quadratic
    x = torch.ones(1, 6, dtype=torch.float64)
    once = hessian_norm(Saliency(forward).attribute, x, seed=0)
    thrice = hessian_norm(Saliency(lambda x: 3 * forward(x)).attribute, x, seed=0)
    torch.testing.assert_close(thrice, 3 * once)


@pytest.mark.parametrize("method", ["autograd", "finite-difference"])
def test_chunks_and_tuples(two_inputs, method):
    net, inputs = two_inputs
    # In float32 a difference of gradients keeps the rounding that other pass sizes change.
    net, inputs = net.double(), tuple(part.double() for part in inputs)
    options = {
        "n_samples": 3,
        "seed": 0,
        "method": method,
        "target": [0, 1, 2, 0],
        "additional_forward_args": torch.rand(4, 1, dtype=torch.float64),
    }
    before = [parameter.clone() for parameter in net.parameters()]
    whole = hessian_norm(Saliency(net).attribute, inputs, **options)
    parts = hessian_norm(Saliency(net).attribute, inputs, max_examples_per_batch=3, **options)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=0)
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))


def test_maps_without_a_graph_are_refused(quadratic):
    _, forward = quadratic
    x = torch.ones(1, 6, dtype=torch.float64)
    with pytest.raises(TypeError, match=r'use `method="finite-difference"`'):
        hessian_norm(lambda x: x, x)
    with pytest.raises(TypeError, match="NoiseTunnel runs without autograd"):
        hessian_norm(NoiseTunnel(Saliency(forward)).attribute, x)
    with pytest.raises(ValueError, match=r"`method` must be one of .* got 'exact'."):
        hessian_norm(lambda x: x, x, method="exact")
    with pytest.raises(ValueError, match=r"`step` must be in \(0, inf\), got 0."):
        hessian_norm(lambda x: x, x, step=0)
