"""Bootstrap intervals for the mean of a metric over a data set."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray
from torch import Tensor

from captum_robust._base.checks import check_choice, check_count, check_number

_RESAMPLED: Final = 2**20  # values held at once while resampling


class Interval(NamedTuple):
    """A mean with the ends of its confidence interval, each a float or one for each column.

    Example:
        >>> from captum_robust.metrics import Interval
        >>> interval = Interval(mean=0.5, low=0.4, high=0.6)
        >>> interval.low, interval.mean, interval.high
        (0.4, 0.5, 0.6)
    """

    mean: float | NDArray[np.float64]
    low: float | NDArray[np.float64]
    high: float | NDArray[np.float64]


def bootstrap_interval(
    values: Tensor,
    *,
    confidence_level: float = 0.95,
    n_resamples: int = 9999,
    method: str = "BCa",
    seed: int | None = None,
) -> Interval:
    r"""Confidence interval of the mean of a metric over examples, by the bootstrap.

    Resamples examples with replacement (Efron & Tibshirani, 1993) with
    :func:`scipy.stats.bootstrap`. The interval is for examples drawn like these, and its coverage
    is approximate, worst for few examples. It is that of each column by itself.

    Args:
        values: one value per example, ``(N,)``, or ``(N, R)`` with a column for each radius. NaN,
            which ``on_prediction_change="nan"`` gives, is left out.
        confidence_level: in (0, 1).
        n_resamples: number of resamples.
        method: ``"BCa"``, ``"percentile"`` or ``"basic"``.
        seed: of the resampling; NumPy's fresh entropy where ``None``.

    Returns:
        An :class:`Interval` of floats, or of arrays ``(R,)``, in the metric's own unit; low, mean
        and high agree where all values do.

    Raises:
        ValueError: if an argument is out of range, or a column has fewer than two finite values.

    Example:
        >>> import torch
        >>> from captum_robust.metrics import bootstrap_interval
        >>> interval = bootstrap_interval(torch.tensor([0.1, 0.4, 0.5, 0.9]), seed=0)
        >>> interval.low < interval.mean < interval.high
        True
    """
    level = check_number(
        "confidence_level", confidence_level, low=0, high=1, open_low=True, open_high=True
    )
    count = check_count("n_resamples", n_resamples)
    check_choice("method", method, ("BCa", "percentile", "basic"))
    table = values.detach().double().cpu().numpy()
    if table.ndim not in (1, 2):
        raise ValueError(f"`values` must have shape (N,) or (N, R), got {table.shape}.")
    columns = table.reshape(len(table), -1).T
    ends = np.array([_one_interval(column, level, count, method, seed) for column in columns])
    return Interval(*(ends.T if table.ndim == 2 else ends[0].tolist()))


def _one_interval(
    column: NDArray[np.float64], level: float, count: int, method: str, seed: int | None
) -> tuple[float, float, float]:
    column = column[~np.isnan(column)]
    if len(column) < 2 or not np.isfinite(column).all():
        raise ValueError(
            "`values` must hold at least two finite values in each column and no infinity, "
            f"got {column.tolist()[:4]}."
        )
    mean = float(column.mean())
    if np.ptp(column) == 0:  # every resample has this mean; BCa would divide by its variance
        return mean, mean, mean
    found = scipy.stats.bootstrap(
        (column,),
        np.mean,
        confidence_level=level,
        n_resamples=count,
        batch=max(1, _RESAMPLED // len(column)),
        method=method,
        rng=np.random.default_rng(seed),
    )
    return mean, float(found.confidence_interval.low), float(found.confidence_interval.high)
