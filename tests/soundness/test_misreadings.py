"""One test for each way to misread the promise: G depends on x + noise alone, and what it means."""

from __future__ import annotations

import math

import pytest
import torch
from captum.attr import InputXGradient, Saliency
from scipy.stats import chi2
from torch import nn

from captum_robust.attr import (
    Abs,
    GaussianSmoothing,
    Rank,
    Relax,
    ScaleToMax,
    SparsifiedSmoothGrad,
    Sparsify,
    UniGrad,
    UnitNorm,
)
from captum_robust.noise import Relative


def test_a_base_method_that_sees_the_clean_input_is_outside_the_promise(field, smoothing):
    # The map depends on x itself, through a side channel: it jumps where the certificate, which
    # was given noisy inputs only, sees no reason to. This is why the docstring forbids it.
    clean = {"x": torch.zeros(1, 2)}

    def leaking(noisy):
        first = (clean["x"][:, :1] <= 0).expand(len(noisy), 1).to(noisy.dtype)
        return torch.cat([first, 1 - first], 1)

    smooth = smoothing(field(leaking), transform=Sparsify(1))
    certificate = smooth.certify(clean["x"], stdevs=1.0, nt_samples=1000, seed=0)
    assert float(certificate.overlap(0.1, k=1)) == 1.0  # "certified"
    clean["x"] = torch.full((1, 2), 0.01)
    moved = smooth.attribute(clean["x"], stdevs=1.0, nt_samples=1000, seed=1)
    assert int(moved.argmax()) != int(certificate.attributions.argmax())  # and false


def test_products_use_the_noisy_input():
    # input x gradient of a linear model: the factor is the noisy input, not the clean one.
    net = nn.Linear(3, 1, bias=False).double()
    x = torch.zeros(1, 3, dtype=torch.float64)
    smooth = GaussianSmoothing(InputXGradient(net), transform=Abs())
    measured = smooth.attribute(x, target=0, stdevs=1.0, nt_samples=4000, seed=0)
    expected = net.weight.detach().abs() * math.sqrt(2 / math.pi)
    torch.testing.assert_close(measured, expected, rtol=5 / math.sqrt(4000), atol=0)


def test_sparsify_marks_exactly_as_many_as_it_says_on_the_zeros_of_a_relu_net():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(40, 3), nn.ReLU(), nn.Linear(3, 2)).eval()
    net[0].weight.data[:, 5:] = 0  # all but five gradients vanish
    x = torch.randn(3, 40)
    gradient = Saliency(net).attribute(x.clone().requires_grad_(), target=0)
    threshold = gradient.topk(10, dim=1).values[:, -1:]
    assert (gradient >= threshold).sum(1).max() > 10  # what a threshold would select
    certificate = SparsifiedSmoothGrad(Saliency(net), keep=10).certify(
        x, target=0, stdevs=0.5, nt_samples=200, seed=0
    )
    kept = certificate.attributions.sum(1)  # a map of zeros stays zero, others have exactly 10
    assert (kept <= 10 + 1e-12).all() and kept.max() > 9
    marked = Sparsify(10)((gradient,))[0]
    assert set(marked.sum(1).tolist()) <= {0.0, 10.0}


@pytest.mark.parametrize(
    "transform", [None, Sparsify(1), Rank(), Relax(1, 0), UnitNorm(), ScaleToMax()], ids=repr
)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_no_sample_is_dropped_and_none_is_undefined(field, smoothing, transform, bad):
    # A mask of NaNs would be finite: the check is before the transform.
    def sometimes(noisy):
        return torch.where(noisy[:, :1] > 2.0, torch.full_like(noisy, bad), noisy)

    smooth = smoothing(field(sometimes), transform=transform)
    x = torch.zeros(2, 3)
    x[1] = 9.0
    with pytest.raises(
        RuntimeError, match=r"attributions must be finite: .* example 1 .* sample 0"
    ):
        smooth.certify(x, stdevs=0.1, nt_samples=20, seed=0, norm_bound=100.0)
    with pytest.raises(RuntimeError, match="attributions must be finite"):
        smooth.attribute(x, stdevs=0.1, nt_samples=20, seed=0)


