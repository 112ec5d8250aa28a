"""What a certificate needs of the samples, collected pass by pass."""

from __future__ import annotations

import math
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from captum_robust._base.checks import check_count
from captum_robust._base.precision import accumulation_dtype
from captum_robust._base.vectors import feature_shapes, flatten
from captum_robust.attr.sampling.masks import masks_of_features
from captum_robust.attr.sampling.moments import MapMoments
from captum_robust.attr.sampling.passes import Pass
from captum_robust.attr.sampling.plan import SamplingPlan
from captum_robust.attr.sampling.spec import Sampling
from captum_robust.certificates import Certificate, MapRange, Shift
from captum_robust.certificates.claim import Terms
from captum_robust.certificates.confidence.pairs import PairMoments
from captum_robust.certificates.confidence.votes import NO_VOTES, Votes
from captum_robust.certificates.evidence.norm import NORM_SLACK
from captum_robust.transforms.features import Features
from captum_robust.transforms.transform import Transform, as_transform

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
        transform: of the maps, which names their features.
    """

    def __init__(
        self,
        plan: SamplingPlan,
        terms: Terms,
        norm_bound: float | None = None,
        masks: Tensor | Maps | None = None,
        spec: Sampling | None = None,
        transform: Transform | None = None,
    ) -> None:
        spec = Sampling() if spec is None else spec
        self._plan, self._terms = plan, terms
        self._transform = plan.applied(as_transform(transform))
        self._norm_bound = norm_bound
        given = masks if masks is None or isinstance(masks, tuple) else (masks,)
        self._masks = None if given is None else tuple(map(torch.as_tensor, given))
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
        self._named: Features | None = None
        self._explained: Tensor | None = None
        self._labels: list[Tensor] = []
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

    def add(self, drawn: Pass) -> None:
        """Adds the maps of a pass, of the range declared by their transform, and predictions."""
        maps = drawn.maps
        if self._known is None:
            self._begin(drawn)
        if self._explained is not None and drawn.labels is not None:
            self._labels.append(drawn.labels.cpu())
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

    def _begin(self, drawn: Pass) -> None:
        """Fixes what is known of every map, and what is collected."""
        maps, shapes = drawn.maps, drawn.base_shapes
        named = self._transform.features(Features.of(shapes), shapes)
        self._named = named if named.owners is not None or named.names is not None else None
        self._explained = self._explained_labels(drawn)
        features = sum(part[0, 0].numel() for part in maps)
        self._known = drawn.range.limited(self._norm_bound, features)
        self._is_tuple = drawn.is_tuple
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
            inside = masks_of_features(self._masks, maps, shapes, self._transform)
            self._regions = inside / self._known.total

    def _explained_labels(self, drawn: Pass) -> Tensor | None:
        """The label that each map is about, ``(N,)``; None where predictions are not seen."""
        plan, found = self._plan, None
        if plan.watch is not None and drawn.labels is not None:
            given = plan.expanded_arguments(1).get("additional_forward_args")
            found = plan.watch.explained(plan.arguments.get("target"), plan.inputs, given)
        if found is None and "prediction" in (self._terms.questions or ()):
            raise ValueError(NO_VOTES)
        return None if found is None else found.cpu()

    def _votes(self) -> Votes | None:
        """The predictions so far, counted."""
        if self._explained is None or not self._labels:
            return None
        return Votes.of(torch.cat(self._labels, dim=1), self._explained)

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
            named=self._named,
            votes=self._votes(),
            device=self._plan.inputs[0].device,
        )


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
