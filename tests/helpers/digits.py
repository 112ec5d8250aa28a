"""scikit-learn's handwritten digits, and a short training on them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

Data = tuple[Tensor, Tensor]


def shuffled_digits(training: int) -> tuple[Data, Data]:
    """Images ``(N, 1, 8, 8)`` in [0, 1] with their classes: so many to train on, and the rest."""
    images, labels = pytest.importorskip("sklearn.datasets").load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8)[order] / 16
    labels = torch.tensor(labels)[order]
    return (images[:training], labels[:training]), (images[training:], labels[training:])


def train(net: nn.Module, data: Data, loss: Callable[..., Tensor], rate: float = 3e-3) -> nn.Module:
    """Three hundred steps of Adam, the same batches in every call; returns the net itself."""
    optimiser = torch.optim.Adam(net.parameters(), rate)
    for rows in torch.randint(len(data[0]), (300, 64), generator=torch.Generator().manual_seed(1)):
        optimiser.zero_grad()
        loss(net, data[0][rows], data[1][rows]).backward()
        optimiser.step()
    return net.eval()


def cross_entropy(net: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """The loss that every other is compared with."""
    return functional.cross_entropy(net(images), labels)


def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of the examples that are classified rightly."""
    with torch.no_grad():
        return float((net(images).argmax(1) == labels).double().mean())
