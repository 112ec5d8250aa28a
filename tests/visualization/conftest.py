"""What the tests of pictures share: a small certificate, and pyplot left as it was."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import pytest
import torch
from captum.attr import Saliency
from matplotlib import pyplot
from torch import Tensor, nn

from captum_robust.attr import SparsifiedSmoothGrad
from captum_robust.certificates import Certificate


@pytest.fixture(autouse=True)
def pyplot_knows_nothing() -> Iterator[None]:
    """No picture registers a figure with pyplot or changes matplotlib's settings."""
    before = dict(matplotlib.rcParams)
    assert pyplot.get_fignums() == []
    yield
    assert pyplot.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Three images of two channels, 4 x 5 pixels."""
    return torch.rand(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))


def _net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(40, 16), nn.Softplus(), nn.Linear(16, 3)
        ).eval()


@pytest.fixture(scope="module")
def certificate(images: Tensor) -> Certificate:
    """Of sparsified maps of the images, some of whose top features are certified."""
    smooth = SparsifiedSmoothGrad(Saliency(_net()), keep=0.25)
    return smooth.certify(images, target=1, stdevs=0.5, nt_samples=2000, seed=0)
