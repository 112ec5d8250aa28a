"""The certificate: sampled once, asked often."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Size, Tensor

from captum_robust._checks import check_choice, check_count, check_number, feature_count
from captum_robust._features import flatten, unflatten
from captum_robust.certificates import _statement, _storage
from captum_robust.certificates._elementwise import ElementwiseEvidence, elementwise_evidence
from captum_robust.certificates._norm import NormEvidence
from captum_robust.certificates._ranges import MapRange
from captum_robust.certificates._shift import Shift
from captum_robust.certificates._terms import Terms
from captum_robust.certificates.pixels import Decisions, holm_decisions

Array = NDArray[np.float64]

_CURVES: Final = ("overlap", "cosine", "angle", "l2_deviation", "certified_share")


@dataclass(frozen=True, eq=False)
class Certificate:
    r"""What holds of a smoothed map for every perturbation up to a size, with a probability.

    Made by :meth:`captum_robust.attr.SmoothedAttribution.certify`; immutable; all answers come from
    the same samples and cost no gradient. Perturbations ``epsilon`` are in input units, in the l2
    norm for Gaussian and ball noise and in the l1 norm for box noise. Each answer holds with
    probability ``1 - alpha`` by itself; overlaps for all k and epsilon hold jointly, as do all
    cosines, angles and deviations; across the two kinds, ask for ``questions=`` beforehand.

    Not covered: an adversary who knows the seed and attacks the empirical map of those very draws.

    Attributes:
        terms: what was asked for.
        shift: the frozen noise law.
        mean: the smoothed maps as vectors, ``(N, m)`` float64.
        shapes: one example's map shapes.
        is_tuple: whether maps come as a tuple.
        range: what is known of every single map beforehand.
        nt_samples: samples an example.
        seed: of the noise, or None.
        target: the target explained.
        variance: sample variances ``(N, m)``, for the empirical Bernstein bound alone.
        device: where answers are put.
    """

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
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    # -- what it is -------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        """``"certified"``, or ``"as-published"`` for printed formulas."""
        return "as-published" if self.terms.published else "certified"

    @property
    def alpha(self) -> float:
        """Probability of error."""
        return self.terms.alpha

    @property
    def claim(self) -> str:
        """Which two maps are compared."""
        return self.terms.claim

    @property
    def noise(self) -> str:
        """The noise law and level in words."""
        return _statement.describe_noise(self)

    @property
    def features(self) -> int:
        """Number of features of a map, m."""
        return self.mean.shape[1]

    @property
    def attributions(self) -> Tensor | tuple[Tensor, ...]:
        """The smoothed maps, ``(N, *)`` float64."""
        maps = tuple(self._answer(part.clone()) for part in unflatten(self.mean, self.shapes))
        return maps if self.is_tuple else maps[0]

    # -- questions --------------------------------------------------------------------------

    def overlap(self, epsilon: float | Tensor, k: int | float) -> Tensor:
        r"""Certified share of the top k features that no perturbation can displace.

        .. math:: \frac1K |\mathrm{top}_K(\hat h(x)) \cap \mathrm{top}_K(h(x+\delta))|
                  \ge \text{the share, for all } \|\delta\| \le \epsilon

        Levine et al. (2019), Corollary 2, with the index put right.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.
            k: features compared, a share in ``(0, 1]`` or a count.

        Returns:
            Shares ``(N,)`` in [0, 1], float64.

        Raises:
            ValueError: if the maps have no known range, or an argument is outside its own.
        """
        return self.curve("overlap", [epsilon], k=k)[:, 0]

    def precedes(
        self,
        first: int | tuple[int, ...],
        second: int | tuple[int, ...],
        epsilon: float | Tensor,
    ) -> Tensor:
        r"""Whether one feature is certified to stay above another.

        .. math:: \mathrm{lower}(l_i) > \mathrm{upper}(u_j)

        Args:
            first: i, an index into the vector of all features or into the map.
            second: j.
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Booleans ``(N,)``.
        """
        shifts = self.shift.of_epsilon(epsilon)
        pair = self._flat_index("first", first), self._flat_index("second", second)
        limits = [evidence.order_shift(*pair) for evidence in self._each("precedes")]
        return torch.from_numpy(shifts < np.array(limits)).to(self._device)

    def rank(self, epsilon: float | Tensor) -> Tensor | tuple[Tensor, ...]:
        """Worst rank that any perturbation can give each feature; 1 is the largest.

        The smaller of :func:`~captum_robust.certificates.certified_ranks` and
        :func:`~captum_robust.certificates.conserved_ranks`.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Ranks in the maps' shape ``(N, *)``, int64.
        """
        shifts = self.shift.of_epsilon(epsilon)
        rows = [
            evidence.ranks(shift)
            for evidence, shift in zip(self._each("rank"), shifts, strict=True)
        ]
        return self._as_maps(rows, torch.int64)

    def pixels(
        self, epsilon: float | Tensor, simultaneous: bool = True
    ) -> Tensor | tuple[Tensor, ...]:
        """Decides each feature: 1 stays in most samples' top, 0 stays out, -1 abstains.

        Anani et al. (2025), for 0/1 maps such as ``Sparsify(keep)`` gives.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.
            simultaneous: whether answers at all sizes hold together. ``False`` decides more, by
                Holm's procedure, but holds at one size that was fixed before sampling.

        Returns:
            Decisions in the maps' shape ``(N, *)``, int8.
        """
        self._refuse_values("pixels")
        shifts = self.shift.of_epsilon(epsilon)
        if not simultaneous:
            return self._as_maps(self._holm_rows(shifts), torch.int8)
        each = zip(self._each("pixels"), shifts, strict=True)
        return self._as_maps([evidence.decisions(shift) for evidence, shift in each], torch.int8)

    def pixel_radius(self) -> Tensor | tuple[Tensor, ...]:
        """Perturbation size up to which each feature's decision holds, all sizes together.

        Returns:
            Radii in the maps' shape ``(N, *)``, float64; 0 where it abstains.
        """
        self._refuse_values("pixels")
        rows = [evidence.decision_shifts() for evidence in self._each("pixels")]
        radii = self.shift.to_epsilon(np.stack(rows).T).T
        return self._as_maps(list(radii), torch.float64)

    def certified_share(self, epsilon: float | Tensor, simultaneous: bool = True) -> Tensor:
        """Share of features that :meth:`pixels` decides, ``(N,)`` in [0, 1]."""
        maps = self.pixels(epsilon, simultaneous)
        rows = flatten(maps if isinstance(maps, tuple) else (maps,))
        return (rows >= 0).double().mean(1)

    def cosine(self, epsilon: float | Tensor) -> Tensor:
        r"""Certified cosine similarity between the map and that of any perturbed input.

        .. math:: \cos \ge \sqrt{1 - \left(\frac{R + A(\epsilon)}{\|\hat h\|}\right)^2}

        with the Monte-Carlo radius R of :func:`~captum_robust.certificates.norm_radius` and the
        constant A of :meth:`~captum_robust.noise.NoiseLaw.angle_shift`. Wang and Kong (2024),
        Theorem 1, with the geometry put right.

        Proof for the reported map: let w be a unit vector with :math:`w\cdot\hat h = -\|\hat h\|
        \sin t`. Then :math:`w\cdot h(x) \le -\|\hat h\|\sin t + R`, and where that is at most
        :math:`-A`, :math:`w\cdot h(x+\delta) \le 0`. So the perturbed map lies in no direction at
        an angle beyond t with :math:`\|\hat h\| \sin t = R + A`.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Cosines ``(N,)`` in [-1, 1], float64; -1 (0 for nonnegative maps) where nothing is
            certified.

        Raises:
            ValueError: if the norm of the maps has no bound; the message has the three ways out.
        """
        return self._answer(self._norm_evidence("cosine").cosine(self.shift.of_epsilon(epsilon)))

    def angle(self, epsilon: float | Tensor) -> Tensor:
        """Certified angle in degrees, the arc cosine of :meth:`cosine`; 180 (90) for nothing."""
        cosine = self._norm_evidence("angle").cosine(self.shift.of_epsilon(epsilon))
        return self._answer(np.minimum(np.degrees(np.arccos(cosine)) + 1e-9, 180.0))

    def l2_deviation(self, epsilon: float | Tensor) -> Tensor:
        r"""Certified largest l2 distance between the map and that of any perturbed input.

        .. math:: \|\hat h(x) - h(x+\delta)\|_2 \le R + \Delta(\epsilon)

        with R as in :meth:`cosine` and :meth:`~captum_robust.noise.NoiseLaw.norm_shift`.

        Args:
            epsilon: perturbation size, >= 0, a number or ``(N,)``.

        Returns:
            Distances ``(N,)``, in units of the map, float64.
        """
        evidence = self._norm_evidence("l2_deviation")
        return self._answer(evidence.deviation(self.shift.of_epsilon(epsilon)))

    def certified_radius(
        self,
        *,
        overlap: float | None = None,
        k: int | float | None = None,
        cosine: float | None = None,
        angle: float | None = None,
        l2_deviation: float | None = None,
    ) -> Tensor:
        """Largest perturbation size up to which a threshold is certified.

        Give one threshold: ``overlap`` in [0, 1] with ``k``, ``cosine`` in [0, 1], ``angle`` in
        degrees in [0, 90], or ``l2_deviation`` >= 0.

        Returns:
            Radii ``(N,)`` in the unit of ``epsilon``, float64, rounded down; 0 where nothing is
            certified, infinity where nothing can fail.

        Raises:
            ValueError: if not exactly one threshold is given, or one lies outside its range.
        """
        thresholds = {
            name: value
            for name, value in (
                ("overlap", overlap),
                ("cosine", cosine),
                ("angle", angle),
                ("l2_deviation", l2_deviation),
            )
            if value is not None
        }
        if len(thresholds) != 1 or (overlap is None) != (k is None):
            raise ValueError(
                "give exactly one of `overlap` (with `k`), `cosine`, `angle`, `l2_deviation`, "
                f"got {', '.join(thresholds) or 'none'}{'' if k is None else ' and k'}."
            )
        if overlap is not None and k is not None:
            return self._answer(self.shift.to_epsilon(self._overlap_shifts(overlap, k)))
        if l2_deviation is not None:
            bound = check_number("l2_deviation", l2_deviation, low=0)
            shifts = self._norm_evidence("l2_deviation").shift_of_deviation(bound)
            return self._answer(self.shift.to_epsilon(shifts))
        if angle is not None:
            cosine = float(np.sin(np.radians(90.0 - check_number("angle", angle, low=0, high=90))))
        bound = check_number("cosine", cosine, low=0, high=1)
        evidence = self._norm_evidence("angle" if angle is not None else "cosine")
        return self._answer(self.shift.to_epsilon(evidence.shift_of_cosine(bound)))

    def curve(
        self, question: str, epsilons: Sequence[float | Tensor] | Tensor, **arguments: Any
    ) -> Tensor:
        """Answers to one question at many sizes, ``(N, len(epsilons))``.

        Args:
            question: ``"overlap"``, ``"cosine"``, ``"angle"``, ``"l2_deviation"`` or
                ``"certified_share"``.
            epsilons: perturbation sizes, >= 0.
            **arguments: of the question, such as ``k``.
        """
        check_choice("question", question, _CURVES)
        if question == "overlap":
            return self._overlap_curve(epsilons, **arguments)
        ask = getattr(self, question)
        return torch.stack([ask(epsilon, **arguments) for epsilon in epsilons], dim=1)

    def _overlap_curve(self, epsilons: Any, k: int | float) -> Tensor:
        """Overlaps at many sizes from one sort an example."""
        count = feature_count("k", k, self.features)
        shifts = np.stack([self.shift.of_epsilon(epsilon) for epsilon in epsilons], axis=1)
        displaced = [
            np.searchsorted(limits, row, side="right")
            for limits, row in zip(self._displacements(count), shifts, strict=True)
        ]
        return self._answer(1.0 - np.stack(displaced) / count)

    def statement(
        self, epsilon: float, k: int | float | None = None, example: int | None = None
    ) -> str:
        """What holds, for which perturbations, with what probability, in plain English.

        Args:
            epsilon: perturbation size, >= 0.
            k: features compared, for the overlap; left out of the statement where ``None``.
            example: one example, all where ``None``.
        """
        return _statement.statement(self, epsilon, k, example)

    # -- storage ----------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Everything but the maps, as JSON types, with ``schema_version``."""
        return _storage.to_dict(self)

    def save(self, path: str | Path) -> None:
        """Writes an ``.npz`` file without pickle."""
        _storage.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Certificate:
        """Reads what :meth:`save` wrote; answers are the same."""
        return cls(**_storage.load(path))

    # -- evidence ---------------------------------------------------------------------------

    def _answer(self, values: Any) -> Tensor:
        """Values as float64 on the inputs' device."""
        return torch.as_tensor(np.asarray(values), dtype=torch.float64).to(self._device)

    @property
    def _device(self) -> torch.device:
        """Where answers are put: the CPU where the inputs' device has no float64."""
        return torch.device("cpu") if self.device.type == "mps" else self.device

    def _refuse_values(self, question: str) -> None:
        """Raises unless maps are 0/1."""
        if not self.range.binary:
            raise ValueError(
                f"`{question}` needs 0/1 maps, which {self.terms.method} does not give; "
                "use transform=Abs() >> Sparsify(keep) or SparsifiedSmoothGrad."
            )

    def _holm_rows(self, shifts: Array) -> list[Decisions]:
        """Holm's decisions of each example."""
        if self.claim == "redrawn":
            raise ValueError(
                "`simultaneous` must be True for the redrawn claim: Holm's procedure is about "
                "expectations."
            )
        alpha, law = self.terms.alpha_of("pixels"), self.shift.law
        return [
            holm_decisions(
                mean,
                self.nt_samples,
                alpha,
                float(law.upper(0.5, shift, self.shift.dimension)),
            )
            for mean, shift in zip(self.mean.numpy(), shifts, strict=True)
        ]

    def _norm_evidence(self, question: str) -> NormEvidence:
        return NormEvidence.of(self, question, self.terms.alpha_of(question))

    def _each(self, question: str) -> Iterator[ElementwiseEvidence]:
        """The elementwise evidence of each example."""
        return elementwise_evidence(self, question, self.terms.alpha_of(question))

    def _displacements(self, count: int) -> Iterator[Array]:
        """Shifts from which on 1, 2, ... of an example's top features may leave."""
        for evidence in self._each("overlap"):
            yield evidence.displacements(count, self.terms.published)

    def _as_maps(self, rows: list[Any], dtype: torch.dtype) -> Tensor | tuple[Tensor, ...]:
        """One row an example as maps ``(N, *)``."""
        vector = torch.as_tensor(np.stack(rows), dtype=dtype).to(self._device)
        maps = unflatten(vector, self.shapes)
        return maps if self.is_tuple else maps[0]

    def _overlap_shifts(self, overlap: float, k: int | float) -> Array:
        """The shift of each example at which the certified overlap falls below a share."""
        share = check_number("overlap", overlap, low=0, high=1)
        count = feature_count("k", k, self.features)
        allowed = count - int(np.ceil(share * count - 1e-9))
        return np.array(
            [
                shifts[allowed] if allowed < shifts.size else np.inf
                for shifts in self._displacements(count)
            ]
        )

    def _flat_index(self, name: str, index: int | tuple[int, ...]) -> int:
        """A feature's place in the vector of all features."""
        if isinstance(index, tuple):
            if len(self.shapes) != 1 or len(index) != len(self.shapes[0]):
                raise ValueError(
                    f"`{name}` must be an int, or an index into one map of shape "
                    f"{[tuple(shape) for shape in self.shapes]}, got {index}."
                )
            return int(np.ravel_multi_index(index, tuple(self.shapes[0])))
        if not 0 <= check_count(name, index, low=0) < self.features:
            raise ValueError(f"`{name}` must be in [0, {self.features - 1}], got {index}.")
        return index
