"""Random numbers of attacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from captum_robust._base.rows import Rows
from captum_robust._base.streams import ATTACK_NORMAL, ATTACK_UNIFORM, Fill, SampleStreams

MOST_STEPS: Final = 1_000_000
"""Steps, and tries of a start, of one restart; the draws of restarts lie so far apart."""


def start_number(restart: int, attempt: int) -> int:
    """The number of the draw that a start is made of: the even ones."""
    return 2 * (restart * MOST_STEPS + attempt)


def step_number(restart: int, step: int) -> int:
    """The number of the draw that a step is made of: the odd ones."""
    return 2 * (restart * MOST_STEPS + step) + 1


class Draws:
    """Random numbers that depend on (seed, number of the draw, example id) alone."""

    def __init__(self, seed: int, example_ids: Sequence[int], like: Tensor) -> None:
        self.seed = seed
        self.example_ids = list(example_ids)
        self.like = like

    def normal(self, rows: Rows, number: int) -> Tensor:
        """Standard normal numbers shaped like the chosen rows, ``(n, d)``."""
        return self._filled(rows, number, self.like.shape[1], ATTACK_NORMAL, _fill_normal)

    def uniform(self, rows: Rows, number: int, columns: int) -> Tensor:
        """Uniform numbers in [0, 1], ``(n, columns)``."""
        return self._filled(rows, number, columns, ATTACK_UNIFORM, _fill_uniform)

    def _filled(self, rows: Rows, number: int, columns: int, purpose: int, fill: Fill) -> Tensor:
        ids = self.example_ids
        chosen = ids[rows] if isinstance(rows, slice) else [ids[row] for row in rows.tolist()]
        out = self.like.new_empty(len(chosen), columns)
        SampleStreams(self.seed, chosen, purpose).fill(out, range(number, number + 1), fill)
        return out


class BatchDraws(Draws):
    """Random numbers of a whole batch at once, from a generator or, without one, torch's own."""

    def __init__(self, generator: torch.Generator | None, like: Tensor) -> None:
        self.generator, self.like = generator, like

    def _filled(self, rows: Rows, number: int, columns: int, purpose: int, fill: Fill) -> Tensor:
        out = self.like.new_empty(self.like[rows].shape[0], columns)
        fill(out, self.generator)
        return out


def _fill_normal(row: Tensor, generator: torch.Generator | None) -> None:
    row.normal_(generator=generator)


def _fill_uniform(row: Tensor, generator: torch.Generator | None) -> None:
    row.uniform_(generator=generator)
