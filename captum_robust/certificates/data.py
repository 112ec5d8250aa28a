"""The data of a certificate, and what all its answers share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Size, Tensor

from captum_robust._base.vectors import unflatten
from captum_robust.certificates.claim import Terms
from captum_robust.certificates.confidence.pairs import PairEvidence
from captum_robust.noise.shift import Shift
from captum_robust.transforms.ranges import MapRange

Array = NDArray[np.float64]

_EVENT_OF: Final = {
    "precedes": "elementwise",
    "rank": "elementwise",
    "pixels": "elementwise",
    "cosine": "norm",
    "angle": "norm",
    "l2_deviation": "norm",
    "region_mass": "region",
}


@dataclass(frozen=True, eq=False)
class CertificateData:
    """What was sampled and asked for; see :class:`~captum_robust.certificates.Certificate`."""

    terms: Terms
    shift: Shift
    mean: Tensor
    shapes: tuple[Size, ...]
    is_tuple: bool
    range: MapRange
    nt_samples: int
    seed: int | None = None
    target: Any = None
    variance: Tensor | None = None
    pairs: PairEvidence | None = None
    shares: Tensor | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def alpha(self) -> float:
        """Probability of error."""
        return self.terms.alpha

    @property
    def claim(self) -> str:
        """Which two maps are compared."""
        return self.terms.claim

    @property
    def features(self) -> int:
        """Number of features of a map, m."""
        return self.mean.shape[1]

    def _alpha(self, question: str, event: str) -> float:
        """The probability of error of one event behind a question.

        It is shared among the looks at the samples and among the events of all questions that
        shall hold together; questions of one event share its probability.
        """
        together = {
            needed for asked in self.terms.joint_with(question) for needed in self._events(asked)
        }
        together.add(event)
        return self.alpha / self.terms.looks / len(together)

    def _events(self, question: str) -> tuple[str, ...]:
        """The events whose failure can make an answer false."""
        if question != "overlap":
            return (_EVENT_OF[question],)
        if self.terms.route == "l2":
            return ("norm",)
        spread = self.terms.route == "best" and self.pairs is not None
        if spread and self.claim != "population":
            return ("elementwise", "norm")
        return ("elementwise",)

    def _answer(self, values: Any) -> Tensor:
        """Values as float64 on the inputs' device."""
        return torch.as_tensor(np.asarray(values), dtype=torch.float64).to(self._device)

    @property
    def _device(self) -> torch.device:
        """Where answers are put: the CPU where the inputs' device has no float64."""
        return torch.device("cpu") if self.device.type == "mps" else self.device

    def _as_maps(self, rows: list[Any], dtype: torch.dtype) -> Tensor | tuple[Tensor, ...]:
        """One row an example as maps ``(N, *)``."""
        vector = torch.as_tensor(np.stack(rows), dtype=dtype).to(self._device)
        maps = unflatten(vector, self.shapes)
        return maps if self.is_tuple else maps[0]
