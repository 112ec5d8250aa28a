"""The real nets and images that benchmarks measure on, from a folder given on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class Case(NamedTuple):
    """A net in evaluation mode with correctly classified images in [0, 1]."""

    name: str
    model: nn.Module
    images: Tensor
    labels: Tensor


class Normalized(nn.Module):
    """A net that takes images in [0, 1], so that noise and epsilon are in pixel units."""

    def __init__(self, net: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.net((images - self.mean) / self.std)


class MnistCnn(nn.Module):
    """Two convolutions of 20 and 50 channels, 500 hidden units, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 20, 5), nn.Conv2d(20, 50, 5)
        self.fc1, self.fc2 = nn.Linear(800, 500), nn.Linear(500, 10)

    def forward(self, images: Tensor) -> Tensor:
        first = functional.max_pool2d(functional.relu(self.conv1(images)), 2)
        second = functional.max_pool2d(functional.relu(self.conv2(first)), 2)
        return self.fc2(functional.relu(self.fc1(second.flatten(1))))


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut that subsamples and pads with zero channels."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.stride = 1 if before == after else 2
        self.conv1 = nn.Conv2d(before, after, 3, self.stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        out = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(maps)))))
        if self.stride == 2:
            pad = out.shape[1] // 4
            maps = functional.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, pad, pad))
        return functional.relu(out + maps)


class ResNet20(nn.Module):
    """The CIFAR-10 ResNet of depth 20."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        for index, (before, after) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            blocks = [Block(before, after), Block(after, after), Block(after, after)]
            self.add_module(f"layer{index}", nn.Sequential(*blocks))
        self.linear = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(images)))
        for index in (1, 2, 3):
            out = self.get_submodule(f"layer{index}")(out)
        return self.linear(out.mean((2, 3)))


def mnist_case(folder: Path, count: int) -> Case:
    """The MNIST CNN on the first correctly classified test images."""
    net = MnistCnn()
    net.load_state_dict(_weights(folder / "mnist_cnn.pt"))
    with np.load(folder / "mnist.npz") as data:
        images, labels = data["x_test"][:, None], data["y_test"]
    return _case("MNIST CNN", Normalized(net, [0.1307], [0.3081]), images, labels, count)


def cifar_case(folder: Path, count: int) -> Case:
    """ResNet-20 on the first correctly classified CIFAR-10 test images."""
    net = ResNet20()
    weights = _weights(folder / "resnet20-12fca82f.th")["state_dict"]
    net.load_state_dict({name.removeprefix("module."): part for name, part in weights.items()})
    with np.load(folder / "cifar10_test.npz") as data:
        images, labels = data["x"].transpose(0, 3, 1, 2), data["y"]
    model = Normalized(net, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    return _case("CIFAR-10 ResNet-20", model, images, labels, count)


CASES: dict[str, Callable[[Path, int], Case]] = {"mnist": mnist_case, "cifar": cifar_case}


def _weights(path: Path) -> dict[str, Tensor]:
    return torch.load(path, map_location="cpu", weights_only=True)


def _case(name: str, model: nn.Module, images: np.ndarray, labels: np.ndarray, count: int) -> Case:
    model = model.eval().requires_grad_(False)
    tensors = torch.from_numpy(images[: 4 * count]).float() / 255.0
    targets = torch.from_numpy(labels[: 4 * count].astype(np.int64))
    with torch.no_grad():
        right = (model(tensors).argmax(1) == targets).nonzero().flatten()[:count]
    return Case(name, model, tensors[right], targets[right])
