"""Captum's gradients, but zeros for inputs that do not reach the output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from captum.attr import Attribution
from torch import Tensor

from captum_robust._base.captum_privates import TargetType, _run_forward, compute_gradients
from captum_robust.attr.method.forward import innermost
from captum_robust.attr.method.outputs import checked_output


def gradients_of(
    forward_fn: Callable[..., Any],
    inputs: Tensor | tuple[Tensor, ...],
    target_ind: TargetType = None,
    additional_forward_args: object | None = None,
    *,
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """Captum's ``compute_gradients``; an input that does not reach the output has zeros.

    Raises:
        ValueError: if there is more than one output an example.
        RuntimeError: if the outputs carry no graph at all.
    """
    with torch.enable_grad():
        whole = checked_output(_run_forward(forward_fn, inputs, None, additional_forward_args))
        output = _run_forward(lambda *_: whole, inputs, target_ind)
        if output[0].numel() != 1:
            raise ValueError(
                "`target` must select one output per example, "
                f"got outputs of shape {tuple(output.shape)}."
            )
        refuse_without_graph(output)
        return torch.autograd.grad(
            output.sum(), inputs, create_graph=create_graph, materialize_grads=True
        )


def refuse_without_graph(output: Tensor) -> None:
    """Raises where a net's outputs cannot be differentiated.

    Raises:
        RuntimeError: naming the likely causes.
    """
    if not output.requires_grad:
        raise RuntimeError(
            "the model's outputs carry no gradient: its forward runs under torch.no_grad() or "
            "torch.inference_mode(), detaches what it returns, or does not use its input. Remove "
            "that, or explain it by a method without gradients, such as FeatureAblation."
        )


@contextmanager
def zeros_for_unused(attribution: Attribution) -> Iterator[None]:
    """Makes the innermost method take :func:`gradients_of` in the place of Captum's."""
    method: Any = innermost(attribution)
    if getattr(method, "gradient_func", None) is not compute_gradients:
        yield
        return
    method.gradient_func = gradients_of
    try:
        yield
    finally:
        method.gradient_func = compute_gradients
