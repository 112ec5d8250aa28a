"""What the entries of a map are called, and which of the explained features each one joins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Size, Tensor

Shapes = Sequence[Size]
Names = tuple[str, ...] | tuple[tuple[str, ...], ...]

_AXES = ("row", "column")


@dataclass(frozen=True, eq=False)
class Features:
    """Names and places of the features of a map; a transform hands it on to the certificate.

    Attributes:
        shapes: one example's map shapes.
        word: what one feature is called, such as ``"feature"``, ``"region"`` or ``"word"``.
        names: a name for each feature, or such a tuple for each example; None where rows and
            columns name them.
        note: a sentence about how features were joined, for statements; may be empty.
        owners: for each feature that the base method explains, the feature of the map that it is
            part of, ``(1 or N, m)``; None where nothing was joined.
        base_shapes: one example's shapes of what the base method explains.

    Example:
        >>> import torch
        >>> from captum_robust.transforms import Features
        >>> grid = Features((torch.Size([1, 14, 14]),), word="region")
        >>> grid.name(30), grid.counted(1), grid.counted(3)
        ('row 2, column 2', '1 region', '3 regions')
    """

    shapes: tuple[Size, ...]
    word: str = "feature"
    names: Names | None = None
    note: str = ""
    owners: Tensor | None = None
    base_shapes: tuple[Size, ...] = ()

    @classmethod
    def of(cls, shapes: Shapes) -> Features:
        """The features of a map that no transform has touched."""
        return cls(tuple(shapes), base_shapes=tuple(shapes))

    @property
    def count(self) -> int:
        """Number of features."""
        return sum(shape.numel() for shape in self.shapes)

    @property
    def plural(self) -> str:
        """The word for several features."""
        return f"{self.word}s"

    def counted(self, count: int) -> str:
        """A number of features in words."""
        return f"{count} {self.word if count == 1 else self.plural}"

    def name(self, index: int, example: int = 0) -> str:
        """The name of one feature: the user's, or its row and column, or its number."""
        if self.names is not None:
            names = self.names_of(example)
            return names[index]
        map_index, place = self._place(index)
        inside = [size for size in self.shapes[map_index] if size > 1]
        kept = [at for at, size in zip(place, self.shapes[map_index], strict=True) if size > 1]
        if len(inside) == 2:
            text = ", ".join(f"{axis} {at}" for axis, at in zip(_AXES, kept, strict=True))
        else:
            text = f"{self.word} {kept[0] if len(kept) == 1 else tuple(kept) or 0}"
        return text if len(self.shapes) == 1 else f"{text} of map {map_index}"

    def names_of(self, example: int) -> tuple[str, ...]:
        """The user's names of one example's features; an empty tuple where there are none."""
        names: Any = self.names or ()
        if names and not isinstance(names[0], str):
            return names[example]
        return names

    def index(self, name: str, example: int = 0) -> int:
        """The place of the feature with a user's name.

        Raises:
            ValueError: if no feature has it, or more than one.
        """
        names = self.names_of(example)
        found = [place for place, one in enumerate(names) if one == name]
        if len(found) != 1:
            known = f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" or "no names"
            raise ValueError(f"`{name}` must name one {self.word}, got {len(found)} of {known}.")
        return found[0]

    def joined(
        self,
        owners: Tensor,
        shapes: Shapes,
        *,
        word: str | None = None,
        names: Names | None = None,
        note: str = "",
    ) -> Features:
        """The features after a transform that sums some of these.

        Args:
            owners: for each of these features, the one it becomes part of, ``(1 or N, m)``.
            shapes: one example's map shapes afterwards.
            word, names, note: of the new features.
        """
        whole = owners
        if self.owners is not None:
            rows = max(len(owners), len(self.owners))
            whole = owners.expand(rows, -1).gather(1, self.owners.expand(rows, -1))
        return replace(
            self,
            shapes=tuple(shapes),
            word=self.word if word is None else word,
            names=names,
            note=" ".join(part for part in (self.note, note) if part),
            owners=whole,
        )

    def picture(self, example: int = 0) -> Tensor | None:
        """The feature that each pixel belongs to, ``(H, W)``.

        None where the explained features are no single image, or a pixel's channels belong to
        several features.
        """
        base = self.base_shapes
        if len(base) != 1 or len(base[0]) < 2:
            return None
        owners = self.owners
        if owners is None:
            owners = torch.arange(self.count).unsqueeze(0)
        one = owners[example if len(owners) > 1 else 0].reshape(-1, *base[0][-2:])
        return one[0] if bool((one == one[:1]).all()) else None

    def to_dict(self) -> dict[str, Any]:
        """Everything but the owners, as JSON types."""
        return {
            "word": self.word,
            "names": None if self.names is None else [_listed(name) for name in self.names],
            "note": self.note,
            "base_shapes": [list(shape) for shape in self.base_shapes],
        }

    @classmethod
    def from_dict(
        cls, saved: dict[str, Any], shapes: Shapes, owners: np.ndarray[Any, Any] | None
    ) -> Features:
        """What :meth:`to_dict` gave, with the owners that were saved beside it."""
        names = saved["names"]
        if names is not None:
            names = tuple(name if isinstance(name, str) else tuple(name) for name in names)
        return cls(
            shapes=tuple(shapes),
            word=saved["word"],
            names=names,
            note=saved["note"],
            owners=None if owners is None else torch.from_numpy(owners.astype(np.int64)),
            base_shapes=tuple(Size(shape) for shape in saved["base_shapes"]),
        )

    def _place(self, index: int) -> tuple[int, tuple[int, ...]]:
        """Which map a feature of the whole vector lies in, and where."""
        for number, shape in enumerate(self.shapes):
            if index < shape.numel():
                return number, tuple(
                    int(at) for at in np.unravel_index(index, tuple(shape) or (1,))
                )
            index -= shape.numel()
        raise ValueError(f"`index` must be below {self.count} (the number of features).")


def checked_names(names: Any, count: int) -> Names | None:
    """The user's names as tuples: one for each feature, or such a list for each example.

    Raises:
        TypeError: if they are no texts.
        ValueError: if there are more or fewer names than features.
    """
    if names is None:
        return None
    listed = (names,) if isinstance(names, str) else tuple(names)
    nested = bool(listed) and isinstance(listed[0], list | tuple)
    rows = [tuple(row) for row in listed] if nested else [listed]
    if not all(isinstance(name, str) for row in rows for name in row):
        raise TypeError(
            "`names` must be texts, one for each feature, or a list of them an example."
        )
    for row in rows:
        if len(row) != count:
            raise ValueError(f"`names` must have one for each of {count} features, got {len(row)}.")
    return tuple(rows) if nested else listed


def _listed(name: Any) -> Any:
    return name if isinstance(name, str) else list(name)
