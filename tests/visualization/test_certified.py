"""Certified features are coloured by what the certificate answers, feature by feature."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from matplotlib.colors import to_rgba
from torch import Tensor, nn

from captum_robust.attr import SparsifiedSmoothGrad
from captum_robust.certificates import Certificate
from captum_robust.visualization import visualize_certified_features
from captum_robust.visualization.canvas import CERTIFIED, FAINT, OPEN

EPSILON = 0.02


def coloured(axes, colour: str) -> np.ndarray:
    """The pixels that have a colour, whatever its opacity."""
    rgba = np.asarray(axes.images[-1].get_array())
    same = np.isclose(rgba[..., :3], to_rgba(colour)[:3], atol=1e-6).all(-1)
    return same & (rgba[..., 3] > 0)


def legend(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_top_features_by_their_worst_rank(certificate: Certificate, images: Tensor) -> None:
    example, count, epsilon = 1, 10, 5 * EPSILON
    _, axes = visualize_certified_features(
        certificate, epsilon, count, example=example, image=images[example], title="map"
    )
    values = certificate.attributions[example].flatten()
    ranks = certificate.rank(epsilon)[example].flatten()
    certified = (ranks <= count).reshape(2, 4, 5)
    top = torch.zeros(40, dtype=torch.bool)
    top[torch.argsort(values, descending=True, stable=True)[:count]] = True
    undecided = top.reshape(2, 4, 5) & ~certified
    assert 0 < certified.sum() < count
    np.testing.assert_array_equal(coloured(axes, CERTIFIED), certified.any(0))
    np.testing.assert_array_equal(coloured(axes, OPEN), undecided.any(0) & ~certified.any(0))
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), images[example].mean(0))
    assert axes.get_title() == "map"
    assert legend(axes) == [
        f"stays in the top 10: {int(certified.sum())}",
        f"top 10, not certified: {int(undecided.sum())}",
    ]


def test_decisions_of_pixels_where_no_k_is_given(certificate: Certificate) -> None:
    _, axes = visualize_certified_features(certificate, EPSILON)
    decisions = certificate.pixels(EPSILON)[0]
    stays, undecided = (decisions == 1).any(0), (decisions == -1).any(0)
    np.testing.assert_array_equal(coloured(axes, CERTIFIED), stays)
    np.testing.assert_array_equal(coloured(axes, OPEN), undecided & ~stays)
    assert legend(axes)[0] == f"stays in most samples' top: {int((decisions == 1).sum())}"
    # Without an image the map itself is drawn below.
    values = certificate.attributions[0].abs()
    drawn = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(drawn, (values / values.max()).mean(0), rtol=1e-6)


def test_a_vector_of_features_is_drawn_as_named_bars() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 2)).eval()
    smooth = SparsifiedSmoothGrad(Saliency(net), keep=2)
    certificate = smooth.certify(torch.randn(2, 4), target=0, stdevs=0.5, nt_samples=500, seed=0)
    names = ["one", "two", "three", "four"]
    _, axes = visualize_certified_features(certificate, 0.01, 2, example=1, names=names)
    values, ranks = certificate.attributions[1], certificate.rank(0.01)[1]
    np.testing.assert_allclose([bar.get_width() for bar in axes.patches], values)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == names
    top = set(torch.argsort(values, descending=True, stable=True)[:2].tolist())
    for place, bar in enumerate(axes.patches):
        held = CERTIFIED if ranks[place] <= 2 else OPEN if place in top else FAINT
        assert bar.get_facecolor() == to_rgba(held)
    with pytest.raises(ValueError, match="`names` must have 4 entries, got 1"):
        visualize_certified_features(certificate, 0.01, 2, names=["one"])


def test_parts_of_a_tuple_are_ranked_together() -> None:
    class Two(nn.Module):
        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return torch.stack([first.sin().sum(1), (second**2).sum(1)], dim=1)

    smooth = SparsifiedSmoothGrad(Saliency(Two()), keep=2)
    inputs = torch.rand(2, 3), torch.rand(2, 5)
    certificate = smooth.certify(inputs, target=1, stdevs=0.3, nt_samples=800, seed=0)
    for part, (maps, ranks) in enumerate(
        zip(certificate.attributions, certificate.rank(0.01), strict=True)
    ):
        _, axes = visualize_certified_features(certificate, 0.01, 2, part=part)
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], maps[0])
        held = [bar.get_facecolor() == to_rgba(CERTIFIED) for bar in axes.patches]
        assert held == (ranks[0] <= 2).tolist()


def test_bad_arguments_are_named(certificate: Certificate, images: Tensor) -> None:
    for wrong in ({"example": 3}, {"part": 1}):
        with pytest.raises(ValueError, match="`example` must be below 3 and `part` below 1"):
            visualize_certified_features(certificate, EPSILON, 5, **wrong)
    with pytest.raises(ValueError, match="`image` must have the height and width of the map"):
        visualize_certified_features(certificate, EPSILON, 5, image=images[0, :, :3])
    with pytest.raises(ValueError, match="`names` must be None"):
        visualize_certified_features(certificate, EPSILON, 5, names=["a"])
    with pytest.raises(ValueError, match="`k` must be in"):
        visualize_certified_features(certificate, EPSILON, 41)
