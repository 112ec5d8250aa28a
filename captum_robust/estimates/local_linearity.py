"""Is the map linear enough for a first-order estimate? Its gap, and a look at its Jacobian."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust._base.captum_privates import TargetType
from captum_robust._base.checks import check_count
from captum_robust.estimates.jacobian import studied


def local_linearity_gap(
    attribution: Attribution,
    inputs: Tensor | tuple[Tensor, ...],
    perturbed: Tensor | tuple[Tensor, ...],
    target: TargetType = None,
    *,
    additional_forward_args: object = None,
    **attribute_kwargs: Any,
) -> Tensor:
    r"""What the linearised map misses at perturbed inputs.

    .. math:: \eta(x, \delta) = \|g(x + \delta) - g(x) - J\delta\|_2

    Wang and Kong (2023), appendix B.1 and Fig. 3, where the sign of :math:`J\delta` is misprinted.
    Small against the length of the map, a first-order estimate is worth reading. A few
    products an example; it sees the kinks of a piecewise-linear net, whose J is that of one piece.

    Args:
        attribution: g, any method that :func:`captum_robust.attr.differentiable` takes.
        inputs: x, ``(N, *)``; a tuple is one concatenated vector.
        perturbed: :math:`x + \delta`, shaped like ``inputs``.
        target, additional_forward_args: as in Captum.
        **attribute_kwargs: passed to ``attribute``; draws of smoothed maps are frozen.

    Returns:
        Gaps in map units, ``(N,)``, float64, >= 0.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if the map cannot carry a graph.
        RuntimeError: if a map or a product is not finite.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.estimates import local_linearity_gap
        >>> cubic = lambda x: (x**3).sum(1)  # g = 3 x^2, J = 6 x: what is missed is 3 delta^2
        >>> local_linearity_gap(Saliency(cubic), torch.ones(1, 1), torch.full((1, 1), 1.5))
        tensor([0.7500], dtype=torch.float64)
    """
    with studied(attribution, inputs, target, additional_forward_args, attribute_kwargs) as study:
        points = study.points(perturbed)
        gaps = []
        for row in range(len(study)):
            here, there = (
                study.values(where[row : row + 1], torch.tensor([row]))[0].cpu().double().numpy()
                for where in (study.examples.clean, points)
            )
            delta = points[row].cpu().double() - study.examples.clean[row].cpu().double()
            moved = study.jacobian(row).matvec(delta.numpy())
            gaps.append(float(np.linalg.norm(there - here - moved)))
    return torch.tensor(gaps, dtype=torch.float64)


def attribution_jacobian(
    attribution: Attribution,
    inputs: Tensor | tuple[Tensor, ...],
    target: TargetType = None,
    *,
    features: int | None = None,
    additional_forward_args: object = None,
    **attribute_kwargs: Any,
) -> Tensor:
    r"""The Jacobian of a map, as a matrix, or the corner of its first features.

    .. math:: J_{ij} = \frac{\partial g_i}{\partial x_j}

    Wang and Kong (2023), Figs 4 to 7, draw its absolute values. A reverse pass and d numbers for
    each row: for d in the thousands, not for an image of 150,528. Where d is large ask
    :func:`first_order_deviation`, which needs products alone.

    Args:
        attribution: g, any method that :func:`captum_robust.attr.differentiable` takes.
        inputs: x, ``(N, *)``; a tuple is one concatenated vector.
        target, additional_forward_args: as in Captum.
        features: only the first so many rows and columns; all by default.
        **attribute_kwargs: passed to ``attribute``; draws of smoothed maps are frozen.

    Returns:
        ``(N, m, d)``, or ``(N, features, features)``, in map units per input unit, float64.

    Raises:
        ValueError: if ``features`` is not in [1, d].
        TypeError: if the map cannot carry a graph.
        RuntimeError: if a map or a product is not finite.

    Example:
        >>> import torch
        >>> from captum.attr import InputXGradient
        >>> from captum_robust.estimates import attribution_jacobian
        >>> product = lambda x: x[:, 0] * x[:, 1] + x[:, 0] - x[:, 1]
        >>> attribution_jacobian(InputXGradient(product), torch.tensor([[1.0, 0.0]]))
        tensor([[[1., 1.],
                 [0., 0.]]], dtype=torch.float64)
    """
    with studied(attribution, inputs, target, additional_forward_args, attribute_kwargs) as study:
        size = study.examples.clean.shape[1]
        if features is not None and check_count("features", features) > size:
            raise ValueError(f"`features` must be in [1, {size}], got {features}.")
        found = [study.dense(row, features)[:, :features] for row in range(len(study))]
    return torch.from_numpy(np.stack(found))


def diagonal_share(jacobian: Tensor) -> Tensor:
    r"""The share of a Jacobian's absolute values that stands on its diagonal.

    .. math:: \frac{\sum_i |J_{ii}|}{\sum_{ij} |J_{ij}|}

    Wang and Kong (2023), appendix C, find the Jacobian of integrated gradients dominated by its
    diagonal; the limits they derive it from do not hold (the second derivative of softplus grows
    at its kink, and the sum over the path does not vanish), so it is to be measured.

    Args:
        jacobian: ``(N, d, d)``, of :func:`attribution_jacobian`.

    Returns:
        Shares in [0, 1], ``(N,)``; 1/d where all entries are equally large, NaN for a zero matrix.

    Raises:
        ValueError: if the matrices are not square.

    Example:
        >>> import torch
        >>> from captum_robust.estimates import diagonal_share
        >>> diagonal_share(torch.tensor([[[3.0, 1.0], [0.0, -4.0]]]))
        tensor([0.8750])
    """
    if jacobian.dim() != 3 or jacobian.shape[1] != jacobian.shape[2]:
        raise ValueError(f"`jacobian` must be of shape (N, d, d), got {tuple(jacobian.shape)}.")
    sizes = jacobian.abs()
    return sizes.diagonal(dim1=1, dim2=2).sum(1) / sizes.sum((1, 2))
