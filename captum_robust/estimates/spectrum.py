"""The largest singular value of a matrix that is known by its products alone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

Array = NDArray[np.float64]

_DENSE: Final = 32  # as many products as one Krylov basis would take
_BASIS: Final = 20  # vectors of the Krylov basis before it is restarted
_SHARPER: Final = 0.8  # asked of ARPACK, so that rounding in the products does not undo its answer
_TINY: Final = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class TopSingular:
    """A singular value, never above the largest, with its right vector and how exact it is.

    Attributes:
        value: ||J v||, a lower value of the largest singular value.
        right: v, unit length, ``(d,)``.
        residual: ||J^T J v - value^2 v|| / value^2, or ||H v - lambda v|| / |lambda|; >= 0.
        converged: whether the residual is at most the tolerance.
    """

    value: float
    right: Array
    residual: float
    converged: bool

    @property
    def safe(self) -> float:
        """The value with the residual added on the safe side."""
        return self.value * (1.0 + self.residual)


def top_singular(
    jacobian: LinearOperator,
    tolerance: float,
    max_products: int,
    start: Array | None = None,
    symmetric: LinearOperator | None = None,
) -> TopSingular:
    """The largest singular value of J by the implicitly restarted Lanczos method of ARPACK.

    Of a symmetric matrix where there is one, one product a step, else of J^T J, two. A matrix of
    few rows or columns is formed.

    Args:
        jacobian: J, m x d.
        tolerance: on the relative residual.
        max_products: beyond it the best of the last vectors is taken as it is.
        start: first vector, ``(d,)``; a random one by default.
        symmetric: a symmetric matrix with the singular values and right vectors of J, if known.
    """
    if min(jacobian.shape) <= _DENSE:
        return _of_the_whole(jacobian)
    square = jacobian.H @ jacobian if symmetric is None else symmetric
    recorded = _Recorded(square, max_products // (2 if symmetric is None else 1))
    try:
        _, vectors = eigsh(
            LinearOperator(square.shape, matvec=recorded, dtype=np.float64),
            k=1,
            v0=_start(start, jacobian.shape[1]),
            ncv=min(_BASIS, jacobian.shape[1]),
            tol=_SHARPER * tolerance,
            maxiter=max_products,
        )
        right = vectors[:, 0]
    except (_Spent, ArpackNoConvergence):
        right = recorded.best()
    return _measured(jacobian, symmetric, right, tolerance)


class _Spent(Exception):
    """The products allowed have been used."""


class _Recorded:
    """A symmetric matrix that remembers the last vectors, so that a run cut short has an answer."""

    def __init__(self, square: LinearOperator, max_products: int) -> None:
        self._square = square
        self._left = max_products
        self._pairs: deque[tuple[Array, Array]] = deque(maxlen=_BASIS)

    def __call__(self, vector: Array) -> Array:
        if self._left <= 0:
            raise _Spent
        self._left -= 1
        image = self._square.matvec(vector.ravel())
        self._pairs.append((vector.ravel().copy(), image))
        return image

    def best(self) -> Array:
        """The Ritz vector of the largest value over the span of the vectors remembered."""
        basis, images = (np.stack(part) for part in zip(*self._pairs, strict=True))
        sizes, turns = np.linalg.eigh(basis @ basis.T)
        kept = sizes > 1e-8 * sizes[-1]
        turns = turns[:, kept] / np.sqrt(sizes[kept])
        small = turns.T @ (basis @ images.T) @ turns
        values, vectors = np.linalg.eigh((small + small.T) / 2)
        found = basis.T @ (turns @ vectors[:, np.abs(values).argmax()])
        return found / np.linalg.norm(found)


def _measured(
    jacobian: LinearOperator, symmetric: LinearOperator | None, right: Array, tolerance: float
) -> TopSingular:
    """The value at a unit vector, and by how much the vector misses being singular."""
    right = right / np.linalg.norm(right)
    image = (jacobian if symmetric is None else symmetric).matvec(right)
    value = float(np.linalg.norm(image))
    if symmetric is None:
        gap = jacobian.rmatvec(image / max(value, _TINY)) - value * right
    else:
        gap = image - (right @ image) * right
    residual = float(np.linalg.norm(gap)) / max(value, _TINY)
    return TopSingular(value, right, residual, residual <= tolerance)


def _of_the_whole(jacobian: LinearOperator) -> TopSingular:
    """The exact singular value of a small matrix."""
    rows, columns = jacobian.shape
    if rows <= columns:
        matrix = np.stack([jacobian.rmatvec(row) for row in np.eye(rows)])
    else:
        matrix = np.stack([jacobian.matvec(column) for column in np.eye(columns)], axis=1)
    _, values, right = np.linalg.svd(matrix, full_matrices=False)
    return TopSingular(float(values[0]), right[0], 0.0, True)


def _start(start: Array | None, size: int) -> Array:
    if start is None or not start.any():
        return np.random.default_rng(0).standard_normal(size)
    return start
