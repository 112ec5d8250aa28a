"""The data of a certificate, and what all its answers share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Size, Tensor

from captum_robust._base.vectors import unflatten
from captum_robust.certificates.claim import Terms
from captum_robust.certificates.confidence.pairs import PairEvidence
from captum_robust.certificates.confidence.votes import Votes
from captum_robust.certificates.remembered import Remembered
from captum_robust.noise.shift import Shift
from captum_robust.transforms.features import Features
from captum_robust.transforms.ranges import MapRange


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
    named: Features | None = None
    votes: Votes | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    remembered: Remembered = field(default_factory=Remembered, init=False, repr=False)

    @property
    def alpha(self) -> float:
        """Probability of error."""
        return self.terms.alpha

    @property
    def claim(self) -> str:
        """Which two maps are compared."""
        return self.terms.claim

    @property
    def kind(self) -> str:
        """``"certified"``, ``"pointwise"``, ``"estimate"`` or ``"as-published"``.

        Certified statements hold for all perturbations at once. Where the second map is drawn anew,
        that draw differs between perturbed inputs, so the statement is about each by itself:
        pointwise. With ``confidence="exact"`` the samples are taken for the law itself: an
        estimate. Printed formulas are as published.
        """
        if self.terms.published:
            return "as-published"
        if self.terms.confidence == "exact":
            return "estimate"
        return "pointwise" if self.claim == "redrawn" else "certified"

    @property
    def features(self) -> int:
        """Number of features of a map, m."""
        return self.mean.shape[1]

    @property
    def words(self) -> Features:
        """What the features are called, by default by their places."""
        return Features.of(self.shapes) if self.named is None else self.named

    def tensor(self, values: Any) -> Tensor:
        """Answers as a tensor on the inputs' device, numbers as float64."""
        values = np.asarray(values)
        dtype = torch.bool if values.dtype == bool else torch.float64
        return torch.as_tensor(values, dtype=dtype).to(self._device)

    def as_maps(self, rows: list[Any], dtype: torch.dtype) -> Tensor | tuple[Tensor, ...]:
        """One row of features an example as maps ``(N, *)``, on the inputs' device."""
        vector = torch.as_tensor(np.stack(rows), dtype=dtype).to(self._device)
        maps = unflatten(vector, self.shapes)
        return maps if self.is_tuple else maps[0]

    @property
    def _device(self) -> torch.device:
        """Where answers are put: the CPU where the inputs' device has no float64."""
        return torch.device("cpu") if self.device.type == "mps" else self.device
