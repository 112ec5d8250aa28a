"""Attributions whose maps carry a correct graph, for attacks and losses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from captum.attr import (
    LRP,
    Attribution,
    Deconvolution,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    LayerGradientXActivation,
    NoiseTunnel,
    Saliency,
)
from torch import Tensor

from captum_robust._base.attention import plain_attention
from captum_robust._base.captum_privates import TargetType
from captum_robust.attr.method.gradients import gradients_of

# Each computes its map from `gradient_func` and smooth operations on the inputs alone.
_FROM_GRADIENTS = (Saliency, InputXGradient, IntegratedGradients)
_LAYER_METHODS = (LayerGradientXActivation, LayerGradCam)
# Their rules rewrite the backward pass; captum_robust.attr.lrp does so with a graph.
_THROUGH_ZENNIT = (LRP, GuidedBackprop, Deconvolution)


def gradients_with_graph(
    forward_fn: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    target_ind: TargetType = None,
    additional_forward_args: object | None = None,
) -> tuple[Tensor, ...]:
    """Captum's ``compute_gradients``, keeping the graph of the gradient itself."""
    return gradients_of(forward_fn, inputs, target_ind, additional_forward_args, create_graph=True)


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
        attribution: ``Saliency``, ``InputXGradient``, ``IntegratedGradients``,
            ``LayerGradientXActivation``, ``LayerGradCam``, or anything that brings
            a context manager ``with_graph()`` of its own, such as a
            :class:`~captum_robust.attr.SmoothedAttribution` over one of them.

    Yields:
        The same object.

    Raises:
        TypeError: if the method's map cannot be differentiated this way; the message says why.

    Example:
        >>> import torch
        >>> from captum.attr import Saliency
        >>> from captum_robust.attr.method.differentiable import differentiable
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
    if not isinstance(attribution, (*_LAYER_METHODS, *_FROM_GRADIENTS)):
        raise TypeError(_why_not(attribution))
    graph = _layer_graph if isinstance(attribution, _LAYER_METHODS) else _input_graph
    with plain_attention(), torch.enable_grad(), graph(attribution):
        yield attribution


@contextmanager
def _input_graph(attribution: Attribution) -> Iterator[None]:
    """Exchanges the function that Captum computes gradients with."""
    with ExitStack() as stack:
        stack.enter_context(_replaced(attribution, "gradient_func", gradients_with_graph))
        if isinstance(attribution, IntegratedGradients):
            whole = functools.partial(_refuse_batches, attribution._attribute)
            stack.enter_context(_replaced(attribution, "_attribute", whole))
        yield


@contextmanager
def _layer_graph(attribution: Attribution) -> Iterator[None]:
    """Passes the one keyword that makes Captum's layer gradients carry a graph."""
    bound = functools.partial(attribution.attribute, grad_kwargs={"create_graph": True})
    with _replaced(attribution, "attribute", bound):
        yield


@contextmanager
def _replaced(owner: object, name: str, value: Any) -> Iterator[None]:
    """Sets an attribute of one object for a while; nests."""
    before = dict(vars(owner))
    setattr(owner, name, value)
    try:
        yield
    finally:
        if name in before:
            setattr(owner, name, before[name])
        else:
            delattr(owner, name)  # the class's own shows again


def _refuse_batches(attribute: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Integrated gradients' own loop, unless Captum cuts the path into batches."""
    if "step_sizes_and_alphas" in kwargs:
        raise ValueError(
            "`internal_batch_size` must be None for a map with a graph, since Captum detaches "
            "every batch of steps but the first; lower `n_steps` or pass fewer examples."
        )
    return attribute(*args, **kwargs)


def _why_not(attribution: Attribution) -> str:
    """Why a method's map cannot be differentiated, and what can."""
    name = type(attribution).__name__
    if isinstance(attribution, NoiseTunnel):
        return (
            f"{name} runs without autograd, so its map has no graph; "
            "use captum_robust.attr.GaussianSmoothing in its place."
        )
    if isinstance(attribution, _THROUGH_ZENNIT):
        return (
            f"{name} rewrites the backward pass by hooks, so its map has no correct graph; use "
            "LRPZPlus, LRPEpsilonPlus, DifferentiableGuidedBackprop or DifferentiableDeconvolution "
            "of captum_robust.attr.lrp (extra `lrp`)."
        )
    return (
        f"{name} does not compute its map from `gradient_func` alone, so no correct graph can be "
        f"given; use one of {', '.join(kind.__name__ for kind in _FROM_GRADIENTS)}."
    )
