"""Noise at a layer: the layer's output stands where the input stood."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from captum.attr import Attribution
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from captum_robust._base.captum_privates import _format_additional_forward_args, _is_tuple
from captum_robust._base.modes import model_modules
from captum_robust.attr.method.forward import explaining, forward_of

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
    head = _Head(forward, layer)
    with torch.inference_mode(False), torch.set_grad_enabled(graph):
        output = head.record(given)
    with explaining(attribution, head):
        yield output, arguments | {"additional_forward_args": given}


def name_of(layer: nn.Module, attribution: Attribution) -> str:
    """Where a module stands in the net behind an attribution, or its kind."""
    names = (name for name, module in model_modules(attribution) if module is layer)
    return next(names, type(layer).__name__)


class _Head:
    """The net as a function of the layer's output, its own inputs following.

    Hooks act in the thread that calls the head alone, and hand out copies: an operation in place
    after the layer changes neither what was recorded nor what it is called with.
    """

    def __init__(self, forward: Callable[..., Any], layer: nn.Module) -> None:
        if not isinstance(layer, nn.Module):
            raise TypeError(f"`layer` must be a torch.nn.Module, got {type(layer).__name__}.")
        self.forward, self.layer = forward, layer
        self._places: list[int] = []  # of tensors in the layer's output
        attends = (nn.MultiheadAttention, nn.TransformerEncoderLayer)
        self._attends = any(isinstance(module, attends) for _, module in model_modules(forward))

    def record(self, given: tuple[Any, ...]) -> Any:
        """What the layer gives for the net's inputs: a tensor or a tuple of several."""
        seen: list[Any] = []

        def look(produced: Any) -> None:
            seen.append(_copied(produced))

        self._call(look, given)
        if len(seen) != 1:
            raise ValueError(
                f"`layer` must be called once by the net, got {len(seen)} calls of "
                f"{type(self.layer).__name__}; name a module of the net that is called once."
            )
        produced = seen[0] if isinstance(seen[0], tuple) else (seen[0],)
        self._places = [place for place, part in enumerate(produced) if isinstance(part, Tensor)]
        parts = tuple(produced[place] for place in self._places)
        _check_parts(produced, parts, given[0].shape[0])
        return parts if len(parts) > 1 else parts[0]

    def __call__(self, *given: Any) -> Any:
        parts = len(self._places)

        def replace(produced: Any) -> Any:
            outputs = [part.clone() for part in given[:parts]]
            if not _is_tuple(produced):
                return outputs[0]
            whole = list(produced)
            for place, output in zip(self._places, outputs, strict=True):
                whole[place] = output
            return tuple(whole)

        return self._call(replace, given[parts:])

    def _call(self, hook: Callable[[Any], Any], inputs: tuple[Any, ...]) -> Any:
        """Calls the net with a hook at the layer."""
        thread = threading.get_ident()

        def act(module: nn.Module, came: Any, produced: Any) -> Any:
            return hook(produced) if threading.get_ident() == thread else None

        handle = self.layer.register_forward_hook(act)
        try:
            with _PlainPath() if self._attends else nullcontext():
                return self.forward(*inputs)
        finally:
            handle.remove()


class _PlainPath(TorchFunctionMode):
    """Keeps attention from its fast path, in this thread: nested tensors are no layer's output."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def _copied(produced: Any) -> Any:
    """A layer's output on memory of its own."""
    if isinstance(produced, tuple):
        return tuple(_copied(part) for part in produced)
    return produced.clone() if isinstance(produced, Tensor) else produced


def _check_parts(produced: Sequence[Any], parts: tuple[Tensor, ...], examples: int) -> None:
    """Refuses an output that holds anything but tensors and ``None``, or has other rows."""
    if not parts or any(part is not None and not isinstance(part, Tensor) for part in produced):
        kinds = ", ".join(type(part).__name__ for part in produced)
        raise TypeError(f"`layer` must give a tensor or a tuple of tensors, got {kinds}.")
    if any(part.shape[:1] != (examples,) for part in parts):
        raise ValueError(
            f"`layer` must give one row for each of {examples} examples, "
            f"got shapes {[tuple(part.shape) for part in parts]}."
        )
