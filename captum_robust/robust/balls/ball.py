"""A norm ball of perturbations: the family that ``norm=`` of attacks and losses chooses from."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, ClassVar, Final

import torch
from torch import Tensor

from captum_robust._base.printed import Printed
from captum_robust._base.rows import Rows, pick
from captum_robust.robust.balls.draws import Draws

if TYPE_CHECKING:
    from typing_extensions import Self

EVERY: Final = slice(None)
"""All rows."""


class Ball(Printed):
    r"""A norm ball of perturbations; what measures them also limits, steps in and draws from it.

    An object such as ``L1Ball()`` says which norm; :meth:`of_radius` gives it a size. Perturbations
    are rows ``(n, d)``, all inputs of an example together. A new ball is one subclass with a
    ``name``, by which ``norm=`` then knows it, and the methods ``size``, ``project``, ``step``,
    ``uniform`` and ``surface``.

    Attributes:
        name: the word for ``norm=``; a subclass without one is passed as an object.
        radius: largest perturbation, ``(N or 1, d or 1)``, in input units; per-feature radii
            stretch the ball, ``inf`` is no limit.
        free: False where nothing may move, ``(N or 1, d or 1)``.
        low, high: the smallest and largest change of each feature that the box of valid inputs
            allows, ``(N or 1, d or 1)``, ``low <= 0 <= high``. Points are clipped to them in any
            case; a ball may use them to step and project better.

    Example:
        >>> import torch
        >>> from captum_robust.robust import L2Ball
        >>> L2Ball().of_radius(5.0).project(torch.tensor([[6.0, 8.0], [0.0, 1.0]]))
        tensor([[3., 4.],
                [0., 1.]])
    """

    name: ClassVar[str] = ""
    names: ClassVar[dict[str, type[Ball]]] = {}

    radius: Tensor
    free: Tensor
    low: Tensor
    high: Tensor

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        name = vars(cls).get("name")
        if not name:
            return
        known = Ball.names.setdefault(name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"`name` must be new, got {name!r}, the name of {known.__name__}.")
        Ball.names[name] = cls

    def of_radius(
        self,
        radius: float | Tensor,
        free: Tensor | None = None,
        low: Tensor | None = None,
        high: Tensor | None = None,
    ) -> Self:
        """A copy of this ball with a size; the arguments are the attributes of these names."""
        sized = copy.copy(self)
        sized.radius = radius if isinstance(radius, Tensor) else torch.full((1, 1), float(radius))
        sized.free = sized.radius > 0 if free is None else free & (sized.radius > 0)
        nowhere = sized.radius.new_full((1, 1), torch.inf)
        sized.low = -nowhere if low is None else low
        sized.high = nowhere if high is None else high
        return sized

    def size(self, delta: Tensor, rows: Rows = EVERY) -> Tensor:
        """Size of ``(n, d)`` perturbations in radii, ``(n,)``: at most 1 inside the ball."""
        raise NotImplementedError

    def holds(self, delta: Tensor, rows: Rows = EVERY) -> Tensor:
        """Which features of ``(n, d)`` perturbations may stay for the whole to be inside."""
        # The margin covers the rounding of a norm.
        return (self.size(delta, rows) <= 1 - 1e-6).unsqueeze(1).expand_as(delta)

    def project(self, delta: Tensor, rows: Rows = EVERY) -> Tensor:
        """The nearest perturbation inside (for stretched L2 balls: along the ray to the centre)."""
        raise NotImplementedError

    def step(
        self, gradient: Tensor, size: Tensor, rows: Rows = EVERY, delta: Tensor | None = None
    ) -> Tensor:
        """The steepest ascent among moves of the given ``size``, ``(n, d)``.

        Args:
            gradient: of what is raised, ``(n, d)``.
            size: length of the move, ``(N or 1, d or 1)``; per-feature sizes stretch it.
            rows: the rows that are moved.
            delta: where they are now, ``(n, d)``; 0 where ``None``.
        """
        raise NotImplementedError

    def uniform(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        """A uniformly distributed perturbation of the ball, ``(n, d)``."""
        raise NotImplementedError

    def surface(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        """A uniformly distributed point of the surface; of the box, a corner."""
        raise NotImplementedError

    def extreme(self, draws: Draws, rows: Rows, number: int) -> Tensor:
        """A random point of the surface as random search draws it; by default :meth:`surface`."""
        return self.surface(draws, rows, number)

    def in_radii(self, delta: Tensor, rows: Rows) -> Tensor:
        """Perturbations in units of the radii; 0 where nothing may move."""
        radius = pick(self.radius, rows)
        return torch.where(radius > 0, delta / torch.where(radius > 0, radius, 1), 0)

    def from_radii(self, unit: Tensor, rows: Rows) -> Tensor:
        """Perturbations from those of the unit ball; 0 where nothing may move."""
        return torch.where(pick(self.free, rows), unit * pick(self.radius, rows), 0)


Norm = str | Ball | type[Ball]


def ball_of(norm: Norm) -> Ball:
    """The ball that ``norm=`` asks for: by its name, its class or as an object.

    Raises:
        ValueError: for a name that no ball has.
        TypeError: for anything else.
    """
    if isinstance(norm, Ball):
        return norm
    if isinstance(norm, type) and issubclass(norm, Ball):
        return norm()
    known = ", ".join(map(repr, sorted(Ball.names)))
    if not isinstance(norm, str):
        raise TypeError(
            f"`norm` must be one of {known}, a Ball class or an object of one, "
            f"got {type(norm).__name__}."
        )
    if norm not in Ball.names:
        raise ValueError(f"`norm` must be one of {known}, or a Ball, got {norm!r}.")
    return Ball.names[norm]()
