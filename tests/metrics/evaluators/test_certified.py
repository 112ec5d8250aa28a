"""Certificates over a data set: the same numbers as single certificates, however batched."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Saliency
from torch import Tensor, nn

from captum_robust.attr import Abs, GaussianSmoothing, SparsifiedSmoothGrad, UnitNorm
from captum_robust.metrics import (
    CertifiedCurves,
    certified_cosine,
    certified_localization,
    certified_overlap,
    certified_share,
)

EPSILONS = [0.0, 0.02, 0.1]
TERMS = {"stdevs": 0.5, "nt_samples": 64, "seed": 3}


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.Softplus(), nn.Linear(12, 4)).double().eval()


@pytest.fixture
def inputs() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(5, 6, dtype=torch.float64, generator=generator)


TARGET = [0, 1, 2, 3, 0]


def test_overlap_is_that_of_the_certificate(net: nn.Module, inputs: Tensor) -> None:
    smooth = SparsifiedSmoothGrad(Saliency(net), keep=0.5)
    whole = smooth.certify(inputs, target=TARGET, **TERMS).curve("overlap", EPSILONS, k=2)
    for size in (None, 1, 2):
        curves = certified_overlap(
            smooth,
            inputs,
            epsilons=EPSILONS,
            k=2,
            target=TARGET,
            max_examples_per_batch=size,
            **TERMS,
        )
        assert torch.equal(curves.values, whole)
        assert curves.epsilons.tolist() == EPSILONS


def test_cosine_and_share_are_those_of_the_certificate(net: nn.Module, inputs: Tensor) -> None:
    unit = GaussianSmoothing(Saliency(net), transform=Abs() >> UnitNorm())
    expected = unit.certify(inputs, target=1, **TERMS).curve("cosine", EPSILONS)
    found = certified_cosine(
        unit, inputs, epsilons=EPSILONS, target=1, max_examples_per_batch=2, **TERMS
    )
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-12)
    sparse = SparsifiedSmoothGrad(Saliency(net), keep=2)
    shares = certified_share(sparse, inputs, epsilons=EPSILONS, target=1, **TERMS)
    expected = sparse.certify(inputs, target=1, **TERMS).certified_share(0.02)
    assert torch.equal(shares.values[:, 1], expected)


def test_localization_counts_certified_features_inside(net: nn.Module, inputs: Tensor) -> None:
    sparse = SparsifiedSmoothGrad(Saliency(net), keep=3)
    masks = inputs > 0
    found = certified_localization(
        sparse, inputs, masks, epsilons=[0.02], target=1, max_examples_per_batch=2, **TERMS
    )
    decisions = sparse.certify(inputs, target=1, **TERMS).pixels(0.02)
    for value, row, mask in zip(found.values[:, 0], decisions, masks, strict=True):
        important = [bool(inside) for one, inside in zip(row, mask, strict=True) if one == 1]
        assert value == (sum(important) / len(important) if important else 0.0)


def test_localization_refuses_masks_that_do_not_fit(net: nn.Module, inputs: Tensor) -> None:
    sparse = SparsifiedSmoothGrad(Saliency(net), keep=3)
    with pytest.raises(ValueError, match=r"`masks` must have a feature for each of the 6"):
        certified_localization(sparse, inputs, inputs[:, :2] > 0, epsilons=[0.0], target=1, **TERMS)


def test_the_band_is_a_percentile_over_examples() -> None:
    values = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    curves = CertifiedCurves(torch.tensor([0.0]), values)
    torch.testing.assert_close(curves.band()[:, 0], torch.tensor([0.48, 0.60, 0.72]).double())
    with pytest.raises(ValueError, match=r"`percentiles` must be in \[0, 100\], got 101"):
        curves.band((101,))
