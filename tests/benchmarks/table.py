"""Every claim of speed in one table: pairs of ways to the same result, timed in turn.

    python tests/benchmarks/table.py [--only smoothing scaling ...] [--repeats 9] [--threads 1]

A row is a ratio of times, ours over the other way's, of the same round: median, least and greatest
over the rounds. Nets have random weights, which cost the same as trained ones; nothing is
downloaded. Where CUDA is at hand, rows that can run there have a second line; else that column
says "not measured". Scaling rows fit time = c * size^p and print p.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from captum.attr import NoiseTunnel, Saliency
from certificates import certificate_of, probabilities
from metrics import MEASURES, loops
from nets import MnistCnn, ResNet20
from scipy.stats import beta
from torch import Tensor, nn

from captum_robust import metrics
from captum_robust.attr import GaussianSmoothing
from captum_robust.certificates import attribution_jacobian, first_order_deviation
from captum_robust.noise import GaussianNoise
from captum_robust.robust import softplus_surrogate

Run = Callable[[], object]


class Pair(NamedTuple):
    """Two ways to one result."""

    name: str
    size: str
    ours: Run
    other: Run


class Growth(NamedTuple):
    """One way at growing sizes; ``wanted`` bounds the exponent."""

    name: str
    sizes: list[int]
    run: Callable[[int], Run]
    wanted: float


def digits_net() -> nn.Module:
    """A convolution and a linear layer on 8 x 8 images."""
    return nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))


def resnet18() -> nn.Module:
    from torchvision.models import resnet18 as make

    return make(weights=None)


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "digits": (digits_net, (16, 1, 8, 8), 64),
    "MNIST CNN": (MnistCnn, (16, 1, 28, 28), 32),
    "CIFAR ResNet-20": (ResNet20, (8, 3, 32, 32), 16),
    "ResNet-18, 224": (resnet18, (2, 3, 224, 224), 4),
}


def bare_loop(model: nn.Module, images: Tensor, samples: int) -> None:
    """Forward and backward of noisy copies, added up, and nothing else."""
    total = torch.zeros_like(images)
    for _ in range(samples):
        noisy = (images + torch.randn_like(images)).requires_grad_()
        total += torch.autograd.grad(model(noisy)[:, 0].sum(), noisy)[0].abs()


def smoothing(device: str) -> Iterator[Pair]:
    """Smoothed gradients against NoiseTunnel and the bare loop; the optimised copy against both."""
    for name, (make, shape, samples) in NETS.items():
        model, images = make().eval().to(device), torch.rand(shape, device=device)
        words: dict[str, Any] = {"target": 0, "nt_samples": samples, "stdevs": 1.0}
        saliency, size = Saliency(model), f"{name}, batch {shape[0]}, N {samples}"
        smooth = GaussianSmoothing(saliency)
        plain = bind(smooth.attribute, images, **words)
        fast = bind(smooth.attribute, images, optimize_model=True, **words)
        bare = bind(bare_loop, model, images, samples)
        yield Pair("smoothing / NoiseTunnel", size, plain, tunnel(saliency, images, words))
        yield Pair("smoothing / bare loop", size, plain, bare)
        yield Pair("optimize_model / bare loop", size, fast, bare)
        yield Pair("noise / smoothing step", size, drawing(images, samples), plain)


def tunnel(saliency: Saliency, images: Tensor, words: dict[str, Any]) -> Run:
    return bind(NoiseTunnel(saliency).attribute, images.clone().requires_grad_(), **words)


def drawing(images: Tensor, samples: int) -> Run:
    law, width = GaussianNoise(), images[0].numel()
    return lambda: [
        law.sample(len(images), width, device=images.device, dtype=images.dtype)
        for _ in range(samples)
    ]


def literal_overlap(counts: np.ndarray, samples: int, shifts: list[float], k: int) -> list[int]:
    """Levine's certificate with Clopper-Pearson bounds as it is written: loops over features."""
    from scipy.stats import norm

    level, features = 0.05 / (2 * len(counts)), len(counts)
    low = [beta.ppf(level, c, samples - c + 1) if c else 0.0 for c in counts]
    high = [beta.ppf(1 - level, c + 1, samples - c) if c < samples else 1.0 for c in counts]
    order = sorted(range(features), key=lambda feature: -counts[feature])
    certified = []
    for shift in shifts:
        lower = sorted(norm.cdf(norm.ppf(low[feature]) - shift) for feature in order[:k])
        upper = sorted((norm.cdf(norm.ppf(high[f]) + shift) for f in order[k:]), reverse=True)
        kept = 0
        for displaced in range(k):
            if lower[displaced] > upper[displaced]:
                kept = k - displaced
                break
        certified.append(kept)
    return certified


