"""ResNet-20 on CIFAR-10 fine-tuned under noise: accuracy, and what its maps certify.

    python tests/benchmarks/noise_training.py --data DIR --out FOLDER

DIR holds cifar10_train_batch1.npz, cifar10_test.npz and resnet20-12fca82f.th. The net is trained
with noise augmentation, and from there with each loss and weight for as many steps; learning rates
fall to zero by a cosine, and gradients are clipped at norm 1. Measured on the first test images:
accuracy, clean and under the noise; and the mean certified overlap of the top fifth of the labels'
sparsified maps, as pixels and as cells of 4 x 4 pixels, on images whatever the net predicts. Nets
and rows go to FOLDER: a run that was stopped goes on where it stood.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from captum.attr import Saliency
from nets import Normalized, ResNet20
from torch import Tensor, nn
from torch.nn import functional

from captum_robust.attr import GaussianSmoothing
from captum_robust.losses import (
    CertifiedMargin,
    Criterion,
    NoiseAugmentation,
    NoiseConsistency,
    SmoothAdversarialTraining,
)
from captum_robust.metrics import certified_overlap
from captum_robust.transforms import Abs, Chain, Pool, Sparsify, SumChannels

STDEV = 0.25
KEEP = 0.2
EPSILONS = (0.06, 0.12, 0.25)
CELLS = Abs() >> SumChannels() >> Pool(4)
FEATURES = {"cells": CELLS, "pixels": Chain(Abs())}


class Data(NamedTuple):
    """Images ``(N, 3, 32, 32)`` in [0, 1] and classes."""

    images: Tensor
    labels: Tensor


def load(path: Path, count: int) -> Data:
    with np.load(path) as data:
        images, labels = data["x"][:count].transpose(0, 3, 1, 2), data["y"][:count]
    return Data(torch.from_numpy(images).float() / 255, torch.from_numpy(labels.astype(np.int64)))


def pretrained(folder: Path) -> nn.Module:
    net = ResNet20()
    weights = torch.load(folder / "resnet20-12fca82f.th", "cpu", weights_only=True)["state_dict"]
    net.load_state_dict({name.removeprefix("module."): part for name, part in weights.items()})
    return Normalized(net, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).eval()


def shifted(images: Tensor) -> Tensor:
    """The usual augmentation: mirrored at random, and moved by up to four pixels."""
    padded = functional.pad(images, (4, 4, 4, 4), mode="reflect")
    moves = torch.randint(9, (len(images), 2)).tolist()
    flips = (torch.rand(len(images)) < 0.5).tolist()
    pieces = (
        image[:, top : top + 32, left : left + 32]
        for image, (top, left) in zip(padded, moves, strict=True)
    )
    return torch.stack([p.flip(2) if flip else p for p, flip in zip(pieces, flips, strict=True)])


def train(
    model: nn.Module, criterion: Criterion, data: Data, steps: int, batch: int, rate: float
) -> float:
    """Fine-tunes the model in place; CPU seconds."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    begin = time.process_time()
    for step in range(steps):
        rows = torch.randint(len(data.labels), (batch,))
        loss = criterion(model, shifted(data.images[rows]), data.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            terms = {name: round(float(value), 4) for name, value in criterion.terms.items()}
            print(f"  step {step}: {terms}", flush=True)
    model.eval()
    return time.process_time() - begin


def accuracy(model: nn.Module, data: Data, stdev: float) -> float:
    generator = torch.Generator().manual_seed(1)
    noise = stdev * torch.randn(data.images.shape, generator=generator)
    with torch.no_grad():
        outputs = [model(part) for part in (data.images + noise).split(250)]
    return float((torch.cat(outputs).argmax(1) == data.labels).double().mean())


def overlaps(model: nn.Module, data: Data, samples: int) -> dict[str, list[float]]:
    """The mean certified overlap at each epsilon."""
    found = {}
    for name, features in FEATURES.items():
        smooth = GaussianSmoothing(Saliency(model), transform=features >> Sparsify(KEEP))
        curves = certified_overlap(
            smooth,
            data.images,
            epsilons=EPSILONS,
            k=KEEP,
            max_examples_per_batch=1,
            target=data.labels,
            stdevs=STDEV,
            nt_samples=samples,
            nt_samples_batch_size=128,
            seed=0,
        )
        found[name] = [round(float(value), 3) for value in curves.values.mean(0)]
    return found


def trainings(weights: list[float]) -> dict[str, Callable[[], Criterion]]:
    """The losses that go on from the net of plain augmentation."""
    made: dict[str, Callable[[], Criterion]] = {
        "augmentation again": lambda: NoiseAugmentation(STDEV),
        "NoiseConsistency": lambda: NoiseConsistency(STDEV),
        "SmoothAdversarialTraining": lambda: SmoothAdversarialTraining(STDEV, steps=2),
    }
    for weight in weights:
        made[f"CertifiedMargin {weight:g}"] = lambda weight=weight: CertifiedMargin(
            STDEV, weight=weight, keep=KEEP, transform=CELLS
        )
        made[f"with prediction {weight:g}"] = lambda weight=weight: CertifiedMargin(
            STDEV, weight=weight, keep=KEEP, transform=CELLS, prediction=0.5
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.25, 0.5, 1.0, 2.0])
    parser.add_argument("--only", nargs="*", help="names of trainings, all by default")
    parser.add_argument("--first-steps", type=int, default=470)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=0.003)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--samples", type=int, default=1024)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    train_data = load(options.data / "cifar10_train_batch1.npz", 10_000)
    test = load(options.data / "cifar10_test.npz", 1_000)
    few = Data(test.images[: options.images], test.labels[: options.images])

    def row(name: str, start: nn.Module, criterion: Criterion | None, steps: int) -> nn.Module:
        path = options.out / f"{name.replace(' ', '-')}.pt"
        model = copy.deepcopy(start)
        if path.exists():
            model.load_state_dict(torch.load(path, weights_only=True))
            print((path.with_suffix(".json")).read_text())
            return model
        seconds = 0.0
        if criterion is not None:
            batch = 64 if isinstance(criterion, NoiseAugmentation) else options.batch
            seconds = train(model, criterion, train_data, steps, batch, options.rate)
        record = {
            "name": name,
            "cpu seconds": round(seconds),
            "clean": accuracy(model, test, 0.0),
            "under noise": accuracy(model, test, STDEV),
            **overlaps(model, few, options.samples),
        }
        path.with_suffix(".json").write_text(json.dumps(record))
        torch.save(model.state_dict(), path)
        print(json.dumps(record), flush=True)
        return model

    plain = row("as it was", pretrained(options.data), None, 0)
    augmented = row("augmentation", plain, NoiseAugmentation(STDEV), options.first_steps)
    for name, make in trainings(options.weights).items():
        if not options.only or name in options.only:
            row(name, augmented, make(), options.steps)


if __name__ == "__main__":
    main()
