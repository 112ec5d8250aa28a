"""Coarse maps at the image's size, and certified regions over the photo."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import torch
from captum.attr import Saliency
from torch import Tensor, nn

from captum_robust.attr import Abs, Pool, SparsifiedSmoothGrad, SumChannels
from captum_robust.certificates import Certificate
from captum_robust.visualization import Upsample, visualize_certified_regions

CELL, TOP = 4, 5  # pixels a side, and regions in the top


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def certificate(image: Tensor) -> Certificate:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * 16 * 16, 12), nn.Softplus(), nn.Linear(12, 2)
        ).eval()
    regions = Abs() >> SumChannels() >> Pool(size=CELL)
    smooth = SparsifiedSmoothGrad(Saliency(net), keep=TOP, transform=regions)
    return smooth.certify(image, target=0, stdevs=0.5, nt_samples=300, seed=0)


def test_cells_are_repeated_whole():
    coarse = torch.arange(12).reshape(1, 3, 4)
    expected = coarse.repeat_interleave(5, 1).repeat_interleave(2, 2)
    assert torch.equal(Upsample((15, 8))(coarse), expected)
    assert torch.equal(Upsample((3, 4))(coarse), coarse)


def test_sides_that_cells_do_not_divide_keep_every_cell_in_order():
    found = Upsample(10)(torch.arange(49).reshape(7, 7))
    assert found.unique().tolist() == list(range(49))
    assert (found.diff(dim=0) >= 0).all() and (found.diff(dim=1) >= 0).all()


def test_bilinear_keeps_constants_and_ends():
    flat = torch.full((2, 3, 3), 0.7, dtype=torch.float64)
    torch.testing.assert_close(Upsample(9, "bilinear")(flat), flat[:, :1, :1].expand(2, 9, 9))
    line = Upsample((1, 8), "bilinear")(torch.tensor([[0.0, 1.0]]))[0]
    assert line[0] == 0.0 and line[-1] == 1.0 and (line.diff() >= 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Upsample(0), "`size` must be at least 1, got 0"),
        (lambda: Upsample(4, "cubic"), "`mode` must be one of"),
        (lambda: Upsample(4)(torch.ones(3)), r"`maps` must have shape \(\*, H, W\), got \(3,\)"),
    ],
)
def test_upsample_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_each_top_region_has_the_colour_of_its_radius(certificate: Certificate, image: Tensor):
    _, axes = visualize_certified_regions(certificate, image[0], TOP, title="regions")
    radii = certificate.top_radius(TOP)[0].flatten()
    top = certificate.mean[0].topk(TOP).indices
    certain = [int(place) for place in top if radii[place] > 0]
    assert certain, "the fixture should certify something"
    colours = matplotlib.colormaps["viridis"]
    tints = [np.asarray(tint.get_array()) for tint in axes.images[1:]]
    assert len(tints) == len(certain) and len(axes.collections) == TOP
    for tint in tints:
        (place,) = np.unique(np.argwhere(tint[..., 3] > 0) // CELL @ [4, 1])
        assert int(place) in certain
        covered = tint[tint[..., 3] > 0]
        assert len(covered) == CELL**2
        expected = colours(float(radii[place] / radii[top].max()))[:3]
        np.testing.assert_allclose(covered[:, :3], np.tile(expected, (CELL**2, 1)), atol=1e-6)
    assert axes.get_title() == "regions"
    assert axes.get_xlabel().startswith(f"{len(certain)} of the top {TOP} regions are certain")


def test_regions_are_refused_where_there_are_none(certificate: Certificate, image: Tensor):
    with pytest.raises(ValueError, match="`example` must be below 1, got 1"):
        visualize_certified_regions(certificate, image[0], TOP, example=1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2))
    pixels = SparsifiedSmoothGrad(Saliency(net), keep=TOP).certify(
        image, target=0, stdevs=0.5, nt_samples=16, seed=0
    )
    with pytest.raises(ValueError, match="features must be regions of one image"):
        visualize_certified_regions(pixels, image[0], TOP)
