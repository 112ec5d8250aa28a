"""Noise at a layer: the layer's output stands where the input stood."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from captum.attr import Attribution
from torch import Tensor, nn

from captum_robust._base.captum_privates import _format_additional_forward_args, _is_tuple
from captum_robust.attr.method.forward import explaining, forward_of
from captum_robust.attr.method.modules import model_modules

Maps = tuple[Tensor, ...]


@contextmanager
def explained_at(
    attribution: Attribution,
    layer: nn.Module | None,
    inputs: Tensor | Maps,
    arguments: dict[str, Any],
    graph: bool = False,
) -> Iterator[tuple[Any, dict[str, Any]]]:
    r"""What to explain instead of the inputs, and the arguments that go with it.

    For a net :math:`f(x) = u(a(x), x)` with the layer's output :math:`a`, the base method explains
    :math:`a \mapsto u(a, x)` at :math:`a(x)`: its forward function is replaced by the net with that
    output put in the layer's place, for as long as the context is open. The inputs themselves
    follow as additional arguments, so that Captum expands them with the rest.

    Args:
        attribution: the base method, possibly behind a ``NoiseTunnel``.
        layer: a module of the net that is called once; ``None`` changes nothing.
        inputs: of the net, any dtype.
        arguments: of the base method's ``attribute``.
        graph: whether the layer's output keeps its graph.

    Yields:
        The layer's outputs (or ``inputs``) and the arguments.
    """
    if layer is None:
        yield inputs, arguments
        return
    forward = forward_of(attribution, "layer")
    extra = _format_additional_forward_args(arguments.get("additional_forward_args")) or ()
    given = (*(inputs if isinstance(inputs, tuple) else (inputs,)), *extra)
    with torch.set_grad_enabled(graph):
        output = _output_of(forward, layer, given)
    head = _Head(forward, layer, 1 if isinstance(output, Tensor) else len(output))
    with explaining(attribution, head):
        yield output, arguments | {"additional_forward_args": given}


def name_of(layer: nn.Module, attribution: Attribution) -> str:
    """Where a module stands in the net behind an attribution, or its kind."""
    names = (name for name, module in model_modules(attribution) if module is layer)
    return next(names, type(layer).__name__)


class _Head:
    """The net as a function of the layer's output, its own inputs following."""

    def __init__(self, forward: Callable[..., Any], layer: nn.Module, parts: int) -> None:
        self.forward, self.layer, self.parts = forward, layer, parts

    def __call__(self, *given: Any) -> Any:
        outputs, inputs = given[: self.parts], given[self.parts :]

        def replace(module: nn.Module, came: Any, produced: Any) -> Any:
            return outputs if _is_tuple(produced) else outputs[0]

        handle = self.layer.register_forward_hook(replace)
        try:
            return self.forward(*inputs)
        finally:
            handle.remove()


def _output_of(forward: Callable[..., Any], layer: nn.Module, given: tuple[Any, ...]) -> Any:
    """What the layer gives for these inputs."""
    if not isinstance(layer, nn.Module):
        raise TypeError(f"`layer` must be a torch.nn.Module, got {type(layer).__name__}.")
    seen: list[Any] = []

    def look(module: nn.Module, came: Any, produced: Any) -> None:
        seen.append(produced)

    handle = layer.register_forward_hook(look)
    try:
        forward(*given)
    finally:
        handle.remove()
    if len(seen) != 1:
        raise ValueError(
            f"`layer` must be called once by the net, got {len(seen)} calls of "
            f"{type(layer).__name__}; name a module of the net that is called once."
        )
    (output,) = seen
    parts = output if isinstance(output, tuple) else (output,)
    if not all(isinstance(part, Tensor) for part in parts):
        kinds = ", ".join(type(part).__name__ for part in parts)
        raise TypeError(f"`layer` must give a tensor or a tuple of tensors, got {kinds}.")
    examples = given[0].shape[0]
    if any(part.shape[:1] != (examples,) for part in parts):
        raise ValueError(
            f"`layer` must give one row for each of {examples} examples, "
            f"got shapes {[tuple(part.shape) for part in parts]}."
        )
    return tuple(parts) if isinstance(output, tuple) else output
