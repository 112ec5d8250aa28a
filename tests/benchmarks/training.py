"""The same small softplus CNN trained with each loss on MNIST, and how robust its maps came out.

    python tests/benchmarks/training.py --data DIR            (DIR holds mnist.npz)
    python tests/benchmarks/training.py --data DIR --download (torchvision's loader, into DIR)
    python tests/benchmarks/training.py --data DIR --forecast (only says how long it will take)

Every loss starts from the same weights and sees the same batches, for each seed. After every
quarter of an epoch accuracy and RPS are taken, after every epoch all measures. One JSON file for
each loss and seed goes to ``--out``: a run that was stopped goes on where it stood, and what is
there is not trained again unless the settings changed. The tables are printed and written there.

Measures, on the first test images that the net classifies, with gradient maps: RPS (mean cosine
over ten draws at 16/255), insertion, adversarial insertion (frame target, Linf 16/255), share of
the top fifth kept under the top-k attack (Linf 16/255), and the certified overlap of sparsified
SmoothGrad (sd 0.2, top tenth, l2 radius 0.03, top fifth, alpha 0.05). Beside them, the cosine
between the maps of images of different classes: where it nears 1, a map says little of its image,
however robust it is. "cosine alone" is the case that Joo et al. (2023) warn of: maps that hardly
move, of a net that has lost accuracy and whose maps have lost faithfulness.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from captum.attr import Saliency
from torch import Tensor, nn
from training_losses import BY_NAME, Loss, Step, cross_entropy, make_net
from training_tables import CHECKS, MEASURES, Records, epoch_table, failures, second_table

from captum_robust.attr import SparsifiedSmoothGrad
from captum_robust.metrics import (
    adversarial_insertion,
    attack_robustness,
    cosine_similarity,
    insertion,
    random_perturbation_similarity,
    topk_intersection,
)
from captum_robust.robust import ManipulateAttack, TopKAttack, frame_target

RADIUS = 16 / 255


class Data(NamedTuple):
    """Images ``(N, 1, 28, 28)`` in [0, 1] and classes ``(N,)``, to train on and to test."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def load(folder: Path, count: int, download: bool) -> Data:
    """The first ``count`` training images, and the test images."""
    if download:
        from torchvision.datasets import MNIST

        parts = [MNIST(folder, train, download=True) for train in (True, False)]
        arrays = [(part.data.numpy(), part.targets.numpy()) for part in parts]
    else:
        with np.load(folder / "mnist.npz") as found:
            arrays = [(found[f"x_{part}"], found[f"y_{part}"]) for part in ("train", "test")]
    pairs = [
        (torch.tensor(x, dtype=torch.float32).unsqueeze(1) / 255, torch.tensor(y).long())
        for x, y in arrays
    ]
    return Data((pairs[0][0][:count], pairs[0][1][:count]), pairs[1])


# -- measuring ------------------------------------------------------------------------------------