def certificates(device: str) -> Iterator[Pair]:
    """The curve of overlaps from counts, against the formulas written out feature by feature."""
    for features in (784, 3072):
        counts = (probabilities(features) * 1024).round()
        epsilons = torch.linspace(0.0, 0.25, 5)
        shifts = (epsilons / 0.5).tolist()
        k = features // 10

        def ours(counts: Tensor = counts, k: int = k, epsilons: Tensor = epsilons) -> Tensor:
            fresh = certificate_of(counts, 1024, "clopper-pearson", "elementwise")
            return fresh.curve("overlap", epsilons, k=k)

        literal = bind(literal_overlap, counts[0].long().numpy(), 1024, shifts, k)
        yield Pair("overlap curve / literal formulas", f"m {features}, 5 sizes", ours, literal)


def similarities(device: str) -> Iterator[Pair]:
    """Each similarity against SciPy or scikit-image, one example at a time."""
    for shape in ((64, 1, 28, 28), (4, 3, 224, 224)):
        a = torch.randn(shape)
        b = a + torch.randn(shape)
        for name in MEASURES:
            ours = bind(getattr(metrics, name), a, b)
            yield Pair(f"{name} / scipy", str(shape), ours, loops(name, a, b))


def insertion_loop(model: nn.Module, saliency: Saliency, images: Tensor, points: int) -> Tensor:
    """Insertion one example and one share at a time."""
    maps = saliency.attribute(images, target=0)
    areas = []
    for image, map_ in zip(images.detach(), maps, strict=True):
        order = map_.flatten().argsort(descending=True)
        scores = []
        for point in range(points):
            shown = torch.zeros_like(image).flatten()
            kept = order[: round(point * len(order) / (points - 1))]
            shown[kept] = image.flatten()[kept]
            with torch.no_grad():
                scores.append(model(shown.reshape(1, *image.shape)).softmax(1)[0, 0])
        areas.append(torch.stack(scores).mean())
    return torch.stack(areas)


def insertion(device: str) -> Iterator[Pair]:
    """Insertion against loops over examples and shares."""
    for name in ("MNIST CNN", "CIFAR ResNet-20"):
        make, shape, _ = NETS[name]
        model = make().eval().to(device)
        images = torch.rand(shape, device=device).requires_grad_()
        saliency, words = Saliency(model), {"forward_func": model, "n_points": 33, "target": 0}
        ours = bind(metrics.insertion, saliency.attribute, images, **words)
        other = bind(insertion_loop, model, saliency, images, 33)
        yield Pair("insertion / loops", f"{name}, batch {shape[0]}, 33 shares", ours, other)


def attacks(device: str) -> Iterator[Pair]:
    """One attack step without its evaluation, against the bare double backward."""
    from attacks import step_and_bare

    for name in ("MNIST CNN", "CIFAR ResNet-20"):
        make, shape, _ = NETS[name]
        model, images = make().eval().to(device), torch.rand((16, *shape[1:]), device=device)
        step, bare, _ = step_and_bare((model, images, model(images).argmax(1)))
        yield Pair("attack step / double backward", f"{name}, batch 16", step, bare)


def first_order(device: str) -> Iterator[Pair]:
    """The largest singular value of a gradient's Jacobian, against the dense Jacobian."""
    for name in ("MNIST CNN", "CIFAR ResNet-20"):
        make, shape, _ = NETS[name]
        twin = softplus_surrogate(make().eval().requires_grad_(False).to(device), 1.0)
        x = torch.rand((1, *shape[1:]), device=device)
        y, method = twin(x).argmax(1), Saliency(twin)

        def dense(x: Tensor = x, y: Tensor = y, method: Saliency = method) -> Tensor:
            return torch.linalg.eigvalsh(attribution_jacobian(method, x, y, abs=False)[0])

        ours = bind(first_order_deviation, method, x, y, epsilon=0.1, abs=False)
        yield Pair("first order / dense", f"{name}, d {x.numel()}", ours, dense)


