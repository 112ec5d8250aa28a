"""Cells of a grid as features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Size, Tensor

from captum_robust._base.checks import check_count
from captum_robust._base.precision import accumulation_dtype
from captum_robust.transforms.features import Features
from captum_robust.transforms.joining import JoiningTransform
from captum_robust.transforms.transform import Maps, Shapes

Blocks = list[tuple[int, int]]  # of one axis: (cells, places in each)


class Pool(JoiningTransform):
    r"""Sums the cells of a grid over the last axes: regions of an image, stretches of a series.

    Channels are left alone; ``Abs() >> SumChannels() >> Pool(grid=14)`` makes 196 regions of an
    image. Cells that do not divide an axis evenly: with ``size`` the last cell is what is left;
    with ``grid`` the first cells are larger by one place than the last. Statements say so. Range:
    see :class:`JoiningTransform`.

    Args:
        size: places in a cell: an int for the last two axes, or a tuple, one for each of the last
            axes: ``(5,)`` for a series ``(N, C, L)``.
        grid: cells along an axis, in the same form; give this or ``size``.
        word: what a cell is called in statements.

    Raises:
        ValueError: if both or none are given, or the maps have fewer places than cells.

    Example:
        >>> import torch
        >>> from captum_robust.transforms import Pool
        >>> Pool(2)((torch.arange(9.0).reshape(1, 1, 3, 3),))
        (tensor([[[[ 8.,  7.],
                  [13.,  8.]]]]),)
    """

    def __init__(
        self,
        size: int | tuple[int, ...] | None = None,
        grid: int | tuple[int, ...] | None = None,
        *,
        word: str = "region",
    ) -> None:
        if (size is None) == (grid is None):
            raise ValueError("exactly one of `size` and `grid` must be given.")
        self.size = None if size is None else _counts("size", size)
        self.grid = None if grid is None else _counts("grid", grid)
        self.word = word

    def __repr__(self) -> str:
        name, value = ("size", self.size) if self.grid is None else ("grid", self.grid)
        return f"Pool({name}={value})"

    def __call__(self, maps: Maps) -> Maps:
        return tuple(self._pool(part) for part in maps)

    def _pool(self, part: Tensor) -> Tensor:
        pooled = part.to(accumulation_dtype(part.device))
        for axis, blocks in self._blocks(part.shape[1:]).items():
            lengths = [cells * places for cells, places in blocks]
            pieces = zip(pooled.split(lengths, axis), blocks, strict=True)
            sums = [piece.unflatten(axis, block).sum(axis) for piece, block in pieces]
            pooled = sums[0] if len(sums) == 1 else torch.cat(sums, axis)
        return pooled.to(part.dtype)

    def _blocks(self, shape: Size) -> dict[int, Blocks]:
        """The cells along each pooled axis, which is counted from the end of a map's shape."""
        wanted = self.size or self.grid or ()
        if len(shape) < len(wanted):
            raise ValueError(
                f"`Pool` needs maps with at least {len(wanted)} axes beside the examples, got "
                f"shape (N, {', '.join(map(str, shape))}); give a tuple with an entry for each "
                "axis to pool, such as size=(4,)."
            )
        cut = _evenly if self.size is None else _in_steps
        return {
            place - len(wanted): cut(shape[place - len(wanted)], number)
            for place, number in enumerate(wanted)
        }

    def shapes(self, shapes: Shapes) -> Shapes:
        return tuple(self._pooled(shape) for shape in shapes)

    def _pooled(self, shape: Size) -> Size:
        sizes = list(shape)
        for axis, blocks in self._blocks(shape).items():
            sizes[axis] = sum(cells for cells, _ in blocks)
        return Size(sizes)

    def owners(self, shapes: Shapes) -> Tensor:
        parts, begin = [], 0
        for shape, pooled in zip(shapes, self.shapes(shapes), strict=True):
            own = torch.arange(begin, begin + pooled.numel()).reshape(pooled)
            for axis, blocks in self._blocks(shape).items():
                places = [places for cells, places in blocks for _ in range(cells)]
                own = own.repeat_interleave(torch.tensor(places), dim=axis)
            parts.append(own.reshape(-1))
            begin += pooled.numel()
        return torch.cat(parts).unsqueeze(0)

    def features(self, before: Features, shapes: Shapes) -> Features:
        notes = dict.fromkeys(self._note(shape) for shape in shapes)
        return before.joined(
            self.owners(shapes), self.shapes(shapes), word=self.word, note=" ".join(notes)
        )

    def _note(self, shape: Size) -> str:
        """How an image is cut, in words."""
        blocks = list(self._blocks(shape).values())
        counts = " x ".join(str(sum(cells for cells, _ in axis)) for axis in blocks)
        sizes = " x ".join(str(axis[0][1]) for axis in blocks)
        note = f"A {self.word} is a cell of a grid of {counts}, each of {sizes} places"
        smaller = any(len(axis) > 1 for axis in blocks)
        return note + (", the last ones smaller." if smaller else ".")


def _counts(name: str, value: int | Sequence[int]) -> tuple[int, ...]:
    """An int for two axes, or one for each of the last axes."""
    entries = (value, value) if isinstance(value, int) else tuple(value)
    if not entries:
        raise ValueError(f"`{name}` must have an entry for each axis to pool, got none.")
    return tuple(check_count(name, entry) for entry in entries)


def _evenly(places: int, cells: int) -> Blocks:
    """So many cells, the last ones a place smaller where they do not divide the axis."""
    if cells > places:
        raise ValueError(
            f"`grid` must be at most the number of places along an axis, {places}, got {cells}."
        )
    least, larger = divmod(places, cells)
    blocks = [(larger, least + 1), (cells - larger, least)]
    return [block for block in blocks if block[0]]


def _in_steps(places: int, size: int) -> Blocks:
    """Cells of one size, the last one what is left."""
    if size > places:
        raise ValueError(
            f"`size` must be at most the number of places along an axis, {places}, got {size}."
        )
    cells, rest = divmod(places, size)
    return [(cells, size)] + ([(1, rest)] if rest else [])
