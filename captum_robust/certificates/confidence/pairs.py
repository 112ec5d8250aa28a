"""The spread between disjoint pairs of samples, collected while sampling."""

from __future__ import annotations

import math
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import blas
from torch import Tensor

from captum_robust.certificates.confidence.spread import sample_top_eigenvalue

Array = NDArray[np.float64]

_WIDTH: Final = 1024  # features whose products are added before they join the sum in float64
_FEW: Final = 1024  # pairs up to which those products are float64 too
_MANY: Final = 512  # pairs from which on a bet by the bound on the fourth moment is narrower
_UNIT: Final = 2.0**-24 * (1.0 + 2.0**-20)  # a difference in float32 is off by this share of it
_DOUBLE: Final = 2.0**-53


@dataclass(frozen=True, eq=False)
class PairEvidence:
    r"""Averages over disjoint pairs (G, G') of samples, one entry an example.

    Attributes:
        pairs: number P of pairs seen so far.
        eig_pairs: number of them in the top eigenvalue.
        traces: averages of :math:`\|G-G'\|^2/2`, ``(N,)``.
        inners: averages of :math:`G\cdot G'`, ``(N,)``.
        eigenvalues: top eigenvalue of the average of :math:`(G-G')(G-G')^T/2`, ``(N,)``.
        fourths: top eigenvalue of the pairs' matrix of squared inner products, see
            :func:`~captum_robust.certificates.top_eigenvalue_upper`, ``(N,)``, or what
            bounds it where there are no more features than pairs; None where these are few.
    """

    pairs: int
    eig_pairs: int
    traces: Array
    inners: Array
    eigenvalues: Array
    fourths: Array | None = None


class PairMoments:
    """Collects what :class:`PairEvidence` needs, as a context that leaves no file behind.

    The spectrum comes from the smaller of two matrices: features by features, summed while
    sampling, or pairs by pairs, for which the differences are kept; those stay within
    ``memory_limit`` and beyond it in a temporary memory-mapped file.

    Args:
        examples: N.
        samples: most samples per example, fixed beforehand.
        eig_pairs: cap on the pairs in the eigenvalue; all where ``None``.
        memory_limit: bytes of differences kept in memory.
    """

    def __init__(
        self, examples: int, samples: int, eig_pairs: int | None = None, memory_limit: int = 2**30
    ) -> None:
        pairs = samples // 2
        self.eig_pairs = pairs if eig_pairs is None else min(eig_pairs, pairs)
        self._examples = examples
        self._limit = memory_limit
        self._traces = np.zeros(examples)
        self._inners = np.zeros(examples)
        self._seen = 0
        self._odd: Tensor | None = None
        self._store: NDArray[np.float32] | None = None
        self._sums: Array | None = None
        self._stack = ExitStack()

    def __enter__(self) -> PairMoments:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._store = None
        self._stack.close()

    def add(self, rows: Tensor) -> None:
        """Adds samples ``(N, b, m)``; neighbours in the order drawn make a pair."""
        rows = rows if self._odd is None else torch.cat([self._odd, rows], dim=1)
        self._odd = rows[:, -1:] if rows.shape[1] % 2 else None
        pairs = rows.shape[1] // 2
        if not pairs:
            return
        first, second = rows[:, 0 : 2 * pairs : 2], rows[:, 1 : 2 * pairs : 2]
        gaps = (first - second).cpu().numpy()
        self._traces += np.square(gaps, dtype=np.float64).sum((1, 2)) / 2.0
        self._inners += _inner_products(first, second)
        self._keep(gaps[:, : max(self.eig_pairs - self._seen, 0)])
        self._seen += pairs

    def _keep(self, gaps: NDArray[np.float32]) -> None:
        """Adds differences ``(N, p, m)`` to what the spectrum is taken from."""
        features = gaps.shape[2]
        if features <= self.eig_pairs:
            if self._sums is None:
                self._sums = np.zeros((2, self._examples, features, features))
            wide = gaps.astype(np.float64)
            sizes = np.square(wide).sum(2, keepdims=True)
            self._sums[0] += wide.transpose(0, 2, 1) @ wide
            self._sums[1] += (sizes * wide).transpose(0, 2, 1) @ wide
            return
        if self._store is None:
            self._store = self._new_store((self._examples, self.eig_pairs, features))
        self._store[:, self._seen : self._seen + gaps.shape[1]] = gaps

    def _new_store(self, shape: tuple[int, int, int]) -> NDArray[np.float32]:
        """Room for all differences: in memory, or in a file that vanishes when closed."""
        if 4 * np.prod(shape, dtype=float) <= self._limit:
            return np.empty(shape, dtype=np.float32)
        file = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)

    def evidence(self) -> PairEvidence:
        """The averages over the pairs added so far, which an early look has fewer of."""
        if not self._seen:
            raise RuntimeError("no samples were added.")
        kept = min(self._seen, self.eig_pairs)
        tops = np.array([self._tops(example, kept) for example in range(self._examples)])
        return PairEvidence(
            pairs=self._seen,
            eig_pairs=kept,
            traces=self._traces / self._seen * (1.0 + 3.0 * _UNIT),
            inners=self._inners / self._seen,
            eigenvalues=tops[:, 0],
            fourths=None if self._sums is not None and kept < _MANY else tops[:, 1],
        )

    def _tops(self, example: int, kept: int) -> tuple[float, float]:
        """Second and fourth moment, rounded up by what arithmetic can hide."""
        if self._sums is not None:
            second, fourth = self._sums[:, example]
            return _tops_of_sums(second, fourth, kept)
        if self._store is None:
            raise RuntimeError("no samples were added.")
        gram, unit = _gram(self._store[example, :kept])
        # An entry is off by at most unit * |x| |y|, so a matrix of them by their sum of squares.
        sizes = np.diag(gram) * (1.0 + 2.0 * unit)
        trace, squares = float(sizes.sum()) / (2.0 * kept), float(np.square(sizes).sum())
        top = sample_top_eigenvalue(gram, kept) + unit * trace
        np.square(gram, out=gram)
        fourth = sample_top_eigenvalue(gram, kept) / 2.0 + 3.0 * unit * squares / (4.0 * kept)
        return (
            _root_shifted(top, _UNIT * math.sqrt(trace)),
            _root_shifted(fourth, 2.0 * _UNIT * math.sqrt(squares / (4.0 * kept))),
        )


