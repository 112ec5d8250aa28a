"""Attributions whose maps carry a correct graph, for attacks and losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from captum.attr import (
    Attribution,
    InputXGradient,
    IntegratedGradients,
    NoiseTunnel,
    Saliency,
)
from torch import Tensor

from captum_robust._captum import TargetType, _run_forward

# Each computes its map from `gradient_func` and smooth operations on the inputs alone.
_FROM_GRADIENTS = (Saliency, InputXGradient, IntegratedGradients)


def _gradients_with_graph(
    forward_fn: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    target_ind: TargetType = None,
    additional_forward_args: object | None = None,
) -> tuple[Tensor, ...]:
    """Captum's ``compute_gradients``, keeping the graph of the gradient itself."""
    with torch.enable_grad():
        output = _run_forward(forward_fn, inputs, target_ind, additional_forward_args)
        if output[0].numel() != 1:
            raise ValueError(
                "`target` must select one output per example, "
                f"got outputs of shape {tuple(output.shape)}."
            )
        return torch.autograd.grad(output.sum(), inputs, create_graph=True)


@contextmanager
def differentiable(attribution: Attribution) -> Iterator[Attribution]:
    r"""Makes ``attribution.attribute`` return maps that can be differentiated, and undoes it after.

    Captum computes gradients without a graph: the outputs of its integrated gradients and
    input x gradient even carry one that treats the inner gradient as a constant. Inside this
    context the inner gradient is computed with ``create_graph=True``, so that

    .. math:: \frac{\partial}{\partial x}\, g(x)

    is what automatic differentiation of the formula of :math:`g` gives. Nets of ReLU type have
    second derivatives of zero almost everywhere; this context does not change that.

    Args:
        attribution: ``Saliency``, ``InputXGradient``, ``IntegratedGradients``, or anything that
            brings a context manager ``with_graph()`` of its own, such as a
            :class:`~captum_robust.attr.SmoothedAttribution` over one of them.

    Yields:
        The same object.

    Raises:
        TypeError: if the method's map cannot be differentiated this way; the message says why.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> saliency = Saliency(lambda x: (x**3).sum(1))
        >>> x = torch.ones(1, 2, requires_grad=True)
        >>> with differentiable(saliency):
        ...     saliency.attribute(x).sum().backward()
        >>> x.grad
        tensor([[6., 6.]])
    """
    bring = getattr(attribution, "with_graph", None)
    if bring is not None:
        with bring():
            yield attribution
        return
    if not isinstance(attribution, _FROM_GRADIENTS):
        raise TypeError(_why_not(attribution))
    original = attribution.gradient_func
    attribution.gradient_func = _gradients_with_graph
    try:
        yield attribution
    finally:
        attribution.gradient_func = original


def _why_not(attribution: Attribution) -> str:
    """Why a method's map cannot be differentiated, and what can."""
    name = type(attribution).__name__
    if isinstance(attribution, NoiseTunnel):
        return (
            f"{name} runs without autograd, so its map has no graph; "
            "use captum_robust.attr.GaussianSmoothing in its place."
        )
    return (
        f"{name} does not compute its map from `gradient_func` alone, so no correct graph can be "
        f"given; use one of {', '.join(kind.__name__ for kind in _FROM_GRADIENTS)}."
    )
