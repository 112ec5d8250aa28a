"""Transforms that sum groups of features, so that regions, words or channels are the features."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from captum_robust._base.precision import accumulation_dtype
from captum_robust._base.vectors import flatten, unflatten
from captum_robust.transforms.features import Features
from captum_robust.transforms.ranges import MapRange
from captum_robust.transforms.transform import Maps, Shapes, Transform, features_of


class JoiningTransform(Transform):
    r"""Sums groups of features, :math:`s_r = \sum_{i \in r} g_i`; every feature is in one group.

    A new one names the group of every feature (:meth:`owners`) and the shapes of the result; all
    else follows. Groups may not depend on the noisy input: they are fixed beforehand.

    **Range.** With elements in :math:`[l, h]`, norm at most :math:`n`, sum at most :math:`S`, and
    groups of between :math:`c` and :math:`C` features:

    * every sum lies in :math:`[\min(cl, Cl), \max(ch, Ch)]`, since a group of k has sums in
      [kl, kh], and both ends are linear in k;
    * :math:`\|s\|^2 = \sum_r (\sum_{i\in r} g_i)^2 \le \sum_r |r| \sum_{i \in r} g_i^2 \le C n^2`
      (Cauchy and Schwarz);
    * the sum of all is as before; where no element is negative, each group is at most
      :math:`H = \min(Ch, S)`, so :math:`\|s\|^2 \le \max_r s_r \sum_r s_r \le H S`.

    Maps of 0 and 1 stay so only if no group has two features.
    """

    @abstractmethod
    def owners(self, shapes: Shapes) -> Tensor:
        """The group of each feature of one example, ``(1, m)`` for all examples or ``(N, m)``.

        Groups are numbered in the order of the result's features, from 0, none of them empty.
        """

    @abstractmethod
    def shapes(self, shapes: Shapes) -> Shapes:
        """One example's shapes after the transform."""

    def __call__(self, maps: Maps) -> Maps:
        shapes = [part.shape[1:] for part in maps]
        rows, after = flatten(maps), self.shapes(shapes)
        owners = per_row(self.owners(shapes).to(rows.device), len(rows))
        wide = rows.to(accumulation_dtype(rows.device))  # rounded once, at the end
        sums = wide.new_zeros(len(rows), features_of(after)).scatter_add(1, owners, wide)
        return unflatten(sums.to(rows.dtype), after)

    def sizes(self, shapes: Shapes) -> tuple[int, int]:
        """The smallest and the largest number of features in a group."""
        counts = torch.stack([torch.bincount(row) for row in self.owners(shapes)])
        return int(counts.min()), int(counts.max())

    def range(self, before: MapRange, shapes: Shapes) -> MapRange:
        least, most = self.sizes(shapes)
        low = min(least * before.low, most * before.low)
        high = max(least * before.high, most * before.high)
        norm = math.sqrt(most) * before.norm
        if before.nonnegative:
            high = min(high, before.total)
            norm = min(norm, math.sqrt(high * before.total) if high > 0.0 else 0.0)
        return MapRange(low, high, norm, before.binary and most == 1, before.total)

    def features(self, before: Features, shapes: Shapes) -> Features:
        return before.joined(self.owners(shapes), self.shapes(shapes))

    def shares(self, masks: Maps) -> Maps:
        """The share of each group that lies inside masks ``(N, *)`` of values in [0, 1]."""
        ones = tuple(torch.ones_like(mask) for mask in masks)
        inside, whole = self(masks), self(ones)
        return tuple(part / size for part, size in zip(inside, whole, strict=True))


def per_row(labels: Tensor, rows: int) -> Tensor:
    """Labels of one or of N examples ``(1 or N, m)`` for so many rows, example-major.

    Raises:
        ValueError: if the rows are not as many for each example.
    """
    examples = len(labels)
    if examples == 1:
        return labels.expand(rows, -1)
    if rows % examples:
        raise ValueError(
            f"`labels` are given for {examples} examples, but there are {rows} maps; give one "
            "labelling for all examples, or one for each."
        )
    return labels.repeat_interleave(rows // examples, dim=0)
