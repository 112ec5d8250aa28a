"""Sums over whole axes: channels, embedding dimensions, time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, Tensor

from captum_robust._base.precision import accumulation_dtype
from captum_robust.transforms.features import Features, checked_names
from captum_robust.transforms.joining import JoiningTransform
from captum_robust.transforms.transform import Maps, Shapes, features_of


class Sum(JoiningTransform):
    r"""Sums over one axis or several: channels, embedding dimensions, time.

    ``Sum(-1)`` turns a map of embeddings ``(N, L, D)`` into one of L words. Range: see
    :class:`JoiningTransform`, with groups of as many features as the axes hold.

    Args:
        dim: an axis of the maps ``(N, *)`` or a tuple of them; not 0, the axis of examples.
        keepdim: whether a summed axis stays, with length 1.
        names: a name for each feature that is left, or such a list for each example.
        word: what one such feature is called, for instance ``"word"``.

    Raises:
        ValueError: if an axis is 0, or the maps do not have it.

    Example:
        >>> import torch
        >>> from captum_robust.transforms import Sum
        >>> Sum(-1)((torch.ones(1, 2, 3),))
        (tensor([[3., 3.]]),)
    """

    def __init__(
        self,
        dim: int | tuple[int, ...],
        keepdim: bool = False,
        *,
        names: Sequence[str] | Sequence[Sequence[str]] | None = None,
        word: str = "feature",
    ) -> None:
        for one in dim if isinstance(dim, tuple) else (dim,):
            if isinstance(one, bool) or not isinstance(one, int):
                raise TypeError(f"`dim` must be an int or a tuple of them, got {dim!r}.")
            if one == 0:
                raise ValueError("`dim` must not be 0, the axis of examples, got 0.")
        self.dim, self.keepdim, self.names, self.word = dim, keepdim, names, word

    def __repr__(self) -> str:
        return f"Sum({self.dim!r})"

    def __call__(self, maps: Maps) -> Maps:
        return tuple(self._sum(part) for part in maps)

    def _sum(self, part: Tensor) -> Tensor:
        dims = [dim + 1 for dim in self._axes(part.shape[1:])]
        wide = part.sum(dims, keepdim=self.keepdim, dtype=accumulation_dtype(part.device))
        return wide.to(part.dtype)

    def _axes(self, shape: Size) -> list[int]:
        """The axes of one example's map that are summed, refusing those it does not have."""
        rank, found = len(shape) + 1, []
        for dim in self.dim if isinstance(self.dim, tuple) else (self.dim,):
            axis = dim % rank if -rank <= dim < rank else 0
            if axis == 0:
                raise ValueError(
                    f"`dim` must name axes of the maps (N, *), got {self.dim} for maps of shape "
                    f"(N, {', '.join(map(str, shape))})."
                )
            found.append(axis - 1)
        return sorted(set(found))

    def shapes(self, shapes: Shapes) -> Shapes:
        return tuple(self._left(shape) for shape in shapes)

    def _left(self, shape: Size) -> Size:
        axes = self._axes(shape)
        kept = [1 if axis in axes else size for axis, size in enumerate(shape)]
        return Size(kept if self.keepdim else [kept[a] for a in range(len(kept)) if a not in axes])

    def owners(self, shapes: Shapes) -> Tensor:
        parts, begin = [], 0
        for shape in shapes:
            kept = [1 if axis in self._axes(shape) else size for axis, size in enumerate(shape)]
            own = torch.arange(begin, begin + Size(kept).numel()).reshape(kept)
            parts.append(own.expand(shape).reshape(-1))
            begin += own.numel()
        return torch.cat(parts).unsqueeze(0)

    def features(self, before: Features, shapes: Shapes) -> Features:
        after = self.shapes(shapes)
        names = checked_names(self.names, features_of(after))
        return before.joined(self.owners(shapes), after, word=self.word, names=names)


class SumChannels(Sum):
    r"""Sums the channels, ``(N, C, *)`` to ``(N, 1, *)``: ``Sum(1, keepdim=True)``.

    The norm grows by at most :math:`\sqrt C`. Maps of embeddings ``(N, L, D)`` have no channels:
    for words use ``Sum(-1)``.

    Example:
        >>> import torch
        >>> from captum_robust.transforms import SumChannels
        >>> SumChannels()((torch.ones(1, 3, 1, 2),))[0].shape
        torch.Size([1, 1, 1, 2])
    """

    def __init__(self) -> None:
        super().__init__(1, keepdim=True)

    def __repr__(self) -> str:
        return "SumChannels()"

    def _sum(self, part: Tensor) -> Tensor:
        if part.dim() < 3:
            raise ValueError(
                f"`SumChannels` needs maps of shape (N, C, *), got {tuple(part.shape)}."
            )
        return super()._sum(part)
