"""Small nets that many tests explain, attack and train."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def dense_net(
    *sizes: int,
    activation: Callable[[], nn.Module] = nn.Softplus,
    middle: Iterable[nn.Module] = (),
    flatten: bool = True,
    seed: int = 3,
) -> nn.Sequential:
    """Linear layers of these sizes with activations between, float64; ``middle`` after the first.

    An example may have any shape: it is flattened first, unless a test gives one without a batch.
    """
    torch.manual_seed(seed)
    linear = [nn.Linear(*pair) for pair in itertools.pairwise(sizes)]
    layers: list[nn.Module] = [*([nn.Flatten()] if flatten else []), linear[0], *middle]
    for layer in linear[1:]:
        layers += [activation(), layer]
    return nn.Sequential(*layers).double()


class TwoInputs(nn.Module):
    """Two inputs, any shape, one further argument, three classes."""

    def __init__(
        self,
        first: int = 4,
        second: int = 6,
        hidden: int = 5,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(first, hidden)
        self.second = nn.Linear(second, hidden)
        self.last = nn.Linear(hidden, 3)
        self.middle = activation()

    def forward(self, a: Tensor, b: Tensor, scale: Tensor | None = None) -> Tensor:
        hidden = self.middle(self.first(a.flatten(1)) + self.second(b.flatten(1)))
        return self.last(hidden if scale is None else hidden * scale)