PAIRS: dict[str, Callable[[str], Iterator[Pair]]] = {
    "smoothing": smoothing,
    "certificates": certificates,
    "similarities": similarities,
    "insertion": insertion,
    "attacks": attacks,
    "first-order": first_order,
}
ON_CUDA = ("smoothing", "insertion", "attacks", "first-order")


def growths() -> Iterator[Growth]:
    """What each cost grows with, and how fast it may."""
    make, shape, _ = NETS["MNIST CNN"]
    saliency = Saliency(make().eval())
    smooth = GaussianSmoothing(saliency)

    def smoothed(batch: int, samples: int) -> Run:
        images = torch.rand(batch, *shape[1:])
        return bind(smooth.attribute, images, target=0, nt_samples=samples, stdevs=1.0)

    def overlap(features: int, sizes: int, k: float = 0.1) -> Run:
        counts = (probabilities(features) * 1024).round()
        fresh = bind(certificate_of, counts, 1024, "clopper-pearson", "elementwise")
        epsilons = torch.linspace(0.0, 0.25, sizes)
        return lambda: fresh().curve("overlap", epsilons, k=k)

    yield Growth("smoothing, nt_samples", [64, 128, 256, 512], lambda n: smoothed(4, n), 1.1)
    yield Growth("smoothing, batch", [4, 8, 16, 32], lambda n: smoothed(n, 32), 1.1)
    features = [2**14, 2**15, 2**16, 2**17, 2**18]
    yield Growth("overlap, features", features, lambda n: overlap(n, 20), 1.2)
    yield Growth("overlap, k", [2**10, 2**12, 2**14, 2**16], lambda n: overlap(2**17, 20, n), 1.2)
    yield Growth("overlap, radii", [50, 100, 200, 400], lambda n: overlap(2**16, n), 1.2)


def bind(function: Callable[..., Any], *arguments: Any, **words: Any) -> Run:
    return lambda: function(*arguments, **words)


def seconds(run: Run, device: str) -> float:
    """Wall time of one call, with what it left running on the device."""
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def race(pair: Pair, repeats: int, device: str) -> str:
    """The line of a pair: each way goes first every other round."""
    times: dict[Run, list[float]] = {pair.ours: [], pair.other: []}
    for run in times:
        seconds(run, device)
    for turn in range(repeats):
        for run in list(times) if turn % 2 else list(times)[::-1]:
            times[run].append(seconds(run, device))
    ratios = [a / b for a, b in zip(times[pair.ours], times[pair.other], strict=True)]
    ours, other = (1e3 * statistics.median(times[run]) for run in (pair.ours, pair.other))
    return (
        f"{pair.name:34} {pair.size:36} {ours:9.1f} ms {other:10.1f} ms   "
        f"{statistics.median(ratios):6.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )


def exponent(growth: Growth, repeats: int) -> str:
    """The line of a growth: the slope of log time over log size, least squares over medians."""
    spent = []
    for size in growth.sizes:
        run = growth.run(size)
        run()
        spent.append(statistics.median(seconds(run, "cpu") for _ in range(repeats)))
    slope = float(np.polyfit(np.log(growth.sizes), np.log(spent), 1)[0])
    shown = ", ".join(
        f"{size}: {1e3 * value:.1f} ms" for size, value in zip(growth.sizes, spent, strict=True)
    )
    verdict = "as wanted" if slope <= growth.wanted else "TOO STEEP"
    return f"{growth.name:24} ~ size^{slope:.2f} (at most {growth.wanted}, {verdict})   {shown}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=(*PAIRS, "scaling"))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    warnings.simplefilter("ignore")
    wanted = chosen.only or [*PAIRS, "scaling"]
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    print(f"torch {torch.__version__}, {chosen.threads} thread(s), {chosen.repeats} rounds")
    for name in (each for each in PAIRS if each in wanted):
        for device in devices if name in ON_CUDA else devices[:1]:
            print(f"\n{name} on {device}: ours, the other way, ours / other median (min to max)")
            for pair in PAIRS[name](device):
                print(race(pair, chosen.repeats, device), flush=True)
        if name in ON_CUDA and "cuda" not in devices:
            print("cuda: not measured")
    if "scaling" in wanted:
        print("\nscaling")
        for growth in growths():
            print(exponent(growth, math.ceil(chosen.repeats / 3)), flush=True)


if __name__ == "__main__":
    main()
