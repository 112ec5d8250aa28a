"""Arrays in an ``.npz`` file, read row by row: memory is bounded by the rows that are kept."""

from __future__ import annotations

import math
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.lib import format as npy

_BLOCK: Final = 2**22  # bytes that are looked at together
_RATIO: Final = 1100  # deflate cannot do more than 1032:1
_MOST_HEAD: Final = 10_000

Array = np.ndarray[Any, Any]


class NotStored(ValueError):
    """An array that cannot be read; the message says why."""


@dataclass(frozen=True)
class Stored:
    """One array of a file.

    Attributes:
        path, name: of the file, and of the array in it.
        shape, dtype: as its head says.
        columns_first: whether the last index runs slowest; such an array is read as a whole.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    columns_first: bool = False

    @classmethod
    def open(cls, path: Path, name: str, missing: bool = False) -> Any:
        """The head of an array; None where it may be missing and is.

        Raises:
            NotStored: if it is no array of numbers, or does not hold what its head says.
        """
        with _file(path) as archive:
            if f"{name}.npy" not in archive.namelist():
                if missing:
                    return None
                raise NotStored(f"there is no {name!r}")
            info = archive.getinfo(f"{name}.npy")
            with archive.open(info) as stream:
                shape, columns_first, dtype = _head(stream)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise NotStored("pickled objects are refused")
        full = info.file_size >= size and info.file_size <= _RATIO * (info.compress_size + 1)
        if not shape or not full:
            raise NotStored(f"{name!r} does not hold the {math.prod(shape):,} values that it says")
        return cls(path, name, shape, dtype, columns_first)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.shape[0]

    def read(self, rows: int) -> Array:
        """The first rows.

        Raises:
            NotStored: if the file is damaged, or memory does not suffice for them.
        """
        blocks = list(self._blocks(rows))
        if not blocks:
            return np.empty((0, *self.shape[1:]), self.dtype)
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def extremes(self) -> tuple[float, float]:
        """Smallest and largest finite value of all rows, in float32; 0 and 1 if there is none."""
        low, high = math.inf, -math.inf
        for block in self._blocks(self.rows):
            finite = block[np.isfinite(block)].astype(np.float32)
            if finite.size:
                low, high = min(low, float(finite.min())), max(high, float(finite.max()))
        return (low, high) if low <= high else (0.0, 1.0)

    def _blocks(self, rows: int) -> Iterator[Array]:
        """The first rows, some at a time."""
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        together = max(1, _BLOCK // max(row, 1))
        with _file(self.path) as archive, archive.open(f"{self.name}.npy") as stream:
            _head(stream)
            if self.columns_first:
                whole = _numbers(stream, self.rows * row, self.dtype)
                yield np.ascontiguousarray(whole.reshape(self.shape, order="F")[:rows])
                return
            for start in range(0, rows, together):
                count = min(together, rows - start)
                block = _numbers(stream, count * row, self.dtype)
                yield block.reshape(count, *self.shape[1:])


def _numbers(stream: IO[bytes], size: int, dtype: np.dtype[Any]) -> Array:
    """The next bytes as one row of numbers that may be written to."""
    content = bytearray(stream.read(size))
    if len(content) < size:
        raise NotStored("the file is cut short")
    return np.frombuffer(content, dtype)


@contextmanager
def _file(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise NotStored(f"the file is damaged ({type(error).__name__})") from None
    except OSError as error:
        raise NotStored(error.strerror or "it cannot be read") from None
    except MemoryError:
        raise NotStored("it does not fit into memory; --limit keeps fewer rows") from None
    except RuntimeError:
        raise NotStored("it is encrypted") from None


def _head(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether columns come first, and element type."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = npy.read_magic(stream)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            if version not in ((1, 0), (2, 0)):
                raise NotStored(f"its format {version} is not known")
            return read(stream, max_header_size=_MOST_HEAD)
    except NotStored:
        raise
    except (ValueError, TypeError, SyntaxError, UnicodeError, RecursionError):
        raise NotStored("it holds something that is no array") from None
