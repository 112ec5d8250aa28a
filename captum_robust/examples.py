"""A small model for examples and first tries."""

from __future__ import annotations

import math

import torch
from torch import nn

__all__ = ["example_model"]


def example_model(shape: tuple[int, ...] = (4,)) -> nn.Sequential:
    r"""Builds a small classifier that needs no data and no download.

    .. math:: f(x) = W_2 \, \mathrm{softplus}(W_1 x + b_1) + b_2

    It maps inputs ``(N, *shape)`` to the logits of three classes, ``(N, 3)``. Its random weights
    are the same in every call, it is in evaluation mode, and torch's global random state is not
    touched. Softplus is curved everywhere, so every method, attack and loss of this package can use
    it.

    Args:
        shape: shape of one example, such as ``(1, 8, 8)`` for small gray images.

    Returns:
        The model, on the CPU, in float32.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> example_model()(torch.zeros(2, 4)).shape
        torch.Size([2, 3])
    """
    flatten = [nn.Flatten()] if len(shape) > 1 else []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hidden, logits = nn.Linear(math.prod(shape), 8), nn.Linear(8, 3)
    return nn.Sequential(*flatten, hidden, nn.Softplus(), logits).eval()
