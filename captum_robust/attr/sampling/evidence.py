"""What a certificate needs of the samples, collected pass by pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from captum_robust._base.checks import check_count
from captum_robust._base.precision import accumulation_dtype
from captum_robust._base.vectors import feature_shapes, flatten
from captum_robust.attr.sampling.moments import MapMoments
from captum_robust.attr.sampling.plan import SamplingPlan
from captum_robust.attr.sampling.spec import Sampling
from captum_robust.certificates import Certificate, MapRange, Shift
from captum_robust.certificates.claim import Terms
from captum_robust.certificates.confidence.pairs import PairMoments
from captum_robust.certificates.evidence.norm import NORM_SLACK

Maps = tuple[Tensor, ...]


class EvidenceCollector:
    """Collects a certificate's evidence from transformed samples; a context that leaves no file.

    Memory does not grow with the number of samples, but for one number a sample and mask, and for
    the differences that the spread of pairs is taken from (see
    :class:`~captum_robust.certificates.confidence.pairs.PairMoments`).

    Args:
        plan: what is sampled.
        terms: what was asked for.
        norm_bound: a proven bound on the norm of every map.
        masks: regions, fixed before sampling.
        spec: its ``eig_pairs`` and ``memory_limit`` are used.
    """

    def __init__(
        self,
        plan: SamplingPlan,
        terms: Terms,
        norm_bound: float | None = None,
        masks: Tensor | Maps | None = None,
        spec: Sampling | None = None,
    ) -> None:
        spec = Sampling() if spec is None else spec
        self._plan, self._terms = plan, terms
        self._norm_bound = norm_bound
        self._masks = masks if masks is None or isinstance(masks, tuple) else (masks,)
        pairs = spec.eig_pairs
        self._eig_pairs = None if pairs is None else check_count("eig_pairs", pairs, low=4)
        self._memory_limit = check_count("memory_limit", spec.memory_limit, low=0)
        self._mean = MapMoments()
        self._spread = MapMoments("vargrad") if terms.collects_variances else None
        self._pairs: PairMoments | None = None
        self._regions: Tensor | None = None
        self._shares: list[Tensor] = []
        self._known: MapRange | None = None
        self._is_tuple = False
        self._stack = ExitStack()
        self.samples = 0

    def __enter__(self) -> EvidenceCollector:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def add(self, maps: Maps, before: MapRange, is_tuple: bool) -> None:
        """Adds transformed maps ``(N, b, *)`` of the range declared by their transform."""
        if self._known is None:
            self._begin(maps, before, is_tuple)
        rows = flatten([part.flatten(0, 1) for part in maps])
        if self._known is not None:
            _refuse_beyond(self._known.norm, rows)
        samples = rows.unflatten(0, (-1, maps[0].shape[1]))
        self._mean.add(maps)
        if self._spread is not None:
            self._spread.add(maps)
        if self._pairs is not None:
            self._pairs.add(samples)
        if self._regions is not None:
            inside = (samples * self._regions.unsqueeze(1)).sum(2)  # of the regions' wide dtype
            self._shares.append(inside.cpu().double())
        self.samples += samples.shape[1]

    def _begin(self, maps: Maps, before: MapRange, is_tuple: bool) -> None:
        """Fixes what is known of every map, and what is collected."""
        features = sum(part[0, 0].numel() for part in maps)
        self._known = before.limited(self._norm_bound, features)
        self._is_tuple = is_tuple
        examples = maps[0].shape[0]
        wanted = self._terms.collects_pairs and math.isfinite(self._known.norm)
        if wanted and self._plan.samples >= 8:
            pairs = PairMoments(examples, self._plan.samples, self._eig_pairs, self._memory_limit)
            self._pairs = self._stack.enter_context(pairs)
        if self._masks is not None:
            if not self._known.binary:
                raise ValueError(
                    "`masks` need 0/1 maps; use transform=Abs() >> Sparsify(keep) or "
                    "SparsifiedSmoothGrad."
                )
            self._regions = _flat_masks(self._masks, maps) / self._known.total

    def certificate(self, shift: Shift, seed: int | None, target: Any) -> Certificate:
        """The certificate of what was added so far."""
        if self._known is None:
            raise RuntimeError("no samples were added.")
        spread = None
        if self._spread is not None:
            unbiased = self.samples / max(self.samples - 1, 1)
            spread = flatten(self._spread.values).cpu().double() * unbiased
        return Certificate(
            terms=self._terms,
            shift=shift,
            mean=flatten(self._mean.values).cpu().double(),
            shapes=feature_shapes(self._mean.values),
            is_tuple=self._is_tuple,
            range=self._known,
            nt_samples=self.samples,
            seed=seed,
            target=target,
            variance=spread,
            pairs=None if self._pairs is None else self._pairs.evidence(),
            shares=torch.cat(self._shares, dim=1) if self._shares else None,
            device=self._plan.inputs[0].device,
        )


def _flat_masks(masks: Sequence[Tensor], maps: Maps) -> Tensor:
    """Masks as 0/1 vectors ``(N, m)``, float64 where the device has it."""
    if len(masks) != len(maps):
        raise ValueError(
            f"`masks` must have one mask for each of {len(maps)} maps, got {len(masks)}."
        )
    flat = []
    for mask, part in zip(masks, maps, strict=True):
        shape = torch.Size((part.shape[0], *part.shape[2:]))
        try:
            fits = torch.broadcast_shapes(mask.shape, shape) == shape
        except RuntimeError:
            fits = False
        if not fits or not ((mask == 0) | (mask == 1)).all():
            raise ValueError(
                f"`masks` must be boolean and broadcast to the maps' shape {tuple(shape)}, "
                f"got {mask.dtype} of shape {tuple(mask.shape)}."
            )
        flat.append(mask.to(part.device).expand(shape))
    return flatten(flat).to(accumulation_dtype(maps[0].device))


def _refuse_beyond(norm: float, rows: Tensor) -> None:
    """Raises if a map is longer than its bound: then the bound was not one."""
    if math.isfinite(norm):
        dtype = accumulation_dtype(rows.device)
        largest = float(torch.linalg.vector_norm(rows, dim=1, dtype=dtype).max())
        if largest > norm * (1.0 + NORM_SLACK):
            raise RuntimeError(
                f"`norm_bound` must bound the norm of every map, got {norm:g} "
                f"and a map of norm {largest:g}."
            )
