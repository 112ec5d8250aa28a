"""How far an attribution map can move, to first order, at any number of features."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from captum.attr import Attribution
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from torch import Tensor
from tqdm.auto import tqdm

from captum_robust._base.captum_privates import TargetType, _run_forward
from captum_robust._base.checks import check_choice, check_count, check_number
from captum_robust._base.per_example import unmarked
from captum_robust.estimates.deviation import FirstOrderDeviation
from captum_robust.estimates.jacobian import Array, StudiedMap, per_example, studied
from captum_robust.estimates.label import (
    Competing,
    check_competing,
    constrained_maximum,
    half_spaces,
)
from captum_robust.estimates.sign_bounds import sign_bounds
from captum_robust.estimates.spectrum import TopSingular, top_singular
from captum_robust.robust.surrogate import has_curvature


def first_order_deviation(
    attribution: Attribution,
    inputs: Tensor | tuple[Tensor, ...],
    target: TargetType = None,
    epsilon: float | Tensor | Sequence[float] | None = None,
    norm: str | float = "l2",
    *,
    additional_forward_args: object = None,
    competing: Competing = None,
    tolerance: float = 1e-3,
    max_products: int = 300,
    dense_limit: int = 1024,
    weight_steps: int = 3,
    show_progress: bool = False,
    **attribute_kwargs: Any,
) -> FirstOrderDeviation:
    r"""Estimates the largest deviation of a map within a ball from its Jacobian's products.

    .. math:: T_e = \epsilon\,\max_{\|\delta\|_p \le 1} \|J\delta\|_2, \qquad
              J_{ij} = \frac{\partial g_i}{\partial x_j}

    Wang and Kong (2023), Theorem 1 (l2, :math:`\xi\epsilon`), Corollary 1 (p > 2,
    :math:`d^{1/2-1/p}\,\xi\epsilon`) and Theorem 2 (linf, :math:`\epsilon\sqrt{\sum|P_{ij}|}`),
    :math:`\xi` the largest singular value of J. Their P is :math:`J^\top J` here: with
    :math:`JJ^\top` the number can be too small. Beside it stands a matrix-free linf bound (ours),
    :math:`\epsilon\,\|J\,\mathrm{diag}(1/s)\|_2\,\|s\|_2` with the best weights s found. Theorem 3
    of Wang et al. (2020) is the case of the gradient.

    J is never formed for l2: J v comes from double backward, :math:`J^\top u` from one reverse
    pass, :math:`\xi` from ARPACK; a Hessian takes one product a step, another J two. The solve
    under-estimates by little where it converged, so its residual is added.

    Args:
        attribution: any method that :func:`captum_robust.attr.differentiable` takes. Draws of
            smoothed maps are frozen, so give ``seed`` to repeat a number.
        inputs: ``(N, *)``; a tuple is one concatenated vector of d features.
        target: class explained, as in Captum.
        epsilon: radius of the ball, a number or ``(N,)``, in input units, > 0.
        norm: ``"l2"``, ``"linf"`` or a number p >= 2.
        additional_forward_args: as in Captum.
        competing: classes that must not overtake the target (Proposition 1): a class, several or
            ``"all"``. One never lowers the estimate; with several a maximum is searched for.
        tolerance: on the relative residual of the singular pair, in (0, 1).
        max_products: most products for one singular pair, >= 8.
        dense_limit: for linf, largest d at which J is formed.
        weight_steps: for linf, weights tried beside s = 1, each one solve.
        show_progress: a progress bar over examples.
        **attribute_kwargs: passed to ``attribute``: ``baselines``, ``nt_samples``, ``seed``, ...

    Returns:
        The estimate, ``kind == "estimate"``: it holds where the map is linear within the ball.

    Raises:
        ValueError: if an argument is out of range, or the Jacobian of an example is zero, as for
            the gradient of a piecewise-linear net.
        TypeError: if the map cannot carry a graph; says why.
        RuntimeError: if a map or a product is not finite, or a module is in training mode.

    Warns:
        UserWarning: if a solve did not converge, a map is zero, or the net is piecewise linear.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.estimates import first_order_deviation
        >>> quadratic = lambda x: (x**2 * torch.tensor([1.0, 2.0])).sum(1)  # H = diag(2, 4)
        >>> found = first_order_deviation(Saliency(quadratic), torch.ones(1, 2), epsilon=0.1)
        >>> found.deviation, found.largest_epsilon(l2=0.8)
        (tensor([0.4000], dtype=torch.float64), tensor([0.2000], dtype=torch.float64))
    """
    terms = _Terms.checked(norm, competing, tolerance, max_products, dense_limit, weight_steps)
    with studied(attribution, inputs, target, additional_forward_args, attribute_kwargs) as study:
        if epsilon is None:
            raise TypeError("`epsilon` must be a number or a tensor, got None.")
        radii = per_example("epsilon", epsilon, len(study))
        found = [
            _study_example(study, row, float(radii[row]), terms)
            for row in tqdm(
                range(len(study)), desc="first-order deviation", disable=not show_progress
            )
        ]
        _warn_if_straight(study)
        return _collected(study, found, radii, terms)


@dataclass(frozen=True)
class _Terms:
    """The checked arguments of one call."""

    norm: str
    power: float
    competing: Competing
    several: bool
    tolerance: float
    max_products: int
    dense_limit: int
    weight_steps: int

    @classmethod
    def checked(
        cls, norm: Any, competing: Competing, tolerance: float, most: int, dense: int, steps: int
    ) -> _Terms:
        name, power = _norm(norm)
        return cls(
            name,
            power,
            competing,
            check_competing(competing, name),
            check_number("tolerance", tolerance, low=0, high=1, open_low=True, open_high=True),
            check_count("max_products", most, low=8),
            check_count("dense_limit", dense, low=0),
            check_count("weight_steps", steps, low=0),
        )


@dataclass(frozen=True)
class _Reach:
    """How far one linear map goes on a unit ball: bounds, and the perturbation that goes furthest.

    Attributes:
        upper: the smaller of the bounds.
        spectral, dense: the bounds; ``dense`` NaN where there is none.
        lower: what ``direction``, of norm 1, reaches.
    """

    upper: float
    spectral: float
    dense: float
    lower: float
    direction: Array


@dataclass(frozen=True)
class _Example:
    """What was found for one example."""

    top: TopSingular
    reach: _Reach
    products: int
    observed: float
    map_norm: float
    constrained: float


def _norm(norm: Any) -> tuple[str, float]:
    """The name of a norm and its p."""
    if isinstance(norm, str):
        return norm, {"l2": 2.0, "linf": math.inf}[check_choice("norm", norm, ("l2", "linf"))]
    if isinstance(norm, bool) or not isinstance(norm, Real):
        raise TypeError(f'`norm` must be "l2", "linf" or a number, got {type(norm).__name__}.')
    power = float(norm)
    if not power >= 2:
        raise ValueError(
            f'`norm` must be at least 2, got {power:g}; below it the estimate of "l2" holds.'
        )
    return {2.0: "l2", math.inf: "linf"}.get(power, f"l{power:g}"), power


def _study_example(study: StudiedMap, row: int, epsilon: float, terms: _Terms) -> _Example:
    """Everything about one example."""
    jacobian = study.jacobian(row)
    jacobian.refuse_zero()
    matrix = None
    if terms.norm == "linf" and jacobian.shape[1] <= terms.dense_limit:
        matrix = study.dense(row)
    operator = jacobian if matrix is None else aslinearoperator(matrix)
    symmetric = jacobian.symmetric if matrix is None else None
    top = top_singular(operator, terms.tolerance, terms.max_products, jacobian.probe, symmetric)
    reach = _reach(operator, top, matrix, terms)
    constrained = math.nan
    if terms.competing is not None:
        spaces = half_spaces(study, row, terms.competing)
        constrained = epsilon * reach.upper
        if terms.several:
            start = epsilon * reach.direction
            constrained = constrained_maximum(operator, spaces, start, epsilon, terms.norm)
    observed, map_norm = _observed(study, row, epsilon * reach.direction)
    used = jacobian.products + (0 if matrix is None else len(matrix))
    return _Example(top, reach, used, observed, map_norm, constrained)


def _reach(
    jacobian: LinearOperator, top: TopSingular, matrix: Array | None, terms: _Terms
) -> _Reach:
    """Bounds on the unit ball of the norm asked for."""
    if terms.norm == "linf":
        limits = sign_bounds(
            jacobian, top, matrix, terms.weight_steps, terms.tolerance, terms.max_products
        )
        return _Reach(limits.upper, limits.spectral, limits.dense, limits.lower, limits.signs)
    spectral = top.safe * len(top.right) ** (0.5 - 1 / terms.power)
    length = float(np.linalg.norm(top.right, terms.power))
    return _Reach(spectral, spectral, math.nan, top.value / length, top.right / length)


def _observed(study: StudiedMap, row: int, delta: Array) -> tuple[float, float]:
    """The larger deviation of the map at plus and minus delta, and the norm of the map."""
    clean = study.examples.clean[row : row + 1]
    step = torch.from_numpy(delta).to(clean.dtype).to(clean.device)
    points = torch.cat([clean, clean + step, clean - step])
    rows = torch.full((1,), row)
    here, ahead, behind = (study.values(point, rows)[0].cpu().double() for point in points.split(1))
    moved = max(float((ahead - here).norm()), float((behind - here).norm()))
    return moved, float(here.norm())


def _warn_if_straight(study: StudiedMap) -> None:
    """Warns where a map has a Jacobian but its net has no second derivative."""
    if study.is_gradient:  # its Jacobian would have been zero, and refused
        return
    examples, first = study.examples, torch.zeros(1, dtype=torch.long)

    def output(*parts: Tensor) -> Tensor:
        return _run_forward(
            study.forward_func, parts, examples.targets(first), unmarked(examples.extras(first))
        )

    if not has_curvature(output, examples.inputs(examples.clean[:1])):
        warnings.warn(
            "the net has no second derivative at the inputs: the estimate holds within one linear "
            "piece and sees nothing of its kinks; explain softplus_surrogate(model) instead.",
            UserWarning,
            stacklevel=3,
        )


def _collected(
    study: StudiedMap, found: list[_Example], radii: Tensor, terms: _Terms
) -> FirstOrderDeviation:
    """The results of all examples, with warnings for those that fall short."""
    _warn_of(found, terms)
    clean = study.examples.clean
    directions = torch.from_numpy(np.stack([one.reach.direction for one in found]))
    constrained, kind = None, None
    if terms.competing is not None:
        constrained = _column(one.constrained for one in found)
        kind = "estimate-lower" if terms.several else "estimate"
    return FirstOrderDeviation(
        epsilon=radii,
        norm=terms.norm,
        rate=_column(one.reach.upper for one in found),
        singular_value=_column(one.top.value for one in found),
        residual=_column(one.top.residual for one in found),
        converged=torch.tensor([one.top.converged for one in found]),
        products=torch.tensor([one.products for one in found]),
        direction=study.examples.output(directions.to(clean.dtype).to(clean.device)),
        lower=radii * _column(one.reach.lower for one in found),
        dense=radii * _column(one.reach.dense for one in found),
        spectral=radii * _column(one.reach.spectral for one in found),
        observed=_column(one.observed for one in found),
        map_norm=_column(one.map_norm for one in found),
        constrained=constrained,
        constrained_kind=kind,
    )


def _column(values: Iterable[float]) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64)


def _warn_of(found: list[_Example], terms: _Terms) -> None:
    """Says which solves did not converge and which maps are zero."""
    late = [str(row) for row, one in enumerate(found) if not one.top.converged]
    if late:
        warnings.warn(
            f"the solver's residual is above {terms.tolerance:g} for example {', '.join(late)}: "
            "the estimate has it added and may still be too low; raise `max_products` or "
            "`tolerance`, or use a wider dtype.",
            UserWarning,
            stacklevel=4,
        )
    zero = [str(row) for row, one in enumerate(found) if one.map_norm == 0.0]
    if zero:
        warnings.warn(
            f"the map of example {', '.join(zero)} is zero: its cosine and angle are undefined, "
            "and NaN.",
            UserWarning,
            stacklevel=4,
        )