def test_zero_maps_count_as_samples(field, smoothing):
    # Half of all maps vanish; their directions are not averaged over the rest.
    def half(noisy):
        return torch.where(noisy[:, :1] > 0, torch.ones_like(noisy), torch.zeros_like(noisy))

    smooth = smoothing(field(half), transform=UnitNorm())
    certificate = smooth.certify(torch.zeros(1, 4), stdevs=1.0, nt_samples=4000, seed=0)
    assert float(certificate.attributions.norm()) == pytest.approx(0.5, abs=5 * 0.5 / 63)


def test_noise_relative_to_the_range_is_frozen_at_the_input():
    # Were the level resolved anew at the perturbed input, a map that looks at the length of the
    # noise would jump: the length concentrates, so that two percent more noise is plain to see.
    dimension, share, epsilon = 20_000, 0.1, 0.02
    x = torch.zeros(1, dimension, dtype=torch.float64)
    x[0, 0] = 1.0
    moved = x.clone()
    moved[0, 0] += epsilon
    frozen = float(Relative(share).resolve(x))
    anew = float(Relative(share).resolve(moved))
    edge = chi2.ppf(0.5, dimension) * frozen**2 * (1 + 2 * epsilon / 2)
    before = chi2.cdf(edge / frozen**2, dimension)
    after = chi2.cdf(edge / anew**2, dimension)
    from captum_robust.noise import GaussianNoise

    floor = float(GaussianNoise().lower(before, epsilon / frozen, dimension))
    assert after < floor - 0.2  # the certificate holds for the frozen level only
    net = nn.Linear(3, 2).double()
    x = torch.tensor([[0.0, 1.0, 3.0]], dtype=torch.float64)
    certificate = SparsifiedSmoothGrad(Saliency(net), keep=1).certify(
        x, target=0, stdevs=Relative(0.1), nt_samples=10, seed=0
    )
    assert certificate.shift.smallest.tolist() == pytest.approx([0.3])
    assert "standard deviation of 0.3" in certificate.noise


def test_box_noise_certifies_l1_sizes_and_says_so():
    net = nn.Linear(3, 2).double().eval()
    smooth = UniGrad(Saliency(net), transform=Abs() >> Sparsify(1))
    x = torch.zeros(2, 3, dtype=torch.float64)
    certificate = smooth.certify(x, target=0, radius=1.0, nt_samples=500, seed=0)
    assert "l1 norm" in certificate.statement(0.1, k=1)
    assert certificate.shift.norm == "l1 norm"


def test_a_maximum_over_samples_is_no_bound():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).eval()
    certificate = GaussianSmoothing(Saliency(net)).certify(
        torch.zeros(2, 3), target=0, stdevs=1.0, nt_samples=20, seed=0
    )
    with pytest.raises(ValueError, match=r"a maximum over samples is never a bound.*UnitNorm"):
        certificate.cosine(0.1)


def test_the_target_is_frozen_and_named():
    net = nn.Linear(3, 4).eval()
    certificate = SparsifiedSmoothGrad(Saliency(net), keep=1).certify(
        torch.zeros(2, 3), target=[2, 3], stdevs=1.0, nt_samples=50, seed=0
    )
    text = certificate.statement(0.1, k=1)
    assert "example 0, target 2" in text and "example 1, target 3" in text
    assert "prediction is not certified" in text


def test_clamping_is_part_of_the_explained_function(field, smoothing):
    # A map of the clamped input is a function of x + noise like any other: the bound is kept.
    seen = []

    def recorded(noisy):
        seen.append(noisy.detach())
        return (noisy[:, :1] > 0.5).to(noisy.dtype).repeat(1, 2) * torch.tensor([1.0, 0.0])

    smooth = smoothing(field(recorded), transform=Sparsify(1))
    smooth.certify(torch.zeros(1, 2), stdevs=1.0, nt_samples=500, clamp=(0.0, 1.0), seed=0)
    points = torch.cat(seen)
    assert points.min() == 0 and points.max() == 1
