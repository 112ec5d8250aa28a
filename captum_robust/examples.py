"""A small model for examples and first tries."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["example_model"]


def example_model() -> nn.Sequential:
    r"""Builds a small classifier that needs no data and no download.

    .. math:: f(x) = W_2 \, \mathrm{softplus}(W_1 x + b_1) + b_2

    It maps inputs ``(N, 4)`` to the logits of three classes, ``(N, 3)``. Its random weights are the
    same in every call, it is in evaluation mode, and torch's global random state is not touched.
    Softplus is curved everywhere, so every method, attack and loss of this package can use it.

    Returns:
        The model, on the CPU, in float32.

    Example:
        >>> import torch
        >>> from captum_robust.examples import example_model
        >>> example_model()(torch.zeros(2, 4)).shape
        torch.Size([2, 3])
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 3)).eval()
