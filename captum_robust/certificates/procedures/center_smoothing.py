"""Center smoothing of attributions: sampling, and the result."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor

from captum_robust._base.checks import check_choice
from captum_robust._base.numbers.rounding import confidence_percent, up
from captum_robust._base.vectors import feature_shapes, flatten, unflatten
from captum_robust.certificates.claim import PublishedFormulaWarning
from captum_robust.certificates.procedures.center import (
    CenterTerms,
    center_abstains,
    center_radius,
    choose_center,
)
from captum_robust.noise.law import NoiseLaw
from captum_robust.noise.levels import NoiseLevel
from captum_robust.noise.shift import Shift

_ROUNDING: Final = 1e-7  # radians that the arc cosine of a rounded cosine can be off


class Drawn(Protocol):
    """Maps of some samples of every example."""

    @property
    def maps(self) -> tuple[Tensor, ...]: ...
    @property
    def is_tuple(self) -> bool: ...
    @property
    def level(self) -> NoiseLevel: ...


class Sampler(Protocol):
    """What center smoothing needs of a smoothed attribution: its law, and maps of its samples."""

    noise: NoiseLaw

    def samples(self, inputs: Any, *, nt_samples: int, **settings: Any) -> Iterator[Drawn]: ...


@dataclass(frozen=True, eq=False)
class CenterCertificate:
    """What center smoothing found; see :func:`center_smoothing`.

    Asked like a :class:`~captum_robust.certificates.Certificate`, so that both can be drawn on one
    axis.

    Attributes:
        attributions: the centre of each example, one of its noisy maps, ``(N, *)``.
        distances: of fresh maps to it, ``(N, certify_samples)`` float64: radians, or 1 - cos as
            published.
        abstained: ``(N,)`` bool: no centre with half of the maps around it was found.
        noise: the frozen noise law.
        terms: samples and probability of error.
    """

    attributions: Tensor | tuple[Tensor, ...]
    distances: Tensor
    abstained: Tensor
    noise: Shift
    terms: CenterTerms

    @property
    def kind(self) -> str:
        """``"pointwise"``: true for each perturbed input by itself, not for all at once.

        ``"as-published"`` where printed formulas are used, which leave out that candidates may miss
        the ball.
        """
        return "as-published" if self.terms.published else "pointwise"

    def radius(self, epsilon: float | Tensor) -> Tensor:
        """Distance within which the centre at a perturbed input lies of the centre here.

        Args:
            epsilon: perturbation size, >= 0, in the norm of the noise law, a number or ``(N,)``.

        Returns:
            ``(N,)`` float64: degrees, or 1 - cos as published; 180 (2) where it says nothing.
        """
        published = self.terms.published
        law = self.noise.law if published else self.noise.bounds
        most, unit, gamma = (2.0, 1.0, 2.0) if published else (180.0, math.degrees(1.0), 1.0)
        shifts = self.noise.of_epsilon(epsilon)
        masses = law.upper(0.5 + self.terms.slack, shifts, self.noise.dimension)
        radii = [
            float(center_radius(row + _ROUNDING, mass, self.terms, gamma))
            for row, mass in zip(self.distances.numpy(), masses, strict=True)
        ]
        found = torch.tensor(radii, dtype=torch.float64) * unit
        return torch.where(self.abstained, most, found.clamp(max=most))

    def cosine(self, epsilon: float | Tensor) -> Tensor:
        """The least cosine between the centre here and the one there, ``(N,)``."""
        radius = self.radius(epsilon)
        return 1.0 - radius if self.terms.published else radius.deg2rad().cos()

    def angle(self, epsilon: float | Tensor) -> Tensor:
        """The largest angle between the centre here and the one there, in degrees, ``(N,)``."""
        if not self.terms.published:
            return self.radius(epsilon)
        return self.cosine(epsilon).arccos().rad2deg()

    def curve(self, question: str, epsilons: Sequence[float] | Tensor) -> Tensor:
        """``"cosine"`` or ``"angle"`` at many sizes, ``(N, len(epsilons))``."""
        check_choice("question", question, ("cosine", "angle"))
        ask = self.cosine if question == "cosine" else self.angle
        return torch.stack([ask(float(epsilon)) for epsilon in epsilons], dim=1)

    def statement(self, epsilon: float) -> str:
        """What holds, for which perturbations, with what probability, in plain English."""
        unit = " in 1 - cos" if self.terms.published else " degrees"
        lines = [
            f"Center smoothing: {self.terms.total_samples} samples per example; "
            f"{self.noise.law.name} noise.",
            f"{self._probability()} for each example by itself: take any one perturbation whose "
            f"{self.noise.norm} is at most {float(epsilon)!r} and which does not depend on that "
            "noise. The centre that the same procedure finds at the perturbed input, unless it "
            "abstains there, lies within this distance of the centre found here:",
        ]
        for index, (radius, abstained) in enumerate(
            zip(self.radius(epsilon).tolist(), self.abstained.tolist(), strict=True)
        ):
            says = "abstained" if abstained else f"{up(radius)}{unit}"
            lines.append(f"  example {index}: {says}.")
        lines.append(
            "This is not about the mean map, nor about all perturbations at once. "
            "The model's prediction is not certified: it may change."
        )
        return "\n".join(lines)

    def _probability(self) -> str:
        if self.kind == "as-published":
            return "By printed formulas, which are not valid bounds,"
        percent = confidence_percent(self.terms.alpha)
        return f"With probability at least {percent} over the noise drawn at both inputs,"


def center_smoothing(
    smoothed: Sampler,
    inputs: Tensor | tuple[Tensor, ...],
    target: Any = None,
    *,
    stdevs: Any = None,
    radius: Any = None,
    nt_samples: int = 2000,
    certify_samples: int = 2000,
    candidates: int = 16,
    slack: float = 0.05,
    alpha: float = 0.05,
    published: bool = False,
    seed: int | None = None,
    **settings: Any,
) -> CenterCertificate:
    r"""Certifies a map in the middle of the noisy maps, the angle being the distance.

    The outputs that are smoothed are the transformed maps of single samples, which need no bound.
    Distances are angles, a metric on maps up to scale if a zero map lies at 90 degrees of all
    others, so the radius is 3 times an order statistic. Maps of single samples point in very
    different directions on most networks: expect a radius of 180 degrees, which says nothing, on
    raw gradients. Kumar and Goldstein (2021); see :class:`CenterTerms` for the guarantee. For ball
    and box noise the mass is moved by total variation (ours).

    Memory holds ``candidates`` maps an example, whatever the number of samples.

    Args:
        smoothed: names the base method, the noise law and the transform.
        inputs, target, stdevs, radius, seed: see
            :meth:`captum_robust.attr.SmoothedAttribution.certify`.
        **settings: ``sampling=`` or its fields; the rest is passed on to the base method.
        epsilon: size of the perturbations, >= 0, in the norm of the noise law.
        nt_samples, certify_samples, candidates, slack, alpha: see :class:`CenterTerms`.
        published: the form of Wang and Kong (2024), appendix C.3: distance 1 - cos with the
            relaxed triangle inequality of constant 2, so a factor of 10; not tight, warns.

    Returns:
        A :class:`CenterCertificate`.

    Raises:
        ValueError: if an argument lies outside its range.
        RuntimeError: if samples are dependent or an attribution is not finite.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr import GaussianSmoothing
        >>> from captum_robust.certificates import center_smoothing
        >>> from captum_robust.examples import example_model
        >>> model = example_model()
        >>> found = center_smoothing(
        ...     GaussianSmoothing(Saliency(model)), torch.zeros(2, 4), target=0, seed=0,
        ...     stdevs=0.1, nt_samples=200, certify_samples=200, slack=0.2,
        ... )
        >>> found.attributions.shape, bool((found.angle(0.02) < 90).all())
        (torch.Size([2, 4]), True)
    """
    if stdevs is None and radius is None:
        raise ValueError("exactly one of `stdevs` and `radius` must be given, got neither.")
    terms = CenterTerms(candidates, nt_samples, certify_samples, slack, alpha, published)
    if published:
        warnings.warn(
            "published=True uses 1 - cos with a relaxed triangle inequality as Wang and Kong "
            "(2024), appendix C.3, which is not tight.",
            PublishedFormulaWarning,
            stacklevel=2,
        )
    search = _Search(terms)
    for drawn in smoothed.samples(
        inputs,
        nt_samples=terms.total_samples,
        stdevs=stdevs,
        radius=radius,
        seed=seed,
        **settings,
        **({} if target is None else {"target": target}),
    ):
        shift = Shift.of_level(smoothed.noise, drawn.level)
        search.add(drawn)
    distances, abstained = search.result()
    centers = unflatten(search.centers, search.shapes)
    return CenterCertificate(
        attributions=centers if search.is_tuple else centers[0],
        distances=torch.from_numpy(distances),
        abstained=torch.tensor(abstained),
        noise=shift,
        terms=terms,
    )


class _Search:
    """Center smoothing of a stream of maps: candidates, selection, share, radius, in that order."""

    def __init__(self, terms: CenterTerms) -> None:
        self._terms = terms
        self._seen = 0
        self._parts: list[Tensor] = []
        self._distances: list[list[np.ndarray]] = [[], [], []]
        self._balls: list[tuple[int, float]] = []

    def add(self, drawn: Drawn) -> None:
        """Takes a pass, cut where one set of samples ends and the next begins."""
        self.shapes = feature_shapes([part[:, 0] for part in drawn.maps])
        self.is_tuple = drawn.is_tuple
        rows, start = drawn.maps[0].shape[1], 0
        maps = flatten([part.flatten(0, 1) for part in drawn.maps]).unflatten(0, (-1, rows))
        for phase, size in self._pieces(rows):
            self._take(phase, maps[:, start : start + size])
            start += size
            self._seen += size

    def _pieces(self, rows: int) -> Iterator[tuple[int, int]]:
        """The phases a pass reaches into, and how many of its samples are in each."""
        terms, at = self._terms, self._seen
        sizes = (terms.candidates, terms.samples, terms.samples, terms.certify_samples)
        for phase, end in enumerate(np.cumsum(sizes)):
            size = min(rows, int(end) - at)
            if size > 0:
                yield phase, size
                rows, at = rows - size, at + size

    def _take(self, phase: int, maps: Tensor) -> None:
        """Takes samples ``(N, b, m)`` of one phase."""
        if phase == 0:
            self._parts.append(maps.clone())
            return
        if self._parts:
            self._candidates = torch.cat(self._parts, dim=1)
            self._directions = _directions(self._candidates)
            self._parts = []
        if phase == 2 and not self._balls:
            self._choose()
        cosines = torch.einsum("ncm,nbm->ncb", self._directions, _directions(maps))
        distances = cosines.clamp(-1.0, 1.0).double().cpu().numpy()
        distances = 1.0 - distances if self._terms.published else np.arccos(distances)
        self._distances[phase - 1].append(distances)

    def _choose(self) -> None:
        """Keeps the best candidate of each example alone."""
        self._balls = [choose_center(row) for row in np.concatenate(self._distances[0], axis=2)]
        best = torch.tensor([index for index, _ in self._balls], device=self._candidates.device)
        rows = torch.arange(len(best), device=best.device)
        self.centers = self._candidates[rows, best]
        self._directions = self._directions[rows, best].unsqueeze(1)
        self._candidates = self._candidates[:, :0]

    def result(self) -> tuple[np.ndarray, list[bool]]:
        """Distances of the last set to the centres, and whether each example abstained."""
        share, far = (np.concatenate(part, axis=2)[:, 0] for part in self._distances[1:])
        abstained = [
            center_abstains(row, ball, self._terms)
            for row, (_, ball) in zip(share, self._balls, strict=True)
        ]
        return far, abstained


def _directions(maps: Tensor) -> Tensor:
    """Maps ``(N, b, m)`` as unit vectors ``(N, b, m + 1)``; the last axis is that of zero maps."""
    dtype = torch.float32 if maps.device.type == "mps" else torch.float64
    maps = maps.to(dtype)
    maps = maps / maps.abs().amax(2, keepdim=True).clamp(min=torch.finfo(dtype).tiny)
    norms = torch.linalg.vector_norm(maps, dim=2, keepdim=True)
    zero = (norms == 0).to(dtype)
    return torch.cat([maps / (norms + zero), zero], dim=2)
