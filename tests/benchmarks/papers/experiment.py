"""What an experiment is: sizes in, rows out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tests.benchmarks.papers.subjects import Bench

VERDICTS: Final = ("yes", "in part", "no", "no number", "not measured")
_UNITS: Final = {
    "images": "image{}",
    "samples": "sample{}",
    "draws": "draw{} in an attack",
    "steps": "step{}",
    "restarts": "restart{}",
    "seeds": "training{}",
}


class NotMeasured(Exception):
    """Something an experiment needs is not at hand; the text says what and how to get it."""


@dataclass(frozen=True)
class Size:
    """How much of an experiment is run; 0 where a number does not apply.

    Attributes:
        images: images explained.
        samples: noise draws, or path points, of a map.
        draws: noise draws of a map under attack.
        steps: steps of an attack.
        restarts: starts of an attack.
        seeds: nets trained, one from each seed.
    """

    images: int = 0
    samples: int = 0
    draws: int = 0
    steps: int = 0
    restarts: int = 0
    seeds: int = 0

    def __str__(self) -> str:
        words = [
            f"{value:,} {_UNITS[name].format('' if value == 1 else 's')}"
            for name, value in asdict(self).items()
            if value
        ]
        return ", ".join(words) or "a formula"

    def limited(self, limits: dict[str, int | None]) -> Size:
        """No larger than the limits that are given."""
        smaller = {
            name: min(getattr(self, name), limit)
            for name, limit in limits.items()
            if limit is not None
        }
        return replace(self, **smaller)


@dataclass(frozen=True)
class Row:
    """One line of the page.

    Attributes:
        name: what is measured.
        ours: what was found here.
        paper: what is printed.
        agrees: one of ``VERDICTS``.
        why: why it agrees or not, in a sentence; may be empty.
    """

    name: str
    ours: str
    paper: str = "-"
    agrees: str = "no number"
    why: str = ""

    def __post_init__(self) -> None:
        if self.agrees not in VERDICTS:
            raise ValueError(f"`agrees` must be one of {VERDICTS}, got {self.agrees!r}.")


@dataclass(frozen=True)
class Experiment:
    """A table or figure of a paper.

    Attributes:
        key: short name, the paper's letters first.
        title: which table or figure, and what it shows.
        setting: nets and data here, beside the paper's.
        ours: size by default.
        paper: size of the paper, and with ``--full``.
        run: the experiment.
        cost: work units of a size: what ``seconds`` multiplies.
        seconds: of one core for a unit, measured.
        nets: recipes trained for it.
    """

    key: str
    title: str
    setting: str
    ours: Size
    paper: Size
    run: Callable[[Bench, Size], list[Row]]
    cost: Callable[[Size], float] = lambda size: 1.0
    seconds: float = 1.0
    nets: Sequence[str] = field(default=())

    def size(self, limits: dict[str, int | None], full: bool) -> Size:
        """The size to run at."""
        return self.paper if full else self.ours.limited(limits)


def verdict(holds: bool | Tensor) -> str:
    """Whether a claim was found to hold."""
    return "yes" if bool(holds) else "no"


def number(value: Any, digits: int = 2) -> str:
    """A number, or a list of them, as the page has it."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return ", ".join(number(each, digits) for each in value)
    return f"{float(value):.{digits}f}"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean over trainings, and standard deviation where there are several."""
    found = torch.tensor(list(values), dtype=torch.float64)
    if len(found) < 2:
        return number(found.mean(), digits)
    return f"{number(found.mean(), digits)} ± {number(found.std(), digits)}"
