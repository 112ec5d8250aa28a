"""Certified overlap and cosine by every route, at the same maps, samples and alpha.

    python tests/benchmarks/routes.py FOLDER [--samples 2048] [--images 4]

FOLDER holds mnist.npz, mnist_cnn.pt, cifar10_test.npz and resnet20-12fca82f.th.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from captum.attr import Saliency
from nets import CASES, Case
from torch import Tensor

from captum_robust.attr import (
    Abs,
    GaussianSmoothing,
    SmoothedAttribution,
    SparsifiedSmoothGrad,
    UniformSmoothing,
    UnitNorm,
)
from captum_robust.certificates import Certificate, PublishedFormulaWarning

RATIOS = (0.0, 0.125, 0.25, 0.5, 1.0)  # epsilon over the noise level


def main() -> None:
    """Prints one table a net."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--stdevs", type=float, default=0.25)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--nets", nargs="+", default=list(CASES), choices=list(CASES))
    options = parser.parse_args()
    warnings.simplefilter("ignore", PublishedFormulaWarning)
    for name in options.nets:
        _table(CASES[name](options.folder, options.images), options)


def _table(case: Case, options: argparse.Namespace) -> None:
    epsilons = [ratio * options.stdevs for ratio in RATIOS]
    print(
        f"\n{case.name}: {len(case.images)} images, {options.samples} samples, sd "
        f"{options.stdevs}, alpha {options.alpha}; means over images"
    )
    print(f"{'':58}" + "".join(f"eps {epsilon:<8.4g}" for epsilon in epsilons))

    def certify(smooth: SmoothedAttribution, **terms: object) -> Certificate:
        return smooth.certify(
            case.images,
            target=case.labels,
            stdevs=options.stdevs,
            nt_samples=options.samples,
            alpha=options.alpha,
            seed=0,
            **terms,
        )

    saliency = Saliency(case.model)
    sparse = SparsifiedSmoothGrad(saliency, keep=0.1)
    for label, terms in (
        ("as published (Levine, Cor. 2)", {"published": True}),
        ("Lecuyer's floor", {"route": "lecuyer"}),
        ("elementwise, Hoeffding", {"route": "elementwise", "confidence": "hoeffding"}),
        ("elementwise, Clopper-Pearson", {"route": "elementwise"}),
        ("l2", {"route": "l2"}),
        ("best", {}),
    ):
        _row(f"overlap, k 10 %: {label}", certify, sparse, terms, "overlap", epsilons, k=0.1)
    unit = Abs() >> UnitNorm()
    for label, smooth, terms in (
        (
            "as published (Wang and Kong), ball",
            UniformSmoothing(saliency, transform=unit),
            {"published": True},
        ),
        ("bounded, ball", UniformSmoothing(saliency, transform=unit), {"route": "bounded"}),
        ("best, ball", UniformSmoothing(saliency, transform=unit), {}),
        ("bounded, Gaussian", GaussianSmoothing(saliency, transform=unit), {"route": "bounded"}),
        ("HCR, Gaussian", GaussianSmoothing(saliency, transform=unit), {"route": "hcr"}),
        ("best, Gaussian", GaussianSmoothing(saliency, transform=unit), {}),
    ):
        _row(f"cosine: {label}", certify, smooth, terms, "cosine", epsilons)


def _row(
    label: str,
    certify: Callable[..., Certificate],
    smooth: SmoothedAttribution,
    terms: dict[str, object],
    question: str,
    epsilons: Sequence[float],
    **arguments: float,
) -> None:
    start = time.perf_counter()
    curve: Tensor = certify(smooth, **terms).curve(question, epsilons, **arguments)
    seconds = time.perf_counter() - start
    print(
        f"{label:58}" + "".join(f"{value:<12.3f}" for value in curve.mean(0)) + f"{seconds:6.0f} s"
    )


if __name__ == "__main__":
    main()
