"""What values the settings of an audit may have; errors name option, rule and what came."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import torch

from captum_robust._base.checks import check_choice, check_count, check_number
from captum_robust.audit.ask.imported import IMPORTED
from captum_robust.audit.ask.option import Normalization

Check = Callable[[str, Any], Any]


def positive(name: str, value: Any) -> None:
    """A finite number above 0."""
    check_number(name, value, low=0, high=math.inf, open_low=True, open_high=True)


def nonnegative(name: str, value: Any) -> None:
    """A finite number, 0 or above."""
    check_number(name, value, low=0, high=math.inf, open_high=True)


def probability(name: str, value: Any) -> None:
    """A number in (0, 1)."""
    check_number(name, value, low=0, high=1, open_low=True, open_high=True)


def some_of(choices: Collection[str]) -> Check:
    """At least one of some names, each once."""

    def check(name: str, value: Any) -> None:
        if not value:
            raise ValueError(f"`{name}` must name at least one of {', '.join(choices)}, got none.")
        for one in value:
            check_choice(name, one, tuple(choices))
        if len(set(value)) != len(value):
            raise ValueError(f"`{name}` must name each method once, got {','.join(value)}.")

    return check


def one_of(choices: Sequence[str]) -> Check:
    """One of some names."""
    return lambda name, value: check_choice(name, value, tuple(choices))


def imported(name: str, value: Any) -> None:
    """Names of the form ``module:name``, each once."""
    for one in value:
        if not IMPORTED.fullmatch(one):
            raise ValueError(f"`{name}` must be names of the form module:name, got {one!r}.")
    if len(set(value)) != len(value):
        raise ValueError(f"`{name}` must hold each name once, got {','.join(value)}.")


def seed(name: str, value: Any) -> None:
    """A count that torch's generators take."""
    if check_count(name, value, low=0) >= 2**63:
        raise ValueError(f"`{name}` must be below 2**63, got {value}.")


def device(name: str, value: Any) -> None:
    """A device on which torch can make a tensor."""
    try:
        torch.zeros(1, device=torch.device(value)).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # Torch raises AssertionError where it was built without CUDA.
        raise ValueError(f"`{name}` must be a device torch can use here, got {value!r}.") from error


def at_most(most: int) -> Check:
    """A count that what comes after can take."""

    def check(name: str, value: Any) -> None:
        if check_count(name, value) > most:
            raise ValueError(f"`{name}` must be at most {most:,}, got {value:,}.")

    return check


def switch(name: str, value: Any) -> None:
    """Either of two values."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be a bool, got {type(value).__name__}.")


def normalization(name: str, value: Normalization) -> None:
    """As many means as standard deviations, or one for all channels."""
    means, deviations = value
    for mean in means:
        check_number(name, mean, low=-math.inf, high=math.inf, open_low=True, open_high=True)
    for deviation in deviations:
        positive(name, deviation)
    if len({len(means), len(deviations)} - {1}) > 1 or not means or not deviations:
        raise ValueError(
            f"`{name}` must have one mean and one standard deviation a channel, "
            f"got {len(means)} and {len(deviations)}."
        )


def text(name: str, value: Any) -> None:
    """Some text."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{name}` must be a word, got {value!r}.")


def path(name: str, value: Any) -> None:
    """A path."""
    if not isinstance(value, Path):
        raise TypeError(f"`{name}` must be a Path, got {type(value).__name__}.")
    if "\0" in str(value):
        raise ValueError(f"`{name}` must be a path, got {str(value)!r}.")
