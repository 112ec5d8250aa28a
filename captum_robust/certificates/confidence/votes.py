"""What the net predicted at the noisy copies, and exact bounds on how often it does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

NO_VOTES: Final = (
    "`prediction` needs a method over a net that gives class scores (N, classes), two or more, and "
    "a class for each example as `target`; for other outputs give certify a function of them, such "
    "as prediction=lambda outputs: outputs[:, 0] > 0."
)


@dataclass(frozen=True, eq=False)
class Votes:
    """What the net predicted at the noisy copies of each example.

    Attributes:
        samples: noisy copies of each example.
        explained: the label that the map is about, ``(N,)``.
        agreeing: copies at which the net predicts it, ``(N,)``.
        others: the label most often predicted among the rest, ``(N,)``; -1 where there is none.
        other_counts: how often, ``(N,)``.
    """

    samples: int
    explained: Counts
    agreeing: Counts
    others: Counts
    other_counts: Counts

    @classmethod
    def of(cls, labels: Tensor, explained: Tensor) -> Votes:
        """Counts labels ``(N, samples)``."""
        agreeing = labels == explained.unsqueeze(1)
        rows = [_most_frequent(row[~same]) for row, same in zip(labels, agreeing, strict=True)]
        others, counts = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
        same = agreeing.sum(1).numpy().astype(np.int64)
        return cls(labels.shape[1], explained.numpy().astype(np.int64), same, others, counts)

    @property
    def shares(self) -> Array:
        """The share of copies at which the net predicts the explained label, ``(N,)``."""
        return self.agreeing / self.samples


def _most_frequent(labels: Tensor) -> tuple[int, int]:
    """The most frequent label and its count; the smaller label of two that tie."""
    if labels.numel() == 0:
        return -1, 0
    found, counts = torch.unique(labels, return_counts=True)
    best = int(counts.argmax())
    return int(found[best]), int(counts[best])


def share_lower(successes: int, samples: int, alpha: float) -> float:
    r"""One-sided lower bound of Clopper and Pearson (1934) on a probability.

    .. math:: l = B_\alpha(c,\, N - c + 1), \qquad P(\mathrm{Bin}(N, l) \ge c) = \alpha

    Rounded down by more than the error of the beta quantile, which SciPy gives to about 1e-15.

    Args:
        successes: their number c, in [0, N].
        samples: independent trials N.
        alpha: probability that the bound fails.
    """
    if successes == 0:
        return 0.0
    if successes == samples:
        return math.exp(math.log(alpha) / samples) * (1.0 - 1e-14)
    return float(stats.beta.ppf(alpha, successes, samples - successes + 1)) * (1.0 - 1e-14)


def share_upper(successes: int, samples: int, alpha: float) -> float:
    """One-sided upper bound on a probability, the mirror of :func:`share_lower`."""
    return 1.0 - share_lower(samples - successes, samples, alpha)
