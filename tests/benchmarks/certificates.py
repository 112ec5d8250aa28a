"""Time of certifying after sampling: from counts to the whole curve of certified overlaps.

Run ``python tests/benchmarks/certificates.py``; wanted is less than a second at 150,528 features
(3 x 224 x 224), 8,192 samples and 50 perturbation sizes.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time

import torch
from captum.attr import Saliency
from torch import Tensor

from captum_robust.attr import SparsifiedSmoothGrad
from captum_robust.certificates import Certificate


def probabilities(features: int) -> Tensor:
    """How often each feature is in its sample's top tenth: a few nearly always, most seldom."""
    spread = torch.distributions.Beta(torch.tensor(0.3), torch.tensor(2.7))
    return spread.sample((1, features)).double()


def certificate_of(counts: Tensor, samples: int, confidence: str, route: str) -> Certificate:
    """A certificate as sampling would have left it, with counts in place of its own."""
    method = SparsifiedSmoothGrad(Saliency(lambda x: x.square().sum(1)), keep=0.1)
    sampled = method.certify(
        torch.randn(counts.shape),
        stdevs=0.5,
        nt_samples=2,
        confidence=confidence,
        route=route,
        seed=0,
    )
    return dataclasses.replace(sampled, mean=counts / samples, nt_samples=samples)


def measure(chosen: argparse.Namespace, confidence: str, counts: Tensor) -> None:
    """Prints the median time of the curve and of a radius, each from a fresh certificate."""
    largest = {"curve": [], "radius": []}
    epsilons = torch.linspace(0.0, 0.5, chosen.epsilons)
    for _ in range(chosen.repeats):
        fresh = certificate_of(counts, chosen.samples, confidence, chosen.route)
        start = time.perf_counter()
        curve = fresh.curve("overlap", epsilons, k=chosen.k)
        largest["curve"].append(time.perf_counter() - start)
        fresh = certificate_of(counts, chosen.samples, confidence, chosen.route)
        start = time.perf_counter()
        radius = fresh.certified_radius(overlap=0.5, k=chosen.k)
        largest["radius"].append(time.perf_counter() - start)
    spent = {name: statistics.median(times) for name, times in largest.items()}
    print(
        f"  {confidence:16} curve {spent['curve']:.3f} s (ratio to the wanted 1 s: "
        f"{spent['curve']:.3f}; worst {max(largest['curve']):.3f} s), one radius "
        f"{spent['radius']:.3f} s; overlap at the first, middle and last size "
        f"{curve[0, 0]:.3f}, {curve[0, chosen.epsilons // 2]:.3f}, {curve[0, -1]:.3f}, "
        f"radius of half {radius[0]:.4f}"
    )


def main() -> None:
    """Parses the arguments and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=int, default=3 * 224 * 224)
    parser.add_argument("--samples", type=int, default=8192)
    parser.add_argument("--epsilons", type=int, default=50)
    parser.add_argument("--k", type=float, default=0.2, help="share of the features compared")
    parser.add_argument("--route", default="elementwise", help="as in `certify`")
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    counts = torch.binomial(
        torch.full((1, chosen.features), float(chosen.samples), dtype=torch.float64),
        probabilities(chosen.features),
    )
    print(
        f"{chosen.features} features, {chosen.samples} samples, {chosen.epsilons} sizes, "
        f"k = {chosen.k}, route {chosen.route}"
    )
    for confidence in ("clopper-pearson", "hoeffding"):
        measure(chosen, confidence, counts)


if __name__ == "__main__":
    main()
