"""The largest singular value of a matrix that is known by its products alone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

Array = NDArray[np.float64]

_DENSE: Final = 32  # as many products as one Krylov basis would take
_BASIS: Final = 20  # vectors of the Krylov basis before it is restarted
_SHARPER: Final = 0.8  # asked of ARPACK, so that rounding in the products does not undo its answer
_TINY: Final = float(np.finfo(np.float64).tiny)


class Products(Protocol):
    """A matrix J, m x d, known by J v and J^T u."""

    shape: tuple[int, int]
    symmetric: bool
    """Whether :meth:`hessian` multiplies by a symmetric matrix with the singular values of J."""

    def times(self, direction: Array) -> Array: ...

    def transposed(self, weights: Array) -> Array: ...

    def hessian(self, direction: Array) -> Array: ...


class Matrix:
    """A matrix that has been formed."""

    symmetric = False

    def __init__(self, matrix: Array) -> None:
        self._matrix = matrix
        self.shape = (matrix.shape[0], matrix.shape[1])

    def times(self, direction: Array) -> Array:
        return self._matrix @ direction

    def transposed(self, weights: Array) -> Array:
        return weights @ self._matrix

    def hessian(self, direction: Array) -> Array:
        raise TypeError("a general matrix is not symmetric.")


class Weighted:
    """J diag(1/s): what J is in units of s."""

    symmetric = False

    def __init__(self, products: Products, weights: Array) -> None:
        self._products, self._weights = products, weights
        self.shape = products.shape

    def times(self, direction: Array) -> Array:
        return self._products.times(direction / self._weights)

    def transposed(self, weights: Array) -> Array:
        return self._products.transposed(weights) / self._weights

    def hessian(self, direction: Array) -> Array:
        raise TypeError("a weighted Jacobian is not symmetric.")


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
    products: Products, tolerance: float, max_products: int, start: Array | None = None
) -> TopSingular:
    """The largest singular value of J by the implicitly restarted Lanczos method of ARPACK.

    Of the symmetric matrix itself where there is one, one product a step, else of J^T J, two. A
    matrix of few rows or columns is formed.

    Args:
        products: the matrix.
        tolerance: on the relative residual.
        max_products: beyond it the best of the last vectors is taken as it is.
        start: first vector, ``(d,)``; a random one by default.
    """
    if min(products.shape) <= _DENSE:
        return _of_the_whole(products)
    operator = _Recorded(products, max_products)
    try:
        _, vectors = eigsh(
            LinearOperator(operator.shape, matvec=operator, dtype=np.float64),
            k=1,
            v0=_start(start, products.shape[1]),
            ncv=min(_BASIS, products.shape[1]),
            tol=_SHARPER * tolerance,
            maxiter=max_products,
        )
        right = vectors[:, 0]
    except (_Spent, ArpackNoConvergence):
        right = operator.best()
    return _measured(products, right, tolerance)


class _Spent(Exception):
    """The products allowed have been used."""


class _Recorded:
    """H v or J^T J v, remembering the last vectors so that a run cut short still has an answer."""

    def __init__(self, products: Products, max_products: int) -> None:
        self._products = products
        self._left = max_products // (1 if products.symmetric else 2)
        self._pairs: deque[tuple[Array, Array]] = deque(maxlen=_BASIS)
        self.shape = (products.shape[1],) * 2

    def __call__(self, vector: Array) -> Array:
        if self._left <= 0:
            raise _Spent
        self._left -= 1
        vector = vector.ravel()
        if self._products.symmetric:
            image = self._products.hessian(vector)
        else:
            image = self._products.transposed(self._products.times(vector))
        self._pairs.append((vector.copy(), image))
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


def _measured(products: Products, right: Array, tolerance: float) -> TopSingular:
    """The value at a unit vector, and by how much the vector misses being singular."""
    right = right / np.linalg.norm(right)
    if products.symmetric:
        image = products.hessian(right)
        value = float(np.linalg.norm(image))
        gap = np.linalg.norm(image - (right @ image) * right)
    else:
        image = products.times(right)
        value = float(np.linalg.norm(image))
        gap = np.linalg.norm(products.transposed(image / max(value, _TINY)) - value * right)
    residual = float(gap) / max(value, _TINY)
    return TopSingular(value, right, residual, residual <= tolerance)


def _of_the_whole(products: Products) -> TopSingular:
    """The exact singular value of a small matrix."""
    rows, columns = products.shape
    if rows <= columns:
        matrix = np.stack([products.transposed(row) for row in np.eye(rows)])
    else:
        matrix = np.stack([products.times(column) for column in np.eye(columns)], axis=1)
    _, values, right = np.linalg.svd(matrix, full_matrices=False)
    return TopSingular(float(values[0]), right[0], 0.0, True)


def _start(start: Array | None, size: int) -> Array:
    if start is None or not start.any():
        return np.random.default_rng(0).standard_normal(size)
    return start
