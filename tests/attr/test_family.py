"""What every named class does with its transform."""

from __future__ import annotations

import pytest
import torch
from captum.attr import Saliency
from torch import nn

from captum_robust.attr import (
    Abs,
    QuadraticSmoothGrad,
    Relax,
    RelaxedSparsifiedSmoothGrad,
    ScaledSmoothGrad,
    ScaleToMax,
    SmoothedAttribution,
    SparsifiedSmoothGrad,
    Sparsify,
    Square,
    SumChannels,
    Transform,
)

CASES = [
    (SparsifiedSmoothGrad, {"keep": 3}, Abs(), Sparsify(3)),
    (RelaxedSparsifiedSmoothGrad, {"keep": 3, "clip": 1}, Abs(), Relax(3, 1)),
    (ScaledSmoothGrad, {}, Abs(), ScaleToMax()),
    (QuadraticSmoothGrad, {}, None, ScaleToMax() >> Square()),
]


@pytest.mark.parametrize(("kind", "settings", "default", "last"), CASES)
def test_transform_comes_before_the_last_step(
    kind: type[SmoothedAttribution],
    settings: dict[str, int],
    default: Transform | None,
    last: Transform,
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(4 * 9, 2))
    saliency, x = Saliency(model.eval()), torch.randn(2, 3, 5, 5)
    gradients = saliency.attribute(x.clone().requires_grad_(), target=1, abs=False).detach()
    arguments = {"target": 1, "stdevs": 0, "nt_samples": 1, "abs": False}
    for transform in (None, Abs() >> SumChannels()):
        first = default if transform is None else transform
        whole = last if first is None else first >> last
        smooth = kind(saliency, **settings, transform=transform)
        expected = whole((gradients,))[0]
        torch.testing.assert_close(smooth.attribute(x, **arguments), expected)
    assert expected.shape == (2, 1, 5, 5)