def _tops_of_sums(second: Array, fourth: Array, kept: int) -> tuple[float, float]:
    """Second and fourth moment from sums of outer products, plain and weighted by |D|^2."""
    # Each sum is off by at most this share of the sum of the norms of its terms.
    share = (kept + 4) * _DOUBLE
    trace, squares = float(np.trace(second)) / (2.0 * kept), float(np.trace(fourth)) / (4.0 * kept)
    top = sample_top_eigenvalue(second, kept) + share * trace
    larger = sample_top_eigenvalue(fourth, kept) / 2.0 + share * squares
    return (
        _root_shifted(top, _UNIT * math.sqrt(trace)),
        _root_shifted(larger, 2.0 * _UNIT * math.sqrt(squares)),
    )


def _root_shifted(value: float, shift: float) -> float:
    r"""The square of a root that rounding may have hidden up to ``shift`` of, rounded up.

    The differences :math:`D_p` are rounded to float32, :math:`\|\hat D_p - D_p\| \le u\|D_p\|`.
    The root of the top eigenvalue is the spectral norm of the matrix with columns
    :math:`D_p/\sqrt{2P}`, which moves by no more than the Frobenius norm of what rounding adds,
    :math:`u\,(\mathrm{avg} \|D_p\|^2/2)^{1/2}`. The root of the fourth moment is that of the matrix
    with columns :math:`D_pD_p^T/\sqrt{4P}`, or :math:`\|D_p\|D_p/\sqrt{4P}`, which moves by
    :math:`(2u + u^2)(\sum\|D_p\|^4/4P)^{1/2}` at most.
    """
    return (math.sqrt(max(value, 0.0)) + shift) ** 2 * (1.0 + 1e-12)


def _inner_products(first: Tensor, second: Tensor) -> Array:
    """Sums of inner products ``(N,)`` over pairs ``(N, p, m)``; products of float32 are exact."""
    if first.device.type == "mps":
        first, second = first.cpu(), second.cpu()
    return (first.double() * second.double()).sum((1, 2)).cpu().numpy()


def _gram(rows: NDArray[np.float32]) -> tuple[Array, float]:
    r"""Inner products of rows, and by what share of :math:`|x||y|` rounding can change them.

    Of many rows, products of w features are summed in float32, which takes half the time, and only
    these sums in float64. In any order of summation an entry is off by at most
    :math:`\gamma_w |x|\cdot|y|, \gamma_w = wu/(1-wu)` (Higham, 2002, section 3.1).
    """
    few = len(rows) <= _FEW
    product, unit = (blas.dsyrk, 2.0**-53) if few else (blas.ssyrk, 2.0**-24)
    # Scaled by a power of two, so that no square is lost.
    _, exponent = math.frexp(max(float(rows.max()), -float(rows.min())))
    gram = np.zeros((len(rows), len(rows)), order="F")
    for start in range(0, rows.shape[1], _WIDTH):
        block = np.ldexp(rows[:, start : start + _WIDTH], -exponent)
        gram += product(1.0, block.T, trans=1)  # the upper triangle
    gram *= 4.0**exponent
    gram += np.triu(gram, 1).T
    return gram, _WIDTH * unit * (1.0 + 1e-3)
