"""What ``torch.export.save`` wrote, read by an allow-list: JSON and raw tensors, no pickle.

``torch.export.load`` is not used. It unpickles, evaluates the text of sizes and guards as Python,
and loads compiled libraries. Here a record is read by its exact name and in its exact form, and
what is not on the list is refused.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import sys
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

_PROGRAM: Final = "models/model.json"
_CONFIGS: Final = {
    "data/weights/": "data/weights/model_weights_config.json",
    "data/constants/": "data/constants/model_constants_config.json",
}
_RECORDS: Final = re.compile(r"data/(weights/weight_|constants/tensor_)[0-9]{1,9}")
# Never read; sample inputs are a pickle.
_UNREAD: Final = re.compile(
    r"archive_format|archive_version|version|\.data/(version|serialization_id)"
    r"|data/sample_inputs/model\.pt|serialized_example_inputs\.pt"
)
# Of torch before 2.8: two dictionaries of tensors, read by a restricted unpickler.
_OLD_PROGRAM: Final = "serialized_exported_program.json"
_OLD_TENSORS: Final = ("serialized_state_dict.pt", "serialized_constants.pt")
_BYTEORDER: Final = "byteorder"

_MOST_JSON: Final = 2**28  # bytes
_MOST: Final = 2**48  # of any size, stride or offset
_STRIDED: Final = 7
DTYPES: Final = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}


class Refused(ValueError):
    """A file that is not read any further; the message says which part, and why."""


@dataclass(frozen=True, eq=False)
class Archive:
    """The parts of an exported program.

    Attributes:
        program: the graph and its signature, as JSON has them.
        tensors: weights and constants by their names in the signature.
    """

    program: dict[str, Any]
    tensors: dict[str, Tensor]


def read_archive(path: Path) -> Archive:
    """Reads the program and its tensors.

    Raises:
        Refused: naming a record that is not on the list, or is not in its form.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return _Records(file).archive()
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise Refused(f"the archive is damaged ({type(error).__name__})") from None


