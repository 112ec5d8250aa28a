"""A faster copy of a net that computes the same function, to sample with."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from captum.attr import Attribution
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError

from captum_robust.attr.method.forward import explaining, forward_of


@contextmanager
def sampling_on_copy(
    attribution: Attribution, wanted: bool, layer: nn.Module | None, graph: bool = False
) -> Iterator[None]:
    """Makes the innermost method explain an optimised copy of its net, where that is wanted."""
    if not wanted:
        yield
        return
    if layer is not None or graph:
        other = "`layer` is a part of the net itself" if layer is not None else "a graph is of it"
        raise ValueError(f"`optimize_model` samples on a copy of the net, but {other}; give one.")
    with explaining(attribution, optimised(forward_of(attribution, "optimize_model"))):
        yield


def optimised(model: Callable[..., Any]) -> nn.Module:
    r"""A copy in which batch normalisation is part of the convolutions before it.

    .. math:: \gamma\,\frac{Wx + b - m}{\sqrt{v + \epsilon}} + \beta = W'x + b',
              \quad W' = \frac{\gamma}{\sqrt{v+\epsilon}} W

    as it is in evaluation mode; parameters are frozen, so that nothing is kept for their gradients,
    and four-dimensional ones lie channels last, which convolutions on CPUs and tensor cores prefer.
    The function is the same up to rounding.

    Args:
        model: a module in evaluation mode that ``torch.fx`` can trace.

    Raises:
        TypeError: if it is not a module.
        RuntimeError: if it is in training mode.
        ValueError: if it carries hooks, or cannot be traced.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(
            "`optimize_model` needs a method whose forward function is a torch.nn.Module, "
            f"got {type(model).__name__}."
        )
    for name, module in model.named_modules():
        if module.training:
            raise RuntimeError(
                f"`optimize_model` folds batch normalisation as it is in evaluation mode, but "
                f"{name or type(model).__name__} is in training mode; call model.eval()."
            )
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
            raise ValueError(
                f"`optimize_model` copies what a net computes, not its hooks, and "
                f"{name or type(model).__name__} has some; remove them or leave it False."
            )
    try:
        copied = fuse(copy.deepcopy(model))
    except (TraceError, TypeError, AttributeError, NameError) as error:
        raise ValueError(
            f"`optimize_model` needs a net that torch.fx can trace, and {type(model).__name__} "
            f"is not ({error}); leave it False."
        ) from error
    return copied.requires_grad_(False).to(memory_format=torch.channels_last)
