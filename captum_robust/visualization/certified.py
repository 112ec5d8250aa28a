"""A smoothed map, and which of its features are certified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from captum_robust._base.checks import check_count, feature_count
from captum_robust._base.vectors import flatten, top_mask, unflatten
from captum_robust.certificates import Certificate
from captum_robust.visualization.canvas import (
    CERTIFIED,
    FAINT,
    INK,
    OPEN,
    FigureAxis,
    canvas,
    check_length,
    show,
    style,
    titled,
)
from captum_robust.visualization.pictures import bare, draw_image, planes

_OPACITY = 0.8


class Marked(NamedTuple):
    """One example's map, and its features in the two states drawn: booleans shaped like it."""

    values: Tensor
    certified: Tensor
    open: Tensor
    legend: tuple[str, str]


def visualize_certified_features(
    certificate: Certificate,
    epsilon: float,
    k: int | float | None = None,
    *,
    example: int = 0,
    part: int = 0,
    image: Tensor | None = None,
    names: Sequence[str] | None = None,
    plt_fig_axis: tuple[Figure, Any] | None = None,
    fig_size: tuple[float, float] = (4.0, 4.4),
    title: str | None = None,
    use_pyplot: bool = False,
) -> FigureAxis:
    r"""Draws a certified map: which of its features hold against every perturbation.

    With ``k``: in one colour the features that are certified to stay among the top k (their worst
    :meth:`~captum_robust.certificates.Certificate.rank` is at most k), in another the rest of the
    top k. Without: the decisions of :meth:`~captum_robust.certificates.Certificate.pixels` for 0/1
    maps, stays in the top or undecided. All of them hold jointly, with the certificate's
    probability. The share of :meth:`~captum_robust.certificates.Certificate.overlap` may be larger
    than what is coloured: it counts features without saying which.

    Args:
        certificate: what :meth:`~captum_robust.attr.SmoothedAttribution.certify` returned.
        epsilon: perturbation size, >= 0.
        k: features looked at, a share in (0, 1] or a count of the whole vector.
        example: which example.
        part: which map, where maps come as a tuple.
        image: the example ``(C, H, W)``, drawn in grey below; else the map is.
        names: of the features of a map ``(d,)``, which is drawn as bars.
        plt_fig_axis: a figure and an axis to draw on.
        fig_size: width and height in inches.
        title: over the picture.
        use_pyplot: makes the figure by pyplot and shows it; nothing pops up otherwise.

    Returns:
        The figure and its axis. A pixel has a colour if a feature in one of its channels has.

    Raises:
        ValueError: if ``example`` or ``part`` does not exist, the map is neither ``(d,)`` nor an
            image, or the certificate does not answer the question.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import SparsifiedSmoothGrad
        >>> from captum_robust.examples import example_model
        >>> from captum_robust.visualization import visualize_certified_features
        >>> model = example_model()
        >>> certificate = SparsifiedSmoothGrad(Saliency(model), keep=2).certify(
        ...     torch.randn(3, 4), target=0, stdevs=0.5, nt_samples=500, seed=0
        ... )
        >>> figure, axis = visualize_certified_features(certificate, epsilon=0.01, k=2)
        >>> len(axis.patches)  # a bar a feature
        4
    """
    marked = _decided(certificate, epsilon, k, example, part)
    figure, (axes,) = canvas(plt_fig_axis, fig_size, use_pyplot)
    if marked.values.dim() == 1:
        _bars(axes, marked, names)
    elif names is not None:
        raise ValueError("`names` must be None for a map that is an image.")
    else:
        _overlay(axes, marked, image)
    _legend(axes, marked)
    titled(axes, title)
    show(use_pyplot)
    return figure, axes


def _decided(
    certificate: Certificate, epsilon: float, k: int | float | None, example: int, part: int
) -> Marked:
    """The states of one example's features, in one of its maps."""
    maps = _parts(certificate.attributions)
    check_count("example", example, low=0)
    check_count("part", part, low=0)
    if example >= len(maps[0]) or part >= len(maps):
        raise ValueError(
            f"`example` must be below {len(maps[0])} and `part` below {len(maps)}, "
            f"got {example} and {part}."
        )
    if k is None:
        decisions = _parts(certificate.pixels(epsilon))[part][example].cpu()
        values, legend = maps[part][example].cpu(), ("stays in most samples' top", "undecided")
        return Marked(values, decisions == 1, decisions == -1, legend)
    vectors = flatten(maps)
    count = feature_count("k", k, vectors.shape[1])
    shapes = [one.shape[1:] for one in maps]
    top = unflatten(top_mask(vectors, count), shapes)[part][example].cpu()
    certified = (_parts(certificate.rank(epsilon))[part][example] <= count).cpu()
    legend = (f"stays in the top {count}", f"top {count}, not certified")
    return Marked(maps[part][example].cpu(), certified, top & ~certified, legend)


def _parts(maps: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return maps if isinstance(maps, tuple) else (maps,)


def _overlay(axes: Axes, marked: Marked, image: Tensor | None) -> None:
    """The states over the image or the map, in grey."""
    values = planes("certificate.attributions", marked.values)
    below = values.abs() / (values.abs().amax() or 1.0) if image is None else planes("image", image)
    if below.shape[1:] != values.shape[1:]:
        raise ValueError(
            f"`image` must have the height and width of the map, {tuple(values.shape[1:])}, "
            f"got {tuple(below.shape[1:])}."
        )
    draw_image(axes, below.mean(0, keepdim=True))
    states = (marked.certified, CERTIFIED), (marked.open, OPEN)
    colours = torch.zeros(*values.shape[1:], 4)
    for state, colour in reversed(states):
        pixels = state.reshape(values.shape).any(0)
        colours[pixels] = torch.tensor(to_rgba(colour, _OPACITY))
    axes.imshow(colours.numpy())
    bare(axes)


def _bars(axes: Axes, marked: Marked, names: Sequence[str] | None) -> None:
    """A bar for each feature, the first on top."""
    count = len(marked.values)
    labels = [str(index) for index in range(count)] if names is None else list(names)
    check_length("names", len(labels), count)
    colours = [
        CERTIFIED if certified else OPEN if undecided else FAINT
        for certified, undecided in zip(marked.certified, marked.open, strict=True)
    ]
    axes.barh(range(count), marked.values.numpy(), color=colours)
    axes.set_yticks(range(count), labels)
    axes.invert_yaxis()
    axes.set_xlabel("smoothed attribution")
    style(axes)
    axes.grid(visible=False, axis="y")


def _legend(axes: Axes, marked: Marked) -> None:
    """The two colours and how many features have each."""
    states = zip((marked.certified, marked.open), (CERTIFIED, OPEN), marked.legend, strict=True)
    handles = [
        Patch(color=colour, label=f"{text}: {int(state.sum())}") for state, colour, text in states
    ]
    axes.legend(
        handles=handles,
        frameon=False,
        fontsize="small",
        labelcolor=INK,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.02 if marked.values.dim() > 1 else -0.16),
    )
