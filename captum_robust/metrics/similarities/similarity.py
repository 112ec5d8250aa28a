"""The similarities known by name, each with its range and the end at which maps are alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

Similarity = Callable[[Any, Any], Tensor]
Function = TypeVar("Function", bound=Callable[..., Tensor])

SIMILARITIES: dict[str, Callable[..., Tensor]] = {}
"""Every registered similarity by its name; evaluators, docs and reports read it."""


@dataclass(frozen=True)
class Scale:
    """The range of a similarity, and the end of it at which two maps are alike.

    Attributes:
        low, high: ends of the range, possibly infinite.
        higher_is_better: whether maps are alike at the upper end; False for a distance.

    Example:
        >>> from captum_robust.metrics import Scale, cosine_distance
        >>> Scale.of(cosine_distance)
        Scale(low=0, high=2, higher_is_better=False)
    """

    low: float = -math.inf
    high: float = math.inf
    higher_is_better: bool = True

    @classmethod
    def of(cls, similarity: Similarity | str) -> Scale:
        """The scale of a similarity, also of one with options bound by :func:`functools.partial`.

        Args:
            similarity: a function or a registered name. A function that is not registered has the
                whole line for a range, and is a distance where its attribute ``higher_is_better``
                is False.
        """
        function = by_name(similarity)
        while isinstance(function, partial):
            function = function.func
        unregistered = cls(higher_is_better=getattr(function, "higher_is_better", True))
        return getattr(function, "scale", unregistered)


def register_similarity(
    *, low: float, high: float, higher_is_better: bool = True
) -> Callable[[Function], Function]:
    """Makes a function of two maps a similarity that evaluators know by its name.

    The function takes two maps, tensors ``(N, *)`` or tuples of them, and returns one value per
    example, ``(N,)``. This decorator is all that a new similarity needs, in a file of its own.

    Args:
        low, high: ends of its range, infinite where there is none.
        higher_is_better: whether maps are alike at the upper end; False for a distance.

    Returns:
        A decorator that returns the function itself.

    Raises:
        ValueError: if the range is empty, or another module has registered the name.

    Example:
        >>> from captum_robust.metrics import SIMILARITIES, register_similarity
        >>> @register_similarity(low=0, high=1)
        ... def same_sign(a, b):
        ...     return (a.sign() == b.sign()).double().flatten(1).mean(1)
        >>> SIMILARITIES["same_sign"] is same_sign
        True
        >>> del SIMILARITIES["same_sign"]
    """
    if not low < high:
        raise ValueError(f"`low` must be below `high`, got {low} and {high}.")

    def register(function: Function) -> Function:
        name = function.__name__
        known = SIMILARITIES.get(name, function)
        if known.__module__ != function.__module__:
            raise ValueError(
                f"`{name}` is a similarity of {known.__module__}; choose another name."
            )
        function.scale = Scale(low, high, higher_is_better)  # type: ignore[attr-defined]
        function.higher_is_better = higher_is_better  # type: ignore[attr-defined]
        SIMILARITIES[name] = function
        return function

    return register


def by_name(similarity: Similarity | str) -> Similarity:
    """The similarity, looked up where a name is given."""
    if not isinstance(similarity, str):
        return similarity
    if similarity not in SIMILARITIES:
        raise ValueError(
            f"`similarity` must be a function or one of {', '.join(sorted(SIMILARITIES))}, "
            f"got {similarity!r}."
        )
    return SIMILARITIES[similarity]
