"""Attributions whose maps are known, and nets small enough for every method of Captum."""

from __future__ import annotations

import weakref

import pytest
import torch
from captum.attr import Attribution
from torch import Tensor, nn

from tests.helpers.nets import TwoInputs


def known_map(tensor: Tensor) -> Tensor:
    """An elementwise map with positive and negative values, different for every input."""
    return torch.sin(3 * tensor) + 0.5 * tensor


class Recorder(Attribution):
    """An attribution of a user's own (without Captum's logging decorator) that keeps its inputs.

    Attributes:
        passes: the noisy inputs of every pass, as tuples.
        arguments: the keyword arguments of every pass.
        alive: how many passes' inputs were in memory at the start of each.
    """

    def __init__(self, function=known_map, remember=True):
        super().__init__(function)
        self.remember = remember
        self.passes: list[tuple[Tensor, ...]] = []
        self.arguments: list[dict] = []
        self.alive: list[int] = []
        self._references: list[weakref.ref] = []

    def attribute(self, inputs, **kwargs):
        parts = inputs if isinstance(inputs, tuple) else (inputs,)
        self._references = [kept for kept in self._references if kept() is not None]
        self._references.append(weakref.ref(parts[0]))
        self.alive.append(len(self._references))
        self.arguments.append(kwargs)
        if self.remember:
            self.passes.append(tuple(part.detach().clone() for part in parts))
        maps = tuple(self.forward_func(part) for part in parts)
        return maps if isinstance(inputs, tuple) else maps[0]

    def noisy(self, examples: int) -> tuple[Tensor, ...]:
        """The noisy inputs of all passes, ``(N, nt_samples, *)``."""
        by_pass = [
            [part.reshape(examples, -1, *part.shape[1:]) for part in parts] for parts in self.passes
        ]
        return tuple(torch.cat(parts, dim=1) for parts in zip(*by_pass, strict=True))


class ConvNet(nn.Module):
    """Images ``(N, 2, 6, 5)`` to three classes, with a further argument and modules to hook."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2, stride=1)
        self.second = nn.Linear(4 * 5 * 4, 7)
        self.relu2 = nn.ReLU()
        self.last = nn.Linear(7, 3)

    def forward(self, images: Tensor, scale: Tensor | None = None) -> Tensor:
        hidden = self.pool(self.relu(self.conv(images))).flatten(1)
        out = self.last(self.relu2(self.second(hidden)))
        return out if scale is None else out * scale


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture
def conv_net() -> nn.Module:
    net = ConvNet().eval()
    torch.nn.init.ones_(net.second.bias)  # no neuron is dead
    return net


@pytest.fixture
def two_inputs() -> nn.Module:
    return TwoInputs().eval()


@pytest.fixture
def relu_net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3)).eval()


@pytest.fixture
def smooth_net() -> nn.Module:
    """Twice differentiable, float64, four inputs and three classes."""
    return nn.Sequential(nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 3)).double().eval()
