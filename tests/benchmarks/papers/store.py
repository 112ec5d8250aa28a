"""Results and weights on the disk: each is there in full or not at all, so runs can be resumed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.papers.experiment import Experiment, Row, Size


@dataclass(frozen=True)
class Result:
    """Rows of one experiment at one size.

    Attributes:
        size: it was run at.
        rows: what was found.
        seconds: of the process, all its threads.
        units: work units of the size.
        training: how nets were trained for it, in words.
    """

    size: Size
    rows: list[Row]
    seconds: float
    units: float
    training: str


class Store:
    """A folder of results, one file for an experiment, a size and a training.

    Args:
        folder: is made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, experiment: Experiment, size: Size, training: str) -> Path:
        """Where a result is kept."""
        terms = json.dumps([asdict(size), training if experiment.nets else ""])
        return (
            self.folder / f"{experiment.key}-{hashlib.sha256(terms.encode()).hexdigest()[:12]}.json"
        )

    def get(self, experiment: Experiment, size: Size, training: str) -> Result | None:
        """The result of exactly this size, if it was run."""
        path = self.path(experiment, size, training)
        return _read(path) if path.exists() else None

    def best(self, experiment: Experiment, size: Size, training: str) -> Result | None:
        """The result of this size, else of the largest size that was run."""
        found = self.get(experiment, size, training)
        others = [_read(path) for path in sorted(self.folder.glob(f"{experiment.key}-*.json"))]
        return found or max(others, key=lambda each: each.units, default=None)

    def put(self, experiment: Experiment, result: Result) -> None:
        """Keeps a result."""
        content = json.dumps(asdict(result), indent=1, ensure_ascii=False)
        path = self.path(experiment, result.size, result.training)
        placed(path, lambda part: part.write_text(content, encoding="utf-8"))

    def pace(self, experiment: Experiment) -> float:
        """Seconds for a unit: of the largest run, else the stated ones."""
        found = [_read(path) for path in self.folder.glob(f"{experiment.key}-*.json")]
        timed = [one for one in found if one.units > 0]
        if not timed:
            return experiment.seconds
        largest = max(timed, key=lambda each: each.units)
        return largest.seconds / largest.units


def placed(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file under another name and then gives it its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def kept_weights(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Weights from a file, made and put there where they are missing."""
    if not path.exists():
        weights = make()
        placed(path, lambda part: torch.save(weights, part))
    return torch.load(path, map_location="cpu", weights_only=True)


def _read(path: Path) -> Result:
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = [Row(**row) for row in content.pop("rows")]
    return Result(size=Size(**content.pop("size")), rows=rows, **content)
