"""Smoothing against Captum's NoiseTunnel: time on ResNet-18, memory on a LeNet of 32 x 32 images.

Run ``python tests/benchmarks/smoothing.py``; every figure is printed with the ratio wanted.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from captum.attr import NoiseTunnel, Saliency
from torch import nn

from captum_robust.attr import GaussianSmoothing

TUNNELS = {"NoiseTunnel": NoiseTunnel, "GaussianSmoothing": GaussianSmoothing}


def lenet() -> nn.Module:
    """Three channels of 32 x 32 to ten classes."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    ).eval()


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time of one call; on a busy machine the second is the steadier."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def compare_times(pairs: int, batch: int, side: int, samples: int) -> None:
    """Prints the median ratio of interleaved pairs, each in turn the first."""
    from torchvision.models import resnet18

    model = resnet18(weights=None).eval()
    images = torch.randn(batch, 3, side, side)
    calls = {
        name: lambda kind=kind: kind(Saliency(model)).attribute(
            images, target=0, nt_samples=samples
        )
        for name, kind in TUNNELS.items()
    }
    for call in calls.values():
        call()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for pair in range(pairs):
        for name in list(calls) if pair % 2 else list(calls)[::-1]:
            times[name].append(seconds(calls[name]))
    print(
        f"ResNet-18, {side} x {side}, batch {batch}, {samples} samples, {pairs} pairs, "
        f"{torch.get_num_threads()} threads"
    )
    for index, clock in enumerate(("wall time", "processor time")):
        print_ratio(clock, {name: [each[index] for each in all_] for name, all_ in times.items()})


def print_ratio(clock: str, times: dict[str, list[float]]) -> None:
    """Prints the medians and the ratio of each pair's times, with its spread."""
    ratios = sorted(
        ours / theirs
        for ours, theirs in zip(times["GaussianSmoothing"], times["NoiseTunnel"], strict=True)
    )
    low, middle, high = statistics.quantiles(ratios, n=4)
    medians = ", ".join(f"{name} {statistics.median(each):.2f} s" for name, each in times.items())
    print(
        f"  {clock}: {medians}; ratio {middle:.3f} (wanted <= 1.02), "
        f"quartiles {low:.3f} to {high:.3f}, range {ratios[0]:.3f} to {ratios[-1]:.3f}"
    )


def peak_of_memory() -> int:
    """The peak of this process so far, in KiB (Linux and macOS)."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the process that started this one
        (line,) = (each for each in status.read_text().splitlines() if each.startswith("VmHWM"))
        return int(line.split()[1])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def rise_of_memory(name: str, samples: int) -> int:
    """How far one call raises the peak of this process, in KiB."""
    torch.set_num_threads(1)
    tunnel, images = TUNNELS[name](Saliency(lenet())), torch.randn(4, 3, 32, 32)
    tunnel.attribute(images, target=0, nt_samples=1)  # what the first call loads is not counted
    before = peak_of_memory()
    tunnel.attribute(images, target=0, nt_samples=samples)
    return peak_of_memory() - before


def compare_memory(samples: int, repeats: int) -> None:
    """Prints the ratio of rises, each measured in a process of its own."""
    medians = {}
    print(f"LeNet, 3 x 32 x 32, 4 examples, {samples} samples, default arguments")
    for name in TUNNELS:
        command = [sys.executable, __file__, "--rise-of", name, "--memory-samples", str(samples)]
        rises = [
            int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(repeats)
        ]
        medians[name] = statistics.median(rises)
        spread = f"{min(rises) / 1024:.1f} to {max(rises) / 1024:.1f}"
        print(f"  {name:18} rise of peak memory {medians[name] / 1024:7.1f} MiB  ({spread})")
    ratio = medians["GaussianSmoothing"] / medians["NoiseTunnel"]
    print(f"  ratio: {ratio:.3f} (wanted <= 0.1)")


def main() -> None:
    """Parses the arguments and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["time", "memory"], help="one of the two figures")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=224, help="pixels a side")
    parser.add_argument("--nt-samples", type=int, default=5, help="for the time")
    parser.add_argument("--threads", type=int, help="of the time's measurement")
    parser.add_argument("--memory-samples", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3, help="of the memory's measurement")
    parser.add_argument("--rise-of", choices=TUNNELS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.manual_seed(0)
    if chosen.rise_of:
        print(rise_of_memory(chosen.rise_of, chosen.memory_samples))
        return
    if chosen.only != "time":
        compare_memory(chosen.memory_samples, chosen.repeats)
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    if chosen.only != "memory":
        compare_times(chosen.pairs, chosen.batch, chosen.side, chosen.nt_samples)


if __name__ == "__main__":
    main()
