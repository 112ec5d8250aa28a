"""Where an attack may go: norm balls around the inputs, and the box of valid inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from captum_robust.noise._streams import Fill, SampleStreams

Rows = Tensor | slice

# Apart from the streams of the smoothing noise (0).
_NORMAL, _UNIFORM = 101, 102


def pick(values: Tensor, rows: Rows) -> Tensor:
    """Rows of ``(N, *)``; a single row stands for all."""
    return values if values.shape[0] == 1 else values[rows]


class Draws:
    """Random numbers that depend on (seed, number of the draw, example id) alone."""

    def __init__(self, seed: int, example_ids: Sequence[int], like: Tensor) -> None:
        self.seed = seed
        self.example_ids = list(example_ids)
        self.like = like

    def normal(self, rows: Rows, number: int) -> Tensor:
        """Standard normal numbers shaped like the chosen rows, ``(n, d)``."""
        return self._filled(rows, number, self.like.shape[1], _NORMAL, _fill_normal)

    def uniform(self, rows: Rows, number: int, columns: int) -> Tensor:
        """Uniform numbers in [0, 1], ``(n, columns)``."""
        return self._filled(rows, number, columns, _UNIFORM, _fill_uniform)

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


class Ball:
    """A norm ball of perturbations; what measures them also limits, steps in and draws from it.

    Args:
        radius: largest perturbation, ``(N or 1, d or 1)``, in input units; per-feature radii
            stretch the ball, ``inf`` is no limit.
        free: False where nothing may move, ``(N or 1, d or 1)``.
    """

    def __init__(self, radius: Tensor, free: Tensor) -> None:
        self.radius = radius
        self.free = free & (radius > 0)

    def size(self, delta: Tensor, rows: Rows = slice(None)) -> Tensor:
        """Size of ``(n, d)`` perturbations in radii, ``(n,)``: at most 1 inside the ball."""
        raise NotImplementedError

    def holds(self, delta: Tensor, rows: Rows) -> Tensor:
        """Which features of ``(n, d)`` perturbations may stay for the whole to be inside."""
        # The margin covers the rounding of a norm.
        return (self.size(delta, rows) <= 1 - 1e-6).unsqueeze(1).expand_as(delta)

    def project(self, delta: Tensor, rows: Rows) -> Tensor:
        """The nearest perturbation inside (for stretched L2 balls: along the ray to the centre)."""
        raise NotImplementedError

    def step(self, gradient: Tensor, size: Tensor, rows: Rows) -> Tensor:
        """The steepest ascent among moves of the given ``size`` (per-feature sizes stretch it)."""
        raise NotImplementedError

    def uniform(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        """A uniformly distributed perturbation of the ball, ``(n, d)``."""
        raise NotImplementedError

    def surface(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        """A uniformly distributed extreme point: of the sphere, or a corner of the box."""
        raise NotImplementedError

    def _in_radii(self, delta: Tensor, rows: Rows) -> Tensor:
        radius = pick(self.radius, rows)
        return torch.where(radius > 0, delta / torch.where(radius > 0, radius, 1), 0)

    def _from_radii(self, unit: Tensor, rows: Rows) -> Tensor:
        return torch.where(pick(self.free, rows), unit * pick(self.radius, rows), 0)


class LinfBall(Ball):
    """Perturbations whose every feature stays within its radius; steps are signs."""

    def size(self, delta: Tensor, rows: Rows = slice(None)) -> Tensor:
        return self._in_radii(delta, rows).abs().amax(1)

    def holds(self, delta: Tensor, rows: Rows) -> Tensor:
        return delta.abs() <= pick(self.radius, rows)

    def project(self, delta: Tensor, rows: Rows) -> Tensor:
        radius = pick(self.radius, rows)
        return torch.where(pick(self.free, rows), delta.clamp(-radius, radius), 0)

    def step(self, gradient: Tensor, size: Tensor, rows: Rows) -> Tensor:
        return pick(size, rows) * gradient.sign()

    def uniform(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        return self._from_radii(2 * draws.uniform(rows, number, draws.like.shape[1]) - 1, rows)

    def surface(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        return self._from_radii(draws.normal(rows, number).sign(), rows)


class L2Ball(Ball):
    r"""Perturbations with :math:`\lVert \delta / r \rVert_2 \le 1` over all inputs together."""

    def size(self, delta: Tensor, rows: Rows = slice(None)) -> Tensor:
        return torch.linalg.vector_norm(self._in_radii(delta, rows), dim=1)

    def project(self, delta: Tensor, rows: Rows) -> Tensor:
        delta = torch.where(pick(self.free, rows), delta, 0)
        return delta / self.size(delta, rows).clamp(min=1).unsqueeze(1)

    def step(self, gradient: Tensor, size: Tensor, rows: Rows) -> Tensor:
        scaled = pick(size, rows) * torch.where(pick(self.free, rows), gradient, 0)
        return pick(size, rows) * _unit(scaled)

    def uniform(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        # The radius of a uniform point has density d r^(d-1), d the number of free features.
        freedom = self.free.expand_as(draws.like).sum(1, keepdim=True).clamp(min=1)
        share = draws.uniform(rows, number, 1)
        return share ** freedom[rows].to(share).reciprocal() * self.surface(draws, rows, number)

    def surface(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        normal = torch.where(pick(self.free, rows), draws.normal(rows, number), 0)
        return self._from_radii(_unit(normal), rows)


BALLS: dict[str, type[Ball]] = {"Linf": LinfBall, "L2": L2Ball}


def _unit(rows: Tensor) -> Tensor:
    """Rows of length one; rows of zeros stay."""
    # Dividing by the largest first keeps the squares of tiny gradients from vanishing.
    largest = rows.abs().amax(1, keepdim=True)
    rows = rows / torch.where(largest > 0, largest, 1)
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return rows / torch.where(length > 0, length, 1)


class Box:
    """The valid inputs: ``lower <= x <= upper`` feature by feature.

    Args:
        lower, upper: bounds, ``(N or 1, d or 1)``.
        clean: the inputs, ``(N, d)``.

        rounding: relative rounding error of the inputs' types; the slack where it is larger.

    Raises:
        ValueError: if a bound is NaN, or an input lies outside by more than rounding.
    """

    slack: ClassVar[float] = 1e-5

    def __init__(self, lower: Tensor, upper: Tensor, clean: Tensor, rounding: float = 0.0) -> None:
        for name, bound in (("lower_bound", lower), ("upper_bound", upper)):
            if bool(torch.isnan(bound).any()):
                raise ValueError(f"`{name}` must not be NaN, got one; use -inf or inf for none.")
        excess = torch.maximum(lower - clean, clean - upper)
        outside = excess > max(self.slack, rounding) * clean.abs().clamp(min=1)
        if bool(outside.any()):
            example = int(outside.any(1).nonzero()[0])
            raise ValueError(
                "`inputs` must lie in [`lower_bound`, `upper_bound`]; "
                f"{int(outside[example].sum())} features of example {example} do not "
                f"(by up to {float(excess[example].max()):.4g})."
            )
        # A clean value that rounding put outside may stay where it is.
        self.lower, self.upper = torch.minimum(lower, clean), torch.maximum(upper, clean)

    def clip(self, points: Tensor, rows: Rows) -> Tensor:
        """Moves ``(n, d)`` points to the nearest valid ones."""
        return points.clamp(pick(self.lower, rows), pick(self.upper, rows))
