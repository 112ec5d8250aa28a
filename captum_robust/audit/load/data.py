"""``--data``: the examples, read one at a time."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor

from captum_robust.audit.ask.imported import file_digest
from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.ask.usage import Skipped, UsageError
from captum_robust.audit.load.arrays import NotStored, Stored
from captum_robust.audit.load.images import IMAGE_SUFFIXES, read_image

PIXELS: Final = "pixel values in [0, 1]"


@dataclass(frozen=True, eq=False)
class Example:
    """One example.

    Attributes:
        inputs: ``(1, C, H, W)``, finite.
        truth: its class, None where nobody says.
    """

    inputs: Tensor
    truth: int | None


class Data(Protocol):
    """Examples of a kind; numbers name them, whatever else they are called."""

    @property
    def ids(self) -> Sequence[int]:
        """The number of each example, which fixes its noise."""

    @property
    def title(self) -> str:
        """A few words for the report's head."""

    @property
    def unit(self) -> str:
        """Of the inputs."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest valid input."""

    @property
    def facts(self) -> dict[str, Any]:
        """For the report."""

    @property
    def labelled(self) -> bool:
        """Whether classes are known."""

    def name(self, position: int) -> str:
        """What the data call an example; not to be trusted."""

    def load(self, position: int) -> Example:
        """Reads an example; raises :class:`Skipped` where that cannot be done."""

    def digest(self) -> str:
        """Of everything that can be loaded."""


class TensorData:
    """Examples in memory.

    Args:
        inputs: ``(N, C, H, W)``, floating point, or uint8 to be divided by 255.
        truths: classes ``(N,)``, or None.
        ids: rows of the data set.
        title, facts: for the report.
        unit, bounds: of the inputs.
        names: of the examples; rows where None.
    """

    def __init__(
        self,
        inputs: Tensor,
        truths: Tensor | None,
        ids: Sequence[int],
        *,
        title: str,
        facts: dict[str, Any],
        unit: str = PIXELS,
        bounds: tuple[float, float] = (0.0, 1.0),
        names: Sequence[str] | None = None,
    ) -> None:
        self._inputs, self._truths = inputs, truths
        self.ids, self.title, self.facts = ids, title, facts
        self.unit, self.bounds = unit, bounds
        self.labelled = truths is not None
        self._names = names

    def name(self, position: int) -> str:
        """What the data call an example."""
        return f"row {self.ids[position]}" if self._names is None else self._names[position]

    def load(self, position: int) -> Example:
        """One example.

        Raises:
            Skipped: if it is not finite.
        """
        inputs = self._inputs[position : position + 1]
        inputs = inputs.float() / 255.0 if inputs.dtype == torch.uint8 else inputs
        if not torch.isfinite(inputs).all():
            raise Skipped("not finite")
        return Example(inputs, None if self._truths is None else int(self._truths[position]))

    def digest(self) -> str:
        """SHA-256 of all inputs and classes."""
        digest = hashlib.sha256()
        for row in self._inputs:
            digest.update(row.contiguous().numpy().tobytes())
        if self._truths is not None:
            digest.update(self._truths.contiguous().numpy().tobytes())
        return digest.hexdigest()


class ImageFolder:
    """The images of a folder and the folders in it, in the order of their names.

    Args:
        folder: of the images.
        size: side of the central square that they are brought to; as they are where None.
        gray: whether they have one channel.
        labels: a file of ``name,class`` lines, or None.
        limit: at most so many, the first ones; all where None.
    """

    def __init__(
        self, folder: Path, size: int | None, gray: bool, labels: Path | None, limit: int | None
    ) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        found = [path for path in paths if path.is_file()]
        if not found:
            raise UsageError(
                f"`--data` must hold images ({', '.join(IMAGE_SUFFIXES)}), got the folder "
                f"{str(folder)!r} without any."
            )
        self._names = [path.relative_to(folder).as_posix() for path in found]
        self._paths = found[:limit]
        self._size, self._gray = size, gray
        self._labels = None if labels is None else read_labels(labels)
        self.labelled = labels is not None
        self.ids = range(len(self._paths))
        self.title = f"{len(found):,} images"
        self.unit, self.bounds = PIXELS, (0.0, 1.0)
        brought = "as they are" if size is None else f"brought to {size} x {size} pixels"
        self.facts = {"data": f"{len(found):,} images of a folder, {brought}"}

    def name(self, position: int) -> str:
        """The image's path inside the folder."""
        return self._names[position]

    def load(self, position: int) -> Example:
        """One image.

        Raises:
            Skipped: if it cannot be read.
        """
        image = read_image(self._paths[position], self._size, self._gray)
        return Example(image, (self._labels or {}).get(self._names[position]))

    def digest(self) -> str:
        """SHA-256 of names, classes and the content of every file that can be read."""
        digest = hashlib.sha256()
        for name, path in zip(self._names, self._paths, strict=False):
            try:
                content = file_digest(path)
            except OSError:
                content = "unreadable"
            truth = (self._labels or {}).get(name)
            digest.update(f"{name!a} {truth} {content}\n".encode())
        return digest.hexdigest()


