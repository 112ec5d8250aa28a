"""The net that a method explains, exchanged for another as long as a context is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from captum.attr import Attribution, NoiseTunnel


def innermost(attribution: Attribution) -> Attribution:
    """The method behind any number of noise tunnels."""
    while isinstance(attribution, NoiseTunnel):
        attribution = attribution.attribution_method
    return attribution


def forward_of(attribution: Attribution, option: str) -> Callable[..., Any]:
    """The net that the innermost method calls, if it touches the net by calling it alone.

    Raises:
        TypeError: if it hooks the net's modules; names the option that cannot be had.
    """
    method = innermost(attribution)
    if hasattr(method, "layer") or hasattr(method, "model"):
        own = "attributes to a layer of its own" if hasattr(method, "layer") else "hooks nets"
        raise TypeError(
            f"`{option}` needs a method that explains inputs by calling a function, such as "
            f"Saliency or IntegratedGradients; {type(method).__name__} {own}."
        )
    return method.forward_func


@contextmanager
def explaining(attribution: Attribution, forward: Callable[..., Any]) -> Iterator[None]:
    """Makes a method, and all that it wraps, explain another function, and undoes it after."""
    layers: list[Any] = [attribution]
    while isinstance(layers[-1], NoiseTunnel):
        layers.append(layers[-1].attribution_method)
    before = [layer.forward_func for layer in layers]
    try:
        for layer in layers:
            layer.forward_func = forward
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            layer.forward_func = own