def accuracy(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    with torch.no_grad():
        right = [
            (model(x).argmax(1) == y).float()
            for x, y in zip(data[0].split(500), data[1].split(500), strict=True)
        ]
    return 100 * float(torch.cat(right).mean())


def classified(model: nn.Module, data: tuple[Tensor, Tensor], count: int) -> tuple[Tensor, Tensor]:
    """The first test images of those that the net classifies."""
    images, labels = data[0][: 4 * count], data[1][: 4 * count]
    with torch.no_grad():
        right = (model(images).argmax(1) == labels).nonzero().flatten()[:count]
    return images[right], labels[right]


def rps(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    values = random_perturbation_similarity(
        Saliency(model).attribute, images, None, RADIUS, clamp=(0, 1), target=labels, seed=0
    )
    return float(values.mean())


def sameness(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Mean cosine between the maps of an image and of the next one of another class."""
    maps = Saliency(model).attribute(images, target=labels)
    other = labels != labels.roll(1)
    return float(cosine_similarity(maps, maps.roll(1, 0))[other].mean())


def measure_all(model: nn.Module, data: Data, given: argparse.Namespace) -> dict[str, float]:
    """Every measure, of a net in evaluation mode."""
    images, labels = classified(model, data.test, given.examples)
    if not len(images):  # a ruined net
        return {name: float("nan") for name in MEASURES} | {"accuracy": accuracy(model, data.test)}
    explain = Saliency(model).attribute
    common = {"target": labels, "forward_func": model}
    few, their = images[: given.attacked], labels[: given.attacked]
    attack = {"step_num": given.attack_steps}
    frame = ManipulateAttack(
        model, Saliency(model), 0, 1, target_map=frame_target((28, 28), width=4), variant="rescaled"
    )
    topk = TopKAttack(model, Saliency(model), 0, 1, k=0.2)
    certificate = SparsifiedSmoothGrad(Saliency(model), keep=0.1).certify(
        few, target=their, stdevs=0.2, nt_samples=given.samples, alpha=0.05, seed=0
    )
    insertions = insertion(explain, images, **common)
    attacked_insertions = adversarial_insertion(
        explain, few, frame, forward_func=model, target=their, radius=RADIUS,
        attack_kwargs=attack, seed=0,
    )  # fmt: skip
    kept = attack_robustness(
        explain, few, topk, partial(topk_intersection, k=0.2), radii=RADIUS,
        attack_kwargs=attack, target=their, seed=0,
    )  # fmt: skip
    return {
        "accuracy": accuracy(model, data.test),
        "rps": rps(model, images, labels),
        "insertion": float(insertions.mean()),
        "adversarial_insertion": float(attacked_insertions.mean()),
        "attacked_topk": float(kept.mean()),
        "certified_overlap": float(certificate.overlap(epsilon=0.03, k=0.2).mean()),
        "sameness": sameness(model, images, labels),
    }


def measure_fast(model: nn.Module, data: Data, given: argparse.Namespace) -> dict[str, float]:
    """Accuracy and RPS alone."""
    images, labels = classified(model, data.test, given.examples)
    found = rps(model, images, labels) if len(images) else float("nan")
    return {"accuracy": accuracy(model, data.test), "rps": found}


# -- training -------------------------------------------------------------------------------------


def fit(
    model: nn.Module, step: Step, data: Data, seed: int, given: argparse.Namespace
) -> Iterator[tuple[int, bool, float]]:
    """Trains, and stops at every look: steps done, whether an epoch ended, seconds of training."""
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    order = torch.Generator().manual_seed(seed)
    images, labels = data.train
    spent, done = 0.0, 0
    for _ in range(given.epochs):
        batches = torch.randperm(len(images), generator=order).split(given.batch)
        looks = {round(len(batches) * (part + 1) / CHECKS) for part in range(CHECKS)}
        for number, rows in enumerate(batches, start=1):
            start = time.process_time()
            optimiser.zero_grad()
            step(model, images[rows], labels[rows]).backward()
            optimiser.step()
            spent, done = spent + time.process_time() - start, done + 1
            if number in looks:
                yield done, number == len(batches), spent


def run(loss: Loss, seed: int, data: Data, given: argparse.Namespace) -> dict[str, Any]:
    """One training with all its looks; ``failed`` says why it ended early."""
    model = make_net(seed)
    teacher = trained_teacher(seed, data, given) if loss.taught else None
    step = loss.make(teacher)
    looks: list[dict[str, float]] = []
    record: dict[str, Any] = {"loss": loss.name, "seed": seed, "looks": looks, "failed": None}
    model.train()
    try:
        for done, epoch_ended, spent in fit(model, step, data, seed, given):
            model.eval()
            measure = measure_all if epoch_ended else measure_fast
            looks.append({"steps": done, "seconds": spent, **measure(model, data, given)})
            model.train()
    except RuntimeError as error:  # a loss that is not finite is a result, too
        record["failed"] = str(error)
    return record


def trained_teacher(seed: int, data: Data, given: argparse.Namespace) -> nn.Module:
    """The net of cross-entropy for this seed."""
    model = make_net(seed)
    for _ in fit(model, cross_entropy, data, seed, given):
        pass
    return copy.deepcopy(model).eval().requires_grad_(False)


def cached(loss: Loss, seed: int, data: Data, given: argparse.Namespace) -> dict[str, Any]:
    """The record of a loss and seed: from its file, or made now and written."""
    slug = loss.name.replace(",", "").replace(" ", "-")
    file = given.out / f"{slug}-{seed}.json"
    wanted = ("train", "epochs", "batch", "examples", "attacked", "attack_steps", "samples")
    settings = {name: getattr(given, name) for name in wanted}
    settings |= {"setting": loss.setting, "measures": list(MEASURES)}
    if file.exists():
        record = json.loads(file.read_text(encoding="utf-8"))
        if record["settings"] == settings:
            return record
    print(f"{loss.name}, seed {seed} ...", flush=True)
    record = {**run(loss, seed, data, given), "settings": settings}
    unfinished = file.with_suffix(".part")
    unfinished.write_text(json.dumps(record, indent=1), encoding="utf-8")
    unfinished.replace(file)
    last = record["looks"][-1] if record["looks"] else {}
    print("  " + ", ".join(f"{name} {value:.4g}" for name, value in last.items()), flush=True)
    return record


def forecast(data: Data, given: argparse.Namespace) -> None:
    """Prints how long the training alone will take, from a few steps of each loss."""
    images, labels = (part[: given.batch] for part in data.train)
    steps = given.epochs * -(-len(data.train[0]) // given.batch) * len(given.seeds)
    whole = 0.0
    for name in given.losses:
        model = make_net(0)
        step = BY_NAME[name].make(copy.deepcopy(model).eval())
        times = []
        for _ in range(3):
            start = time.process_time()
            step(model, images, labels).backward()
            times.append(time.process_time() - start)
        whole += min(times) * steps
        print(
            f"{name:26} {min(times):8.3f} s a step, {min(times) * steps / 60:7.1f} min", flush=True
        )
    print(f"training in all: {whole / 3600:.1f} h of one processor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("training-results"))
    parser.add_argument("--losses", nargs="+", choices=BY_NAME, default=list(BY_NAME))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--train", type=int, default=10_000, help="training images")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--examples", type=int, default=200, help="for RPS and insertion")
    parser.add_argument("--attacked", type=int, default=50, help="for attacks and certificates")
    parser.add_argument("--attack-steps", type=int, default=50)
    parser.add_argument("--samples", type=int, default=1024, help="of the certificate")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--forecast", action="store_true", help="time three steps of each loss")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", "Input Tensor 0 did not already require gradients")
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    data = load(given.data, given.train, given.download)
    if given.forecast:
        forecast(data, given)
        return
    records: Records = {name: [] for name in given.losses}
    for seed in given.seeds:  # seed by seed, so that a run cut short compares all losses
        for name in given.losses:
            records[name].append(cached(BY_NAME[name], seed, data, given))
    tables = [epoch_table(records, epoch + 1) for epoch in range(given.epochs)]
    text = "\n".join([*tables, second_table(records), failures(records)])
    (given.out / "tables.rst").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