def open_data(plan: AuditPlan) -> Data:
    """The examples that ``--data`` names: a folder of images or an ``.npz`` file.

    Raises:
        UsageError: if there are none, or they are not of a form that can be read.
    """
    path = Path(plan.data)
    if path.is_dir():
        return ImageFolder(path, plan.size, plan.gray, plan.labels, plan.limit)
    for name, given in (("size", plan.size), ("labels", plan.labels), ("gray", plan.gray)):
        if given:
            raise UsageError(f"`--{name}` is about a folder of images, got --data {plan.data}.")
    if path.suffix == ".npz" and path.is_file():
        return read_arrays(path, plan.limit)
    raise UsageError(
        f"`--data` must be digits, a folder of images or an .npz file, got {plan.data!r}. "
        "Try --data digits."
    )


def read_arrays(path: Path, limit: int | None) -> TensorData:
    """The ``x`` and ``y`` of an ``.npz`` file, without unpickling anything.

    ``x`` is uint8 ``(N, H, W)`` or ``(N, H, W, C)``, or floating point ``(N, C, H, W)``; ``y``, if
    there, holds classes ``(N,)``. Rows beyond the limit are not kept in memory.

    Raises:
        UsageError: if it does not.
    """
    try:
        x = Stored.open(path, "x")
        y = Stored.open(path, "y", missing=True)
        kept = x.rows if limit is None else min(limit, x.rows)
        inputs, unit, bounds = as_images(x.read(kept), x.extremes)
        truths = None if y is None else _classes(y, x.rows, kept)
    except NotStored as error:
        raise UsageError(
            f"`--data` {str(path)!r} must hold arrays `x` and, where known, `y`: {error}."
        ) from None
    return TensorData(
        inputs,
        truths,
        range(kept),
        title=f"{x.rows:,} examples",
        facts={"data": f"{path.name}: {x.rows:,} examples of shape {tuple(inputs.shape[1:])}"},
        unit=unit,
        bounds=bounds,
    )


def _classes(y: Stored, rows: int, kept: int) -> Tensor:
    """The classes of the rows that are kept."""
    if y.shape != (rows,) or not np.issubdtype(y.dtype, np.integer):
        raise UsageError(
            f"`--data` must hold one whole number in `y` for each of the {rows} rows of `x`, "
            f"got {y.dtype} of shape {y.shape}."
        )
    return torch.from_numpy(y.read(kept).astype(np.int64))


def as_images(
    x: np.ndarray[Any, Any], extremes: Callable[[], tuple[float, float]]
) -> tuple[Tensor, str, tuple[float, float]]:
    """An array as ``(N, C, H, W)``, its unit and bounds once bytes are divided by 255.

    Args:
        x: the rows that are kept.
        extremes: gives the smallest and largest finite value of all rows.

    Example:
        >>> import numpy as np
        >>> from captum_robust.audit.load.data import as_images
        >>> images, unit, bounds = as_images(np.zeros((2, 4, 5, 3), np.uint8), lambda: (0, 0))
        >>> images.shape, unit
        (torch.Size([2, 3, 4, 5]), 'pixel values in [0, 1]')

    Raises:
        UsageError: for any other form.
    """
    if x.dtype == np.uint8 and x.ndim in (3, 4) and x.size:
        last = torch.from_numpy(x if x.ndim == 4 else x[..., None])
        return last.permute(0, 3, 1, 2), PIXELS, (0.0, 1.0)
    if np.issubdtype(x.dtype, np.floating) and x.ndim == 4 and x.size:
        inputs = torch.from_numpy(x.astype(np.float32))
        low, high = extremes()
        if low >= 0 and high <= 1:
            return inputs, PIXELS, (0.0, 1.0)
        return inputs, "values of the inputs", (low, high)
    raise UsageError(
        "`--data` must hold uint8 images (N, H, W) or (N, H, W, C) or floating-point images "
        f"(N, C, H, W) in `x`, got {x.dtype} of shape {x.shape}."
    )


def read_labels(path: Path) -> dict[str, int]:
    """Classes by image name, from lines ``name,class``; a first line without a number is a head.

    Raises:
        UsageError: naming the line that is none.
    """
    labels = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"`--labels` {str(path)!r} cannot be read: {error}.") from None
    for number, row in enumerate(rows):
        if len(row) == 2 and row[1].strip().isdecimal():
            labels[row[0]] = int(row[1])
        elif number or (len(row) == 2 and _is_number(row[1])):
            raise UsageError(
                f"`--labels` must have lines `name,class`, got {','.join(row)!r} as row "
                f"{number + 1} of {str(path)!r}."
            )
    return labels


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
