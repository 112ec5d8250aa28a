"""The l1 ball."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from captum_robust._base.checks import check_share_or_count, feature_count
from captum_robust._base.rows import Rows, pick
from captum_robust.robust.balls.ball import EVERY, Ball
from captum_robust.robust.balls.draws import Draws

# Smaller radii are none: the squares of their inverses overflow.
_TINY: Final = 1e-100


class L1Ball(Ball):
    r"""Perturbations of limited sum of absolute values: few features may move far.

    .. math:: \sum_i |\delta_i| / r_i \le 1

    The norm that certificates of box noise speak of. The projection is the exact Euclidean one onto
    the ball cut by the box of valid inputs: the sorting method of Duchi et al. (2008), with a
    weight for each feature and with both walls of Croce and Hein (2021). The steepest step of
    length s moves the single feature with the largest gradient; in an image that soon meets a wall.
    Here it is the steepest among the steps that stay in the box and give no feature more than
    :math:`s / k`, so that at least k features move, as in Tramer and Boneh (2019), who take a
    hundredth; a twentieth was the better choice for maps, which change with every step.

    Args:
        spread: k, a share in (0, 1] of the features or a count.

    Raises:
        ValueError: if ``spread`` is no share or count.

    Example:
        >>> import torch
        >>> from captum_robust.robust import L1Ball
        >>> ball = L1Ball(spread=1).of_radius(1.0)
        >>> ball.project(torch.tensor([[3.0, -2.5]]))
        tensor([[ 0.7500, -0.2500]])
        >>> ball.step(torch.tensor([[3.0, 2.5]]), size=torch.ones(1, 1))
        tensor([[1., 0.]])
    """

    name = "L1"

    def __init__(self, spread: int | float = 0.05) -> None:
        self.spread = check_share_or_count("spread", spread)

    def size(self, delta: Tensor, rows: Rows = EVERY) -> Tensor:
        return self.in_radii(delta, rows).abs().sum(1, dtype=torch.float64).to(delta)

    def project(self, delta: Tensor, rows: Rows = EVERY) -> Tensor:
        radius = pick(self.radius, rows).double()
        free = pick(self.free, rows) & (radius > _TINY)
        wanted = torch.where(free, delta, 0).double()
        walls = self._room(wanted.sign(), None, rows).double()
        weight = torch.where(free, 1 / radius.where(free, 1), 0).expand_as(wanted)
        near = shrunk(wanted.abs(), walls, weight) * wanted.sign()
        near = near.to(delta)
        # Rounding to the type of delta may have lengthened it.
        return near / self.size(near, rows).clamp(min=1).unsqueeze(1)

    def step(
        self, gradient: Tensor, size: Tensor, rows: Rows = EVERY, delta: Tensor | None = None
    ) -> Tensor:
        size, sign = pick(size, rows), gradient.sign()
        gain = torch.where(pick(self.free, rows), gradient.abs(), 0) * size
        most = (self._room(sign, delta, rows) / size).clamp(0, 1 / self._least(gradient))
        most = torch.where(gain > 0, most, 0)  # shares of the step
        order = gain.argsort(dim=1, descending=True)
        taken = most.gather(1, order)
        before = taken.cumsum(1) - taken
        share = torch.zeros_like(taken).scatter(1, order, (1 - before).clamp(min=0).minimum(taken))
        return sign * share * size

    def _least(self, rows: Tensor) -> int:
        """The number of features that a step moves at least."""
        features = rows.shape[1]
        count = min(self.spread, features) if isinstance(self.spread, int) else self.spread
        return feature_count("spread", count, features)

    def _room(self, sign: Tensor, delta: Tensor | None, rows: Rows) -> Tensor:
        """How far each feature may go in the direction of ``sign`` before it meets a wall."""
        room = torch.where(sign < 0, -pick(self.low, rows), pick(self.high, rows))
        return room if delta is None else room - sign * delta

    def uniform(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        # d + 1 spacings of [0, 1] are exponentials over their sum; the last is left out.
        parts = self._exponentials(draws, rows, number)
        signs = draws.normal(rows, number).sign()
        return self.from_radii(signs * parts[:, :-1] / parts.sum(1, keepdim=True), rows)

    def surface(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        parts = self._exponentials(draws, rows, number)[:, :-1]
        return self._on_surface(parts * draws.normal(rows, number).sign(), rows)

    def extreme(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        """A point of a random face: the number of features that move is log-uniform."""
        parts = self._exponentials(draws, rows, number)
        parts, last = parts[:, :-1], parts[:, -1:]
        free, normal = parts > 0, draws.normal(rows, number)
        # 1 - exp(-E) is uniform.
        count = free.sum(1, keepdim=True).clamp(min=1) ** -torch.expm1(-last)
        rank = torch.where(free, normal.abs(), -1).argsort(dim=1, descending=True).argsort(dim=1)
        return self._on_surface(torch.where(rank <= count - 1, parts * normal.sign(), 0), rows)

    def _on_surface(self, parts: Tensor, rows: Rows) -> Tensor:
        length = parts.abs().sum(1, keepdim=True)
        return self.from_radii(parts / torch.where(length > 0, length, 1), rows)

    def _exponentials(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        """Exponential numbers for each free feature, 0 for the others, and one more."""
        features = draws.like.shape[1]
        drawn = -torch.log1p(-draws.uniform(rows, number, features + 1))
        free = pick(self.free, rows).expand(len(drawn), features)
        return torch.cat([torch.where(free, drawn[:, :-1], 0), drawn[:, -1:]], 1)


def shrunk(sizes: Tensor, walls: Tensor, weight: Tensor) -> Tensor:
    r"""The nearest sizes in a weighted l1 ball of radius 1, none beyond its wall.

    .. math:: \min_z \lVert z - a \rVert_2 \;\text{ s.t. }\; 0 \le z \le u,\; \sum_i w_i z_i \le 1
        \quad\Rightarrow\quad z_i = \min(\max(a_i - \lambda w_i, 0), u_i)

    :math:`\phi(\lambda) = \sum_i w_i z_i` falls linearly between the values of :math:`\lambda` at
    which a feature leaves its wall or reaches 0; sorting those finds the piece where it is 1.

    Args:
        sizes, walls, weight: a, u and w, all >= 0, ``(n, d)``, float64; no weight is no limit.
    """
    limited = weight > 0
    held = torch.where(limited, weight, 1)
    sizes = torch.where(limited, sizes, sizes.minimum(walls))
    leaves = torch.where(limited, ((sizes - walls) / held).clamp(min=0), 0)
    ends = torch.where(limited, sizes / held, 0)
    breaks, order = torch.cat([leaves, ends], 1).sort(dim=1)
    slopes = torch.cat([weight.square(), -weight.square()], 1).gather(1, order)
    slope, offset = slopes.cumsum(1), (slopes * breaks).cumsum(1)
    whole = (weight * sizes.minimum(walls)).sum(1, keepdim=True)
    at_breaks = whole + offset - slope * breaks
    piece = (at_breaks >= 1).sum(1, keepdim=True).clamp(min=1) - 1
    fall = slope.gather(1, piece).clamp(min=torch.finfo(slope.dtype).tiny)
    shift = ((whole - 1 + offset.gather(1, piece)) / fall).clamp(min=0)
    return (sizes - shift * weight).clamp(min=0).minimum(walls)
