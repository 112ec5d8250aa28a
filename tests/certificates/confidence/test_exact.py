"""Confidence "exact": the samples' averages stand for the expectations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from torch import Tensor, nn

from captum_robust.attr import Abs, GaussianSmoothing, SparsifiedSmoothGrad, UnitNorm
from captum_robust.certificates import Certificate, displacement_shifts
from captum_robust.noise import GaussianNoise

TERMS: dict[str, Any] = {"target": 1, "stdevs": 0.5, "nt_samples": 600, "seed": 0}


@pytest.fixture
def saliency() -> Saliency:
    torch.manual_seed(0)
    return Saliency(nn.Sequential(nn.Linear(8, 16), nn.Softplus(), nn.Linear(16, 3)).eval())


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(2, 8, generator=torch.Generator().manual_seed(5))


def test_overlap_is_the_shift_of_the_averages(saliency: Saliency, inputs: Tensor) -> None:
    smooth = SparsifiedSmoothGrad(saliency, keep=4)
    found = smooth.certify(inputs, confidence="exact", route="elementwise", **TERMS)
    for mean, radius in zip(
        found.mean.numpy(), found.certified_radius(overlap=1, k=3), strict=True
    ):
        shifts = displacement_shifts(mean, mean, mean, 3, found.shift.bounds, 8)
        assert float(radius) == pytest.approx(max(shifts[0], 0.0) * 0.5)


def test_cosine_has_no_sampling_error(saliency: Saliency, inputs: Tensor) -> None:
    smooth = GaussianSmoothing(saliency, transform=Abs() >> UnitNorm())
    found = smooth.certify(inputs, confidence="exact", route="bounded", **TERMS)
    norms = found.mean.norm(dim=1).numpy()
    moved = GaussianNoise().angle_shift(0.1 / 0.5, 8, nonnegative=True) * (1 + 1e-5)
    assert found.cosine(0.1).numpy() == pytest.approx(np.sqrt(1 - (moved / norms) ** 2))
    assert (found.cosine(0.0) > 1 - 1e-9).all()


def test_it_says_more_than_any_certificate_and_calls_itself_an_estimate(
    saliency: Saliency, inputs: Tensor
) -> None:
    smooth = SparsifiedSmoothGrad(saliency, keep=4)
    masks = torch.arange(8) < 4

    def certify(confidence: str) -> Certificate:
        return smooth.certify(inputs, confidence=confidence, masks=masks, **TERMS)

    exact, certified = certify("exact"), certify("auto")
    for epsilon in (0.0, 0.1, 0.3):
        assert (exact.overlap(epsilon, k=4) >= certified.overlap(epsilon, k=4)).all()
        assert (exact.cosine(epsilon) >= certified.cosine(epsilon)).all()
        assert (exact.region_mass(epsilon) >= certified.region_mass(epsilon)).all()
        assert (exact.rank(epsilon) <= certified.rank(epsilon)).all()
    assert exact.region_mass(0.0).numpy() == pytest.approx(exact.shares.mean(1).numpy())
    assert (exact.kind, certified.kind) == ("estimate", "certified")
    assert "an estimate and no certificate" in exact.statement(0.1, k=4)


def test_it_is_not_about_fresh_samples(saliency: Saliency, inputs: Tensor) -> None:
    smooth = SparsifiedSmoothGrad(saliency, keep=4)
    with pytest.raises(ValueError, match='`confidence` "exact" is about expectations'):
        smooth.certify(inputs, confidence="exact", claim="redrawn", **TERMS)
