"""The family of elementwise confidences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DOWN: Final = 1e-12  # bounds are rounded outward by more than the error of what computes them


class Confidence(ABC):
    """A way from averages of [0, 1]-valued features to simultaneous bounds on their expectations.

    A new one is one subclass with a ``name``, which ``certify(confidence=name)`` then takes.

    Attributes:
        name: the word for it.
        needs_variances: whether it takes the sample variances, which are then collected.
        needs_marks: whether every value must be 0 or 1.

    Example:
        >>> import numpy as np
        >>> from captum_robust.certificates import Confidence
        >>> class Chebyshev(Confidence):
        ...     name = "chebyshev"
        ...
        ...     def bounds(self, means, samples, alpha, comparisons, variances=None):
        ...         half = np.sqrt(comparisons / (4 * samples * alpha))
        ...         return np.maximum(means - half, 0.0), np.minimum(means + half, 1.0)
        >>> low, high = Confidence.named("chebyshev").bounds(np.array([0.5]), 1000, 0.1, 1)
        >>> low.round(2), high.round(2)
        (array([0.45]), array([0.55]))
        >>> Confidence.forget("chebyshev")
    """

    name: ClassVar[str]
    needs_variances: ClassVar[bool] = False
    needs_marks: ClassVar[bool] = False

    _known: ClassVar[dict[str, type[Confidence]]] = {}

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in vars(cls):
            Confidence._known[cls.name] = cls

    @abstractmethod
    def bounds(
        self,
        means: Array,
        samples: int,
        alpha: float,
        comparisons: int,
        variances: Array | None = None,
    ) -> tuple[Array, Array]:
        """Lower and upper bounds in [0, 1] that all hold with probability ``1 - alpha``.

        Args:
            means: averages of ``samples`` independent values in [0, 1].
            samples: their number.
            alpha: probability that any bound fails.
            comparisons: number of means bounded together.
            variances: sample variances, divided by N - 1, where they are needed.
        """

    @staticmethod
    def names() -> tuple[str, ...]:
        """The names of all confidences."""
        return tuple(Confidence._known)

    @staticmethod
    def named(name: str) -> Confidence:
        """The confidence of a name."""
        if name not in Confidence._known:
            raise ValueError(
                f"`confidence` must be one of {', '.join(map(repr, Confidence._known))}, "
                f"got {name!r}; import the module that defines it."
            )
        return Confidence._known[name]()

    @staticmethod
    def forget(name: str) -> None:
        """Takes a confidence out of the family again."""
        Confidence._known.pop(name, None)
