"""Running moments of maps: memory of one map, whatever the number of samples."""

from __future__ import annotations

import torch
from torch import Tensor

from captum_robust._base.precision import accumulation_dtype


class CompensatedSum:
    """Sum that carries what rounding lost (Neumaier, 1974); it keeps the graph of its terms.

    With float64 the carry costs a map; on devices that have only float32 it is what makes a mean
    over thousands of samples exact to the last digits.
    """

    def __init__(self) -> None:
        self.total: Tensor | None = None
        self.carry: Tensor | None = None

    def add(self, term: Tensor) -> None:
        """Adds a tensor, always of the same shape."""
        if self.total is None or self.carry is None:
            self.total, self.carry = term, torch.zeros_like(term)
            return
        total = self.total + term
        lost = torch.where(
            self.total.abs() >= term.abs(), (self.total - total) + term, (term - total) + self.total
        )
        self.carry = self.carry + lost
        self.total = total

    @property
    def value(self) -> Tensor:
        """The sum so far."""
        if self.total is None or self.carry is None:
            raise RuntimeError("nothing was added yet.")
        return self.total + self.carry


class MeanMap:
    """Mean over samples of a map, or of its squares."""

    def __init__(self, squares: bool = False) -> None:
        self.squares = squares
        self.count = 0
        self._sum = CompensatedSum()

    def add(self, samples: Tensor) -> None:
        """Adds samples ``(N, b, *)``."""
        samples = samples.square() if self.squares else samples
        self._sum.add(samples.sum(1, dtype=accumulation_dtype(samples.device)))
        self.count += samples.shape[1]

    @property
    def value(self) -> Tensor:
        """The mean, ``(N, *)``, in the accumulation dtype."""
        return self._sum.value / self.count


class VarianceMap:
    """Variance over samples (divided by their number, as in Captum), never negative.

    Batches are merged by the pairwise formula of Chan, Golub and LeVeque (1979): the difference of
    means enters squared, so nothing cancels.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = torch.zeros(())
        self._squares = torch.zeros(())

    def add(self, samples: Tensor) -> None:
        """Adds samples ``(N, b, *)``."""
        samples = samples.to(accumulation_dtype(samples.device))
        count = samples.shape[1]
        mean = samples.mean(1)
        squares = (samples - mean.unsqueeze(1)).square().sum(1)
        if self.count:
            gap = mean - self._mean
            weight = count / (self.count + count)
            squares = squares + self._squares + gap.square() * (self.count * weight)
            mean = self._mean + gap * weight
        self._mean, self._squares = mean, squares
        self.count += count

    @property
    def value(self) -> Tensor:
        """The variance, ``(N, *)``, in the accumulation dtype."""
        return self._squares / self.count


class MapMoments:
    """A running moment of each map of a tuple.

    Args:
        nt_type: which moment, one of Captum's: ``"smoothgrad"`` (mean), ``"smoothgrad_sq"`` (mean
            of squares) or ``"vargrad"`` (variance).
    """

    def __init__(self, nt_type: str = "smoothgrad") -> None:
        self._type = nt_type
        self._moments: list[MeanMap | VarianceMap] = []

    def add(self, maps: tuple[Tensor, ...]) -> None:
        """Adds samples ``(N, b, *)`` of each map."""
        if not self._moments:
            self._moments = [self._new() for _ in maps]
        for moment, part in zip(self._moments, maps, strict=True):
            moment.add(part)

    def _new(self) -> MeanMap | VarianceMap:
        if self._type == "vargrad":
            return VarianceMap()
        return MeanMap(squares=self._type == "smoothgrad_sq")

    @property
    def values(self) -> tuple[Tensor, ...]:
        """The moments ``(N, *)``, in the accumulation dtype."""
        return tuple(moment.value for moment in self._moments)
