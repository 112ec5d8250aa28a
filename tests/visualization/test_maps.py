"""Rows of maps: every picture stands in its place, scaled to itself, with its name over it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from torch import Tensor

from captum_robust.visualization import visualize_maps, visualize_radius_sweep


def shown(axes) -> np.ndarray:
    """The array of the only image on the axes."""
    (image,) = axes.images
    return np.asarray(image.get_array())


def test_a_row_for_each_example_and_a_column_for_each_map(images: Tensor) -> None:
    maps = {"plain": images - 0.5, "smoothed": images**2}
    figure, axes = visualize_maps(images, maps, labels=["a", "b", "c"], sign="all", outlier_perc=0)
    assert isinstance(figure, Figure) and figure.axes == axes and len(axes) == 9
    assert [one.get_title() for one in axes] == ["image", "plain", "smoothed"] + [""] * 6
    assert [axes[place].get_ylabel() for place in (0, 3, 6)] == ["a", "b", "c"]
    for row in range(3):
        np.testing.assert_allclose(shown(axes[3 * row]), images[row].mean(0))
        for place, values in enumerate(maps.values(), start=1):
            summed = values[row].sum(0)
            drawn = shown(axes[3 * row + place])
            np.testing.assert_allclose(drawn, summed / summed.abs().max(), rtol=1e-5)


def test_small_and_zero_maps_are_drawn_without_a_warning(images: Tensor) -> None:
    maps = {"tiny": images * 1e-12, "zero": torch.zeros_like(images)}
    _, axes = visualize_maps(images, maps, outlier_perc=0)
    summed = images[0].sum(0)
    np.testing.assert_allclose(shown(axes[1]), summed / summed.max(), rtol=1e-5)
    assert not shown(axes[2]).any()
    opposite = torch.cat([images[:, :1], -images[:, :1]], dim=1)  # channels that cancel
    _, axes = visualize_maps(images, {"cancels": opposite, "all below": -images}, sign="positive")
    assert not shown(axes[1]).any() and not shown(axes[2]).any()


def test_colour_images_and_images_outside_the_unit_interval() -> None:
    colour = torch.rand(1, 3, 4, 5)
    _, axes = visualize_maps(colour, {"m": colour})
    np.testing.assert_allclose(shown(axes[0]), colour[0].permute(1, 2, 0))
    normalised = 4.0 * colour - 2.0
    _, axes = visualize_maps(normalised, {"m": colour})
    expected = (normalised - normalised.min()) / (normalised.max() - normalised.min())
    np.testing.assert_allclose(shown(axes[0]), expected[0].permute(1, 2, 0), rtol=1e-5)


def test_a_sweep_names_each_radius(images: Tensor) -> None:
    figure, axes = visualize_radius_sweep(
        images[:1], [images[1], images[2]], (0.25, 2), outlier_perc=0
    )
    assert figure.axes == axes
    assert [one.get_title() for one in axes] == ["image", "r = 0.25", "r = 2"]
    summed = images[2].sum(0)
    np.testing.assert_allclose(shown(axes[2]), summed / summed.max(), rtol=1e-5)


def test_the_callers_axes_are_drawn_on(images: Tensor) -> None:
    figure = Figure()
    grid = figure.subplots(3, 2)
    same, axes = visualize_maps(images, {"m": images}, plt_fig_axis=(figure, grid))
    assert same is figure and axes == list(grid.flat)
    with pytest.raises(ValueError, match="must hold 6 axes"):
        visualize_maps(images, {"m": images}, plt_fig_axis=(figure, grid[:2]))


def test_pyplot_is_used_and_shown_when_asked(
    images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(pyplot, "show", lambda: calls.append("show"))
    pyplot.switch_backend("agg")
    figure, _ = visualize_maps(images, {"m": images}, use_pyplot=True)
    assert pyplot.get_fignums() == [figure.number] and calls == ["show"]
    pyplot.close(figure)


def test_bad_arguments_are_named(images: Tensor) -> None:
    with pytest.raises(ValueError, match="at least one map"):
        visualize_maps(images, {})
    with pytest.raises(ValueError, match=r"`maps\['m'\]` must have 3 entries, got 2"):
        visualize_maps(images, {"m": images[:2]})
    with pytest.raises(ValueError, match="`labels` must have 3 entries, got 1"):
        visualize_maps(images, {"m": images}, labels=["a"])
    with pytest.raises(ValueError, match="one image of shape"):
        visualize_maps(images[:, 0, 0], {"m": images})
    with pytest.raises(ValueError, match="`sign` must be one of"):
        visualize_maps(images, {"m": images}, sign="both")
    with pytest.raises(ValueError, match="`outlier_perc` must be in"):
        visualize_maps(images, {"m": images}, outlier_perc=100)
    with pytest.raises(ValueError, match="must be finite"):
        visualize_maps(images, {"m": images * torch.nan})
    with pytest.raises(TypeError, match="must be a Tensor"):
        visualize_radius_sweep(images[0].numpy(), [images[0]], [1.0])
    with pytest.raises(ValueError, match="`radii` must have 1 entries, got 2"):
        visualize_radius_sweep(images[0], [images[0]], [1.0, 2.0])
    with pytest.raises(ValueError, match="`radii` must be in"):
        visualize_radius_sweep(images[0], [images[0]], [-1.0])
