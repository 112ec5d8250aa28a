"""What the net predicts at the noisy inputs, seen in forward passes that are made anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust._base.captum_privates import _run_forward
from captum_robust._base.targets import Prediction, class_targets, has_classes, predicted
from captum_robust.attr.method.forward import innermost

Maps = tuple[Tensor, ...]


class OutputWatch:
    """Stands in for the net of a method and keeps its outputs at the noisy inputs.

    Methods that take the gradient at their input, or evaluate the net there first, have made the
    forward pass already; for others it is made once more, without a graph.

    Args:
        forward: the net.
        prediction: see :func:`~captum_robust._base.targets.predicted`.
    """

    def __init__(self, forward: Callable[..., Any], prediction: Prediction | None) -> None:
        self.forward, self.prediction = forward, prediction
        self._awaited: Maps = ()
        self._outputs: Any = None

    def __call__(self, *given: Any) -> Any:
        outputs = self.forward(*given)
        if self._outputs is None and self._awaited and _same(given, self._awaited):
            self._outputs = _detached(outputs)
        return outputs

    def __getattr__(self, name: str) -> Any:
        if name == "forward":  # not set yet, as in copies
            raise AttributeError(name)
        return getattr(self.forward, name)

    def await_rows(self, noisy: Maps) -> None:
        """Begins a pass: the outputs at these rows are wanted."""
        self._awaited, self._outputs = noisy, None

    def labels(self, additional_forward_args: Any) -> Tensor | None:
        """The labels of the pass's rows, see :meth:`labels_at`."""
        awaited, outputs = self._awaited, self._outputs
        self._awaited, self._outputs = (), None
        if outputs is None:
            return self.labels_at(awaited, additional_forward_args)
        return self._labels(outputs, len(awaited[0]))

    def labels_at(self, inputs: Maps, additional_forward_args: Any) -> Tensor | None:
        """The labels at some inputs; None where outputs are no class scores."""
        with torch.no_grad():
            outputs = _run_forward(self.forward, inputs, None, additional_forward_args)
        return self._labels(outputs, len(inputs[0]))

    def _labels(self, outputs: Any, rows: int) -> Tensor | None:
        if self.prediction is None and not has_classes(outputs):
            return None
        return predicted(outputs, rows, self.prediction)

    def explained(self, target: Any, inputs: Maps, additional_forward_args: Any) -> Tensor | None:
        """The label that the map of each example is about, ``(N,)``; None where there is none.

        It is the class of the target, or what a function of the user's gives at the input.
        """
        if self.prediction is not None:
            return self.labels_at(inputs, additional_forward_args)
        return class_targets(target, len(inputs[0]))


@contextmanager
def watching(
    attribution: Attribution, prediction: Prediction | None
) -> Iterator[OutputWatch | None]:
    """Watches the net behind an attribution; None where there is none to call."""
    method: Any = innermost(attribution)
    forward = getattr(method, "forward_func", None)
    if not callable(forward):
        model = getattr(method, "model", None)
        yield OutputWatch(model, prediction) if callable(model) else None
        return
    watch = OutputWatch(forward, prediction)
    method.forward_func = watch
    try:
        yield watch
    finally:
        method.forward_func = forward


def _same(given: tuple[Any, ...], awaited: Maps) -> bool:
    """Whether a call got the awaited tensors, first of all its arguments."""
    pairs = zip(given, awaited, strict=False)
    return len(given) >= len(awaited) and all(
        isinstance(one, Tensor)
        and (one is other or (one.data_ptr() == other.data_ptr() and one.shape == other.shape))
        for one, other in pairs
    )


def _detached(outputs: Any) -> Any:
    """The outputs without their graph, which would be kept over the pass."""
    if isinstance(outputs, Tensor):
        return outputs.detach()
    if isinstance(outputs, dict):
        return {name: _detached(part) for name, part in outputs.items()}
    if isinstance(outputs, tuple) and type(outputs) is tuple:
        return tuple(_detached(part) for part in outputs)
    return outputs