class _Records:
    """The records of an archive by their names inside its folder."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        infos = file.infolist()
        root = infos[0].filename.split("/")[0] + "/" if infos else ""
        inside = all(info.filename.startswith(root) for info in infos)
        cut = len(root) if inside else 0
        self._infos = {info.filename[cut:]: info for info in infos}
        lowered = {name.lower() for name in self._infos}  # torch's look-up ignores case
        if len(lowered) != len(infos):
            raise Refused("a name occurs twice")
        for name, info in self._infos.items():
            self._check(name, info)
        self._tensors: dict[tuple[str, int], Tensor] = {}

    def archive(self) -> Archive:
        """What the archive holds."""
        if _PROGRAM in self._infos:
            tensors: dict[str, Tensor] = {}
            for folder, config in _CONFIGS.items():
                tensors |= self._configured(folder, config)
            return Archive(self._json(_PROGRAM), tensors)
        if _OLD_PROGRAM in self._infos:
            return Archive(self._json(_OLD_PROGRAM), self._unpickled())
        raise Refused(f"{_PROGRAM!r} is missing")

    def _check(self, name: str, info: zipfile.ZipInfo) -> None:
        listed = (_PROGRAM, _OLD_PROGRAM, *_OLD_TENSORS, *_CONFIGS.values(), _BYTEORDER)
        if name not in listed and not _RECORDS.fullmatch(name) and not _UNREAD.fullmatch(name):
            raise Refused(f"it holds {name!r}, which is not part of an exported model")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise Refused(
                f"{name!r} is compressed or encrypted, which torch.export.save never does"
            )
        if name == _BYTEORDER and self._file.read(info).decode("ascii", "replace") != sys.byteorder:
            raise Refused("it was written on a machine of the other byte order")

    def _json(self, name: str) -> dict[str, Any]:
        info = self._infos.get(name)
        if info is None or info.file_size > _MOST_JSON:
            raise Refused(f"{name!r} is missing or too large")
        try:
            found = json.loads(self._file.read(info))
        except (ValueError, RecursionError):
            raise Refused(f"{name!r} is not JSON that can be read") from None
        return entry(found, dict, name)

    def _configured(self, folder: str, config: str) -> dict[str, Tensor]:
        """Tensors by name, views of their records, so that shared memory stays shared."""
        entries = entry(self._json(config).get("config"), dict, config)
        return {name: self._tensor(folder, name, found) for name, found in entries.items()}

    def _tensor(self, folder: str, name: str, found: Any) -> Tensor:
        found = entry(found, dict, name)
        record, meta = (
            f"{folder}{found.get('path_name')}",
            entry(found.get("tensor_meta"), dict, name),
        )
        if found.get("use_pickle") is not False:
            raise Refused(f"{name!r} would have to be unpickled")
        if not _RECORDS.fullmatch(record) or record not in self._infos:
            raise Refused(f"{name!r} names the record {record!r}")
        if meta.get("layout") != _STRIDED or meta.get("dtype") not in DTYPES:
            raise Refused(f"{name!r} is no dense tensor of numbers")
        sizes, strides = (whole_numbers(meta.get(key), name) for key in ("sizes", "strides"))
        [offset] = whole_numbers([meta.get("storage_offset")], name)
        base = self._record(record, meta["dtype"])
        last = offset + sum((size - 1) * step for size, step in zip(sizes, strides, strict=False))
        if len(sizes) != len(strides) or (0 not in sizes and last >= len(base)):
            raise Refused(f"{name!r} reaches beyond its record")
        return torch.as_strided(base if len(base) else base.new_empty(0), sizes, strides, offset)

    def _record(self, name: str, dtype: int) -> Tensor:
        """All of a record as one row of numbers."""
        if (name, dtype) not in self._tensors:
            content = bytearray(self._file.read(self._infos[name]))
            kind = DTYPES[dtype]
            if len(content) % kind.itemsize:
                raise Refused(f"{name!r} holds no whole number of elements")
            empty = torch.empty(0, dtype=kind)
            self._tensors[name, dtype] = torch.frombuffer(content, dtype=kind) if content else empty
        return self._tensors[name, dtype]

    def _unpickled(self) -> dict[str, Tensor]:
        """The tensors of an old archive, by torch's restricted unpickler."""
        tensors: dict[str, Tensor] = {}
        for name in _OLD_TENSORS:
            info = self._infos.get(name)
            if info is not None and info.file_size:
                with self._file.open(info) as stream:
                    tensors |= load_tensors(stream)
        return tensors


def load_tensors(file: Any) -> dict[str, Tensor]:
    """A dictionary of tensors that ``torch.save`` wrote, without running code.

    Args:
        file: a path, or an open file.

    Raises:
        Refused: if it holds anything else.
    """
    content = io.BytesIO(Path(file).read_bytes() if isinstance(file, Path) else file.read())
    if not zipfile.is_zipfile(content) and torch.__version__ < "2.6":
        # Older versions unpickle files of the older format without restriction.
        raise Refused("it has the format before torch 1.6; torch 2.6 or newer reads it safely")
    content.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that are refused a moment later
            found = torch.load(content, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise Refused("it would have to be unpickled, and that can run any code") from None
    except (RuntimeError, ValueError, EOFError, LookupError, AttributeError, TypeError) as error:
        raise Refused(f"it is no such file, or damaged ({type(error).__name__})") from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    ):
        raise Refused("it holds something else than tensors by name")
    return dict(found)


def entry(value: Any, kind: type, name: str) -> Any:
    """A value of JSON that must be of a kind."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Refused(f"{name!r} is not in the form that torch.export.save writes")
    return value


def whole_numbers(values: Any, name: str) -> list[int]:
    """Sizes that are written as whole numbers; never text, which torch would evaluate."""
    numbers = [
        entry(entry(value, dict, name).get("as_int"), int, name)
        for value in entry(values, list, name)
    ]
    if not all(0 <= number < _MOST for number in numbers):
        raise Refused(f"{name!r} has a size that cannot be")
    return numbers
