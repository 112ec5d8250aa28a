"""The default subject: scikit-learn's real handwritten digits and a small CNN, trained here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from captum_robust.audit.ask.plan import AuditPlan
from captum_robust.audit.load.data import PIXELS, TensorData
from captum_robust.audit.load.subject import Subject

_TRAIN: Final = 1300  # of 1,797 digits
_EPOCHS: Final = 15
_BATCH: Final = 64
_LEARNING_RATE: Final = 3e-3
_TRAINING_NOISE: Final = 0.25  # so that the model knows digits as noise leaves them


@dataclass(frozen=True)
class Digits:
    """Images ``(N, 1, 8, 8)`` with pixels in [0, 1], and their classes, in two disjoint parts."""

    images: Tensor
    classes: Tensor
    train: Tensor
    test: Tensor


def digits_subject(plan: AuditPlan) -> Subject:
    """Trains the CNN and picks the test digits to explain.

    Only digits that the model classifies correctly are explained, one of each class in turn; they
    are picked before any map is computed.
    """
    generator = torch.Generator().manual_seed(plan.seed)
    digits = load_digits(generator)
    model = train(digits, generator)
    test = digits.images[digits.test]
    correct = predict(model, test) == digits.classes[digits.test]
    noisy = test + plan.noise * torch.randn(test.shape, generator=generator)
    noisy_correct = predict(model, noisy) == digits.classes[digits.test]
    chosen = one_class_after_the_other(digits.test[correct], digits.classes)[: plan.limit]
    return Subject(
        title="Handwritten digits, a small convolutional network",
        model=model.to(plan.device),
        inputs=digits.images[chosen].to(plan.device),
        targets=digits.classes[chosen].to(plan.device),
        example_ids=tuple(chosen.tolist()),
        labels=tuple(f"digit {label}" for label in digits.classes[chosen].tolist()),
        unit=PIXELS,
        bounds=(0.0, 1.0),
        facts={
            "data": "scikit-learn load_digits: 1,797 real handwritten digits of 8 x 8 pixels",
            "model": "two convolutions and a linear layer, ReLU, "
            f"trained for {_EPOCHS} epochs under noise of sd {_TRAINING_NOISE:g}",
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "training digits": len(digits.train),
            "test digits": len(digits.test),
            "test accuracy": float(correct.double().mean()),
            "test accuracy under Gaussian noise of the audit's level": float(
                noisy_correct.double().mean()
            ),
            "digits explained": "classified correctly, one of each class in turn",
        },
    )


def digits_data(plan: AuditPlan) -> TensorData:
    """The test digits, one of each class in turn, for a model of the user's."""
    digits = load_digits(torch.Generator().manual_seed(plan.seed))
    chosen = one_class_after_the_other(digits.test, digits.classes)[: plan.limit]
    return TensorData(
        digits.images[chosen],
        digits.classes[chosen],
        chosen.tolist(),
        title="Handwritten digits",
        facts={"data": "scikit-learn load_digits: real handwritten digits of 8 x 8 pixels"},
    )


def digits_model(plan: AuditPlan) -> nn.Module:
    """The CNN, trained, for data of the user's."""
    generator = torch.Generator().manual_seed(plan.seed)
    return train(load_digits(generator), generator).to(plan.device)


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Torch and BLAS on so many CPU threads inside, but no more than there are cores.

    Afterwards all is as before; where the number is None torch's own choice holds.

    The number of threads moves the order of sums, and so the last digits. The CNN is so small that
    more than one only wait for each other, by far the most where cores are shared.
    """
    # Comes with scikit-learn.
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else min(count, os.cpu_count() or count))
    try:
        with threadpool_limits(torch.get_num_threads(), user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


def load_digits(generator: torch.Generator) -> Digits:
    """The digits with a random split."""
    from sklearn import datasets  # an extra, and slow to import

    pixels, classes = datasets.load_digits(return_X_y=True)
    order = torch.randperm(len(pixels), generator=generator)
    return Digits(
        images=torch.from_numpy(pixels / 16.0).float().reshape(-1, 1, 8, 8),
        classes=torch.from_numpy(classes).long(),
        train=order[:_TRAIN],
        test=order[_TRAIN:],
    )


def train(digits: Digits, generator: torch.Generator) -> nn.Module:
    """A CNN trained with Adam, in evaluation mode; torch's global generator stays as it is."""
    model = small_cnn(generator)
    optimiser = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE)
    for _ in range(_EPOCHS):
        order = digits.train[torch.randperm(len(digits.train), generator=generator)]
        for rows in order.split(_BATCH):
            images = digits.images[rows]
            noise = torch.randn(images.shape, generator=generator)
            loss = functional.cross_entropy(
                model(images + _TRAINING_NOISE * noise), digits.classes[rows]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return model.eval().requires_grad_(False)


def small_cnn(generator: torch.Generator) -> nn.Module:
    """An untrained CNN for 8 x 8 images, its weights from ``generator`` (He et al., 2015)."""
    with torch.random.fork_rng(devices=[]):  # layers draw weights of their own when they are made
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 10),
        )
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_uniform_(parameter, nonlinearity="relu", generator=generator)
        else:
            nn.init.zeros_(parameter)
    return model


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Predicted classes ``(N,)``."""
    with torch.no_grad():
        return model(images).argmax(1)


def one_class_after_the_other(rows: Tensor, classes: Tensor) -> Tensor:
    """Reorders rows so that classes take turns: the first of each class, then the second, ..."""
    seen: dict[int, int] = {}
    turns = []
    for row in rows.tolist():
        label = int(classes[row])
        seen[label] = seen.get(label, 0) + 1
        turns.append((seen[label], label, row))
    return torch.tensor([row for _, _, row in sorted(turns)], dtype=torch.long)
