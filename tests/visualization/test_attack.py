"""The triptych: six pictures, the change stretched to itself, the top features outlined."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from torch import Tensor

from captum_robust.metrics import topk_intersection
from captum_robust.visualization import visualize_attack


def segments(axes) -> set[tuple[float, ...]]:
    """The edges that are outlined, each as sorted end points."""
    lines = [one for one in axes.collections if isinstance(one, LineCollection)]
    return {
        tuple(sorted(map(tuple, edge)))
        for collection in lines
        for edge in np.array(collection.get_segments()).tolist()
    }


def test_six_pictures_of_what_was_given(images: Tensor) -> None:
    before, after, first, second = images[0], images[1], images[2] - 0.5, images[0] - 0.5
    figure, axes = visualize_attack(before, after, first, second, sign="all", outlier_perc=0)
    assert figure.axes == axes and len(axes) == 6
    drawn = [np.asarray(one.images[0].get_array()) for one in axes]
    change = after - before
    expected = [
        before.mean(0),
        after.mean(0),
        (0.5 + 0.5 * change / change.abs().max()).mean(0),
        *(one.sum(0) / one.sum(0).abs().max() for one in (first, second, second - first)),
    ]
    for found, wanted in zip(drawn, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert axes[2].get_title() == f"difference, at most {float(change.abs().max()):.2g}"
    assert not any(segments(one) for one in axes)


def test_the_top_features_are_outlined_and_their_overlap_named() -> None:
    image = torch.zeros(1, 3, 3)
    first, second = torch.zeros(1, 3, 3), torch.zeros(1, 3, 3)
    first[0, 0, 0], first[0, 0, 1] = 2.0, -3.0  # magnitudes count
    second[0, 0, 1], second[0, 2, 2] = 1.0, 1.0
    _, axes = visualize_attack(image, image, first, second, k=2)
    # Pixels (0, 0) and (0, 1) together: an outline of six unit edges.
    pair = {
        ((-0.5, -0.5), (0.5, -0.5)),
        ((0.5, -0.5), (1.5, -0.5)),
        ((-0.5, 0.5), (0.5, 0.5)),
        ((0.5, 0.5), (1.5, 0.5)),
        ((-0.5, -0.5), (-0.5, 0.5)),
        ((1.5, -0.5), (1.5, 0.5)),
    }
    assert segments(axes[3]) == pair
    assert pair < segments(axes[4]) and ((1.5, 1.5), (2.5, 1.5)) in segments(axes[4])
    assert axes[4].get_xlabel() == "50% of the top 2 stayed"
    shared = topk_intersection(first, second, k=2, absolute=True)
    assert float(shared) == 0.5


def test_an_image_that_did_not_move_is_drawn_grey(images: Tensor) -> None:
    _, axes = visualize_attack(images[0], images[0], images[1], images[1])
    np.testing.assert_allclose(np.asarray(axes[2].images[0].get_array()), 0.5)
    assert axes[2].get_title() == "difference, at most 0"
    assert not np.asarray(axes[5].images[0].get_array()).any()


def test_shapes_that_differ_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="`perturbed` must have the shape before the attack"):
        visualize_attack(images[0], images[0, :1], images[0], images[0])
    with pytest.raises(ValueError, match="`perturbed_attribution` must have the shape"):
        visualize_attack(images[0], images[0], images[0], images[0, :1])
    with pytest.raises(ValueError, match="`k` must be in"):
        visualize_attack(images[0], images[0], images[0], images[0], k=21)
