"""Curves show percentiles over the examples, and promise nothing between their sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from captum_robust.metrics import CertifiedCurves
from captum_robust.visualization import visualize_curves

SIZES = torch.tensor([0.0, 0.1, 0.2, 0.4], dtype=torch.float64)


@pytest.fixture
def curves() -> CertifiedCurves:
    values = torch.rand(7, 4, dtype=torch.float64).sort(dim=1, descending=True).values
    return CertifiedCurves(SIZES, values)


def test_line_and_band_are_percentiles(curves: CertifiedCurves) -> None:
    figure, axes = visualize_curves(curves, percentiles=(48, 60, 72), ylabel="overlap", title="t")
    (line,), (band,) = axes.lines, axes.collections
    expected = np.percentile(curves.values, [48, 60, 72], axis=0)
    np.testing.assert_allclose(line.get_xdata(), SIZES)
    np.testing.assert_allclose(line.get_ydata(), expected[1])
    corners = band.get_paths()[0].vertices
    for size, low, high in zip(SIZES.tolist(), expected[0], expected[2], strict=True):
        there = corners[np.isclose(corners[:, 0], size), 1]
        assert np.isclose(there, low).any() and np.isclose(there, high).any()
    assert axes.get_ylabel() == "overlap" and axes.get_title() == "t"
    assert axes.get_xlabel() == "perturbation size ε" and axes.get_legend() is None
    assert figure.axes == [axes]


def test_between_two_sizes_stands_the_value_of_the_larger(curves: CertifiedCurves) -> None:
    _, axes = visualize_curves(curves)
    assert axes.lines[0].get_drawstyle() == "steps-pre"


def test_named_curves_and_measured_points_share_colours(curves: CertifiedCurves) -> None:
    other = CertifiedCurves(SIZES, curves.values**2)
    sizes, values = [0.05, 0.3], torch.rand(7, 2)
    _, axes = visualize_curves(
        {"a": curves, "b": other}, measured={"b": (sizes, values), "c": (sizes, values)}
    )
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["a", "b", "b, attacked", "c"]
    points = {bars.get_label(): bars.lines[0] for bars in axes.containers}
    # Side by side around their sizes, a hundredth of the axis apart, so that none hides another.
    aside = np.array([points[name].get_xdata() - sizes for name in ("b, attacked", "c")])
    np.testing.assert_allclose(aside.sum(0), 0.0, atol=1e-12)
    assert (aside[1] > 0).all() and (aside[1] < 0.01 * float(SIZES[-1])).all()
    np.testing.assert_allclose(points["c"].get_ydata(), np.median(values, axis=0), rtol=1e-6)
    lines = {one.get_label(): one for one in axes.lines}
    assert points["b, attacked"].get_color() == lines["b"].get_color()
    assert points["c"].get_color() not in (lines["a"].get_color(), lines["b"].get_color())
    (whiskers,) = axes.containers[0].lines[2]
    low, high = np.percentile(values, [25, 75], axis=0)
    ends = np.array([segment[:, 1] for segment in whiskers.get_segments()])
    np.testing.assert_allclose(ends, np.stack([low, high], axis=1), rtol=1e-5)


def test_cosines_that_say_nothing_stay_in_the_picture() -> None:
    values = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    _, axes = visualize_curves(CertifiedCurves(SIZES[:2], values))
    assert axes.get_ylim()[0] <= -1.0


def test_bad_arguments_are_named(curves: CertifiedCurves) -> None:
    with pytest.raises(ValueError, match="three increasing numbers"):
        visualize_curves(curves, percentiles=(60, 50, 70))
    with pytest.raises(ValueError, match="`percentiles` must be in"):
        visualize_curves(curves, percentiles=(0, 50, 101))
    with pytest.raises(ValueError, match=r"`measured\['m'\]` must have values \(N, 2\)"):
        visualize_curves(curves, measured={"m": ([0.1, 0.2], torch.rand(7, 3))})
