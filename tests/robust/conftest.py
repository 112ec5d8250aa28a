"""A small ReLU net trained on scikit-learn's digits, enlarged to the size of MNIST."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def make_net(activation: type[nn.Module]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, stride=2),
        activation(),
        nn.Conv2d(6, 12, 5, stride=2),
        activation(),
        nn.Flatten(),
        nn.Linear(192, 32),
        activation(),
        nn.Linear(32, 10),
    ).double()


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    small = torch.tensor(images).reshape(-1, 1, 8, 8) / 16
    return F.interpolate(small, (28, 28), mode="bilinear"), torch.tensor(labels)


@pytest.fixture(scope="session")
def trained(digits: tuple[Tensor, Tensor]) -> nn.Sequential:
    """The weights that the nets of all tests start from."""
    images, labels = digits
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = make_net(nn.ReLU)
        optimiser = torch.optim.Adam(net.parameters(), 5e-3)
        for _ in range(2):
            for batch in torch.randperm(len(images)).split(100):
                optimiser.zero_grad()
                F.cross_entropy(net(images[batch]), labels[batch]).backward()
                optimiser.step()
        optimiser.zero_grad()
    return net.eval()


@pytest.fixture
def net(trained: nn.Sequential) -> nn.Sequential:
    copy = make_net(nn.ReLU)
    copy.load_state_dict(trained.state_dict())
    return copy.eval()


@pytest.fixture
def batch(digits: tuple[Tensor, Tensor], net: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Seven images that the net classifies, with its predictions."""
    images = digits[0][100:107]
    return images, net(images).argmax(1)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
