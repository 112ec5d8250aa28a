"""Checks of the pieces of an attack: a wrong one is named when it is given."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, Final

from captum.attr import Attribution

from captum_robust._base.checks import check_choice
from captum_robust.robust.surrogate import check_beta

# The attack sets the first three; the delta of convergence would count as a feature of the map.
_RESERVED: Final = ("inputs", "target", "additional_forward_args", "return_convergence_delta")


def check_method(method: Any) -> Attribution:
    """Returns the attribution if it is an object of Captum's class."""
    if not isinstance(method, Attribution):
        raise TypeError(
            "`attribution_method` must be an Attribution object such as Saliency(model), "
            f"got {_described(method)}."
        )
    return method


def check_piece(name: str, value: Any, kind: type, example: str) -> Any:
    """Returns ``value`` if it is an object of ``kind``; a class or anything else is refused."""
    if not isinstance(value, kind):
        raise TypeError(
            f"`{name}` must be an object of {kind.__name__} such as {example}, "
            f"got {_described(value)}."
        )
    return value


def check_surrogate(surrogate: Any) -> Any:
    """Returns a surrogate: None, a name, a net, a sharpness or a pair of them."""
    if isinstance(surrogate, str):
        check_choice("surrogate", surrogate, ("softplus",))
    elif isinstance(surrogate, Real | tuple) and not isinstance(surrogate, bool):
        check_beta("surrogate", surrogate)
    elif surrogate is not None and not callable(surrogate):
        raise TypeError(
            "`surrogate` must be 'softplus', a sharpness > 0, a pair of these, a net or None, "
            f"got {_described(surrogate)}."
        )
    return surrogate


def check_attribute_kwargs(kwargs: Any) -> dict[str, Any]:
    """Returns keyword arguments of ``attribute``, none of them set by the attack itself."""
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError(
            f"`attribute_kwargs` must be a dict of keyword arguments, got {type(kwargs).__name__}."
        )
    found = dict(kwargs or {})
    for name in _RESERVED:
        if name in found:
            raise ValueError(
                f"`attribute_kwargs` must not hold {name!r}: "
                + (
                    "the delta would count as a feature of the map; leave it out."
                    if name == "return_convergence_delta"
                    else "the attack sets it; pass it to `perturb`."
                )
            )
    return found


def _described(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    return f"a {type(value).__name__}" if value is not None else "None"
