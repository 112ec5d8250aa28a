"""How far a linear map moves on a box: bounds from above and a value from below."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.sparse import diags_array
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from captum_robust.estimates.spectrum import Array, TopSingular, top_singular

_ROUNDS: Final = 20  # of the sign iteration, which settles after a few
_DRAWS: Final = 8  # products that guess the lengths of J's columns
_STEP: Final = 0.3  # of the way to the weights of the present top vector
_FLOOR: Final = 0.01  # share of every weight that is uniform, so that none is zero


@dataclass(frozen=True)
class SignBounds:
    """Bounds on max ||J delta||_2 over ||delta||_inf <= 1.

    Attributes:
        dense: sqrt(sum |P_ij|), P = J^T J, or NaN where J was not formed.
        spectral: the least of ||J diag(1/s)||_2 ||s||_2 over the weights s tried.
        lower: ||J delta|| at ``signs``.
        signs: a vertex of the box, ``(d,)``.
    """

    dense: float
    spectral: float
    lower: float
    signs: Array

    @property
    def upper(self) -> float:
        """The smaller of the two bounds from above."""
        return min(self.spectral, self.dense) if self.dense > 0 else self.spectral


def sign_bounds(
    jacobian: LinearOperator,
    top: TopSingular,
    matrix: Array | None,
    steps: int,
    tolerance: float,
    max_products: int,
) -> SignBounds:
    r"""All three numbers, the dense one where J has been formed.

    For every s > 0, :math:`\|J\delta\| \le \|J\,\mathrm{diag}(1/s)\|_2\,\|s\|_2`, and s = 1 is
    the first tried. The best squares :math:`t = s^2` solve :math:`t_i / \sum t = w_i^2`, w the top
    right singular vector of :math:`J\,\mathrm{diag}(1/s)`; each step goes part of the way (ours).

    Args:
        jacobian: J.
        top: its largest singular value.
        matrix: J as an array, or None.
        steps: weights tried beside s = 1.
        tolerance, max_products: of each solve.
    """
    signs, lower, pull = _sign_iteration(jacobian, top.right)
    dense, squares = math.nan, _first_squares(jacobian, pull)
    if matrix is not None:
        squares = np.abs(matrix.T @ matrix).sum(1)  # with them the bound is at most the dense one
        dense = float(np.sqrt(squares.sum()))
    spectral = top.safe * jacobian.shape[1] ** 0.5
    for _ in range(steps):
        squares = (1 - _FLOOR) * squares / squares.sum() + _FLOOR / len(squares)
        weighted = jacobian @ aslinearoperator(diags_array(1 / np.sqrt(squares)))
        found = top_singular(weighted, tolerance, max_products)
        if found.converged:
            spectral = min(spectral, found.safe)
        squares = (1 - _STEP) * squares + _STEP * found.right**2
    return SignBounds(dense, max(spectral, lower), lower, signs)


def _first_squares(jacobian: LinearOperator, pull: Array) -> Array:
    r"""Squared weights to begin with: two guesses at once, each summing to 1.

    :math:`|P\delta|` at the vertex where the sign iteration stopped gives equality if nothing is
    lost to the relaxation; the lengths of J's columns, from random signs, guard the rest.
    """
    draw = np.random.default_rng(0)
    columns = np.zeros_like(pull)
    for _ in range(_DRAWS):
        columns += jacobian.rmatvec(_sign(draw.standard_normal(jacobian.shape[0]))) ** 2
    return sum(guess / guess.sum() for guess in (np.abs(pull), np.sqrt(columns)))


def _sign_iteration(jacobian: LinearOperator, start: Array) -> tuple[Array, float, Array]:
    """A vertex that no sign change of all of P delta improves, ||J delta|| there, and P delta."""
    signs = _sign(start)
    for _ in range(_ROUNDS):
        image = jacobian.matvec(signs)
        pull = jacobian.rmatvec(image)
        following = _sign(pull)
        if (following == signs).all():
            break
        signs = following
    return signs, float(np.linalg.norm(jacobian.matvec(signs))), pull


def _sign(vector: Array) -> Array:
    return np.where(vector >= 0, 1.0, -1.0)
