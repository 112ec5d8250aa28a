"""Given regions as features: superpixels, organs, words, groups of columns."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Size, Tensor

from captum_robust.transforms.features import Features, checked_names
from captum_robust.transforms.joining import JoiningTransform
from captum_robust.transforms.transform import Shapes, Transform


class Segments(JoiningTransform):
    r"""Sums the features of each given region: superpixels, organs, words, groups of columns.

    The result has one value a region, ``(N, regions)``, in the order of their numbers. A map of
    regions must be fixed before sampling: it may depend on the clean input, not on the noisy one.
    Range: see :class:`JoiningTransform`.

    Args:
        labels: the number of each feature's region, integers in the form of Captum's
            ``feature_mask``: ``(1, *)`` for all examples or ``(N, *)``, one for each, the rest
            broadcasting to an example's map; ``(L,)`` is one row. Regions are numbered from 0, none
            is empty, and all examples have as many. For a tuple of maps a tuple of these; a number
            that stands in several is one region, whose value stands in the first of them.
        names: a name for each region, or such a list for each example.
        word: what a region is called in statements, for instance ``"organ"`` or ``"word"``.

    Raises:
        TypeError: if labels are no integers.
        ValueError: if a number is missing, examples differ in how many there are, or the labels do
            not broadcast to the maps.

    Example:
        >>> import torch
        >>> from captum_robust.transforms import Segments
        >>> columns = Segments(torch.tensor([0, 0, 1, 2]), names=["age", "income", "town"])
        >>> columns((torch.tensor([[1.0, 2.0, 3.0, 4.0]]),))
        (tensor([[3., 3., 4.]]),)
    """

    def __init__(
        self,
        labels: Tensor | tuple[Tensor, ...],
        *,
        names: Sequence[str] | Sequence[Sequence[str]] | None = None,
        word: str = "region",
    ) -> None:
        self.labels = _as_labels(labels)
        self.count = _counted(self.labels)
        self.names, self.word = checked_names(names, self.count), word

    def __repr__(self) -> str:
        return f"Segments({self.count} {self.word}s)"

    def shapes(self, shapes: Shapes) -> Shapes:
        firsts = self._first_map(self._spread(shapes), shapes)
        return tuple(Size([int((firsts == place).sum())]) for place in range(len(shapes)))

    def owners(self, shapes: Shapes) -> Tensor:
        spread = self._spread(shapes)
        # Regions of the first map stand first, then those of the second.
        order = self._first_map(spread, shapes).argsort(stable=True)
        return order.argsort()[spread]

    def features(self, before: Features, shapes: Shapes) -> Features:
        order = self._first_map(self._spread(shapes), shapes).argsort(stable=True).tolist()
        rows: Any = self.names
        if rows is not None:
            nested = not isinstance(rows[0], str)
            rows = [tuple(row[at] for at in order) for row in (rows if nested else [rows])]
            rows = tuple(rows) if nested else rows[0]
        return before.joined(
            self.owners(shapes),
            self.shapes(shapes),
            word=self.word,
            names=rows,
            note=f"The {self.word}s were fixed before sampling.",
        )

    @property
    def examples(self) -> int:
        return max(self._rows(), self._named())

    def of_rows(self, rows: Tensor) -> Transform:
        part, chosen = copy.copy(self), rows.cpu()
        part.labels = tuple(one if len(one) == 1 else one[chosen] for one in self.labels)
        if self._named() > 1 and self.names is not None:
            part.names = tuple(self.names[at] for at in chosen.tolist())
        return part

    def _rows(self) -> int:
        """Number of examples that have labels of their own; 1 where they share them."""
        return max(len(one) for one in self.labels)

    def _named(self) -> int:
        """Number of lists of names."""
        return 1 if not self.names or isinstance(self.names[0], str) else len(self.names)

    def _spread(self, shapes: Shapes) -> Tensor:
        """The region of each feature, ``(1 or N, m)``."""
        if len(shapes) != len(self.labels):
            raise ValueError(
                f"`labels` must have one entry for each of {len(shapes)} maps, "
                f"got {len(self.labels)}."
            )
        rows = self._rows()
        return torch.cat(
            [
                _broadcast(one, shape).expand(rows, -1)
                for one, shape in zip(self.labels, shapes, strict=True)
            ],
            dim=1,
        )

    def _first_map(self, spread: Tensor, shapes: Shapes) -> Tensor:
        """The map in which each region stands first, ``(regions,)``."""
        found = torch.full((len(spread), self.count), len(shapes))
        parts = spread.split([shape.numel() for shape in shapes], dim=1)
        for place, part in reversed(list(enumerate(parts))):
            found.scatter_(1, part, place)
        if (found != found[:1]).any():
            raise ValueError("`labels` must put a region into the same maps in every example.")
        return found[0]


def _as_labels(labels: Any) -> tuple[Tensor, ...]:
    """Labels with an axis of examples, int64, on the CPU."""
    parts = labels if isinstance(labels, tuple) else (labels,)
    found = []
    for part in parts:
        if isinstance(part, np.ndarray):
            part = torch.from_numpy(part)
        if not isinstance(part, Tensor) or part.is_floating_point() or part.dtype == torch.bool:
            kind = part.dtype if isinstance(part, Tensor) else type(part).__name__
            raise TypeError(f"`labels` must be a Tensor of integers, got {kind}.")
        if part.numel() == 0:
            raise ValueError("`labels` must number every feature, got an empty tensor.")
        part = part.reshape(1, -1) if part.dim() < 2 else part
        found.append(part.detach().cpu().long())
    return tuple(found)


def _counted(labels: tuple[Tensor, ...]) -> int:
    """The number of regions, the same for all examples, none of them empty."""
    rows = max(len(part) for part in labels)
    if any(len(part) not in (1, rows) for part in labels):
        raise ValueError(f"`labels` must have 1 or {rows} rows in every tensor of the tuple.")
    flat = torch.cat([part.reshape(len(part), -1).expand(rows, -1) for part in labels], dim=1)
    if flat.min() < 0:
        raise ValueError(f"`labels` must be >= 0, got {int(flat.min())}.")
    counts = flat.amax(1) + 1
    if (counts != counts[0]).any():
        raise ValueError(
            f"`labels` must have as many regions for each example, got {counts.tolist()}; merge "
            "small ones, as `superpixels` does, or take the examples one by one."
        )
    count = int(counts[0])
    if count > flat.shape[1]:
        raise ValueError(
            f"`labels` must number at most as many regions as there are features, {flat.shape[1]}, "
            f"got numbers up to {count - 1}; renumber them by "
            "torch.unique(labels, return_inverse=True)[1]."
        )
    present = torch.zeros(rows, count, dtype=torch.bool).scatter_(1, flat, True)
    if not present.all():
        example, region = (~present).nonzero()[0].tolist()
        raise ValueError(
            f"`labels` must leave no region empty, but example {example} has no feature in region "
            f"{region} of {count}; renumber them by torch.unique(labels, return_inverse=True)[1]."
        )
    return count


def _broadcast(labels: Tensor, shape: Size) -> Tensor:
    """Labels of one tensor as ``(rows, features)``."""
    wanted = Size((len(labels), *shape))
    try:
        return labels.expand(wanted).reshape(len(labels), -1)
    except RuntimeError as error:
        raise ValueError(
            f"`labels` must have shape (1 or N, *) and broadcast to an example's map of shape "
            f"{tuple(shape)}, got {tuple(labels.shape)}."
        ) from error
