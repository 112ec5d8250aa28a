"""Times the similarities beside SciPy loops, torchmetrics and Quantus, on the same maps.

Run ``python tests/benchmarks/metrics.py [--rounds 7]``. One process, one thread; in every round
each library takes its turn, so that a busy machine slows all of them alike. A ratio is a library's
time over ours in the same round: above 1 we are faster. A library that is not installed, or has no
such measure, is named with the reason. Before it is timed, each must agree with ours to 1e-4, or is
named as another quantity.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from scipy import spatial, stats
from torch import Tensor

from captum_robust import metrics

SHAPES = {
    "64 x (1, 28, 28)": (64, 1, 28, 28),
    "32 x (3, 32, 32)": (32, 3, 32, 32),
    "4 x (3, 224, 224)": (4, 3, 224, 224),
}
LIBRARIES = ("scipy", "torchmetrics", "quantus")
Run = Callable[[], object]


def rows(maps: Tensor) -> np.ndarray:
    return maps.flatten(1).numpy()


def joint_range(a: np.ndarray, b: np.ndarray) -> float:
    return float(max(a.max(), b.max()) - min(a.min(), b.min()))


def loops(name: str, a: Tensor, b: Tensor) -> Run:
    """SciPy, or scikit-image for SSIM, one example at a time."""
    x, y = rows(a), rows(b)
    if name == "ssim":
        compare = importlib.import_module("skimage.metrics").structural_similarity
        pairs = list(zip(a.numpy(), b.numpy(), strict=True))
        return lambda: [
            compare(u, v, channel_axis=0, data_range=joint_range(u, v)) for u, v in pairs
        ]
    one = {
        "kendall_tau": lambda u, v: stats.kendalltau(u, v).statistic,
        "spearman_rho": lambda u, v: stats.spearmanr(u, v).statistic,
        "pearson_correlation": lambda u, v: stats.pearsonr(u, v).statistic,
        "cosine_similarity": lambda u, v: 1 - spatial.distance.cosine(u, v),
        "lp_distance": spatial.distance.euclidean,
    }[name]
    return lambda: [one(u, v) for u, v in zip(x, y, strict=True)]


def torchmetrics(name: str, a: Tensor, b: Tensor) -> Run:
    """torchmetrics takes examples as columns, but for its cosine and its images."""
    functional = importlib.import_module("torchmetrics.functional")
    x, y = a.flatten(1), b.flatten(1)
    columns = x.T.contiguous(), y.T.contiguous()
    if name == "ssim":
        image = importlib.import_module("torchmetrics.functional.image")
        # It has one range for the batch and another window; the work is alike, the value is not.
        spread = joint_range(a.numpy(), b.numpy())
        return lambda: image.structural_similarity_index_measure(
            a, b, gaussian_kernel=False, kernel_size=7, data_range=spread, reduction="none"
        )
    if name == "kendall_tau" and x.shape[1] > 10_000:
        raise NotImplementedError("compares all pairs of features: too slow at this size")
    runs: dict[str, Run] = {
        "kendall_tau": lambda: functional.kendall_rank_corrcoef(*columns),
        "spearman_rho": lambda: functional.spearman_corrcoef(*columns),
        "pearson_correlation": lambda: functional.pearson_corrcoef(*columns),
        "cosine_similarity": lambda: functional.cosine_similarity(x, y, reduction="none"),
    }
    if name not in runs:
        raise NotImplementedError("no such measure of each example")
    return runs[name]


def quantus(name: str, a: Tensor, b: Tensor) -> Run:
    functions = importlib.import_module("quantus.functions.similarity_func")
    x, y = rows(a), rows(b)
    if name == "ssim":
        raise NotImplementedError("takes single-channel images only")
    runs: dict[str, Run] = {
        "kendall_tau": lambda: functions.correlation_kendall_tau(x, y, batched=True),
        "spearman_rho": lambda: functions.correlation_spearman(x, y, batched=True),
        "pearson_correlation": lambda: functions.correlation_pearson(x, y, batched=True),
        "cosine_similarity": lambda: [
            1 - functions.cosine(u, v) for u, v in zip(x, y, strict=True)
        ],
        "lp_distance": lambda: [
            functions.distance_euclidean(u, v) for u, v in zip(x, y, strict=True)
        ],
    }
    return runs[name]


MAKERS = {"scipy": loops, "torchmetrics": torchmetrics, "quantus": quantus}
MEASURES = (
    "kendall_tau",
    "spearman_rho",
    "pearson_correlation",
    "cosine_similarity",
    "lp_distance",
    "ssim",
)


def contenders(name: str, a: Tensor, b: Tensor) -> tuple[dict[str, Run], dict[str, str]]:
    """What can be run for a measure, ours first, and why the rest cannot."""
    measure = getattr(metrics, name)
    runs: dict[str, Run] = {"ours": lambda: measure(a, b)}
    skipped: dict[str, str] = {}
    expected = runs["ours"]()
    for library in LIBRARIES:
        try:
            run = MAKERS[library](name, a, b)
        except (ImportError, NotImplementedError) as reason:
            skipped[library] = str(reason)
            continue
        runs[library] = run
        found = torch.as_tensor(np.array(run()), dtype=torch.float64)
        if not torch.allclose(found, expected, rtol=0, atol=1e-4 * max(1, expected.abs().max())):
            skipped[library] = f"timed, but another quantity: {found[0]:.4f}, {expected[0]:.4f}"
    return runs, skipped


def race(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round; every round runs all, in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return times


def spread(values: list[float], form: str) -> str:
    return " ".join(
        form.format(value) for value in (statistics.median(values), min(values), max(values))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    print(f"torch {torch.__version__}, one thread, {rounds} rounds; columns: median min max")
    for label, shape in SHAPES.items():
        a = torch.randn(shape, generator=generator)
        b = a + torch.randn(shape, generator=generator)
        print(f"\n{label}")
        for name in MEASURES:
            runs, skipped = contenders(name, a, b)
            times = race(runs, rounds)
            for library, seconds in times.items():
                line = (
                    f"  {name:20} {library:13} {spread([1e3 * s for s in seconds], '{:9.2f}')} ms"
                )
                if library != "ours":
                    ratios = [s / ours for s, ours in zip(seconds, times["ours"], strict=True)]
                    line += f"   / ours {spread(ratios, '{:7.2f}')}"
                print(line + (f"   ({skipped.pop(library)})" if library in skipped else ""))
            for library, reason in skipped.items():
                print(f"  {name:20} {library:13} skipped: {reason}")


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
